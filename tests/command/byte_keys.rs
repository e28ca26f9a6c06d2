//! Keys that are not text: stored by Redis clients, and then seen and changed through every interface.

use serde_json::json;

use crate::support::http::{Http, encoded};
use crate::support::resp::Resp;
use crate::support::server::TestServer;

/// The byte 255 and a zero byte, on lines and in JSON.
const KEY: &[u8] = b"\xff\0";
const ON_LINES: &str = "BASE64 \"/wA=\"";
const IN_JSON: &str = "$base64:/wA=";

#[test]
fn a_key_in_base64_stands_in_the_place_of_any_key_on_a_line() {
    let server = TestServer::start();
    let mut resp = Resp::connect(server.addr());
    assert_eq!(resp.ask_words(&[b"SET", KEY, b"v"]), b"OK");
    let mut client = server.client();
    assert_eq!(client.ask(&format!("GET {ON_LINES}")), "VALUE \"v\"");
    assert_eq!(
        client.ask_rows("ALL"),
        [format!("ITEM {ON_LINES} \"v\""), "END 1".to_owned()]
    );
    assert_eq!(
        client.ask_rows("KEYS"),
        [format!("KEY {ON_LINES}"), "END 1".to_owned()]
    );
    for (request, reply) in [
        ("PUT {} two words", "OK"),
        ("PUT  {}\t\"a \\\" quote\"", "OK"),
        ("GET\t {} ", "VALUE \"a \\\" quote\""),
        ("SET {} 7 EX 100", "OK"),
        ("INCR {}", "VALUE \"8\""),
        ("EXISTS {} name {}", "COUNT 2"),
        ("PERSIST {}", "COUNT 1"),
        ("RENAME {} BASE64 \"gYI=\"", "OK"),
        ("RENAME BASE64 \"gYI=\" {}", "OK"),
        ("KEYS {}", "KEY {}"),
    ] {
        let (request, reply) = (
            request.replace("{}", ON_LINES),
            reply.replace("{}", ON_LINES),
        );
        assert_eq!(client.ask(&request), reply, "{request}");
    }
    assert_eq!(client.reply(), "END 1");
    assert_eq!(
        client.ask_array(&format!("MGET {ON_LINES} name")),
        ["VALUE \"8\"", "NOT_FOUND"]
    );
    let eval = format!("EVAL \"return redis.call('STRLEN', KEYS[1])\" 1 {ON_LINES}");
    assert_eq!(client.ask(&eval), "COUNT 1");
    assert_eq!(resp.ask_words(&[b"GET", KEY]), b"8");
    assert_eq!(client.ask(&format!("DEL {ON_LINES}")), "COUNT 1");
    assert_eq!(client.ask("COUNT"), "COUNT 0");
}

#[test]
fn the_word_base64_is_a_word_like_any_other_where_no_such_key_follows() {
    let server = TestServer::start();
    let mut client = server.client();
    for (request, reply) in [
        ("PUT BASE64 plain", "OK"),
        ("GET BASE64", "VALUE \"plain\""),
        // Base64 of text, no base64, and text right behind the string.
        ("PUT BASE64 \"aGVsbG8=\"", "OK"),
        ("GET \"BASE64\"", "VALUE \"aGVsbG8=\""),
        ("PUT BASE64 \"/w\"", "OK"),
        ("GET BASE64", "VALUE \"/w\""),
        ("PUT \"BASE64\" \"/w==\"", "OK"),
        ("GET BASE64", "VALUE \"/w==\""),
        ("PUT k BASE64 \"/w==\"", "OK"),
        ("GET k", "VALUE \"BASE64 \\\"/w==\\\"\""),
        ("GET base64", "NOT_FOUND"),
        (
            "GET BASE64 \"/w==\"x",
            "ERR SYNTAX text after the string at column 18; a blank must follow the string that ends there",
        ),
        (
            "GET BASE64 \"/w==",
            "ERR SYNTAX unterminated string at column 12",
        ),
    ] {
        assert_eq!(client.ask(request), reply, "{request}");
    }
}

#[test]
fn http_shows_and_takes_the_text_of_a_key() {
    let server = TestServer::start();
    let mut resp = Resp::connect(server.addr());
    let doubtful = "$base64:/w==";
    for (key, value) in [(KEY, &b"v"[..]), (doubtful.as_bytes(), b"text")] {
        assert_eq!(resp.ask_words(&[b"SET", key, value]), b"OK");
    }
    let escaped = "$base64:JGJhc2U2NDovdz09";
    let mut http = Http::connect(&server);
    let all = json!({IN_JSON: "v", escaped: "text"});
    assert_eq!(http.ask("GET /all").json(), all);
    assert_eq!(http.ask("GET /api/v1/export").json(), all);
    let (key, escaped_key) = (encoded(IN_JSON), encoded(escaped));
    assert_eq!(
        http.ask(&format!("GET /get/{key}")).json(),
        json!({"key": IN_JSON, "value": "v"})
    );
    assert_eq!(
        http.ask(&format!("GET /api/v1/key?key={escaped_key}"))
            .json()["value"],
        "text"
    );
    let page = http.ask(&format!("GET /api/v1/keys?prefix={key}")).json();
    assert_eq!(page["keys"][0]["key"], IN_JSON);
    assert_eq!(page["keys"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        http.put(&json!({"key": IN_JSON, "value": "new"})).status,
        200
    );
    assert_eq!(resp.ask_words(&[b"GET", KEY]), b"new");
    let operations = json!({"operations": [
        {"op": "get", "key": IN_JSON},
        {"op": "put", "key": "$base64:gQ==", "value": "1"},
    ]});
    http.send(
        "POST /api/v1/batch",
        &["Content-Type: application/json"],
        operations.to_string().as_bytes(),
    );
    let done = http.answer().json();
    assert_eq!(done["results"][0]["value"], "new");
    assert_eq!(done["results"][1]["key"], "$base64:gQ==");
    assert_eq!(resp.ask_words(&[b"GET", b"\x81"]), b"1");
    assert_eq!(http.ask(&format!("DELETE /delete/{key}")).status, 200);
    assert_eq!(resp.ask_words(&[b"EXISTS", KEY]), b"0");
    let refused = http.ask("GET /get/%FF");
    assert_eq!(refused.status, 422);
    assert_eq!(
        refused.json(),
        json!({"detail": "the key is not UTF-8 (its byte 1)"})
    );
}

#[test]
fn an_export_is_imported_with_the_same_keys() {
    let server = TestServer::start();
    let mut resp = Resp::connect(server.addr());
    let keys = [KEY, b"name", b"$base64:/w==", b"$base64:plain", b"\x80:a"];
    for key in keys {
        assert_eq!(resp.ask_words(&[b"SET", key, key]), b"OK");
    }
    let mut http = Http::connect(&server);
    for format in ["json", "jsonl", "csv"] {
        let exported = http.ask(&format!("GET /api/v1/export?format={format}"));
        if exported.status != 200 {
            continue;
        }
        assert_eq!(resp.ask("FLUSHALL"), "OK");
        http.send("POST /api/v1/import", &[], &exported.body);
        assert_eq!(http.answer().json()["stored"], keys.len(), "{format}");
        for key in keys {
            assert_eq!(resp.ask_words(&[b"GET", key]), key, "{format}");
        }
    }
}

#[test]
fn keys_that_are_not_text_are_watched_followed_and_counted() {
    let server = TestServer::start();
    let (mut resp, mut other) = (Resp::connect(server.addr()), Resp::connect(server.addr()));
    let mut follower = server.client();
    assert_eq!(
        follower.ask("FOLLOW BASE64 \"/w==\""),
        "FOLLOWING BASE64 \"/w==\" 0"
    );
    assert_eq!(resp.ask_words(&[b"WATCH", KEY]), b"OK");
    assert_eq!(resp.ask("MULTI"), "OK");
    assert_eq!(resp.ask_words(&[b"SET", KEY, b"mine"]), b"QUEUED");
    assert_eq!(other.ask_words(&[b"SET", KEY, b"yours"]), b"OK");
    assert_eq!(resp.ask("EXEC"), "-1");
    assert_eq!(follower.reply(), "CHANGE 1 PUT BASE64 \"/wA=\" \"yours\"");
    assert_eq!(other.ask_words(&[b"SET", b"\xff:b", b"1"]), b"OK");
    assert_eq!(follower.reply(), "CHANGE 2 PUT BASE64 \"/zpi\" \"1\"");
    let mut client = server.client();
    assert_eq!(
        client.ask_rows("NAMESPACES"),
        ["NAMESPACE BASE64 \"/zo=\" 1", "END 1"]
    );
    assert_eq!(client.ask("COUNT BASE64 \"/w==\""), "COUNT 2");
    assert_eq!(other.ask_words(&[b"DEL", KEY]), b"1");
    assert_eq!(follower.reply(), "CHANGE 3 DEL BASE64 \"/wA=\"");
}
