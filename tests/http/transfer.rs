//! All pairs to a file and back over HTTP, and the end of all keys with a prefix.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::http::{Answer, Http, NASTY, encoded};
use crate::support::server::{TestServer, wait_until};

fn import(http: &mut Http, body: &[u8]) -> Answer {
    http.send("POST /api/v1/import", &[], body);
    http.answer()
}

#[test]
fn what_is_exported_and_imported_is_the_same_expiry_and_bytes_included() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for (number, nasty) in NASTY.iter().enumerate() {
        let body = json!({"value": nasty, "expires_at": "2100-01-01T00:00:00Z"});
        let path = format!("PUT /api/v1/key?key={}", encoded(nasty));
        http.send(&path, &[], body.to_string().as_bytes());
        assert_eq!(http.answer().status, 201, "{number}");
    }
    let long = "a\u{e4}\"".repeat(100_000);
    for (key, body) in [
        ("bytes", json!({"value": {"$base64": "AP8="}})),
        ("long", json!({"value": long})),
        (
            "long:expires",
            json!({"value": long, "expires_at": "2100-01-01T00:00:00Z"}),
        ),
        (
            "long:bytes",
            json!({"value": {"$base64": "/wD/".repeat(50_000)}, "expires_at": "2100-01-01T00:00:00Z"}),
        ),
    ] {
        http.send(
            &format!("PUT /api/v1/keys/{key}"),
            &[],
            body.to_string().as_bytes(),
        );
        assert_eq!(http.answer().status, 201, "{key}");
    }
    let export = http.ask("GET /api/v1/export");
    assert_eq!(
        export.header("content-disposition"),
        Some("attachment; filename=\"pykv.json\"")
    );
    let exported = export.json();
    assert_eq!(
        exported.as_object().map(serde_json::Map::len),
        Some(NASTY.len() + 4)
    );
    assert_eq!(exported["bytes"], json!({"$base64": "AP8="}));
    assert_eq!(exported["long:expires"]["$text"].as_str(), Some(&*long));
    // A pair to a line, as store.json has them.
    let lines = export.text().lines().count();
    assert_eq!(lines, NASTY.len() + 4 + 2);

    let other = TestServer::start();
    let mut there = Http::connect(&other);
    let answer = import(&mut there, &export.body);
    assert_eq!(
        answer.json(),
        json!({"stored": NASTY.len() + 4, "expired": 0})
    );
    assert_eq!(there.ask("GET /api/v1/export").json(), exported);
    // What has been imported is there after a crash.
    let other = other.kill().restart();
    assert_eq!(
        Http::connect(&other).ask("GET /api/v1/export").json(),
        exported
    );
    // And the file is one that the server can be started on.
    let stopped = other.stop();
    stopped.write("store.json", &export.body);
    let server = stopped.restart();
    assert_eq!(
        Http::connect(&server).ask("GET /api/v1/export").json(),
        exported
    );
}

#[test]
fn an_export_may_be_of_a_prefix_and_of_nothing() {
    let server = TestServer::start();
    let mut client = server.client();
    for line in ["PUT user:1 a", "PUT user:2 b", "PUT other c"] {
        assert_eq!(client.ask(line), "OK");
    }
    let mut http = Http::connect(&server);
    let users = http.ask("GET /api/v1/export?prefix=user:").json();
    assert_eq!(users, json!({"user:1": "a", "user:2": "b"}));
    assert_eq!(http.ask("GET /api/v1/export?prefix=nope").json(), json!({}));
}

#[test]
fn an_import_takes_what_an_older_program_wrote_gzipped_or_not() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let text = "\u{feff}{\"a\": \"1\",\n \"n\": 3, \"old\": {\"$text\": \"x\", \"$expires_at\": \"2001-01-01T00:00:00Z\"}}\n";
    let mut gzipped = GzEncoder::new(Vec::new(), Compression::fast());
    gzipped.write_all(text.as_bytes()).expect("memory");
    let gzipped = gzipped.finish().expect("memory");
    for body in [text.as_bytes(), &gzipped] {
        assert_eq!(http.ask("DELETE /clear").status, 200);
        let answer = import(&mut http, body);
        assert_eq!(answer.json(), json!({"stored": 2, "expired": 1}));
        assert_eq!(http.ask("GET /all").json(), json!({"a": "1", "n": "3"}));
    }
}

#[test]
fn a_broken_file_says_where_it_is_broken_and_what_was_stored() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for (body, reason, stored) in [
        (
            "{\"a\": \"1\",\n\"b\": \"2\",\n\"c\" \"3\"}",
            "line 3, column 5: expected `:`",
            2,
        ),
        (
            "{\"a\": \"1\"",
            "line 1, column 10: the file ends too soon",
            1,
        ),
        ("{\"a\": \"1\"} x", "line 1, column 12: expected nothing", 1),
        ("[1]", "line 1, column 1: the file is a JSON array", 0),
        ("", "line 1, column 1: the file is empty", 0),
        (
            "{\"a\": {\"$base64\": \"!\"}}",
            "key \"a\": $base64 is not base64",
            0,
        ),
    ] {
        assert_eq!(http.ask("DELETE /clear").status, 200);
        let answer = import(&mut http, body.as_bytes());
        assert_eq!(answer.status, 422, "{body}");
        let detail = answer.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(detail.contains(reason), "{body}: {detail}");
        let end = format!("; pairs that were stored before: {stored}");
        assert!(detail.ends_with(&end), "{body}: {detail}");
        assert_eq!(server.stat("keys"), stored, "{body}");
    }
}

#[test]
fn a_pair_of_a_file_may_be_as_long_as_any_and_takes_no_more_memory() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let longest = "x".repeat(64 << 20);
    let answer = import(&mut http, format!("{{\"a\": \"{longest}\"}}").as_bytes());
    assert_eq!(answer.json()["stored"], 1, "{}", answer.text());
    let answer = import(&mut http, format!("{{\"b\": \"{longest}x\"}}").as_bytes());
    assert_eq!(answer.status, 422);
    assert!(
        answer.text().contains("key \\\"b\\\": "),
        "{}",
        answer.text()
    );
    // A string without an end is not read for ever.
    let mut endless = Http::connect(&server);
    let head =
        "POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    endless.send_bytes(head.as_bytes());
    endless.send_bytes(b"2\r\n{\"\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 8 << 20, "x".repeat(8 << 20));
    let mut sender = endless.sender();
    let sending = std::thread::spawn(move || while sender.write_all(chunk.as_bytes()).is_ok() {});
    let (status, _) = endless.head();
    assert_eq!(status, 422);
    drop(endless);
    sending.join().expect("it does not panic");
    assert!(server.memory_bytes() < 500 << 20);
}

#[test]
fn eight_import_at_one_time_and_no_more() {
    let server = TestServer::start();
    let head =
        "POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let begin = |number| {
        let mut http = Http::connect(&server);
        http.send_bytes(head.as_bytes());
        let pair = format!("9\r\n{{\"k{number}\":\"v\"\r\n");
        http.send_bytes(pair.as_bytes());
        http
    };
    let mut going_on: Vec<Http> = (0..8).map(begin).collect();
    wait_until("all have begun", || server.stat("keys") == 8);
    let refused = import(&mut Http::connect(&server), b"{}");
    assert_eq!(refused.status, 503);
    assert!(
        refused.text().contains("8 imports are going on"),
        "{}",
        refused.text()
    );
    for http in &mut going_on {
        http.send_bytes(b"1\r\n}\r\n0\r\n\r\n");
        assert_eq!(http.answer().json(), json!({"stored": 1, "expired": 0}));
    }
    assert_eq!(import(&mut Http::connect(&server), b"{}").status, 200);
}

#[test]
fn a_stop_does_not_wait_for_the_rest_of_a_file() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let head =
        "POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    http.send_bytes(head.as_bytes());
    http.send_bytes(b"9\r\n{\"k\":\"v\",\r\n");
    wait_until("the pair is there", || server.stat("keys") == 1);
    let started = std::time::Instant::now();
    let stopped = server.stop();
    assert!(started.elapsed() < Duration::from_secs(5));
    let answer = http.answer();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["stored"], 1);
    assert!(answer.text().contains("the server is stopping"));
    assert_eq!(stopped.restart().stat("keys"), 1);
}

#[test]
fn keys_with_a_prefix_are_counted_and_deleted_and_no_others() {
    let server = TestServer::start();
    let mut client = server.client();
    for number in 0..2500 {
        client.send(&format!("PUT user:{number} v"));
    }
    for _ in 0..2500 {
        assert_eq!(client.reply(), "OK");
    }
    assert_eq!(client.ask("PUT users x"), "OK");
    let mut http = Http::connect(&server);
    let count =
        |http: &mut Http, query: &str| http.ask(&format!("GET /api/v1/count{query}")).json();
    assert_eq!(count(&mut http, ""), json!({"keys": 2501}));
    assert_eq!(count(&mut http, "?prefix=user:"), json!({"keys": 2500}));
    assert_eq!(count(&mut http, "?prefix=nope"), json!({"keys": 0}));
    for query in ["", "?prefix="] {
        let refused = http.ask(&format!("DELETE /api/v1/keys{query}"));
        assert_eq!(refused.status, 422, "{query}");
        assert_eq!(
            refused.header("content-type"),
            Some("application/problem+json")
        );
    }
    let deleted = http.ask("DELETE /api/v1/keys?prefix=user:").json();
    assert_eq!(deleted, json!({"deleted": 2500}));
    let server = server.kill().restart();
    let all: Value = Http::connect(&server).ask("GET /all").json();
    assert_eq!(all, json!({"users": "x"}));
}
