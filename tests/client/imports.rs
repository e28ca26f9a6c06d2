//! Files of pairs by each door, client and HTTP: every format with every value, and every kind of broken file, told with its line.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Ended, client, pipe, run};
use crate::support::http::{Answer, Http};
use crate::support::server::{TestServer, wait_until};

/// Values that a format could mistake for something of its own.
const HARD: &str = r#"{
"a": "1",
"": "",
"empty:later": {"$text": "", "$expires_at": "2100-01-01T00:00:00.123Z"},
"quotes \" , \n": "\u00e4\",\"\n\r\n\r",
"nul\u0000": "\u0000",
"=1+1": "=cmd()",
" blank ": "  ",
"bytes": {"$base64": "AP8="},
"bytes:later": {"$base64": "/w==", "$expires_at": "2100-01-01T00:00:00.000Z"},
"like base64": "AP8=",
"like a reply": "BASE64 \"AP8=\"",
"like a mark": "{\"$base64\": \"AP8=\"}",
"key": "value",
"value": "base64",
"encoding": "text",
"json": "{\"a\": [1, 2]}"
}"#;
const HARD_COUNT: u64 = 16;

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// What a server holds, in JSON lines.
fn held(server: &TestServer) -> Vec<String> {
    let out = run(server.addr(), &["export", "--format", "jsonl"]).out;
    let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn clear(server: &TestServer) {
    assert_eq!(run(server.addr(), &["--force", "CLEAR"]).out, "OK\n");
}

fn import(server: &TestServer, words: &[&str], input: &[u8]) -> Ended {
    let mut words = words.to_vec();
    words.insert(0, "import");
    pipe(client(server.addr()).args(words), input)
}

fn post(server: &TestServer, query: &str, body: &[u8]) -> Answer {
    let mut http = Http::connect(server);
    http.send(&format!("POST /api/v1/import{query}"), &[], body);
    http.answer()
}

#[test]
fn every_value_goes_out_and_in_by_every_format_and_door() {
    let server = TestServer::start();
    let ended = import(&server, &["-"], HARD.as_bytes());
    assert_eq!(ended.status, 0, "{ended:?}");
    let before = held(&server);
    assert_eq!(before.len() as u64, HARD_COUNT);
    let dir = TempDir::new().expect("a folder for a test");
    let other = TestServer::start();
    for name in [
        "a.json",
        "a.jsonl",
        "a.csv",
        "A.JSON.GZ",
        "A.Jsonl.Gz",
        "A.CSV.GZ",
    ] {
        let path = dir.path().join(name);
        let file = path.to_str().expect("text");
        assert_eq!(run(server.addr(), &["export", file]).status, 0, "{name}");
        let bytes = fs::read(&path).expect("a file");
        assert_eq!(
            name.to_ascii_lowercase().ends_with(".gz"),
            bytes.starts_with(b"\x1f\x8b")
        );
        for words in [
            &[file][..],
            &["-"],
            &["--all-or-nothing", file],
            &["--all-or-nothing", "-"],
        ] {
            let ended = import(&other, words, &bytes);
            assert_eq!(ended.status, 0, "{name} {words:?}: {ended:?}");
            assert!(
                ended.err.starts_with("imported 16 pairs in "),
                "{name}: {ended:?}"
            );
            assert_eq!(held(&other), before, "{name} {words:?}");
            clear(&other);
        }
        for query in [
            String::new(),
            format!("?name={name}"),
            "?all_or_nothing=true".to_owned(),
        ] {
            let answer = post(&other, &query, &bytes);
            assert_eq!(
                answer.json(),
                json!({"stored": 16, "expired": 0}),
                "{name}{query}"
            );
            assert_eq!(held(&other), before, "{name}{query}");
            clear(&other);
        }
        assert_eq!(run(server.addr(), &["diff", file]).status, 0, "{name}");
    }
}

#[test]
fn csv_says_in_a_column_what_is_base64() {
    let server = TestServer::start();
    let store = r#"{"bytes": {"$base64": "AP8="}, "text": "AP8="}"#;
    assert_eq!(import(&server, &["-"], store.as_bytes()).status, 0);
    let out = run(server.addr(), &["export", "--format", "csv"]).out;
    let mut rows: Vec<&str> = out.lines().skip(1).collect();
    rows.sort_unstable();
    assert_eq!(out.lines().next(), Some("key,value,encoding,expires_at"));
    assert_eq!(rows, ["bytes,AP8=,base64,", "text,AP8=,text,"]);
    // What a spreadsheet writes: fewer columns, in another order, in quotes, with CRLF and a byte order mark.
    let sheet = "\u{feff}\"Value\",\"Key\"\r\n\"a, \"\"b\"\"\",sheet\r\n";
    clear(&server);
    assert_eq!(import(&server, &["-"], sheet.as_bytes()).status, 0);
    assert_eq!(held(&server), [r#"{"key":"sheet","value":"a, \"b\""}"#]);
}

#[test]
fn the_content_tells_the_format_whatever_the_name_says() {
    let server = TestServer::start();
    let dir = TempDir::new().expect("a folder for a test");
    let store = "{\n\"a\": \"1\",\n\"b\": \"2\"\n}\n";
    let lines = "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\"}\n";
    let table = "key,value\na,1\nb,2\n";
    for (name, text, note) in [
        ("x.Json", store, ""),
        ("none", store, ""),
        (
            "x.csv",
            store,
            "; read as a JSON object, which it is, whatever its name says",
        ),
        ("none", lines, ""),
        ("X.JSONL", lines, ""),
        (
            "x.json",
            lines,
            "; read as JSON Lines, which it is, whatever its name says",
        ),
        ("none", table, ""),
        ("X.CSV", table, ""),
        (
            "x.jsonl",
            table,
            "; read as CSV, which it is, whatever its name says",
        ),
    ] {
        for (name, bytes) in [
            (name.to_owned(), text.as_bytes().to_vec()),
            (format!("{name}.GZ"), gzipped(text.as_bytes())),
        ] {
            let path = dir.path().join(&name);
            fs::write(&path, &bytes).expect("a file");
            clear(&server);
            let ended = import(&server, &[path.to_str().expect("text")], b"");
            assert_eq!(ended.status, 0, "{name}: {ended:?}");
            assert!(
                ended.err.ends_with(&format!(" s{note}\n")),
                "{name}: {ended:?}"
            );
            let both = [r#"{"key":"a","value":"1"}"#, r#"{"key":"b","value":"2"}"#];
            assert_eq!(held(&server), both, "{name}: {text}");
            clear(&server);
            let answer = post(&server, &format!("?name={name}"), &bytes);
            assert_eq!(answer.json()["stored"], 2, "{name}: {}", answer.text());
            assert_eq!(answer.json()["notes"].is_null(), note.is_empty(), "{name}");
            assert_eq!(held(&server), both, "{name}: {text}");
        }
    }
    // One line that is a row, and a store of two keys as well: only here the name decides.
    let row = b"{\"key\":\"a\",\"value\":\"1\"}\n";
    for (name, keys) in [("x.json", 2), ("x.jsonl", 1), ("none", 1)] {
        clear(&server);
        fs::write(dir.path().join(name), row).expect("a file");
        let path = dir.path().join(name);
        assert_eq!(
            import(&server, &[path.to_str().expect("text")], b"").status,
            0
        );
        assert_eq!(server.stat("keys"), keys, "{name}");
    }
    // A format that is demanded is not overruled.
    clear(&server);
    let ended = import(&server, &["--format", "csv", "-"], store.as_bytes());
    assert_eq!(ended.status, 1);
    assert!(
        ended
            .err
            .contains("line 1, column 1: the file is a JSON object, and not CSV"),
        "{ended:?}"
    );
    let answer = post(&server, "?format=jsonl", table.as_bytes());
    assert_eq!(answer.status, 422);
    assert!(
        answer
            .text()
            .contains("the file is CSV, and not JSON Lines"),
        "{}",
        answer.text()
    );
    assert_eq!(post(&server, "?format=xml", b"{}").status, 422);
    assert_eq!(server.stat("keys"), 0);
}

/// Broken files: the bytes, the line, the pairs before, and a part of the reason.
fn broken() -> Vec<(Vec<u8>, u64, u64, &'static str)> {
    let store = "{\"a\":\"1\",\n\"b\":\"2\",\n\"c\":\"3\"}\n";
    let zipped = gzipped(store.as_bytes());
    let mut wrong_sum = zipped.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let mut all: Vec<(Vec<u8>, u64, u64, &str)> = [
        ("{\"a\":\"1\",\n\"b\":\"2\",\n\"c\" \"3\"}", 3, 2, "expected `:`"),
        ("{\"a\":\"1\",\n\"b\":\"2\",\n\"c\":\"3", 3, 2, "the file ends within the string"),
        ("{\"a\":\"1\",\n\"b\":\"2\"", 2, 2, "it was cut"),
        ("{\"a\":\"1\",\n\"b\":{\"x\":[1}}", 2, 1, "not JSON"),
        ("{\"a\":\"1\"}}\n", 1, 1, "nothing after the end"),
        ("{\"a\":\"1\",\n\"b\":{\"$base64\":\"!\"}}", 2, 1, "$base64 is not base64"),
        ("{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2", 2, 1, "the file ends within the string"),
        ("{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\"}\n", 2, 1, "missing member \"value\""),
        ("{\"key\":\"a\",\"value\":\"1\"}\nb\n", 2, 1, "expected an object"),
        ("key,value\na,1\nb,\"2\nc,3\n", 3, 1, "never closed"),
        ("key,value\r\na,1\r\nb\r\nc,3\r\n", 3, 1, "too few cells"),
        ("key,value\na,1\nb,2,3\nc,3\n", 3, 1, "too many cells"),
        ("a,1\nb,2\n", 1, 0, "no CSV"),
        ("", 1, 0, "the file is empty"),
        ("\n \n", 1, 0, "the file is empty"),
        ("[{\"key\":\"a\",\"value\":\"1\"}]", 1, 0, "a JSON array"),
        ("{\"journal\":3,\"number\":7,\"first_seq\":41,\"crc\":\"562d2f80\"}\n{\"put\":\"name\",\"value\":\"Ada\",\"seq\":41,\"crc\":\"a1659ea4\"}\n", 1, 0, "a journal of a data folder"),
    ]
    .into_iter()
    .map(|(text, line, stored, reason)| (text.as_bytes().to_vec(), line, stored, reason))
    .collect();
    all.extend([
        (
            b"{\"a\":\"1\",\n\"b\":\"\xff\"}".to_vec(),
            2,
            1,
            "not UTF-8",
        ),
        (b"key,value\na,1\n\xff,2\n".to_vec(), 3, 1, "not UTF-8"),
        (b"\x7fELF\x02\x01\x01\0".to_vec(), 1, 0, "binary"),
        (
            zipped[..zipped.len() - 9].to_vec(),
            4,
            3,
            "the gzip data ends here",
        ),
        (wrong_sum, 4, 3, "the gzip data is damaged"),
        (
            [&zipped[..], b"and more than ten bytes"].concat(),
            4,
            3,
            "the gzip data is damaged",
        ),
        (gzipped(&zipped), 1, 0, "gzipped twice"),
        (gzipped(b""), 1, 0, "the file is empty"),
        (
            format!("{{\"a\":\"1\",\n\"{}\":\"2\"}}", "k".repeat(65_537)).into_bytes(),
            2,
            1,
            "the key is longer",
        ),
    ]);
    all
}

#[test]
fn every_broken_file_is_told_by_the_client_with_its_line_and_what_was_stored() {
    let server = TestServer::start();
    for (bytes, line, stored, reason) in broken() {
        clear(&server);
        let text = String::from_utf8_lossy(&bytes);
        let ended = import(&server, &["-"], &bytes);
        assert_eq!(
            (ended.status, ended.out.as_str()),
            (1, ""),
            "{text}: {ended:?}"
        );
        assert!(
            ended
                .err
                .starts_with(&format!("Error: standard input: line {line}, column ")),
            "{text}: {ended:?}"
        );
        assert!(ended.err.contains(reason), "{text}: {ended:?}");
        let pairs = if stored == 1 { "pair" } else { "pairs" };
        let report = format!(
            "; stored before that: {stored} {pairs}; correct the file and go on with --from {stored}\n"
        );
        assert!(ended.err.ends_with(&report), "{text}: {ended:?}");
        assert_eq!(server.stat("keys"), stored, "{text}");

        clear(&server);
        let ended = import(&server, &["--all-or-nothing", "-"], &bytes);
        assert_eq!(ended.status, 1, "{text}: {ended:?}");
        assert!(
            ended.err.contains(&format!("line {line}, column ")),
            "{text}: {ended:?}"
        );
        assert!(
            ended
                .err
                .ends_with("; nothing was stored; correct the file and import it again\n"),
            "{text}: {ended:?}"
        );
        assert_eq!(server.stat("keys"), 0, "{text}");

        let ended = import(&server, &["--dry-run", "-"], &bytes);
        assert_eq!(ended.status, 1, "{text}: {ended:?}");
        assert!(
            ended
                .err
                .contains(&format!("; good before that: {stored} ")),
            "{text}: {ended:?}"
        );
        assert_eq!(server.stat("keys"), 0, "{text}");
    }
    // A file is read twice in place; a pipe is kept.
    let dir = TempDir::new().expect("a folder for a test");
    let path = dir.path().join("cut.csv");
    fs::write(&path, "key,value\na,1\nb,\"2").expect("a file");
    let ended = import(
        &server,
        &["--all-or-nothing", path.to_str().expect("text")],
        b"",
    );
    assert!(
        ended.err.contains("cut.csv: line 3, column 3: "),
        "{ended:?}"
    );
    assert_eq!(server.stat("keys"), 0);
    let ended = import(&server, &["--all-or-nothing", "redis://127.0.0.1:1"], b"");
    assert_eq!(ended.status, 2, "{ended:?}");
}

#[test]
fn every_broken_body_is_told_over_http_with_its_line_and_what_was_stored() {
    let server = TestServer::start();
    for (bytes, line, stored, reason) in broken() {
        clear(&server);
        let text = String::from_utf8_lossy(&bytes);
        for (query, stored) in [("?name=x", stored), ("?all_or_nothing=true", 0)] {
            clear(&server);
            let answer = post(&server, query, &bytes);
            assert_eq!(answer.status, 422, "{text}: {}", answer.text());
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json")
            );
            let problem = answer.json();
            assert_eq!(problem["line"], line, "{text}: {problem}");
            assert_eq!(problem["stored"], stored, "{text}: {problem}");
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(
                detail.contains(&format!("line {line}, column {}", problem["column"])),
                "{text}: {detail}"
            );
            assert!(detail.contains(reason), "{text}: {detail}");
            assert!(
                detail.ends_with(&format!("; pairs that were stored before: {stored}")),
                "{text}: {detail}"
            );
            assert_eq!(server.stat("keys"), stored, "{text}");
        }
    }
}

#[test]
fn of_a_key_that_occurs_twice_the_last_value_counts_and_it_is_told() {
    let server = TestServer::start();
    let store = "{\"a\": \"1\",\n\"b\": \"2\",\n\"a\": \"3\",\n\"b\": \"4\",\n\"a\": \"5\"}";
    let lines = "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\"}\n{\"key\":\"a\",\"value\":\"3\"}\n{\"key\":\"b\",\"value\":\"4\"}\n{\"key\":\"a\",\"value\":\"5\"}\n";
    let table = "key,value\na,1\nb,2\na,3\nb,4\na,5\n";
    for (text, first) in [(store, [1, 3]), (lines, [1, 3]), (table, [2, 4])] {
        let note = format!(
            "3 pairs were replaced by a later one of the same key, first \"a\" (lines {} and {})",
            first[0], first[1]
        );
        clear(&server);
        let ended = import(&server, &["-"], text.as_bytes());
        assert_eq!(ended.status, 0);
        assert!(ended.err.starts_with("imported 5 pairs in "), "{ended:?}");
        assert!(ended.err.ends_with(&format!("; {note}\n")), "{ended:?}");
        let last = [r#"{"key":"a","value":"5"}"#, r#"{"key":"b","value":"4"}"#];
        assert_eq!(held(&server), last);
        clear(&server);
        let answer = post(&server, "", text.as_bytes()).json();
        let expected = json!({"stored": 5, "expired": 0, "notes": [note],
            "duplicates": {"replaced": 3, "first_key": "a", "first_lines": first}});
        assert_eq!(answer, expected);
        assert_eq!(held(&server), last);
    }
}

#[test]
fn pairs_that_had_expired_are_counted_in_every_format() {
    let server = TestServer::start();
    let store = r#"{"old": {"$text": "x", "$expires_at": "2001-01-01T00:00:00Z"}, "new": "1"}"#;
    let lines = "{\"key\":\"old\",\"value\":\"x\",\"expires_at\":\"2001-01-01T00:00:00Z\"}\n{\"key\":\"new\",\"value\":\"1\",\"expires_at\":null}\n";
    let table = "key,value,expires_at\nold,x,2001-01-01T00:00:00Z\nnew,1,\n";
    for text in [store, lines, table] {
        clear(&server);
        let ended = import(&server, &["-"], text.as_bytes());
        assert!(ended.err.starts_with("imported 1 pair in "), "{ended:?}");
        assert!(ended.err.ends_with("; 1 had expired\n"), "{ended:?}");
        let answer = post(&server, "", text.as_bytes()).json();
        assert_eq!(answer, json!({"stored": 1, "expired": 1}));
    }
    // Also before a fault.
    let cut = "key,value,expires_at\nold,x,2001-01-01T00:00:00Z\nnew,1,\nmore";
    let ended = import(&server, &["-"], cut.as_bytes());
    assert!(
        ended
            .err
            .contains("; stored before that: 1 pair; 1 had expired; "),
        "{ended:?}"
    );
    let problem: Value = post(&server, "", cut.as_bytes()).json();
    assert_eq!(
        (&problem["stored"], &problem["expired"]),
        (&json!(1), &json!(1))
    );
}

/// The most memory that a process has used so far.
fn peak_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}

/// 64 MiB of a byte in as few bytes as gzip can.
fn zipped_tightly(byte: u8) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![byte; 64 << 20]).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn gzip_that_becomes_gigabytes_takes_a_bounded_buffer() {
    const MEMORY_BYTES_MAX: u64 = 400 << 20;
    let server = TestServer::start();
    let (zeros, blanks) = (zipped_tightly(b'0'), zipped_tightly(b' '));
    for (head, part, count) in [
        ("{\"a\":\"", &zeros, 40),
        ("{\"key\":\"a\",\"value\":\"", &zeros, 40),
        ("key,value\na,\"", &zeros, 40),
        ("{", &blanks, 10),
    ] {
        // Members of one gzip file: up to 2.5 GiB in less than 4 MiB.
        let body = [gzipped(head.as_bytes()), part.repeat(count)].concat();
        assert!(body.len() < 4 << 20);
        for query in ["", "?all_or_nothing=true"] {
            let answer = post(&server, query, &body);
            assert_eq!(answer.status, 422, "{head}: {}", answer.text());
        }
        let mut child = client(server.addr())
            .args(["import", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let (pid, mut stdin) = (child.id(), child.stdin.take().expect("it is piped"));
        let writing = std::thread::spawn(move || drop(stdin.write_all(&body)));
        let mut peak = 0;
        while child.try_wait().expect("a child").is_none() {
            peak = peak_bytes(pid).unwrap_or(peak);
            std::thread::yield_now();
        }
        writing.join().expect("the writer does not panic");
        assert_eq!(child.wait().expect("a child").code(), Some(1), "{head}");
        assert!(
            peak < MEMORY_BYTES_MAX,
            "{head}: the client took {peak} bytes"
        );
    }
    let peak = peak_bytes(server.pid()).expect("it runs");
    assert!(peak < MEMORY_BYTES_MAX, "the server took {peak} bytes");
    assert_eq!(server.stat("keys"), 0);
}

#[test]
fn ctrl_c_ends_an_import_with_what_was_stored() {
    let server = TestServer::start();
    let mut child = client(server.addr())
        .args(["import", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let lines: String = (0..1500)
        .map(|number| format!("{{\"key\":\"k{number}\",\"value\":\"v\"}}\n"))
        .collect();
    stdin.write_all(lines.as_bytes()).expect("the client reads");
    wait_until("a batch is stored", || server.stat("keys") == 1000);
    let signalled = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(signalled.expect("kill").success());
    let output = child.wait_with_output().expect("the client ends");
    drop(stdin);
    assert_eq!(output.status.code(), Some(130));
    let err = String::from_utf8(output.stderr).expect("text");
    assert!(
        err.starts_with("1,000 pairs stored; go on with --from 1000\n"),
        "{err}"
    );
}

#[test]
fn a_body_that_is_checked_as_a_whole_may_have_one_gibibyte() {
    let server = TestServer::start();
    let announce = |bytes: u64| {
        let mut http = Http::connect(&server);
        let head = format!(
            "POST /api/v1/import?all_or_nothing=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n"
        );
        http.send_bytes(head.as_bytes());
        http
    };
    let (status, _) = announce((1 << 30) + 1).head();
    assert_eq!(status, 413);
    // Of the limit itself, the content is looked at.
    let mut http = announce(1 << 30);
    http.send_bytes(b"[1, 2, 3, 4, 5, 6]");
    let (status, _) = http.head();
    assert_eq!(status, 422);
}
