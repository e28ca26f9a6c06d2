//! The dashboard in a real Chromium: each screen, and what people do there.
//!
//! In: the scripts beside this file, which playwright-core plays (installed by `tests/run`). Out: the verdict, and screenshots in
//! `target/browser`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::server::{Stopped, TestServer, is_skipped};

/// As many pairs as there are cities of more than 1,000 people.
const CITIES: usize = 222_583;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A server that can be killed and started again on its ports.
enum Machine {
    On(TestServer),
    Off(Stopped),
}

fn folder() -> PathBuf {
    let folder = root().join("target/browser");
    fs::create_dir_all(&folder).expect("a folder below target");
    folder
}

/// Sends a signal to a server, which stays a process.
fn signaled(server: TestServer, signal: &str) -> Machine {
    server.send_signal(signal);
    Machine::On(server)
}

/// Plays a script.
fn play(script: &str) {
    play_on(script, TestServer::start);
}

/// Plays a script on a server; does to the server what it says.
fn play_on(script: &str, server: impl FnOnce() -> TestServer) {
    if is_skipped("clients") || is_skipped("chromium") {
        return;
    }
    let server = server();
    let (text, http) = (server.addr(), server.http_addr());
    let mut machine = Some(Machine::On(server));
    let mut browser = Command::new(root().join("target/clients/python/bin/node"))
        .arg(
            root()
                .join("tests/http/browser")
                .join(format!("{script}.mjs")),
        )
        .arg(root().join("target/clients"))
        .arg("/usr/bin/chromium")
        .arg(format!("http://{http}"))
        .arg(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("node: {error}; tests/run installs it"));
    let mut input = browser.stdin.take().expect("a pipe");
    for word in BufReader::new(browser.stdout.take().expect("a pipe")).lines() {
        let word = word.expect("text");
        let start = |stopped: Stopped| stopped.on(text).http_on(http).restart();
        machine = Some(match (word.as_str(), machine.take().expect("one")) {
            ("kill", Machine::On(server)) => Machine::Off(server.kill()),
            ("start", Machine::Off(stopped)) => Machine::On(start(stopped)),
            ("restart", Machine::On(server)) => Machine::On(start(server.kill())),
            ("freeze", Machine::On(server)) => signaled(server, "STOP"),
            ("thaw", Machine::On(server)) => signaled(server, "CONT"),
            (other, _) => panic!("{script} says {other}"),
        });
        // It may have failed meanwhile, which its status says.
        let _ = writeln!(input, "go on");
    }
    let mut errors = String::new();
    let mut stderr = browser.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut errors).expect("text");
    let status = browser.wait().expect("it has ended");
    assert!(status.success(), "{script}: {errors}");
}

#[test]
fn the_overview_shows_figures_operations_and_namespaces_as_they_come() {
    play("overview");
}

#[test]
fn the_explorer_finds_shows_changes_and_deletes_pairs() {
    play("explorer");
}

#[test]
fn the_forms_get_put_and_delete() {
    play("forms");
}

#[test]
fn the_console_speaks_the_line_protocol_and_helps_to_type_it() {
    play("console");
}

#[test]
fn files_go_in_and_out_and_all_keys_are_deleted_after_a_word() {
    let pairs = (0..CITIES).map(|number| {
        let letter = |number: usize| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number % 26]);
        let (a, b) = (letter(number), letter(number / 26));
        let value = format!(r#"{{\"lat\":{}.5,\"lng\":-1.25}}"#, number % 90);
        format!("\"city:{a}{b}:Town {number} of {a}{b}\":\"{value}\"")
    });
    let text = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
    fs::write(folder().join("cities.json"), text).expect("room on the disk");
    play("data");
}

#[test]
fn whatever_deletes_or_overwrites_asks_first_and_says_what_would_be_lost() {
    play("losses");
}

#[test]
fn an_edit_is_not_lost_without_a_question_and_of_two_versions_both_are_seen() {
    play("edits");
}

#[test]
fn a_long_reply_is_shown_in_part_and_can_be_stopped() {
    play("long");
}

#[test]
fn what_is_old_says_so_or_is_read_again() {
    play("stale");
}

#[test]
fn the_page_asks_who_one_is_and_shows_what_that_user_may_see() {
    play_on("sign_in", || {
        let server = Stopped::new(&[])
            .with_env("PYKV_PASSWORD", "master")
            .restart();
        let mut admin = server.client();
        for line in [
            "AUTH master",
            "ACL SETUSER ann on >type-a ~* &* +@all",
            "ACL SETUSER shop on >wool ~shop:* +@read",
            "PUT shop:1 a",
            "PUT bank d",
        ] {
            assert_eq!(admin.ask(line), "OK");
        }
        server
    });
}

#[test]
fn the_page_says_that_the_server_is_gone_and_comes_back_with_it() {
    play("restart");
}

#[test]
fn every_screen_can_be_read_narrow_and_wide_light_and_dark() {
    play("looks");
}
