//! Lines that are typed or pasted before the prompt asks for them: none is lost, and none answers a question that was not shown yet.

use tempfile::TempDir;

use crate::support::client::Prompt;
use crate::support::server::{TestServer, is_skipped};

/// What the terminal is sent once a line is entered, before it is executed: pastes are no longer marked.
const ENTERED: &str = "\x1b[?2004l";

/// What CLEAR asks of a server with one key.
const QUESTION: &str = "CLEAR deletes every key: 1 key. Type yes to go on: ";

#[test]
fn lines_that_arrive_in_one_piece_are_all_executed_in_their_order() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    prompt.type_until("PUT a 1\rAPPEND a 2\rGET a\r", "12\r\n");
    // More than one read of the terminal, and a line that is not complete yet.
    let lines: String = (0..200).map(|n| format!("APPEND b {}\r", n % 10)).collect();
    prompt.type_until(&format!("{lines}STRLEN"), "STRLEN");
    prompt.type_until(" b\r", "200\r\n");
    prompt.type_until("GET a\rexit\r", "12\r\n");
    assert!(prompt.child.wait().expect("script ends").success());
}

#[test]
fn what_is_typed_while_a_command_runs_is_executed_after_it() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    server.send_signal("STOP");
    prompt.type_until("PUT a 1\r", ENTERED);
    // The terminal shows what nobody reads yet.
    prompt.type_until("APPEND a 2\rGET a\r", "GET a");
    server.send_signal("CONT");
    prompt.wait_for("12\r\n");
}

#[test]
fn a_question_is_answered_by_what_is_typed_after_it_and_by_nothing_before() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    // In one piece with the command: the lines wait until the question is answered.
    prompt.type_until("CLEAR\ryes\rGET a\r", QUESTION);
    prompt.type_until("no\r", "Nothing was done.");
    prompt.wait_for("there is no command 'yes'");
    prompt.wait_for("\r\n1\r\n");
    // Pasted, with what terminals put around that.
    prompt.type_until("\x1b[200~CLEAR\nyes\nGET a\x1b[201~\r", QUESTION);
    prompt.type_until("no\r", "Nothing was done.");
    prompt.wait_for("there is no command 'yes'");
    prompt.wait_for("1\r\n");
    // Typed while the server is asked for the number of keys.
    server.send_signal("STOP");
    prompt.type_until("CLEAR\r", ENTERED);
    prompt.type_until("yes\r", "yes");
    server.send_signal("CONT");
    prompt.wait_for(
        "What was typed ahead does not answer whether to go on: enter the command again.",
    );
    prompt.wait_for("there is no command 'yes'");
    assert_eq!(server.client().ask("GET a"), "VALUE \"1\"");
    prompt.type_until("CLEAR\r", QUESTION);
    prompt.type_until("yes\rGET a\r", "OK\r\n");
    prompt.wait_for("Key not found");
}

#[test]
fn ctrl_c_at_a_question_does_nothing_and_says_so() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    let said = "Error: interrupted at the question; nothing was done\r\n";
    prompt.type_until("CLEAR\r", QUESTION);
    prompt.type_until("\x03", said);
    prompt.type_until("\x1b[200~CLEAR\nPING\x1b[201~\r", QUESTION);
    prompt.type_until("\x03", said);
    prompt.wait_for("Not sent, as this one failed: 1 request after it.");
    prompt.type_until("GET a\r", "1\r\n");
    for (arguments, question) in [("CLEAR", QUESTION), ("--askpass PING", "Password for ")] {
        let mut once =
            Prompt::open_with(server.addr(), state.path(), arguments, &[("NO_COLOR", "1")]);
        once.wait_for(question);
        once.type_until("\x03", said);
        assert_eq!(once.child.wait().expect("script ends").code(), Some(130));
    }
    assert_eq!(server.client().ask("GET a"), "VALUE \"1\"");
}

#[test]
fn a_pager_does_not_take_what_is_typed_ahead() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let mut client = server.client();
    for number in 0..60 {
        assert_eq!(client.ask(&format!("PUT key{number} v")), "OK");
    }
    let state = TempDir::new().expect("a folder for a test");
    let environment = [("NO_COLOR", "1"), ("PAGER", "head -c 1000000000")];
    let mut prompt = Prompt::open_with(server.addr(), state.path(), "", &environment);
    prompt.wait_for("> ");
    server.send_signal("STOP");
    prompt.type_until("KEYS\r", ENTERED);
    prompt.type_until("PUT after 1\r", "PUT after 1");
    server.send_signal("CONT");
    prompt.wait_for("60 keys\r\n");
    prompt.wait_for("OK\r\n");
}
