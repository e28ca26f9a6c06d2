//! Servers that are silent: each wait for one ends, in words and in time; what may take long is waited for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::client::{Prompt, client, done, end, pipe, run};
use crate::support::server::{TestServer, is_skipped, wait_until};

/// Much longer than the limits that these tests set, and much shorter than for ever.
const SOON: Duration = Duration::from_secs(20);

/// A server that does this with each line of each connection.
fn server_that(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        thread::scope(|scope| {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client");
                let answer = &answer;
                scope.spawn(move || {
                    let lines = BufReader::new(stream.try_clone().expect("a second handle"));
                    for line in lines.lines().map_while(Result::ok) {
                        answer(&line, &mut stream);
                    }
                });
            }
        });
    });
    addr
}

#[test]
fn a_server_that_has_stopped_is_given_up_by_every_tool() {
    let server = TestServer::start();
    server.send_signal("STOP");
    let began = Instant::now();
    let tools: [&[&str]; 15] = [
        &["PING"],
        &["SAVE"],
        &["KEYS"],
        &["PUT", "a", "1"],
        &["health"],
        &["stat"],
        &["latency"],
        &["monitor"],
        &["watch"],
        &["scan"],
        &["namespaces"],
        &["export"],
        &["bench", "-c", "2", "-n", "9"],
        &["-r", "0", "PING"],
        &["--force", "CLEAR"],
    ];
    for words in tools {
        let ended = end(client(server.addr()).args(["--timeout", "0.4"]).args(words));
        let expected = format!(
            "the server at {} did not answer within 0.4 s: ",
            server.addr()
        );
        assert!(ended.err.contains(&expected), "{words:?}: {ended:?}");
        assert!(!ended.err.contains("os error"), "{words:?}: {ended:?}");
        assert_eq!(ended.status, 2, "{words:?}: {ended:?}");
    }
    let values = "x".repeat(1000);
    let lines = format!("PUT a {values}\n").repeat(20_000);
    for arguments in [&["--pipe"][..], &[]] {
        let ended = pipe(
            client(server.addr())
                .args(["--timeout", "0.4"])
                .args(arguments),
            lines.clone(),
        );
        assert_eq!(ended.status, 2, "{arguments:?}");
        assert!(
            ended.err.contains("did not answer within 0.4 s"),
            "{ended:?}"
        );
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn each_step_before_the_first_request_is_limited_as_well() {
    let server = TestServer::start();
    server.send_signal("STOP");
    for (url, step) in [
        (
            format!("pykvs://{}", server.addr()),
            "the TLS handshake is not complete",
        ),
        (
            format!("pykv://:x@{}", server.addr()),
            "no reply to AUTH comes",
        ),
    ] {
        let ended = run(server.addr(), &["--timeout", "0.3", "-u", &url, "PING"]);
        let expected =
            format!("did not answer within 0.3 s: {step}; --timeout SECONDS waits longer\n");
        assert!(ended.err.ends_with(&expected), "{ended:?}");
        assert_eq!(ended.status, 2);
    }
}

#[test]
fn the_limit_may_stand_in_the_environment() {
    let server = TestServer::start();
    let timed = |seconds: &str, words: &[&str]| {
        end(client(server.addr())
            .env("PYKV_TIMEOUT", seconds)
            .args(words))
    };
    assert_eq!(timed("0", &["PING"]), done("PONG\n"));
    let ended = timed("soon", &["PING"]);
    assert_eq!(ended.status, 2);
    assert!(
        ended
            .err
            .contains("PYKV_TIMEOUT is wrong: a number of seconds"),
        "{ended:?}"
    );
    server.send_signal("STOP");
    for words in [&["PING"][..], &["--timeout", "0.2", "PING"]] {
        let seconds = if words.len() == 1 { "0.3" } else { "0.2" };
        let ended = timed("0.3", words);
        assert!(
            ended
                .err
                .contains(&format!("did not answer within {seconds} s")),
            "{ended:?}"
        );
    }
}

/// Goal: work that may take long is waited for while the server lives, and for nothing else.
/// Method: a server that answers SAVE only once it has been asked twice, on other connections, whether it lives.
#[test]
fn a_long_request_is_waited_for_while_the_server_answers_others() {
    let pings = AtomicUsize::new(0);
    let addr = server_that(move |line, stream| match line {
        "SAVE" => {
            while pings.load(Relaxed) < 2 {
                thread::sleep(Duration::from_millis(10));
            }
            stream.write_all(b"OK\n").expect("the client waits");
        }
        "PING" => {
            pings.fetch_add(1, Relaxed);
            stream.write_all(b"PONG\n").expect("the client waits");
        }
        _ => {}
    });
    assert_eq!(run(addr, &["--timeout", "1", "SAVE"]), done("OK\n"));
    let ended = run(addr, &["--timeout", "0.3", "GET", "a"]);
    assert!(ended.err.contains("no reply to GET comes"), "{ended:?}");
}

#[test]
fn the_limit_is_one_of_silence_and_not_of_the_whole_answer() {
    let addr = server_that(|line, stream| {
        if line == "ALL" {
            for number in 0..6 {
                thread::sleep(Duration::from_millis(500));
                let row = format!("ITEM \"{number}\" \"x\"\n");
                stream.write_all(row.as_bytes()).expect("the client waits");
            }
            stream.write_all(b"END 6\n").expect("the client waits");
        }
    });
    let ended = run(addr, &["--timeout", "2", "ALL"]);
    assert_eq!(
        (ended.status, ended.out.lines().count()),
        (0, 6),
        "{ended:?}"
    );
}

#[test]
fn who_waits_for_messages_waits_for_any_time() {
    let server = TestServer::start();
    for (started, words) in (1..).zip([
        &["watch", "user:"][..],
        &["FOLLOW", "user:"],
        &["MONITOR"],
        &["monitor"],
    ]) {
        let mut child = client(server.addr())
            .args(["--timeout", "0.2"])
            .args(words)
            .spawn()
            .expect("the client starts");
        wait_until("it receives", || {
            server.stat("command_follow") + server.stat("command_monitor") == started
        });
        thread::sleep(Duration::from_secs(1));
        assert!(
            child.try_wait().expect("it is ours").is_none(),
            "{words:?} has ended"
        );
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn the_prompt_says_that_a_server_is_silent_and_goes_on_when_it_answers() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let arguments = "--timeout 0.5";
    let mut prompt =
        Prompt::open_with(server.addr(), state.path(), arguments, &[("NO_COLOR", "1")]);
    prompt.wait_for(&format!("{}> ", server.addr()));
    server.send_signal("STOP");
    prompt.type_until(
        "GET a\r",
        "did not answer within 0.5 s: no reply to GET comes",
    );
    prompt.wait_for("not connected> ");
    server.send_signal("CONT");
    prompt.type_until("GET a\r", "Key not found");
}

#[test]
fn health_of_the_server_program_says_in_words_that_nobody_answers() {
    let server = TestServer::start();
    let health = |timeout: &str| {
        let listen = server.addr().to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_pykv-server"))
            .args(["health", "--listen", &listen, "--timeout", timeout])
            .output();
        let output = output.expect("the server program starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    };
    let answers = format!("the server at {} answers\n", server.addr());
    assert_eq!(health("5"), (Some(0), answers));
    server.send_signal("STOP");
    let silent = format!(
        "pykv-server: the server at {} did not answer within 1 s\n",
        server.addr()
    );
    assert_eq!(health("1"), (Some(1), silent));
    let (status, text) = health("0");
    assert!(status == Some(2) && text.contains("'0'"), "{text}");
}
