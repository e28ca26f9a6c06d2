//! Every nasty thing that JSON and lines know, in by each door (line, HTTP, import, store.json) and out by each other door,
//! unchanged.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::server::{Stopped, TestServer};

type Pairs = BTreeMap<String, String>;

/// A generator of numbers that is the same in every run (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }

    fn text(&mut self, length: usize) -> String {
        let nasty = [
            "\"",
            "\\",
            "\n",
            "\r",
            "\r\n",
            "\0",
            "\t",
            " ",
            "  ",
            "\u{2028}",
            "\u{2029}",
            "\u{feff}",
            "\u{7f}",
            "\u{85}",
            "😀",
            "👩‍👩‍👧",
            "é",
            "e\u{301}",
            "世界",
            "مرحبا",
            "{",
            "}",
            "[",
            ":",
            ",",
            "/",
            "%2F",
            "%",
            "+",
            "&",
            "=",
            "?",
            "#",
            "..",
            "\\u0000",
            "\\n",
            "'",
            "a",
            "B",
            "0",
            "null",
            "\u{1b}[31m",
            "\u{10ffff}",
            "$text",
            "{\"$base64\":\"AP8=\"}",
        ];
        (0..length)
            .map(|_| nasty[self.below(nasty.len())])
            .collect()
    }
}

/// Ten thousand pairs; a few of them with values of a mebibyte.
fn nasty_pairs() -> Pairs {
    let mut random = Random(0x0123_4567_89ab_cdef);
    let mut pairs = Pairs::new();
    for value in [
        "",
        " ",
        "\"",
        " a ",
        "\"quoted\"",
        "\t",
        "\n",
        "\r",
        "a\r",
        "a\n",
        "{}",
        "[1, 2]",
        "null",
    ] {
        pairs.insert(format!("value {value}"), value.to_owned());
        pairs.insert(value.to_owned(), "by its key".to_owned());
    }
    for n in 0..4 {
        let mut long = random.text(1 << 18);
        while long.len() < 1 << 20 {
            long.push_str(&random.text(1_000));
        }
        pairs.insert(format!("long {n}"), long);
    }
    while pairs.len() < 10_000 {
        let (key_length, value_length) = (1 + random.below(12), random.below(40));
        let key = random.text(key_length);
        pairs.insert(key, random.text(value_length));
    }
    pairs
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

fn in_by_line(server: &TestServer, pairs: &Pairs) {
    let mut client = server.client();
    let mut sender = client.sender();
    let lines: String = pairs
        .iter()
        .map(|(key, value)| format!("PUT {} {}\n", json(key), json(value)))
        .collect();
    let writer = std::thread::spawn(move || sender.write_all(lines.as_bytes()));
    for key in pairs.keys() {
        assert_eq!(client.reply(), "OK", "{key:?}");
    }
    writer
        .join()
        .expect("the writer ends")
        .expect("the server reads");
}

fn out_by_line(server: &TestServer) -> Pairs {
    let rows = server.client().ask_rows("ALL");
    let (end, items) = rows.split_last().expect("an END");
    assert_eq!(*end, format!("END {}", items.len()));
    let pair = |row: &String| {
        let mut texts =
            serde_json::Deserializer::from_str(row.strip_prefix("ITEM ").expect("an ITEM"))
                .into_iter();
        let mut next = || -> String { texts.next().expect("a key and a value").expect("JSON") };
        (next(), next())
    };
    items.iter().map(pair).collect()
}

fn in_by_http(server: &TestServer, pairs: &Pairs) {
    let agent = ureq::Agent::new_with_defaults();
    let url = format!("http://{}/put", server.http_addr());
    for (place, (key, value)) in pairs.iter().enumerate() {
        // By query and by body in turn; what is long fits a body alone.
        let sent = if place % 2 == 0 && value.len() < 10_000 {
            agent
                .post(&url)
                .query("key", key)
                .query("value", value)
                .send_empty()
        } else {
            agent
                .post(&url)
                .send_json(serde_json::json!({ "key": key, "value": value }))
        };
        sent.unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
}

fn out_by_http(server: &TestServer) -> Pairs {
    let mut response = ureq::get(format!("http://{}/all", server.http_addr()))
        .call()
        .expect("all pairs");
    let body = response
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_string()
        .expect("a body");
    serde_json::from_str(&body).expect("one JSON object")
}

fn cli(server: &TestServer, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pykv-cli"))
        .args(["-u", &format!("pykv://{}", server.addr())])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(input)
        .expect("the client reads");
    let output = child.wait_with_output().expect("the client ends");
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

fn in_by_import(server: &TestServer, pairs: &Pairs) {
    cli(
        server,
        &["import", "-"],
        &serde_json::to_vec_pretty(pairs).expect("text is JSON"),
    );
}

fn out_by_export(server: &TestServer) -> Pairs {
    serde_json::from_slice(&cli(server, &["export"], b"")).expect("one JSON object")
}

fn assert_same(found: &Pairs, pairs: &Pairs, doors: &str) {
    assert_eq!(found.len(), pairs.len(), "{doors}");
    for (key, value) in pairs {
        assert!(
            found.get(key) == Some(value),
            "{doors}: {key:?} has changed"
        );
    }
}

fn assert_out_by_each_door(server: TestServer, pairs: &Pairs, door: &str) {
    assert_same(
        &out_by_line(&server),
        pairs,
        &format!("in by {door}, out by line"),
    );
    assert_same(
        &out_by_http(&server),
        pairs,
        &format!("in by {door}, out by HTTP"),
    );
    assert_same(
        &out_by_export(&server),
        pairs,
        &format!("in by {door}, out by export"),
    );
    // By the journal.
    let server = server.kill().restart();
    assert_same(
        &out_by_line(&server),
        pairs,
        &format!("in by {door}, killed, out by line"),
    );
    // By the snapshot.
    let stopped = server.stop();
    let found: Pairs = serde_json::from_str(&stopped.read("store.json")).expect("one JSON object");
    assert_same(&found, pairs, &format!("in by {door}, out by store.json"));
    assert_same(
        &out_by_line(&stopped.restart()),
        pairs,
        &format!("in by {door}, saved, out by line"),
    );
}

#[test]
fn what_goes_in_by_line_comes_out_unchanged_by_each_door() {
    let (server, pairs) = (TestServer::start(), nasty_pairs());
    in_by_line(&server, &pairs);
    for (key, value) in pairs.iter().step_by(7) {
        assert_eq!(
            server.client().ask(&format!("GET {}", json(key))),
            format!("VALUE {}", json(value))
        );
    }
    assert_out_by_each_door(server, &pairs, "line");
}

#[test]
fn what_goes_in_by_http_comes_out_unchanged_by_each_door() {
    let (server, pairs) = (TestServer::start(), nasty_pairs());
    in_by_http(&server, &pairs);
    assert_out_by_each_door(server, &pairs, "HTTP");
}

#[test]
fn what_goes_in_by_import_comes_out_unchanged_by_each_door() {
    let (server, pairs) = (TestServer::start(), nasty_pairs());
    in_by_import(&server, &pairs);
    assert_out_by_each_door(server, &pairs, "import");
}

#[test]
fn what_goes_in_by_store_json_comes_out_unchanged_by_each_door() {
    let (stopped, pairs) = (Stopped::new(&[]), nasty_pairs());
    stopped.write(
        "store.json",
        serde_json::to_vec_pretty(&pairs).expect("text is JSON"),
    );
    assert_out_by_each_door(stopped.restart(), &pairs, "store.json");
}
