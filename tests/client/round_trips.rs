//! What the client writes can be read again, in each form by its reader: `PUT key -`, jq, `import`, and the rules for lines.

use std::io::Write as _;
use std::process::{Output, Stdio};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use tempfile::TempDir;

use crate::support::client::{Prompt, client, done, failed, pipe, run};
use crate::support::server::{TestServer, is_skipped};

/// Values that are easily changed on their way, or taken for something else.
fn hard_values() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = [
        "",
        "\n",
        "\n\nboth\n\n",
        "no end",
        "\r\n",
        "a\rb\r",
        "\t\ttabs\t",
        "  blanks  ",
        "BASE64 \"AAAA\"",
        "BASE64 AAAA",
        "\"BASE64 \\\"AAAA\\\"\"",
        "Key not found",
        "\"Key not found\"",
        "Key not found\n",
        "Unchanged",
        "Queued",
        "ERR DISK no room",
        "(nil)",
        "(2 bytes, base64) AP8=",
        "null",
        "none",
        "OK",
        "1",
        "\"",
        "\"\"",
        "\"quoted\"",
        "it's, \"both\"",
        "{\"$base64\":\"AP8=\"}",
        "\0",
        "a\0b",
        "\u{1b}[2J",
        "ä世界😀\u{2028}\u{feff}",
        "-",
        "--raw",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    values.push((0..=255).collect());
    values.push(vec![0xff]);
    values.push(b"text, then \xc3".to_vec());
    values.push((0..=255).cycle().take(1 << 20).collect());
    values.push(vec![b'\n'; 1 << 20]);
    values
}

/// The client with these words and this input.
fn bytes(server: &TestServer, words: &[&str], input: &[u8]) -> Output {
    let mut child = client(server.addr())
        .args(words)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writing = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("the client ends");
    writing.join().expect("the writer does not panic");
    output
}

/// The output of the client, which must succeed.
fn out(server: &TestServer, words: &[&str], input: &[u8]) -> Vec<u8> {
    let output = bytes(server, words, input);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {err}");
    output.stdout
}

/// A value in JSON: text, or `{"$base64": "..."}`; `None` for null.
fn from_json(value: &serde_json::Value) -> Option<Vec<u8>> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.as_bytes().to_vec()),
        binary => {
            let base64 = binary["$base64"].as_str().expect("base64");
            Some(BASE64.decode(base64).expect("base64"))
        }
    }
}

/// A cell of a row, as docs/client.md says that it is read; `None` for a missing key.
fn from_cell(cell: &str) -> Option<Vec<u8>> {
    if cell == "Key not found" {
        None
    } else if let Some(base64) = cell.strip_prefix("BASE64 ") {
        let base64: String = serde_json::from_str(base64).expect("a JSON string");
        Some(BASE64.decode(base64).expect("base64"))
    } else if cell.starts_with('"') {
        let text: String = serde_json::from_str(cell).expect("a JSON string");
        Some(text.into_bytes())
    } else {
        Some(cell.as_bytes().to_vec())
    }
}

/// The output for one value, as docs/client.md says that it is read.
fn from_plain(out: &str) -> Option<Vec<u8>> {
    fn stands_for_itself(text: &str) -> bool {
        let is_reserved = ["Key not found", "Unchanged", "Queued"].contains(&text);
        let inner: Option<String> = serde_json::from_str(text).ok();
        !is_reserved
            && !text.starts_with("BASE64 ")
            && inner.is_none_or(|inner| stands_for_itself(&inner))
    }
    let text = out.strip_suffix('\n').expect("a line end");
    if stands_for_itself(text) {
        Some(text.as_bytes().to_vec())
    } else {
        from_cell(text)
    }
}

/// A row of CSV of a value and its encoding.
fn from_csv(row: &csv::StringRecord, at: usize) -> Option<Vec<u8>> {
    match &row[at + 1] {
        "text" => Some(row[at].as_bytes().to_vec()),
        "base64" => Some(BASE64.decode(&row[at]).expect("base64")),
        "none" => None,
        other => panic!("the encoding {other:?}"),
    }
}

fn csv_rows(text: &[u8]) -> Vec<csv::StringRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text);
    let rows = reader.records().map(|row| row.expect("CSV"));
    rows.collect()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

#[test]
fn a_value_comes_out_of_every_form_as_it_went_in() {
    let server = TestServer::start();
    for value in hard_values() {
        let shown = String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
        assert_eq!(
            out(&server, &["PUT", "k", "-"], &value),
            b"OK\n",
            "{shown:?}"
        );
        let raw = out(&server, &["--raw", "GET", "k"], b"");
        assert!(raw == value, "raw: {shown:?}");
        let json = out(&server, &["--json", "GET", "k"], b"");
        let json = serde_json::from_slice(&json).expect("JSON");
        assert!(from_json(&json).as_ref() == Some(&value), "JSON: {shown:?}");
        let csv = csv_rows(&out(&server, &["--csv", "GET", "k"], b""));
        assert_eq!(csv.len(), 1);
        assert!(
            from_csv(&csv[0], 0).as_ref() == Some(&value),
            "CSV: {shown:?}"
        );
        let plain = text(out(&server, &["GET", "k"], b""));
        assert!(
            from_plain(&plain).as_ref() == Some(&value),
            "plain: {shown:?}"
        );
        // Several values: one to a line, and a missing key among them.
        let lines = text(out(&server, &[], b"GET k\nGET no\nGET k\n"));
        for words in [
            &["MGET", "k", "no", "k"][..],
            &["--raw", "MGET", "k", "no", "k"],
        ] {
            assert_eq!(text(out(&server, words, b"")), lines, "{shown:?}");
        }
        let cells: Vec<_> = lines.lines().map(from_cell).collect();
        assert!(
            cells == [Some(value.clone()), None, Some(value.clone())],
            "{shown:?}"
        );
        let csv = csv_rows(&out(&server, &["--csv", "MGET", "k", "no"], b""));
        assert!(
            from_csv(&csv[0], 0).as_ref() == Some(&value),
            "CSV: {shown:?}"
        );
        assert_eq!(&csv[1], &["", "none"][..]);
        let json = out(&server, &["--json", "MGET", "k", "no"], b"");
        let json: Vec<serde_json::Value> = serde_json::from_slice(&json).expect("JSON");
        assert!(
            from_json(&json[0]) == Some(value) && json[1].is_null(),
            "{shown:?}"
        );
    }
}

#[test]
fn all_pairs_come_out_of_every_form_as_they_went_in() {
    let server = TestServer::start();
    // Each value that is text is a key as well.
    let values = hard_values();
    let mut pairs: Vec<(String, Vec<u8>)> = values
        .iter()
        .enumerate()
        .map(|(number, value)| {
            let key = String::from_utf8(value.clone()).ok();
            let key = key.filter(|key| key.len() < 1000);
            (key.unwrap_or_else(|| format!("k{number}")), value.clone())
        })
        .collect();
    for (key, value) in &pairs {
        if key.contains('\0') {
            // A word of the command line cannot hold it.
            let json = serde_json::json!(key);
            assert_eq!(server.client().ask(&format!("PUT {json} {json}")), "OK");
        } else {
            assert_eq!(out(&server, &["PUT", key, "-"], value), b"OK\n");
        }
    }
    pairs.sort();
    let keys: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();
    let check = |mut found: Vec<(String, Vec<u8>)>, form: &str| {
        found.sort();
        assert!(found == pairs, "{form}");
    };

    let json = out(&server, &["--json", "ALL"], b"");
    let found: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&json).expect("JSON");
    let found = found
        .iter()
        .map(|(key, value)| (key.clone(), from_json(value).expect("a value")));
    check(found.collect(), "JSON");

    let csv = out(&server, &["--csv", "ALL"], b"");
    let rows = csv_rows(&csv);
    assert_eq!(&rows[0], &["key", "value", "encoding"][..]);
    let found = rows[1..]
        .iter()
        .map(|row| (row[0].to_owned(), from_csv(row, 1).expect("a value")));
    check(found.collect(), "CSV");

    let cell = |cell: &str| text(from_cell(cell).expect("text"));
    for words in [&["ALL"][..], &["--raw", "ALL"]] {
        let rows = text(out(&server, words, b""));
        let found = rows.lines().map(|row| {
            let (key, value) = row.split_once('\t').expect("two cells");
            (cell(key), from_cell(value).expect("a value"))
        });
        check(found.collect(), "plain");
    }
    for words in [
        &["KEYS"][..],
        &["--raw", "KEYS"],
        &["scan"],
        &["--raw", "scan"],
    ] {
        let rows = text(out(&server, words, b""));
        let mut found: Vec<String> = rows.lines().map(cell).collect();
        found.sort();
        assert_eq!(found.iter().collect::<Vec<_>>(), keys, "{words:?}");
    }

    // JSON and CSV are files that `import` reads.
    for (file, format) in [(json, "json"), (csv, "csv")] {
        let other = TestServer::start();
        out(&other, &["import", "--format", format, "-"], &file);
        let mut ours: Vec<_> = server.client().ask_rows("ALL");
        let mut theirs: Vec<_> = other.client().ask_rows("ALL");
        ours.sort();
        theirs.sort();
        assert!(ours == theirs, "{format}");
    }
    let other = TestServer::start();
    let empty = out(&other, &["--csv", "ALL"], b"");
    assert_eq!(empty, b"key,value,encoding\n");
    out(&other, &["import", "--format", "csv", "-"], &empty);
}

#[test]
fn a_missing_key_has_a_status_of_its_own_where_only_bytes_are_written() {
    let server = TestServer::start();
    let addr = server.addr();
    let missing = failed(3, "Key not found\n");
    assert_eq!(run(addr, &["--raw", "GET", "no"]), missing);
    assert_eq!(run(addr, &["--raw", "GETDEL", "no"]), missing);
    assert_eq!(run(addr, &["--raw", "-r", "2", "GET", "no"]).status, 3);
    assert_eq!(run(addr, &["PUT", "empty", ""]), done("OK\n"));
    assert_eq!(run(addr, &["--raw", "GET", "empty"]), done(""));
    assert_eq!(
        pipe(client(addr).arg("--raw"), "GET empty\nGET no\n"),
        missing
    );
    assert_eq!(
        pipe(client(addr).arg("--raw"), "GET no\nNOSUCH\n").status,
        1
    );
    assert_eq!(run(addr, &["--raw", "NOSUCH"]).status, 1);
    for (form, shown) in [
        (&[][..], "Key not found\n"),
        (&["--json"], "null\n"),
        (&["--csv"], ",none\n"),
    ] {
        assert_eq!(run(addr, &[form, &["GET", "no"]].concat()), done(shown));
    }
}

#[test]
fn on_a_terminal_a_line_feed_follows_a_value_and_text_is_told_from_what_it_looks_like() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let shows = |arguments: &str, shown: &str| {
        Prompt::open_with(server.addr(), state.path(), arguments, &[("NO_COLOR", "1")])
            .wait_for(shown);
    };
    for (value, raw, table) in [
        ("apple", "apple\r\n", "apple\r\n"),
        ("", "\r\n", "\"\"\r\n"),
        (
            "Key not found",
            "Key not found\r\n",
            "\"Key not found\"\r\n",
        ),
        (
            "(1 byte, base64) AA==",
            "AA==\r\n",
            "\"(1 byte, base64) AA==\"\r\n",
        ),
    ] {
        assert_eq!(run(server.addr(), &["PUT", "k", value]), done("OK\n"));
        shows("--raw GET k", raw);
        shows("GET k", table);
    }
    shows("GET no", "Key not found\r\n");
}

#[test]
fn a_member_that_is_an_error_keeps_its_row() {
    let server = TestServer::start();
    let input = "PUT a text\nMULTI\nINCR a\nGET a\nGET no\nEXEC\n";
    let rows = |form: &str| {
        let ended = pipe(client(server.addr()).arg(form), input);
        ended
            .out
            .lines()
            .skip(5)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let csv = rows("--csv");
    assert!(csv[0].starts_with("ERR,"), "{csv:?}");
    assert_eq!(csv[1..], ["text,text", ",none"]);
    let raw = rows("--raw");
    assert!(raw[0].starts_with("ERR "), "{raw:?}");
    assert_eq!(raw[1..], ["text", "Key not found"]);
}

#[test]
fn a_value_of_exactly_the_limit_is_taken_from_standard_input_and_no_longer_one() {
    const VALUE_BYTES_MAX: usize = 64 << 20;
    let server = TestServer::start();
    let mut value = vec![0xff; VALUE_BYTES_MAX];
    assert_eq!(out(&server, &["PUT", "k", "-"], &value), b"OK\n");
    assert_eq!(
        server.client().ask("STRLEN k"),
        format!("COUNT {VALUE_BYTES_MAX}")
    );
    // Six bytes each on a line: more than a line may have.
    value.fill(0);
    assert_eq!(out(&server, &["SET", "k", "-"], &value), b"OK\n");
    value.push(0);
    let refused = bytes(&server, &["PUT", "k", "-"], &value);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        text(refused.stderr),
        "Error: standard input has more than the 67108864 bytes that a value may have; nothing was sent\n"
    );
}

#[test]
fn bytes_reach_every_command_that_takes_a_value() {
    let server = TestServer::start();
    for (words, reply) in [
        (&["PUT", "k", "-"][..], "OK\n"),
        (&["SETNX", "k", "-"], "0\n"),
        (&["GETSET", "k", "-"], "BASE64 \"/w==\"\n"),
        (&["GETSET", "new", "-"], "Key not found\n"),
        (&["APPEND", "k", "-"], "2\n"),
        (&["SETEX", "e", "100", "-"], "OK\n"),
        (&["SETRANGE", "k", "2", "-"], "3\n"),
        (&["MSET", "m", "1", "k2", "-"], "OK\n"),
        (&["SET", "s", "-", "EX", "100"], "OK\n"),
    ] {
        assert_eq!(text(out(&server, words, b"\xff")), reply, "{words:?}");
    }
    let mut wire = server.client();
    assert_eq!(wire.ask("GET k"), "BASE64 \"////\"");
    assert_eq!(wire.ask("GET s"), "BASE64 \"/w==\"");
    let refused = bytes(&server, &["SETEX", "e", "soon", "-"], b"\xff");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(refused.stderr).starts_with("Error: ERR "));
    // Only the value itself stands for standard input, and no word of it.
    assert_eq!(run(server.addr(), &["PUT", "list", "a", "-"]), done("OK\n"));
    assert_eq!(run(server.addr(), &["GET", "list"]), done("a -\n"));
}

#[test]
fn a_verb_that_begins_with_a_star_is_no_resp() {
    let server = TestServer::start();
    let ended = run(server.addr(), &["*3"]);
    assert_eq!(
        ended,
        failed(
            1,
            "Error: UNKNOWN there is no command '*3'; HELP lists them\n"
        )
    );
}
