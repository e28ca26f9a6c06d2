//! The built client: one command, a pipe, import and export, the prompt, and what it says when something fails.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::TempDir;

use crate::support::client::{
    Prompt, client, done, end, failed, nobody, pipe, run, server_that_says,
};
use crate::support::server::{TestServer, is_skipped};

/// So many requests, each a line of more than a hundred bytes.
fn puts(count: usize) -> String {
    let lines: Vec<String> = (0..count)
        .map(|n| format!("PUT key:{n} {}\n", "v".repeat(100)))
        .collect();
    lines.concat()
}

/// Texts that are easily changed on their way, and each as a JSON string.
const NASTY: &[(&str, &str)] = &[
    ("", r#""""#),
    (" ", r#"" ""#),
    ("  padded  ", r#""  padded  ""#),
    ("\"", r#""\"""#),
    ("\"quoted\" and not", r#""\"quoted\" and not""#),
    ("it's \\ back", r#""it's \\ back""#),
    ("two\nlines\n", r#""two\nlines\n""#),
    ("a\r\nb\tc", r#""a\r\nb\tc""#),
    ("\u{1b}[2J\u{7f}", "\"\\u001b[2J\u{7f}\""),
    ("-1", r#""-1""#),
    ("--json", r#""--json""#),
    ("{\"$base64\":\"AP8=\"}", r#""{\"$base64\":\"AP8=\"}""#),
    ("x\nCLEAR\nPUT y z", r#""x\nCLEAR\nPUT y z""#),
    ("世界 😀 \u{2028}", "\"世界 😀 \u{2028}\""),
];

#[test]
fn each_word_of_the_command_line_is_stored_exactly() {
    let server = TestServer::start();
    let mut wire = server.client();
    for (text, json) in NASTY {
        assert_eq!(
            run(server.addr(), &["PUT", text, text]),
            done("OK\n"),
            "{text:?}"
        );
        assert_eq!(wire.ask(&format!("GET {json}")), format!("VALUE {json}"));
        assert_eq!(
            run(server.addr(), &["GET", text]),
            done(&format!("{text}\n"))
        );
        assert_eq!(
            run(server.addr(), &["--json", "GET", text]),
            done(&format!("{json}\n"))
        );
    }
    assert_eq!(wire.ask("COUNT"), format!("COUNT {}", NASTY.len()));
}

#[test]
fn words_beyond_the_value_belong_to_it() {
    let server = TestServer::start();
    assert_eq!(
        run(
            server.addr(),
            &["put", "greeting", "hello", "there,", " world"]
        ),
        done("OK\n")
    );
    assert_eq!(
        run(server.addr(), &["GET", "greeting"]),
        done("hello there,  world\n")
    );
    let ended = run(server.addr(), &["GET", "greeting", "too"]);
    assert_eq!(
        (
            ended.status,
            ended.err.starts_with("Error: ARGS GET takes 1 argument")
        ),
        (1, true),
        "{ended:?}"
    );
}

#[test]
fn the_exit_status_tells_done_from_refused_from_out_of_reach() {
    let server = TestServer::start();
    let addr = server.addr();
    assert_eq!(run(addr, &["GET", "nothing"]), done("Key not found\n"));
    assert_eq!(
        run(addr, &["NOSUCH"]),
        failed(
            1,
            "Error: UNKNOWN there is no command 'NOSUCH'; HELP lists them\n"
        )
    );
    for (words, reason) in [
        (&["--jsno", "PING"][..], "--jsno"),
        (&["--url", "http://x", "PING"], "pykv://"),
        (
            &["--url", "pykv://:secret@127.0.0.1:1", "PING"],
            "cannot connect to 127.0.0.1:1",
        ),
        (&["", "PING"], "is not the name of a command"),
        (&["PING\nPUT a b"], "is not the name of a command"),
    ] {
        let ended = run(addr, words);
        assert_eq!((ended.status, ended.out.as_str()), (2, ""), "{words:?}");
        assert!(
            ended.err.contains(reason) && !ended.err.contains("secret"),
            "{ended:?}"
        );
    }
    assert_eq!(
        end(client(addr).arg("GET").arg(OsStr::from_bytes(b"\xff"))).status,
        2
    );
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
    let ended = run(nobody(), &["PING"]);
    assert_eq!((ended.status, ended.out.as_str()), (2, ""));
    assert!(
        ended.err.contains("cannot connect to 127.0.0.1:"),
        "{ended:?}"
    );
}

#[test]
fn what_begins_with_a_hyphen_after_the_command_is_data() {
    let server = TestServer::start();
    assert_eq!(run(server.addr(), &["PUT", "--json", "-1"]), done("OK\n"));
    assert_eq!(run(server.addr(), &["GET", "--json"]), done("-1\n"));
    assert_eq!(run(server.addr(), &["DEL", "--", "--json"]), done("1\n"));
}

#[test]
fn lines_of_a_pipe_are_answered_in_order_and_faults_with_their_line() {
    let server = TestServer::start();
    let input =
        b"PUT a 1\r\n\n  \t\nGET \"a\nGET a\nGET \xff\nPUT b  two words \nGET nothing\nGET b"
            .to_vec();
    let ended = pipe(&mut client(server.addr()), input);
    assert_eq!(
        (ended.status, ended.out.as_str()),
        (1, "OK\n1\nOK\nKey not found\ntwo words \n")
    );
    let faults: Vec<&str> = ended.err.lines().collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert_eq!(faults[2], "2 of 7 requests refused");
    assert!(
        faults[0].starts_with("Error: line 4: SYNTAX unterminated string at column 5"),
        "{faults:?}"
    );
    assert!(faults[1].starts_with("Error: line 6: TEXT "), "{faults:?}");
}

#[test]
fn a_pipe_ends_at_quit() {
    let server = TestServer::start();
    assert_eq!(
        pipe(&mut client(server.addr()), "PUT a 1\nquit\nPUT a 2\n"),
        done("OK\nOK\n")
    );
    assert_eq!(server.client().ask("GET a"), "VALUE \"1\"");
    assert_eq!(pipe(&mut client(server.addr()), ""), done(""));
    assert_eq!(
        pipe(&mut client(server.addr()), "QUIT now\nGET a\n"),
        done("OK\n"),
        "QUIT takes any argument"
    );
}

/// Goal: a server that stops reading, because its replies are not read yet, does not stop the client for good.
/// Method: ask in one go for far more than all buffers between the two hold.
#[test]
fn a_pipe_whose_replies_are_longer_than_all_buffers_is_answered_to_its_end() {
    let server = TestServer::start();
    let puts = puts(2000);
    assert_eq!(
        pipe(&mut client(server.addr()), puts).out,
        "OK\n".repeat(2000)
    );
    let ended = pipe(&mut client(server.addr()), "ALL\nPING\n".repeat(100));
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    assert_eq!(
        ended.out.lines().filter(|line| *line == "PONG").count(),
        100
    );
    assert_eq!(ended.out.lines().count(), 100 * 2001);
}

#[test]
fn a_reply_does_not_wait_for_more_input() {
    let server = TestServer::start();
    let mut child = client(server.addr())
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for _ in 0..3 {
        stdin.write_all(b"PING\n").expect("the client reads");
        assert_eq!(out.next().expect("a line").expect("text"), "PONG");
    }
    drop(stdin);
    assert!(child.wait().expect("the client ends").success());
}

#[test]
fn a_reader_that_goes_away_ends_the_client_quietly() {
    let server = TestServer::start();
    pipe(&mut client(server.addr()), puts(5000));
    for words in [&["ALL"][..], &["export"]] {
        let mut child = client(server.addr())
            .args(words)
            .spawn()
            .expect("the client starts");
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        out.read_line(&mut String::new()).expect("a line");
        drop(out);
        let ended = child.wait_with_output().expect("the client ends");
        assert_eq!(
            (ended.status.code(), ended.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{words:?}"
        );
    }
}

#[test]
fn plain_rows_stand_one_to_a_line_whatever_they_hold() {
    let server = TestServer::start();
    for (key, value) in [
        ("a b", "c d"),
        ("tab\there", "line\nfeed"),
        ("quote", "\"q\""),
        ("not base64", "BASE64 \"AP8=\""),
    ] {
        run(server.addr(), &["PUT", key, value]);
    }
    let sorted = |words: &[&str]| -> Vec<String> {
        let mut rows: Vec<String> = run(server.addr(), words)
            .out
            .lines()
            .map(str::to_owned)
            .collect();
        rows.sort_unstable();
        rows
    };
    let pairs = [
        "\"tab\\there\"\t\"line\\nfeed\"",
        "a b\tc d",
        "not base64\t\"BASE64 \\\"AP8=\\\"\"",
        "quote\t\"\\\"q\\\"\"",
    ];
    assert_eq!(sorted(&["ALL"]), pairs);
    assert_eq!(
        sorted(&["KEYS"]),
        ["\"tab\\there\"", "a b", "not base64", "quote"]
    );
    assert_eq!(run(server.addr(), &["ALL", "nothing"]), done(""));
    assert!(
        run(server.addr(), &["STATS"])
            .out
            .lines()
            .any(|row| row == "keys\t4")
    );
    assert_eq!(
        run(server.addr(), &["HELP", "get"]),
        done("GET <key>\tRead the value of a key.\n")
    );
}

#[test]
fn json_is_one_document_per_reply() {
    let server = TestServer::start();
    let input = "PUT a 1\nGET a\nGET b\nEXISTS a b\nALL\nALL b\nKEYS\nKEYS b\nPING\nNOSUCH\n";
    let ended = pipe(client(server.addr()).arg("--json"), input);
    let documents = "\"OK\"\n\"1\"\nnull\n1\n{\"a\":\"1\"}\n{}\n[\"a\"]\n[]\n\"PONG\"\n";
    assert_eq!((ended.status, ended.out.as_str()), (1, documents));
    let error: serde_json::Value = serde_json::from_str(&ended.err).expect("JSON");
    let message = "there is no command 'NOSUCH'; HELP lists them";
    let expected = json!({ "error": { "code": "UNKNOWN", "message": message, "line": 10 } });
    assert_eq!(error, expected);
    let stats: serde_json::Value =
        serde_json::from_str(&run(server.addr(), &["--json", "STATS"]).out).expect("JSON");
    assert_eq!(
        (&stats["keys"], &stats["last_save_time"]),
        (&json!(1), &json!(null))
    );
    let help: serde_json::Value =
        serde_json::from_str(&run(server.addr(), &["--json", "HELP"]).out).expect("JSON");
    assert_eq!(help["GET <key>"], "Read the value of a key.");
}

#[test]
fn bytes_that_are_no_text_are_shown_as_base64() {
    let text = "ITEM \"k\" BASE64 \"AP8=\"\nEND 1\n";
    assert_eq!(
        run(server_that_says(text), &["ALL"]),
        done("k\tBASE64 \"AP8=\"\n")
    );
    assert_eq!(
        run(server_that_says(text), &["--json", "ALL"]),
        done("{\"k\":{\"$base64\":\"AP8=\"}}\n")
    );
}

#[test]
fn what_is_imported_is_exported_as_it_was() {
    let server = TestServer::start();
    let dir = TempDir::new().expect("a folder for a test");
    let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    let pairs: Vec<String> = NASTY
        .iter()
        .map(|(_, json)| format!("{json}:{json}"))
        .collect();
    let object = format!("{{{}}}", pairs.join(","));
    let original: serde_json::Value = serde_json::from_str(&object).expect("JSON");
    fs::write(path("store.json"), &object).expect("a file");
    for (import, export) in [
        ("store.json", "a.json"),
        ("a.json", "b.json.gz"),
        ("b.json.gz", "c"),
    ] {
        assert_eq!(run(server.addr(), &["--force", "CLEAR"]), done("OK\n"));
        let ended = run(server.addr(), &["import", &path(import)]);
        assert_eq!((ended.status, ended.out.as_str()), (0, ""), "{ended:?}");
        assert!(ended.err.starts_with("imported 14 pairs in "), "{ended:?}");
        let ended = run(server.addr(), &["export", &path(export)]);
        assert_eq!((ended.status, ended.out.as_str()), (0, ""), "{ended:?}");
        assert!(ended.err.starts_with("exported 14 pairs to "), "{ended:?}");
    }
    for name in ["a.json", "c"] {
        let text = fs::read_to_string(path(name)).expect("an exported file");
        assert_eq!(text.lines().count(), 16, "{text}");
        assert!(
            text.starts_with("{\n  \"") && text.ends_with("\"\n}\n"),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON"),
            original
        );
    }
    let mut text = String::new();
    let zipped = fs::File::open(path("b.json.gz")).expect("an exported file");
    GzDecoder::new(zipped)
        .read_to_string(&mut text)
        .expect("gzip");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON"),
        original
    );
    assert_eq!(
        names_in(dir.path()),
        ["a.json", "b.json.gz", "c", "store.json"]
    );
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder of a test");
    let names = entries.map(|entry| {
        entry
            .expect("a file")
            .file_name()
            .into_string()
            .expect("text")
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn a_file_is_imported_however_it_is_laid_out() {
    let server = TestServer::start();
    let object = "\u{feff}{\n    \"n\": 3, \"o\": { \"a\": [1, 2] },\n\n\t\"t\": \"x\", \"b\": {\"$base64\": \"eQ==\"}\n}\r\n";
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped
        .write_all(object.as_bytes())
        .expect("writing to memory");
    for input in [
        object.as_bytes().to_vec(),
        zipped.finish().expect("writing to memory"),
    ] {
        run(server.addr(), &["--force", "CLEAR"]);
        let ended = pipe(client(server.addr()).args(["import", "-"]), input);
        assert!(ended.err.starts_with("imported 4 pairs in "), "{ended:?}");
        let mut wire = server.client();
        assert_eq!(wire.ask("GET n"), "VALUE \"3\"");
        assert_eq!(wire.ask("GET o"), "VALUE \"{\\\"a\\\":[1,2]}\"");
        assert_eq!(wire.ask("GET t"), "VALUE \"x\"");
        assert_eq!(wire.ask("GET b"), "VALUE \"y\"");
    }
    assert_eq!(
        pipe(client(server.addr()).args(["import", "-"]), "{}").status,
        0
    );
    run(server.addr(), &["--force", "CLEAR"]);
    assert_eq!(run(server.addr(), &["export", "-"]), done("{}\n"));
}

#[test]
fn a_file_that_is_broken_is_told_with_its_place_and_what_was_stored_before() {
    let server = TestServer::start();
    for (input, reason) in [
        (
            "{\"a\":\"1\",\n\"b\":\"2\",\n\"c\":}",
            "standard input: line 3, column 5: expected a value, found `}`; stored before that: 2 pairs",
        ),
        (
            "{\"a\":\"1\"",
            "line 1, column 9: the file ends too soon, `,` or `}` after the value is missing: it was cut; stored before that: 1 pair",
        ),
        ("[1]", "line 1, column 1: the file is a JSON array"),
        ("", "line 1, column 1: the file is empty"),
        (
            "{\"a\":{\"$base64\":\"!\"}}",
            "key \"a\": $base64 is not base64",
        ),
    ] {
        let ended = pipe(client(server.addr()).args(["import", "-"]), input);
        assert_eq!((ended.status, ended.out.as_str()), (1, ""), "{ended:?}");
        assert!(ended.err.contains(reason), "{ended:?}");
    }
    assert_eq!(server.client().ask("ALL").matches("ITEM").count(), 1);
    let ended = run(server.addr(), &["import", "/no/such/file.json"]);
    assert!(
        ended.status == 2 && ended.err.contains("cannot read /no/such/file.json"),
        "{ended:?}"
    );
}

#[test]
fn an_import_stops_when_the_server_takes_no_more() {
    let addr = server_that_says("+OK\r\n-MISCONF the disk is full\r\n");
    let ended = pipe(client(addr).args(["import", "-"]), r#"{"a":"1","b":"2"}"#);
    let err =
        "Error: \"b\": MISCONF the disk is full\nstopped: 1 pair stored; go on with --from 0\n";
    assert_eq!(ended, failed(1, err));
    let ended = pipe(
        client(server_that_says("")).args(["import", "-"]),
        r#"{"a":"1","b":"2"}"#,
    );
    assert_eq!(ended.status, 2);
    assert!(
        ended.err.starts_with(
            "0 pairs stored; some of those sent after may be as well; go on with --from 0\nError: "
        ),
        "{ended:?}"
    );
}

#[test]
fn an_export_that_fails_leaves_the_old_file_alone() {
    let dir = TempDir::new().expect("a folder for a test");
    let file = dir.path().join("pairs.json");
    fs::write(&file, "the old one").expect("a file");
    for says in [
        "",
        "*2\r\n$1\r\n5\r\n*1\r\n$1\r\na\r\n",
        "*2\r\n$1\r\n5\r\n*1\r\n$1\r\na\r\n:1\r\n$1\r\n1\r\n:-1\r\n",
        "*2\r\n$1\r\n5\r\n*1\r\n$1\r\na",
        "-LOADING the data is being loaded\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
    ] {
        let addr = server_that_says(says);
        let ended = end(client(addr).arg("export").arg(&file));
        assert_eq!(
            (ended.status, ended.out.as_str()),
            (2, ""),
            "{says}: {ended:?}"
        );
        assert!(
            ended.err.starts_with("Error: 127.0.0.1:"),
            "{says}: {ended:?}"
        );
        assert_eq!(
            fs::read_to_string(&file).expect("the old file"),
            "the old one"
        );
        assert_eq!(names_in(dir.path()), ["pairs.json"]);
    }
}

#[test]
fn a_change_whose_reply_is_lost_is_told_to_be_in_doubt() {
    for (words, in_doubt) in [
        (&["PUT", "a", "1"][..], true),
        (&["NOSUCH"], true),
        (&["GET", "a"], false),
    ] {
        let ended = run(server_that_says(""), words);
        assert_eq!((ended.status, ended.out.as_str()), (2, ""), "{ended:?}");
        assert!(
            ended
                .err
                .contains("was lost before the answer was complete"),
            "{ended:?}"
        );
        assert_eq!(
            ended
                .err
                .contains("the change may or may not have been done"),
            in_doubt,
            "{ended:?}"
        );
    }
}

#[test]
fn a_pipe_whose_server_goes_away_tells_which_line_was_not_answered() {
    let ended = pipe(
        &mut client(server_that_says("OK\n")),
        "PUT a 1\n\nPUT b 2\n",
    );
    assert_eq!((ended.status, ended.out.as_str()), (2, "OK\n"), "{ended:?}");
    assert!(
        ended
            .err
            .starts_with("Error: line 3: the change may or may not have been done: "),
        "{ended:?}"
    );
}

#[test]
fn a_listing_that_is_cut_off_does_not_look_whole() {
    let ended = run(
        server_that_says("ITEM \"a\" \"1\"\nERR INTERNAL broken\n"),
        &["--json", "ALL"],
    );
    assert_eq!(
        (ended.status, ended.out.as_str()),
        (1, "{\"a\":\"1\"\n"),
        "{ended:?}"
    );
}

#[test]
fn the_prompt_answers_completes_and_finds_a_restarted_server_again() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let addr = server.addr();
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::open(addr, state.path());
    prompt.wait_for("HELP lists commands");
    let ready = format!("{addr}> ");
    prompt.wait_for(&ready);
    prompt.type_until("put\t", "PUT ");
    prompt.type_until("name apple\r", "OK\r\n");
    prompt.type_until("GET ", "<key>");
    prompt.type_until("name\r", "apple\r\n");
    prompt.type_until("clear\r", "CLEAR deletes every key");
    let stopped = server.kill();
    prompt.type_until("\r", "not connected> ");
    prompt.type_until("GET name\r", "cannot connect to");
    let server = stopped.on(addr).restart();
    prompt.type_until("GET name\r", "apple\r\n");
    let server = server.kill().on(addr).restart();
    prompt.type_until("GET name\r", "Connected again to");
    prompt.wait_for("apple\r\n");
    prompt.type_until("\x04", "");
    assert!(prompt.child.wait().expect("script ends").success());
    drop(server);
    let history = state.path().join("pykv/history");
    let lines = fs::read_to_string(&history).expect("the history");
    assert!(lines.contains("\nPUT name apple\nGET name\n"), "{lines}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&history).expect("the history").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
