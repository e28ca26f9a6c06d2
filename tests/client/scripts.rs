//! The client in scripts: forms of output, values from standard input, repetition, profiles, passwords, masses of requests, health.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::support::client::{client, done, end, failed, nobody, pipe, run, server_that_says};
use crate::support::server::TestServer;

#[test]
fn csv_quotes_what_has_to_be_quoted_and_raw_gives_bytes_as_they_are() {
    let server = TestServer::start();
    let mut line = server.client();
    assert_eq!(line.ask("PUT a \"x,\\\"y\\\"\\nz\""), "OK");
    let ask = |form: &str, request: &[&str]| run(server.addr(), &[&[form], request].concat());
    assert_eq!(
        ask("--csv", &["ALL"]),
        done("key,value,encoding\na,\"x,\"\"y\"\"\nz\",text\n")
    );
    assert_eq!(
        ask("--csv", &["GET", "a"]),
        done("\"x,\"\"y\"\"\nz\",text\n")
    );
    assert_eq!(ask("--csv", &["KEYS"]), done("a\n"));
    assert_eq!(ask("--csv", &["COUNT"]), done("1\n"));
    assert_eq!(
        ask("--csv", &["MGET", "a", "b"]),
        done("\"x,\"\"y\"\"\nz\",text\n,none\n")
    );
    assert!(ask("--csv", &["STATS"]).out.contains("\nkeys,1\n"));
    let mut resp = server.client();
    resp.send_bytes(b"*3\r\n$3\r\nSET\r\n$5\r\nbytes\r\n$2\r\n\x00\xff\r\n");
    assert_eq!(resp.reply(), "+OK\r");
    let output = client(server.addr())
        .args(["--raw", "GET", "bytes"])
        .output();
    assert_eq!(output.expect("the client starts").stdout, b"\x00\xff");
    assert_eq!(ask("--csv", &["GET", "bytes"]), done("AP8=,base64\n"));
    // Only one form at a time.
    assert_eq!(run(server.addr(), &["--csv", "--json", "PING"]).status, 2);
}

#[test]
fn a_value_comes_from_standard_input_as_it_is() {
    let server = TestServer::start();
    let addr = server.addr();
    let text = "line 1\nline \"2\" \u{e4}\n";
    assert_eq!(
        pipe(client(addr).args(["PUT", "page", "-"]), text),
        done("OK\n")
    );
    assert_eq!(
        run(addr, &["--json", "GET", "page"]).out,
        format!("{}\n", serde_json::json!(text))
    );
    assert_eq!(
        pipe(client(addr).args(["PUT", "empty", "-"]), ""),
        done("OK\n")
    );
    assert_eq!(run(addr, &["--json", "GET", "empty"]), done("\"\"\n"));
    // A command that takes no value has a key of this name.
    assert_eq!(
        pipe(client(addr).args(["GET", "-"]), "x"),
        done("Key not found\n")
    );
    assert_eq!(pipe(client(addr).args(["PUT", "-"]), "x").status, 1);
    assert_eq!(
        pipe(client(addr).args(["PUT", "a", "-"]), vec![0xff]),
        done("OK\n")
    );
    assert_eq!(run(addr, &["GET", "a"]), done("BASE64 \"/w==\"\n"));
}

#[test]
fn a_command_is_repeated_as_often_as_that_is_wanted() {
    let server = TestServer::start();
    let started = std::time::Instant::now();
    let ended = run(server.addr(), &["-r", "3", "-i", "0.05", "INCR", "n"]);
    assert_eq!(ended, done("1\n2\n3\n"));
    assert!(started.elapsed().as_millis() >= 100);
    assert_eq!(run(server.addr(), &["-r", "2", "NOSUCH"]).status, 1);
    for wrong in [["-i", "-1"], ["-i", "soon"], ["-r", "many"]] {
        assert_eq!(
            run(server.addr(), &[&wrong[..], &["PING"]].concat()).status,
            2
        );
    }
}

#[test]
fn what_deletes_much_takes_force_where_nobody_can_be_asked() {
    let server = TestServer::start();
    let addr = server.addr();
    for key in ["user:1", "user:2", "other"] {
        assert_eq!(run(addr, &["PUT", key, "x"]), done("OK\n"));
    }
    for (words, reason) in [
        (&["CLEAR"][..], "CLEAR deletes every key: 3 keys;"),
        (
            &["DELPREFIX", "user:"],
            "DELPREFIX deletes every key with this prefix: 2 keys;",
        ),
        (&["SHUTDOWN"], "SHUTDOWN stops the server for everybody;"),
    ] {
        let message = format!("Error: {reason} where nobody can be asked, say --force before it\n");
        assert_eq!(run(addr, words), failed(2, &message));
    }
    assert_eq!(run(addr, &["DELPREFIX", "user:", "DRYRUN"]), done("2\n"));
    assert_eq!(run(addr, &["DELPREFIX", "nope"]), done("0\n"));
    assert_eq!(run(addr, &["--force", "DELPREFIX", "user:"]), done("2\n"));
    assert_eq!(run(addr, &["--force", "CLEAR"]), done("OK\n"));
    // What is written in a file of commands is meant.
    assert_eq!(
        pipe(&mut client(addr), "PUT a 1\nCLEAR\nCOUNT\n"),
        done("OK\nOK\n0\n")
    );
}

#[test]
fn a_mass_of_requests_is_sent_as_it_is_and_counted() {
    let server = TestServer::start();
    let addr = server.addr();
    let lines: String = (0..50_000)
        .map(|number| format!("PUT k{number} v\n"))
        .collect();
    let ended = pipe(client(addr).arg("--pipe"), lines);
    assert_eq!(ended, failed(0, "50,000 answers; 0 errors\n"));
    let mut resp = Vec::new();
    for request in [
        "*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n",
        "*1\r\n$4\r\nGETS\r\n",
        "*3\r\n$4\r\nMGET\r\n$2\r\nk1\r\n$2\r\nno\r\n",
    ] {
        resp.extend_from_slice(request.as_bytes());
    }
    resp.extend_from_slice(b"KEYS k4999\nGET\n");
    let ended = pipe(client(addr).arg("--pipe"), resp);
    assert_eq!(ended.status, 1);
    assert!(ended.err.ends_with("\n5 answers; 2 errors\n"), "{ended:?}");
    assert!(
        ended.err.contains("Error: -ERR unknown command"),
        "{ended:?}"
    );
    assert_eq!(server.stat("keys"), 50_000);
}

#[test]
fn health_says_whether_all_is_well() {
    let server = TestServer::start();
    assert_eq!(run(server.addr(), &["health"]), done("ok\n"));
    let json = run(server.addr(), &["--json", "health"]);
    assert_eq!(json, done("{\"status\":\"ok\",\"reasons\":[]}\n"));
    let says = |text| run(server_that_says(text), &["health"]);
    let ended =
        says("STAT disk \"no space left on device\"\nSTAT last_save_result \"failed\"\nEND 2\n");
    assert_eq!(ended.status, 1);
    assert_eq!(
        ended.out,
        "changes are refused: no space left on device\nthe last save failed: failed\n"
    );
    let late =
        "STAT durability \"everysec\"\nSTAT disk \"ok\"\nSTAT unsynced_seconds 2.54\nEND 3\n";
    let ended = says(late);
    assert_eq!(
        (ended.status, &*ended.out),
        (
            1,
            "the disk is slow: a power cut now would take the last 2.5 seconds of changes, 1.5 more than everysec promises\n"
        )
    );
    for kept in [
        "STAT durability \"everysec\"\nSTAT unsynced_seconds 0.99\nEND 2\n",
        "STAT durability \"off\"\nSTAT unsynced_seconds 60.0\nEND 2\n",
        "STAT durability \"always\"\nSTAT unsynced_seconds 2.5\nEND 2\n",
    ] {
        assert_eq!(says(kept), done("ok\n"));
    }
    let ended = says("ERR BUSY loading the data: 42%\n");
    assert_eq!(
        (ended.status, ended.out.as_str()),
        (1, "loading the data: 42%\n")
    );
    assert_eq!(run(nobody(), &["health"]).status, 2);
}

#[test]
fn the_server_is_named_by_flag_environment_or_profile() {
    let server = TestServer::start();
    let config = TempDir::new().expect("a folder for a test");
    let folder = config.path().join("pykv");
    fs::create_dir(&folder).expect("a folder");
    let url = format!("pykv://{}", server.addr());
    let settings = serde_json::json!({"profiles": {"shop": {"url": url}, "gone": {"url": "pykv://127.0.0.1:1"}}});
    fs::write(folder.join("config.json"), settings.to_string()).expect("a file");
    let with = |environment: &[(&str, &str)], words: &[&str]| {
        let mut command = client(nobody());
        command
            .env_remove("PYKV_URL")
            .env("XDG_CONFIG_HOME", config.path());
        end(command.envs(environment.iter().copied()).args(words))
    };
    assert_eq!(with(&[], &["--profile", "shop", "PING"]), done("PONG\n"));
    assert_eq!(with(&[("PYKV_PROFILE", "shop")], &["PING"]), done("PONG\n"));
    assert_eq!(
        with(&[("PYKV_PROFILE", "gone")], &["--url", &url, "PING"]),
        done("PONG\n")
    );
    assert_eq!(
        with(
            &[("PYKV_URL", "pykv://127.0.0.1:1")],
            &["--profile", "shop", "PING"]
        ),
        done("PONG\n")
    );
    assert_eq!(with(&[("PYKV_PROFILE", "gone")], &["PING"]).status, 2);
    let ended = with(&[], &["--profile", "shpo", "PING"]);
    assert_eq!(ended.status, 2);
    assert!(
        ended
            .err
            .contains("has no profile \"shpo\", but: gone, shop"),
        "{ended:?}"
    );
    // A slip does not show the password.
    let slip = r#"{"profiles": {"shop": "pykv://:hunter2@host"}}"#;
    fs::write(folder.join("config.json"), slip).expect("a file");
    let ended = with(&[], &["--profile", "shop", "PING"]);
    assert!(
        ended.status == 2 && !ended.err.contains("hunter2"),
        "{ended:?}"
    );
    fs::write(folder.join("config.json"), "{").expect("a file");
    let ended = with(&[], &["--profile", "shop", "PING"]);
    assert!(
        ended
            .err
            .contains("config.json: line 1 column 1: it has to be {"),
        "{ended:?}"
    );
}

#[test]
fn a_password_is_shown_before_the_first_request() {
    let server = TestServer::start();
    let url = format!("pykv://:s%20ecret@{}", server.addr());
    // The tools take the same way.
    assert_eq!(run(server.addr(), &["--url", &url, "scan"]), done(""));
    assert_eq!(run(server.addr(), &["--url", &url, "PING"]), done("PONG\n"));
    // One that stands in the address counts before the environment: this server would refuse the user of no name.
    let mut command = client(server.addr());
    command.env("PYKV_PASSWORD", "other");
    assert_eq!(end(command.args(["--url", &url, "PING"])), done("PONG\n"));
    let refusing = server_that_says("ERR DENIED wrong password\n");
    let mut command = client(refusing);
    let ended = end(command.env("PYKV_PASSWORD", "secret").arg("PING"));
    assert_eq!(ended, failed(1, "Error: DENIED wrong password\n"));
}

#[test]
fn help_needs_no_server_and_shows_an_example() {
    let ended = run(nobody(), &["HELP", "getdel"]);
    assert_eq!(
        ended,
        done("GETDEL <key>\tDelete a key; answers its value.\n")
    );
    let all = run(nobody(), &["HELP"]);
    assert_eq!(all.status, 0);
    assert!(all.out.lines().count() > 80, "{all:?}");
    let unknown = run(nobody(), &["HELP", "GTE"]);
    assert_eq!(
        unknown,
        failed(
            1,
            "Error: UNKNOWN there is no command 'GTE'; HELP lists them; did you mean GET?\n"
        )
    );
}

#[test]
fn completions_and_the_manual_come_from_the_definitions() {
    let tell = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pykv-cli"))
            .args(words)
            .output();
        let output = output.expect("the client starts");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = tell(&["completions", shell]);
        for word in ["pykv-cli", "--profile", "export", "health"] {
            assert!(
                script.contains(word) || script.contains(word.trim_start_matches('-')),
                "{shell}: {word}"
            );
        }
    }
    let manual = tell(&["man"]);
    assert!(
        manual.contains(".TH pykv-cli 1") && manual.contains("SYNOPSIS"),
        "{manual}"
    );
}

#[test]
fn a_prefix_that_looks_like_a_pattern_is_explained_where_it_finds_nothing() {
    let server = TestServer::start();
    let mut wire = server.client();
    assert_eq!(wire.ask("PUT user:1 Ada"), "OK");
    let hint = "Nothing begins with user:*: that is a prefix here, and no pattern. Leave the * out";
    for (words, out, more) in [
        (&["KEYS", "user:*"][..], "", ": KEYS user:"),
        (&["ALL", "user:*"], "", ": ALL user:"),
        (&["--json", "ALL", "user:*"], "{}\n", ": ALL user:"),
        (&["COUNT", "user:*"], "0\n", ": COUNT user:"),
        (&["NAMESPACES", "user:*"], "", ": NAMESPACES user:"),
        (
            &["--force", "DELPREFIX", "user:*"],
            "0\n",
            ": DELPREFIX user:",
        ),
        (&["scan", "user:*"], "", ""),
        (&["bigkeys", "user:*"], "", ""),
        (&["namespaces", "user:*"], "", ""),
        (&["export", "--prefix", "user:*"], "{}\n", ""),
    ] {
        let ended = run(server.addr(), words);
        assert_eq!(
            (ended.status, &*ended.out),
            (0, out),
            "{words:?}: {ended:?}"
        );
        assert_eq!(ended.err, format!("{hint}{more}\n"), "{words:?}");
    }
    let ended = run(server.addr(), &["KEYS", "user:?"]);
    assert!(
        ended.err.ends_with("SCAN 0 MATCH user:? COUNT 10000\n"),
        "{ended:?}"
    );
    // Where it finds something, it is a prefix like any other.
    assert_eq!(wire.ask("PUT user:*x 1"), "OK");
    assert_eq!(run(server.addr(), &["KEYS", "user:*"]), done("user:*x\n"));
    assert_eq!(run(server.addr(), &["KEYS", "nobody"]), done(""));
}

#[test]
fn a_misspelt_name_finds_the_command_or_the_tool() {
    let server = TestServer::start();
    for (word, name) in [
        ("GTE", "GET"),
        ("improt", "import"),
        ("exprot", "export"),
        ("STAT", "stat"),
        ("helth", "health"),
    ] {
        let ended = run(server.addr(), &[word, "x"]);
        let expected = format!("; did you mean {name}?\n");
        assert!(
            ended.status == 1 && ended.err.ends_with(&expected),
            "{ended:?}"
        );
    }
    // In a script there are requests, and no tools.
    let ended = pipe(&mut client(server.addr()), "GTE a\nimprot x\nimport x\n");
    let lines: Vec<&str> = ended.err.lines().collect();
    assert!(lines[0].ends_with("; did you mean GET?"), "{ended:?}");
    for line in &lines[1..3] {
        assert!(
            line.ends_with("; did you mean the tool, pykv-cli import?"),
            "{ended:?}"
        );
    }
}
