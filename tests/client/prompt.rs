//! The client's prompt as somebody at a terminal sees it: colours, completion, suggestions, history, JSON over several lines, questions.

use std::fs;

use tempfile::TempDir;

use crate::support::client::Prompt;
use crate::support::server::{TestServer, is_skipped, wait_until};

const COLOUR: [(&str, &str); 1] = [("CLICOLOR_FORCE", "1")];

#[test]
fn what_is_wrong_is_red_while_it_is_typed_and_types_are_told_apart() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::open_with(server.addr(), state.path(), "", &COLOUR);
    prompt.wait_for("> ");
    prompt.type_until("GTE", "\x1b[31mGTE\x1b[0m");
    prompt.type_until("\x03GET", "\x1b[36mGET\x1b[0m");
    prompt.type_until(" a b", "\x1b[31mb\x1b[0m");
    prompt.type_until("\x03PUT n 12\r", "OK\r\n");
    prompt.type_until("GET n\r", "\x1b[33m12\x1b[0m");
    prompt.type_until("PUT j {\"a\":[1,\"x\"]}\r", "OK\r\n");
    prompt.type_until(
        "GET j\r",
        "{\r\n  \x1b[36m\"a\"\x1b[0m: [\r\n    \x1b[33m1\x1b[0m,",
    );
    prompt.type_until("GET nope\r", "\x1b[2mKey not found\x1b[0m");
    prompt.type_until("GTE n\r", "did you mean GET?");
    prompt.type_until("HELP INCR\r", "INCR <key>");
    prompt.wait_for("For example: \x1b[36mINCR name\x1b[0m");
}

#[test]
fn keys_are_completed_from_the_server_and_lines_from_the_history() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let mut client = server.client();
    for line in [
        "PUT user:101:name Ada",
        "PUT user:101:role Admin",
        "PUT \"a b\" x",
    ] {
        assert_eq!(client.ask(line), "OK");
    }
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    prompt.type_until("GET us\t", "user:101:");
    prompt.type_until("n\t\r", "Ada\r\n");
    prompt.type_until("GET a\t", "\"a b\"");
    prompt.type_until("\r", "x\r\n");
    // The arrow to the right takes what was typed before.
    prompt.type_until("GET use", "r:101:name");
    prompt.type_until("\x1b[C\r", "Ada\r\n");
    // Ctrl-R looks for it.
    prompt.type_until("\x12a b", "reverse-i-search");
    prompt.type_until("\r", "x\r\n");
    prompt.type_until("help expi\t", "EXPIRE");
}

#[test]
fn json_may_have_several_lines_and_stays_as_it_was_typed() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    prompt.type_until("PUT j {\r\"a\": \"}\",\r\"b\": [\r1]}\r", "OK\r\n");
    assert_eq!(
        server.client().ask("GET j"),
        "VALUE \"{\\n\\\"a\\\": \\\"}\\\",\\n\\\"b\\\": [\\n1]}\""
    );
    // What is wrong is not waited for for ever.
    prompt.type_until("PUT k {\rx\x03", "> ");
    prompt.type_until("COUNT\r", "1\r\n");
}

#[test]
fn what_deletes_much_is_asked_about_with_the_count() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let mut client = server.client();
    for line in ["PUT user:1 a", "PUT user:2 b", "PUT c d"] {
        assert_eq!(client.ask(line), "OK");
    }
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    let question = "DELPREFIX deletes every key with this prefix: 2 keys. Type yes to go on: ";
    prompt.type_until("DELPREFIX user:\r", question);
    prompt.type_until("no\r", "Nothing was done.");
    assert_eq!(client.ask("COUNT"), "COUNT 3");
    prompt.type_until("DELPREFIX user:\r", question);
    prompt.type_until("yes\r", "2\r\n");
    // In a transaction the count would be one of its requests.
    prompt.type_until("MULTI\r", "(TX)> ");
    prompt.type_until("CLEAR\r", "CLEAR deletes every key. Type yes to go on: ");
    prompt.type_until("yes\r", "Queued");
    prompt.type_until("DISCARD\r", "OK\r\n");
    prompt.type_until(
        "CLEAR\r",
        "CLEAR deletes every key: 1 key. Type yes to go on: ",
    );
    prompt.type_until("YES\r", "OK\r\n");
    assert_eq!(client.ask("COUNT"), "COUNT 0");
}

#[test]
fn nothing_secret_is_kept_and_an_answer_is_timed_on_request() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    prompt.type_until("AUTH default hunter2\r", "OK\r\n");
    // Pasted as well, behind something that is not secret.
    prompt.type_until("\x1b[200~PING\nAUTH default hunter3\x1b[201~\r", "OK\r\n");
    prompt.type_until("timing\r", "How long an answer takes is told.");
    prompt.type_until("PING\r", "PONG\r\n(");
    prompt.wait_for(" ms)");
    prompt.type_until("\x04", "");
    assert!(prompt.child.wait().expect("script ends").success());
    let history = fs::read_to_string(state.path().join("pykv/history")).expect("the history");
    assert!(
        history.contains("PING") && !history.contains("hunter"),
        "{history}"
    );
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::open_with(server.addr(), state.path(), "--askpass PING", &[]);
    prompt.wait_for(&format!("Password for {}: ", server.addr()));
    prompt.type_until("hunter2\r", "PONG\r\n");
    let screen = prompt.screen.lock().expect("no panic before");
    let contents = screen.screen().contents();
    assert!(!contents.contains("hunter2"), "{contents}");
}

#[test]
fn ctrl_c_clears_the_line_or_ends_what_goes_on() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::ready(server.addr(), state.path());
    prompt.type_until("PUT a 1\x03PING\r", "PONG\r\n");
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
    prompt.type_until("FOLLOW user:\r", "FOLLOWING");
    assert_eq!(server.client().ask("PUT user:1 Ada"), "OK");
    prompt.wait_for("Ada");
    prompt.type_until("\x03", "> ");
    prompt.type_until("GET user:1\r", "Ada\r\n");
}

#[test]
fn a_long_answer_is_shown_a_screen_at_a_time() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let mut client = server.client();
    for number in 0..60 {
        assert_eq!(client.ask(&format!("PUT key{number} v")), "OK");
    }
    let state = TempDir::new().expect("a folder for a test");
    // A pager that says where it begins and ends.
    let pager = state.path().join("pager");
    fs::write(&pager, "#!/bin/sh\necho paged; cat; echo left\n").expect("a file");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&pager, permissions).expect("a program");
    let name = pager.to_str().expect("text");
    let mut prompt = Prompt::open_with(
        server.addr(),
        state.path(),
        "",
        &[("NO_COLOR", "1"), ("PAGER", name)],
    );
    prompt.wait_for("> ");
    prompt.type_until("KEYS\r", "paged\r\n");
    prompt.wait_for("key59");
    prompt.wait_for("60 keys\r\nleft\r\n");
    // What fits is not paged.
    prompt.type_until("KEYS key5\r", "11 keys\r\n");
    prompt.type_until("PING\r", "PONG\r\n");
}

#[test]
fn the_tools_of_the_command_line_are_at_the_prompt_and_typos_find_them() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let mut client = server.client();
    for line in ["PUT user:1 Ada", "PUT user:2 Bob"] {
        assert_eq!(client.ask(line), "OK");
    }
    let state = TempDir::new().expect("a folder for a test");
    let environment = [("NO_COLOR", "1"), ("PAGER", "cat")];
    let mut prompt = Prompt::open_with(server.addr(), state.path(), "", &environment);
    prompt.wait_for("> ");
    prompt.type_until("health\r", "ok\r\n");
    prompt.type_until("stat -n 1\r", "requests/s");
    prompt.type_until("bigkeys user:\r", "user:1\r\n");
    prompt.type_until("stat --hlp\r", "a similar argument exists: '--help'");
    let file = state.path().join("two words.csv");
    prompt.type_until(
        &format!("export {:?} --prefix user:2\r", file.display()),
        "exported 1 pair to",
    );
    let text = fs::read_to_string(&file).expect("the exported file");
    assert!(text.contains("user:2,Bob"), "{text}");
    prompt.type_until(
        &format!("import {}\r", file.display()),
        "imported 1 pair in",
    );
    for (typo, name) in [("improt x", "import"), ("tpo", "top"), ("GTE a", "GET")] {
        prompt.type_until(&format!("{typo}\r"), &format!("did you mean {name}?"));
    }
    // Names that the server has as well are its commands here.
    prompt.type_until("watch user:\r", "OK\r\n");
    prompt.wait_for("To see changes as they happen: pykv-cli watch user:");
    prompt.type_until("pykv-cli watch user:\r", "");
    wait_until("it follows", || server.stat("command_follow") == 1);
    assert_eq!(client.ask("PUT user:3 Cid"), "OK");
    prompt.wait_for("user:3  Cid");
    prompt.type_until("\x03", "> ");
    prompt.type_until("pykv-cli GET user:1\r", "Ada\r\n");
    prompt.type_until("KEYS user:*\r", "Leave the * out: KEYS user:\r\n");
    prompt.type_until(
        "HELP\r",
        "At this prompt also: import <file>, export <file>, diff <file>, bigkeys",
    );
}
