//! Outputs that nobody reads or no disk takes, colours, and inputs that begin with a byte order mark: the same for both programs.

use std::fs::{self, OpenOptions};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::client::{Prompt, client, done, end, failed, pipe, run};
use crate::support::server::{Stopped, TestServer, is_skipped};

/// Every command line of either program that prints something.
fn printing(server: &TestServer, folder: &TempDir) -> Vec<Command> {
    let folder = folder.path().to_str().expect("text");
    let file = format!("{folder}/store.json");
    let client_words: [&[&str]; 18] = [
        &["--help"],
        &["--version"],
        &["import", "--help"],
        &["completions", "bash"],
        &["man"],
        &["HELP"],
        &["GET", "a"],
        &["--raw", "GET", "a"],
        &["--json", "ALL"],
        &["STATS"],
        &["export"],
        &["diff", &file],
        &["scan"],
        &["bigkeys"],
        &["namespaces"],
        &["health"],
        &["-i", "0.01", "stat", "-n", "1"],
        &["bench", "-c", "1", "-n", "1"],
    ];
    let listen = server.addr().to_string();
    let server_words: [&[&str]; 7] = [
        &["--help"],
        &["--version"],
        &["config"],
        &["completions", "zsh"],
        &["man"],
        &["health", "--listen", &listen],
        &["check", folder],
    ];
    let mut commands = Vec::new();
    for words in client_words {
        let mut command = client(server.addr());
        command.args(words).stdin(Stdio::piped());
        commands.push(command);
    }
    for words in server_words {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pykv-server"));
        command.args(words).stdin(Stdio::null());
        commands.push(command);
    }
    commands
}

fn folder_of_a_server() -> TempDir {
    let folder = TempDir::new().expect("a folder for a test");
    fs::write(folder.path().join("store.json"), "{}").expect("a file");
    folder
}

#[test]
fn a_reader_that_has_gone_ends_every_output_quietly() {
    let (server, folder) = (TestServer::start(), folder_of_a_server());
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let commands = printing(&server, &folder);
    for mut command in commands {
        // Both ends are open until the program runs, and then nobody reads.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut child = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop((reader, child.stdin.take()));
        drop(command);
        let ended = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!err.contains("panicked") && !err.contains("pipe"), "{err}");
        assert!(
            matches!(ended.status.code(), Some(0 | 1)),
            "{:?}: {err}",
            ended.status
        );
    }
}

#[test]
fn a_full_disk_is_an_error_in_words_for_every_output() {
    let (server, folder) = (TestServer::start(), folder_of_a_server());
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    for mut command in printing(&server, &folder) {
        let full = OpenOptions::new().write(true).open("/dev/full");
        let words: Vec<String> = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let ended = command
            .stdout(full.expect("Linux has it"))
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let err = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(
            err.ends_with("cannot write to standard output: No space left on device\n"),
            "{words:?}: {err}"
        );
        assert!(
            matches!(ended.status.code(), Some(1 | 2)),
            "{words:?}: {ended:?}"
        );
    }
}

#[test]
fn a_server_whose_announcement_nobody_reads_serves() {
    let folder = TempDir::new().expect("a folder for a test");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let socket = folder.path().join("socket");
    let url = format!("unix:{}", socket.display());
    let mut child = Command::new(env!("CARGO_BIN_EXE_pykv-server"))
        .args(["--http", "off", "--listen", &url, "--data"])
        .arg(folder.path().join("data"))
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    crate::support::server::wait_until("it serves", || {
        let ended = end(Command::new(env!("CARGO_BIN_EXE_pykv-cli"))
            .args(["-u", &url, "PING"])
            .stdin(Stdio::null()));
        ended.out == "PONG\n"
    });
    assert!(child.try_wait().expect("it is ours").is_none());
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn an_empty_no_color_forbids_no_colours() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    for (environment, shown) in [
        (&[("NO_COLOR", "")][..], "\x1b[2mKey not found\x1b[0m\r\n"),
        (&[("NO_COLOR", "0")], "Key not found\r\n"),
        (&[("NO_COLOR", ""), ("CLICOLOR", "0")], "Key not found\r\n"),
    ] {
        let mut once = Prompt::open_with(server.addr(), state.path(), "GET nope", environment);
        assert!(once.child.wait().expect("script ends").success());
        once.wait_for(shown);
        let is_coloured = shown.contains('\x1b');
        assert!(is_coloured || !once.has_shown("\x1b"), "{environment:?}");
    }
    // In a pipe there are none in any case.
    assert_eq!(
        end(client(server.addr())
            .env("NO_COLOR", "")
            .args(["GET", "nope"])),
        done("Key not found\n")
    );
}

#[test]
fn a_byte_order_mark_before_an_input_is_skipped() {
    let server = TestServer::start();
    let ended = pipe(&mut client(server.addr()), "\u{feff}PUT a 1\nGET a\n");
    assert_eq!(ended, done("OK\n1\n"));
    let ended = pipe(client(server.addr()).arg("--pipe"), "\u{feff}PUT b 1\n");
    assert_eq!(ended, failed(0, "1 answer; 0 errors\n"));
    let resp = "\u{feff}*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n";
    let ended = pipe(client(server.addr()).arg("--pipe"), resp);
    assert_eq!(ended, failed(0, "1 answer; 0 errors\n"));
    // It counts where a place is told, and a value keeps its own.
    let ended = pipe(client(server.addr()).arg("--pipe"), "\u{feff}PING\nPIN");
    assert!(
        ended.err.contains("which begins at byte 8 (line 2)"),
        "{ended:?}"
    );
    let ended = pipe(client(server.addr()).args(["PUT", "c", "-"]), "\u{feff}x");
    assert_eq!(ended, done("OK\n"));
    assert_eq!(server.client().ask("GET c"), "VALUE \"\u{feff}x\"");
    let folder = TempDir::new().expect("a folder for a test");
    let profiles = format!(
        "\u{feff}{{\"profiles\": {{\"shop\": {{\"url\": \"pykv://{}\"}}}}}}",
        server.addr()
    );
    fs::create_dir(folder.path().join("pykv")).expect("a folder");
    fs::write(folder.path().join("pykv/config.json"), profiles).expect("a file");
    let mut named = client(server.addr());
    named.env("XDG_CONFIG_HOME", folder.path());
    assert_eq!(
        end(named.args(["--profile", "shop", "GET", "b"])),
        done("2\n")
    );
}

#[test]
fn a_byte_order_mark_before_a_file_of_the_server_is_skipped() {
    let folder = TempDir::new().expect("a folder for a test");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let password = path("password");
    fs::write(&password, "\u{feff}hunter2\n").expect("a file");
    let config = path("pykv.toml");
    let text = format!("\u{feff}password-file = {password:?}\n");
    fs::write(&config, text).expect("a file");
    let server = Stopped::new(&["--config", &config]).restart();
    let url = format!("pykv://:hunter2@{}", server.addr());
    assert_eq!(run(server.addr(), &["-u", &url, "PING"]), done("PONG\n"));
}

#[test]
fn a_repetition_without_a_server_ends_in_words() {
    let nobody = crate::support::client::nobody();
    let ended = run(nobody, &["-r", "0", "PING"]);
    let expected =
        format!("Error: cannot connect to {nobody}: Connection refused; is pykv-server running?\n");
    assert_eq!(ended, failed(2, &expected));
}
