//! The shim: the older program's contract to the byte, keys and values of every kind, what is refused to other sites, lists
//! that are streamed, and its documentation. Requests are written by hand, as bytes, so that nothing mends them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::support::http::{Http, NASTY, encoded};
use crate::support::server::{Stopped, TestServer};

const MIB: usize = 1 << 20;

/// What is asked, and what is answered: status and body.
const CONTRACT: &str = r#"
GET /all
200 {}

POST /put?key=a&value=1
200 {"message":"Key stored successfully"}

GET /all
200 {"a":"1"}

GET /get/a
200 {"key":"a","value":"1"}

POST /put?key=a%20b&value=%E4%B8%96%E7%95%8C%0Aline2
200 {"message":"Key stored successfully"}

GET /get/a%20b
200 {"key":"a b","value":"世界\nline2"}

POST /put?key=&value=
200 {"message":"Key stored successfully"}

GET /get/
200 {"key":"","value":""}

DELETE /delete/nope
404 {"detail":"Key not found"}

POST /put?key=a&value=1&value=2
200 {"message":"Key stored successfully"}

GET /get/a
200 {"key":"a","value":"2"}

POST /put?key=only
422 {"detail":[{"type":"missing","loc":["query","value"],"msg":"Field required","input":null}]}

POST /put?value=only
422 {"detail":[{"type":"missing","loc":["query","key"],"msg":"Field required","input":null}]}

POST /put
422 {"detail":[{"type":"missing","loc":["query","key"],"msg":"Field required","input":null},{"type":"missing","loc":["query","value"],"msg":"Field required","input":null}]}

GET /put?key=a&value=1
405 {"detail":"Method Not Allowed"}

GET /get/nope
404 {"error":"Key not found","detail":"Key not found"}

POST /put?key=x/y&value=1
200 {"message":"Key stored successfully"}

GET /get/x%2Fy
200 {"key":"x/y","value":"1"}

DELETE /delete/x%2Fy
200 {"message":"Key deleted successfully"}

DELETE /delete/a
200 {"message":"Key deleted successfully"}

DELETE /delete/nope
404 {"detail":"Key not found"}

DELETE /clear
200 {"message":"Store cleared successfully"}

GET /all
200 {}

GET /nope
404 {"detail":"Not Found"}

GET /get
404 {"detail":"Not Found"}

POST /all
405 {"detail":"Method Not Allowed"}

GET /health
200 {"status":"ok","reasons":[]}
"#;

/// Goal: what programs that were written for the older program send is answered as it was, to the byte.
/// Method: the rows of the contract in one session, from an empty store to an empty store.
#[test]
fn every_row_of_the_contract_holds_to_the_byte() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mut seen = 0;
    for row in CONTRACT.trim().split("\n\n") {
        let (request, expected) = row.split_once('\n').expect("a request and its answer");
        let answer = http.ask(request);
        let shown = format!("{} {}", answer.status, answer.text());
        assert_eq!(shown, expected, "{request}");
        let head = answer.head;
        assert!(
            head.contains("\ncontent-type: application/json\n"),
            "{request}: {head}"
        );
        seen += 1;
    }
    assert_eq!(seen, 27);
}

#[test]
fn a_json_body_carries_a_pair_and_the_query_counts_before_it() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mut client = server.client();
    let rows = [
        ("POST /put", r#"{"key":"j","value":"1"}"#, "VALUE \"1\""),
        (
            "POST /put",
            r#" { "value" : "2" , "more" : [1,{}] , "key" : "j" } "#,
            "VALUE \"2\"",
        ),
        (
            "POST /put",
            r#"{"key":"j","value":"x","value":"last"}"#,
            "VALUE \"last\"",
        ),
        (
            "POST /put",
            r#"{"\u006bey":"j","value":"\ud83d\ude00\u0000"}"#,
            "VALUE \"😀\\u0000\"",
        ),
        (
            "POST /put?key=j",
            r#"{"key":"x","value":"3"}"#,
            "VALUE \"3\"",
        ),
        ("POST /put?value=4", r#"{"key":"j"}"#, "VALUE \"4\""),
        (
            "POST /put?key=j&value=5",
            r#"{"key":"x","value":"x"}"#,
            "VALUE \"5\"",
        ),
        ("POST /put?key=j&value=6", "no JSON", "VALUE \"6\""),
    ];
    for (request, body, value) in rows {
        http.send(
            request,
            &["Content-Type: application/json"],
            body.as_bytes(),
        );
        let answer = http.answer();
        assert_eq!(
            (answer.status, answer.text()),
            (200, r#"{"message":"Key stored successfully"}"#),
            "{body}"
        );
        assert_eq!(client.ask("GET j"), value, "{body}");
    }
    assert_eq!(client.ask("COUNT"), "COUNT 1");
}

/// Bodies, and what is wrong with them: its kind and its place.
const NO_PAIRS: &[(&[u8], &str, &[&str])] = &[
    (b"{\"key\":\"j\"", "json_invalid", &["body"]),
    (b"key=a&value=b", "json_invalid", &["body"]),
    (b"[\"k\",\"v\"]", "json_invalid", &["body"]),
    (b"\"text\"", "json_invalid", &["body"]),
    (
        b"{\"key\":\"j\",\"value\":\"v\"} x",
        "json_invalid",
        &["body"],
    ),
    (
        b"{\"key\":\"j\",\"value\":\"\xff\"}",
        "json_invalid",
        &["body"],
    ),
    (
        b"{\"key\":\"j\",\"value\":\"a\nb\"}",
        "json_invalid",
        &["body"],
    ),
    (b"{\"key\":\"j\"}", "missing", &["query", "value"]),
    (
        b"{\"key\":\"j\",\"value\":1}",
        "string_type",
        &["body", "value"],
    ),
    (
        b"{\"key\":\"j\",\"value\":null}",
        "string_type",
        &["body", "value"],
    ),
    (
        b"{\"key\":\"j\",\"value\":{\"$base64\":\"AP8=\"}}",
        "string_type",
        &["body", "value"],
    ),
    (
        b"{\"key\":\"j\",\"value\":[\"v\"]}",
        "string_type",
        &["body", "value"],
    ),
    (
        b"{\"key\":\"j\",\"value\":\"\\ud800\"}",
        "string_type",
        &["body", "value"],
    ),
    (
        b"{\"key\":true,\"value\":\"v\"}",
        "string_type",
        &["body", "key"],
    ),
];

#[test]
fn a_body_that_is_no_pair_is_a_422_that_says_where() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for (body, kind, loc) in NO_PAIRS {
        http.send("POST /put", &[], body);
        let (answer, shown) = (http.answer(), String::from_utf8_lossy(body));
        let detail = &answer.json()["detail"];
        assert_eq!(
            (answer.status, detail.as_array().map(Vec::len)),
            (422, Some(1)),
            "{shown}"
        );
        assert_eq!(
            (&detail[0]["type"], &detail[0]["loc"]),
            (&json!(kind), &json!(loc)),
            "{shown}"
        );
    }
    http.send("POST /put", &[], br#"{"key":[1,2],"value":3.50}"#);
    let expected = r#"{"detail":[{"type":"string_type","loc":["body","key"],"msg":"Input should be a valid string","input":[1,2]},{"type":"string_type","loc":["body","value"],"msg":"Input should be a valid string","input":3.50}]}"#;
    assert_eq!(http.answer().text(), expected);
    assert_eq!(http.ask("GET /all").text(), "{}");
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_and_not_mended() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for (request, fields) in [
        ("POST /put?key=%FF&value=v", &["key"][..]),
        ("POST /put?key=k&value=a%C3", &["value"]),
        ("POST /put?key=%80&value=%ED%A0%80", &["key", "value"]),
        ("POST /put?key=k&value=v&value=%FF", &["value"]),
    ] {
        let answer = http.ask(request);
        assert_eq!(answer.status, 422, "{request}");
        let detail = &answer.json()["detail"];
        assert_eq!(
            detail.as_array().map(Vec::len),
            Some(fields.len()),
            "{request}"
        );
        for (place, field) in fields.iter().enumerate() {
            assert_eq!(detail[place]["type"], "string_unicode", "{request}");
            assert_eq!(detail[place]["loc"], json!(["query", field]), "{request}");
        }
    }
    for request in ["GET /get/a%FF", "DELETE /delete/a%FF"] {
        let answer = http.ask(request);
        assert_eq!(
            (answer.status, answer.text()),
            (422, r#"{"detail":"the key is not UTF-8 (its byte 2)"}"#),
            "{request}"
        );
    }
    assert_eq!(http.ask("GET /all").text(), "{}");
}

#[test]
fn a_method_that_a_route_does_not_know_is_a_405_that_says_which_it_does() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let rows = [
        ("/put", "post"),
        ("/get/a", "get,head"),
        ("/delete/a", "delete"),
        ("/all", "get,head"),
        ("/clear", "delete"),
        ("/stats", "get,head"),
        ("/health", "get,head"),
        ("/", "get,head"),
        ("/docs", "get,head"),
        ("/openapi.json", "get,head"),
    ];
    for (path, allowed) in rows {
        let methods = ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"];
        let is_refused = |method: &&str| !allowed.contains(&method.to_ascii_lowercase());
        for method in methods.into_iter().filter(is_refused) {
            let answer = http.ask(&format!("{method} {path}"));
            let shown = (answer.status, answer.text());
            let expected = (405, r#"{"detail":"Method Not Allowed"}"#);
            assert_eq!(shown, expected, "{method} {path}");
            let allow = format!("\nallow: {allowed}\n");
            let head = &answer.head;
            assert!(head.contains(&allow), "{method} {path}: {head}");
        }
    }
}

#[test]
fn head_answers_a_get_route_without_its_body() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    assert_eq!(http.ask("POST /put?key=a&value=1").status, 200);
    for (path, status) in [
        ("/get/a", 200),
        ("/get/nope", 404),
        ("/all", 200),
        ("/health", 200),
    ] {
        http.send(&format!("HEAD {path}"), &[], b"");
        assert_eq!(http.head().0, status, "{path}");
    }
    // Had a body come, it would stand here.
    assert_eq!(http.ask("GET /get/a").text(), r#"{"key":"a","value":"1"}"#);
}

#[test]
fn a_plus_is_a_blank_in_a_query_and_a_plus_in_a_path() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    assert_eq!(http.ask("POST /put?key=a+b&value=1+1%2B1").status, 200);
    assert_eq!(
        http.ask("GET /get/a%20b").text(),
        r#"{"key":"a b","value":"1 1+1"}"#
    );
    assert_eq!(http.ask("GET /get/a+b").status, 404);
    assert_eq!(http.ask("DELETE /delete/a+b").status, 404);
    assert_eq!(http.ask("POST /put?key=a%2Bb&value=2").status, 200);
    assert_eq!(
        http.ask("GET /get/a+b").text(),
        r#"{"key":"a+b","value":"2"}"#
    );
}

#[test]
fn a_path_is_a_key_as_it_stands() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let rows = [
        ("/x/y", "x/y"),
        ("//", "/"),
        ("/../x", "../x"),
        ("/.", "."),
        ("/a%2fb", "a/b"),
        ("/%252F", "%2F"),
        ("/%", "%"),
        ("/%zz", "%zz"),
        ("/世", "世"),
        ("/a;b=c:d@e!f$g'(h)*,i", "a;b=c:d@e!f$g'(h)*,i"),
        ("/a?b", "a"),
    ];
    for (path, key) in rows {
        assert_eq!(http.put(&json!({"key": key, "value": path})).status, 200);
        let answer = http.ask(&format!("GET /get{path}"));
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"key": key, "value": path})),
            "{path}"
        );
        let query = encoded(key);
        let deleted = http.ask(&format!("DELETE /api/v1/key?key={query}"));
        assert_eq!(deleted.status, 204, "{path}");
    }
    assert_eq!(http.ask("GET /all").text(), "{}");
}

/// Goal: whatever the pair, and by whichever door it comes in, it goes out by the other unchanged.
/// Method: every nasty text as key and as value, by the query, by a body and by a line; read by path, by list and by line.
#[test]
fn what_goes_in_by_http_comes_out_by_a_line_and_the_other_way_round() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mut client = server.client();
    let texts: Vec<String> = NASTY.iter().map(|&text| text.to_owned()).collect();
    for (place, (key, value)) in texts.iter().zip(texts.iter().rev()).enumerate() {
        let (key_json, value_json) = (json!(key).to_string(), json!(value).to_string());
        match place % 3 {
            0 => {
                let request = format!("POST /put?key={}&value={}", encoded(key), encoded(value));
                assert_eq!(http.ask(&request).status, 200, "{key:?}");
            }
            1 => assert_eq!(
                http.put(&json!({"key": key, "value": value})).status,
                200,
                "{key:?}"
            ),
            _ => assert_eq!(
                client.ask(&format!("PUT {key_json} {value_json}")),
                "OK",
                "{key:?}"
            ),
        }
        let shown = client.ask(&format!("GET {key_json}"));
        let shown = shown.strip_prefix("VALUE ").expect("a value");
        assert_eq!(
            serde_json::from_str::<String>(shown).ok().as_ref(),
            Some(value),
            "{key:?}"
        );
        let answer = http.ask(&format!("GET /get/{}", encoded(key)));
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"key": key, "value": value})),
            "{key:?}"
        );
    }
    let expected: BTreeMap<_, _> = texts
        .iter()
        .cloned()
        .zip(texts.iter().rev().cloned())
        .collect();
    let all: BTreeMap<String, String> =
        serde_json::from_slice(&http.ask("GET /all").body).expect("an object of text");
    assert_eq!(all, expected);
    for key in &texts {
        assert_eq!(
            http.ask(&format!("DELETE /api/v1/key?key={}", encoded(key)))
                .status,
            204,
            "{key:?}"
        );
    }
    assert_eq!(client.ask("COUNT"), "COUNT 0");
}

#[test]
fn bytes_that_are_no_text_read_as_base64() {
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", r#"{"short":{"$base64":"AP8="}}"#);
    let server = stopped.restart();
    let mut http = Http::connect(&server);
    assert_eq!(
        http.ask("GET /get/short").text(),
        r#"{"key":"short","value":{"$base64":"AP8="}}"#
    );
    assert_eq!(
        http.ask("GET /all").text(),
        r#"{"short":{"$base64":"AP8="}}"#
    );
    drop(server);
    // 200,001 bytes: one 0xFF and as many noughts, more than is sent in one piece.
    let base64 = format!("/wAA{}", "A".repeat(266_664));
    let stopped = Stopped::new(&[]);
    stopped.write(
        "store.json",
        format!(r#"{{"long":{{"$base64":"{base64}"}}}}"#),
    );
    let server = stopped.restart();
    let mut http = Http::connect(&server);
    let value = json!({"$base64": base64});
    assert!(http.ask("GET /get/long").json() == json!({"key": "long", "value": value}));
    assert!(http.ask("GET /all").json() == json!({"long": value}));
}

/// Goal: around the lengths at which a value is sent in pieces, nothing is lost between them.
#[test]
fn long_values_go_in_by_a_body_and_come_out_whole() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for length in [49_151, 49_152, 49_153, 65_535, 65_536, 65_537, 98_304, MIB] {
        for unit in ["v", "世", "\u{1}", "\""] {
            let value = unit.repeat(length.div_ceil(unit.len()));
            assert_eq!(
                http.put(&json!({"key": "long", "value": value})).status,
                200
            );
            assert!(
                http.ask("GET /get/long").json() == json!({"key": "long", "value": value}),
                "{unit:?} x {length}"
            );
            assert!(
                http.ask("GET /all").json() == json!({"long": value}),
                "{unit:?} x {length}"
            );
        }
    }
}

#[test]
fn a_value_may_have_64_mib_and_a_key_64_kib_and_not_one_byte_more() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let (key, mut value) = ("k".repeat(64 << 10), "v".repeat(64 * MIB));
    assert_eq!(http.put(&json!({"key": key, "value": value})).status, 200);
    assert!(http.ask("GET /all").json() == json!({key.clone(): value}));
    assert_eq!(http.put(&json!({"key": "k", "value": value})).status, 200);
    assert!(http.ask("GET /get/k").json() == json!({"key": "k", "value": value}));
    value.push('v');
    let answer = http.put(&json!({"key": "k", "value": value}));
    let detail = r#"{"detail":"the value has 67108865 bytes, and may have 67108864"}"#;
    assert_eq!((answer.status, answer.text()), (413, detail));
    let answer = http.put(&json!({"key": format!("{key}k"), "value": "v"}));
    let detail = r#"{"detail":"the key has 65537 bytes, and may have 65536"}"#;
    assert_eq!((answer.status, answer.text()), (413, detail));
    assert_eq!(server.client().ask("COUNT"), "COUNT 2");
}

#[test]
fn a_value_of_64_mib_may_be_escaped_to_six_times_its_length() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let escaped = "\\u0001".repeat(64 * MIB);
    http.send(
        "POST /put",
        &[],
        format!(r#"{{"key":"k","value":"{escaped}"}}"#).as_bytes(),
    );
    assert_eq!(http.answer().status, 200);
    assert!(http.ask("GET /get/k").text() == format!(r#"{{"key":"k","value":"{escaped}"}}"#));
}

#[test]
fn a_body_over_the_limit_is_a_413_before_it_is_read() {
    let server = TestServer::start();
    let expected = r#"{"detail":"the body is longer than the 403047424 bytes that it may have"}"#;
    for length in ["403047425", "1000000000000"] {
        let mut http = Http::connect(&server);
        let head =
            format!("POST /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{{");
        http.send_bytes(head.as_bytes());
        let answer = http.answer();
        assert_eq!((answer.status, answer.text()), (413, expected), "{length}");
        assert!(
            answer.head.contains("content-type: application/json"),
            "{}",
            answer.head
        );
    }
}

#[test]
fn a_body_that_does_not_arrive_whole_stores_nothing() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    http.send_bytes(b"POST /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"key\":\"a\",\"value\":\"1\"}");
    http.stream
        .shutdown(std::net::Shutdown::Write)
        .expect("an open socket");
    let mut rest = String::new();
    http.reader.read_to_string(&mut rest).expect("an end");
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 400 "),
        "{rest}"
    );
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
}

#[test]
fn a_url_or_a_head_that_is_too_long_is_told_so() {
    let server = TestServer::start();
    let long = |length: usize| "k".repeat(length);
    for (path, header, status) in [
        (long(65_000), String::new(), 404),
        (long(65_534), String::new(), 414),
        (long(300_000), String::new(), 414),
        (long(2 * MIB), String::new(), 431),
        (String::new(), long(2 * MIB), 431),
    ] {
        let mut http = Http::connect(&server);
        let mut stream = http.stream.try_clone().expect("a second handle");
        let head =
            format!("GET /get/{path} HTTP/1.1\r\nHost: localhost\r\nX-Long: {header}\r\n\r\n");
        // The server may answer, and close, before it has read all of it.
        let writer = std::thread::spawn(move || stream.write_all(head.as_bytes()).is_ok());
        assert_eq!(http.head().0, status);
        writer.join().expect("the writer ends");
    }
    assert_eq!(Http::connect(&server).ask("GET /health").status, 200);
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    http.send("POST /put?key=a&value=1", &[], b"");
    http.send("GET /get/a", &[], b"");
    http.send("GET /all", &[], b"");
    http.send("DELETE /delete/a", &[], b"");
    http.send("GET /get/a", &[], b"");
    let statuses: Vec<u16> = (0..5).map(|_| http.answer().status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 404]);
}

#[test]
fn a_client_of_http_1_0_needs_no_host_and_sees_the_end() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    for (path, body) in [
        ("/get/a", r#"{"key":"a","value":"1"}"#),
        ("/all", r#"{"a":"1"}"#),
    ] {
        let mut http = Http::connect(&server);
        http.send_bytes(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
        let (status, head) = http.head();
        let mut rest = String::new();
        http.reader.read_to_string(&mut rest).expect("an end");
        assert_eq!((status, rest.as_str()), (200, body), "{head}");
    }
}

/// Goal: nothing that another site's page can make a browser send reaches any route.
#[test]
fn the_guard_stands_before_every_route() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    assert_eq!(http.ask("POST /put?key=a&value=1").status, 200);
    let requests = [
        "POST /put?key=b&value=2",
        "OPTIONS /put",
        "GET /get/a",
        "GET /get/",
        "DELETE /delete/a",
        "DELETE /delete/",
        "GET /all",
        "DELETE /clear",
        "GET /stats",
        "GET /health",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "GET /api/v1/live",
        "GET /api/v1/key?key=a",
        "DELETE /api/v1/key?key=a",
        "DELETE /api/v1/keys/a",
        "GET /api/v1/namespaces",
        "GET /api/v1/console",
        "GET /api/v1/export",
        "POST /api/v1/import",
        "POST /api/v1/backup",
        "POST /api/v1/batch",
        "DELETE /api/v1/keys?prefix=a",
        "GET /docs",
        "GET /docs/swagger-ui.css",
        "GET /openapi.json",
        "GET /",
        "GET /nope",
        "POST /nope",
        "POST /all",
        "GET *",
    ];
    let marks = [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Origin: http://evil.example",
        "Origin: null",
    ];
    for request in requests {
        for mark in marks {
            http.send(request, &[mark], b"");
            let answer = http.answer();
            assert_eq!(answer.status, 403, "{request}, {mark}");
            assert!(
                answer
                    .text()
                    .contains(r#""detail":"another site's page has caused this request ("#),
                "{}",
                answer.text()
            );
            assert!(!answer.head.contains("access-control-"), "{}", answer.head);
        }
        // A page of a neighbour, who has answered for its name with the address of this machine.
        for name in ["x.local", "x", "x.internal"] {
            let page = format!("Host: {name}:8000\r\nOrigin: http://{name}:8000");
            http.send_bytes(format!("{request} HTTP/1.1\r\n{page}\r\n\r\n").as_bytes());
            assert_eq!(http.answer().status, 403, "{request}, {page}");
        }
        http.send_bytes(
            format!("{request} HTTP/1.1\r\nHost: evil.example:8000\r\n\r\n").as_bytes(),
        );
        let expected = "this server is not known as evil.example:8000: use its address or localhost, or start it with \
            --allowed-hosts evil.example (PYKV_ALLOWED_HOSTS=evil.example) if that is its name";
        let answer = http.answer();
        assert_eq!(answer.status, 403, "{request}");
        assert_eq!(answer.json()["detail"], expected, "{request}");
    }
    assert_eq!(http.ask("GET /all").text(), r#"{"a":"1"}"#);
}

#[test]
fn ordinary_clients_and_the_own_pages_are_let_in() {
    let server = TestServer::start_with(&["--allowed-hosts", "PyKV, host.docker.internal"]);
    let (addr, port) = (server.http_addr(), server.http_addr().port());
    let own = [
        format!("Host: {addr}"),
        format!("Host: localhost:{port}"),
        format!("Host: LocalHost.:{port}"),
        "Host: pykv:8000".to_owned(),
        "Host: [::1]:8000".to_owned(),
        "Host: 192.168.1.7".to_owned(),
        "Host: host.docker.internal:8000".to_owned(),
        format!(
            "Host: {addr}\r\nOrigin: http://{addr}\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors"
        ),
        format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}"),
        format!(
            "Host: {addr}\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document"
        ),
    ];
    let mut http = Http::connect(&server);
    for headers in own {
        http.send_bytes(
            format!("POST /put?key=a&value=1 HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes(),
        );
        assert_eq!(http.answer().status, 200, "{headers}");
    }
    http.send_bytes(format!("GET http://{addr}/get/a HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes());
    assert_eq!(http.answer().text(), r#"{"key":"a","value":"1"}"#);
}

/// Goal: a list costs the server a bounded buffer, however long it is and however slow its readers are.
/// Method: 200 MB of pairs; ten readers who ask and do not read; meanwhile others are served, and memory stays.
#[test]
fn readers_who_do_not_read_cost_the_server_no_memory() {
    let server = TestServer::start_with(&["--durability", "off"]);
    let mut client = server.client();
    let value = "v".repeat(1_000);
    for thousand in 0..200 {
        let lines: Vec<String> = (0..1_000)
            .map(|at| format!("PUT k{thousand}:{at} {value}\n"))
            .collect();
        client.send_bytes(lines.concat().as_bytes());
        for _ in 0..1_000 {
            assert_eq!(client.reply(), "OK");
        }
    }
    let before = server.memory_bytes();
    let mut slow: Vec<Http> = (0..10).map(|_| Http::connect(&server)).collect();
    for reader in &mut slow {
        reader.send("GET /all", &[], b"");
        assert_eq!(reader.head().0, 200);
    }
    let mut fast = Http::connect(&server);
    fast.send("GET /all", &[], b"");
    assert_eq!(fast.head().0, 200);
    let (mut bytes, mut most) = (0, 0);
    fast.read_chunks(|chunk| {
        let look = bytes / (10 * MIB) < (bytes + chunk.len()) / (10 * MIB);
        bytes += chunk.len();
        if look {
            assert_eq!(client.ask("PUT other 1"), "OK");
            most = most.max(server.memory_bytes());
        }
    });
    assert!(bytes > 200_000_000, "only {bytes} bytes came");
    let grown = most.saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more for slow readers");
    // Whoever reads on in the end has lost nothing.
    let mut all = Vec::new();
    slow.remove(0)
        .read_chunks(|chunk| all.extend_from_slice(chunk));
    let all: BTreeMap<String, String> = serde_json::from_slice(&all).expect("an object of text");
    let count = all.keys().filter(|key| key.contains(':')).count();
    assert_eq!(count, 200_000);
}

#[test]
fn the_figures_are_those_of_stats_as_one_object() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    assert_eq!(http.ask("POST /put?key=a&value=12").status, 200);
    assert_eq!(http.ask("GET /get/a").status, 200);
    assert_eq!(http.ask("GET /get/b").status, 404);
    let answer = http.ask("GET /stats");
    assert_eq!(answer.status, 200);
    let figures = answer.json();
    let figures = figures.as_object().expect("an object");
    for (name, expected) in [
        ("keys", json!(1)),
        ("data_bytes", json!(3)),
        ("hits", json!(1)),
        ("misses", json!(1)),
        ("errors", json!(0)),
        ("requests_total", json!(4)),
        ("command_put", json!(1)),
        ("command_get", json!(2)),
        ("command_stats", json!(1)),
        ("durability", json!("everysec")),
        ("disk", json!("ok")),
        ("last_save_time", Value::Null),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("pid", json!(server.pid())),
    ] {
        assert_eq!(figures.get(name), Some(&expected), "{name}");
    }
    let rows = server.client().ask_rows("STATS");
    let names: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.strip_prefix("STAT ")?.split(' ').next())
        .collect();
    assert_eq!(figures.keys().collect::<Vec<_>>(), names);
}

#[test]
fn an_answer_is_gzipped_for_who_asks_for_that() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let long = "a long value ".repeat(10_000);
    assert_eq!(http.put(&json!({"key": "a", "value": long})).status, 200);
    for path in ["/all", "/get/a", "/api/v1/keys/a", "/api/v1/export"] {
        let plain = http.ask(&format!("GET {path}"));
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        http.send(&format!("GET {path}"), &["Accept-Encoding: gzip"], b"");
        let gzipped = http.answer();
        assert_eq!(gzipped.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(gzipped.header("vary"), Some("accept-encoding"), "{path}");
        assert!(gzipped.body.len() < plain.body.len() / 10, "{path}");
        let mut body = Vec::new();
        let mut reader = MultiGzDecoder::new(&*gzipped.body);
        reader.read_to_end(&mut body).expect("a whole stream");
        assert_eq!(body, plain.body, "{path}");
        assert_eq!(gzipped.header("etag"), plain.header("etag"), "{path}");
    }
}

/// Goal: the documentation and the routes are the same; neither has what the other has not.
#[test]
fn every_route_that_is_documented_exists_and_none_is_missing() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let api = http.ask("GET /openapi.json").json();
    assert!(
        api["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1.")),
        "{}",
        api["openapi"]
    );
    assert_eq!(
        (&api["info"]["title"], &api["info"]["version"]),
        (&json!("PyKV"), &json!(env!("CARGO_PKG_VERSION")))
    );
    let (mut routes, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (path, operations) in api["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let route = format!("{} {path}", method.to_ascii_uppercase());
            check_operation(&mut http, &route, operation);
            let id = operation["operationId"].as_str().expect("a name");
            assert!(ids.insert(id.to_owned()), "two are named {id}");
            routes.insert(route);
        }
    }
    let expected = [
        "DELETE /api/v1/key",
        "DELETE /api/v1/keys",
        "DELETE /api/v1/keys/{key}",
        "DELETE /api/v1/session",
        "DELETE /clear",
        "DELETE /delete/{key}",
        "GET /all",
        "GET /api/v1/commands",
        "GET /api/v1/count",
        "GET /api/v1/export",
        "GET /api/v1/key",
        "GET /api/v1/keys",
        "GET /api/v1/keys/{key}",
        "GET /api/v1/live",
        "GET /api/v1/members",
        "GET /api/v1/namespaces",
        "GET /api/v1/operations",
        "GET /api/v1/session",
        "GET /api/v1/stats",
        "GET /docs/grafana.json",
        "GET /get/{key}",
        "GET /health",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "GET /openapi.json",
        "GET /stats",
        "PATCH /api/v1/key",
        "PATCH /api/v1/keys/{key}",
        "POST /api/v1/backup",
        "POST /api/v1/batch",
        "POST /api/v1/import",
        "POST /api/v1/session",
        "POST /put",
        "PUT /api/v1/key",
        "PUT /api/v1/keys/{key}",
    ];
    assert_eq!(
        routes.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
}

fn check_operation(http: &mut Http, route: &str, operation: &Value) {
    if route == "GET /api/v1/live" {
        // Its answer has no end.
        return;
    }
    let answer = http.ask(&route.replace("{key}", "a"));
    assert_ne!(answer.status, 405, "{route}");
    assert_ne!(answer.text(), r#"{"detail":"Not Found"}"#, "{route}");
    assert!(
        operation["responses"]
            .get(answer.status.to_string())
            .is_some(),
        "{route} answers {}",
        answer.status
    );
    assert!(
        operation["responses"].get("403").is_some(),
        "{route} has no 403"
    );
    assert!(
        operation["summary"]
            .as_str()
            .is_some_and(|summary| summary.ends_with('.')),
        "{route} has no summary"
    );
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let is_condition = parameter["in"] == "header";
        let may_be_left_out = route.starts_with("GET /api/") || route == "POST /api/v1/import";
        let is_option = parameter["in"] == "query" && may_be_left_out && parameter["name"] != "key";
        let is_required = !is_condition && !is_option;
        assert_eq!(parameter["required"], is_required, "{route}: {parameter}");
        assert!(
            parameter["description"].is_string() && is_condition == parameter["example"].is_null(),
            "{route}: {parameter}"
        );
    }
}

/// Goal: no response of any endpoint, whatever its status, lets a browser guess its type, frame it or keep it.
/// Method: every operation of the documentation, asked for well and badly; the files of the pages; refusals of every kind.
#[test]
fn every_response_carries_the_protective_headers() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let api = http.ask("GET /openapi.json").json();
    let documented = api["paths"].as_object().expect("paths").iter();
    let mut requests: Vec<String> = documented
        .flat_map(|(path, operations)| {
            let path = path.replace("{key}", "a");
            let methods = operations.as_object().expect("operations").keys();
            let methods = methods.map(|method| method.to_ascii_uppercase());
            // One that no endpoint has, and one that some have.
            let methods = methods.chain(["LOCK".to_owned(), "HEAD".to_owned()]);
            methods
                .map(move |method| format!("{method} {path}"))
                .collect::<Vec<_>>()
        })
        .collect();
    for other in [
        "POST /put?key=a&value=1",
        "GET /get/a",
        "DELETE /delete/",
        "PUT /api/v1/keys/",
        "GET /api/v1/key?key=a",
        "GET /api/v1/keys?limit=0",
        "GET /",
        "GET /dashboard/main.js",
        "GET /dashboard/nope",
        "GET /docs",
        "GET /docs/swagger-ui.css",
        "GET /docs/grafana.json",
        "GET /docs/nope",
        "GET /openapi.json",
        "GET /nope",
        "GET /api/nope",
        "OPTIONS *",
    ] {
        requests.push(other.to_owned());
    }
    for request in requests {
        for header in ["X-None: 1", "Origin: null"] {
            let mut http = Http::connect(&server);
            http.send(&request, &[header], b"");
            is_protected(&http.head().1, &request);
        }
    }
    let mut http = Http::connect(&server);
    http.send_bytes(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    is_protected(&http.head().1, "an unknown host");
    let mut http = Http::connect(&server);
    http.send("POST /api/v1/batch", &["Content-Length: 403047425"], b"");
    let (status, head) = http.head();
    assert_eq!(status, 413);
    is_protected(&head, "a body that is too long");
    let mut http = Http::connect(&server);
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    http.send("GET /api/v1/console", &upgrade, b"");
    let (status, head) = http.head();
    assert_eq!(status, 101);
    is_protected(&head, "a WebSocket");
}

fn is_protected(head: &str, request: &str) {
    for line in [
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "cross-origin-resource-policy: same-origin",
        "referrer-policy: no-referrer",
    ] {
        let times = head.lines().filter(|header| *header == line).count();
        assert_eq!(times, 1, "{line} of {request}: {head}");
    }
    for beginning in [
        "cache-control: no-",
        "content-security-policy: default-src '",
    ] {
        let found = head.lines().filter(|line| line.starts_with(beginning));
        let found: Vec<&str> = found.collect();
        assert_eq!(found.len(), 1, "{beginning} of {request}: {head}");
    }
    let policy = head.contains("frame-ancestors 'none'");
    assert!(policy, "{request}: {head}");
}

#[test]
fn the_documentation_can_be_read_without_a_network() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let page = http.ask("GET /docs");
    assert_eq!(page.status, 200);
    assert!(
        page.head.contains("\ncontent-type: text/html"),
        "{}",
        page.head
    );
    assert!(
        page.head
            .contains("\ncontent-security-policy: default-src 'self'"),
        "{}",
        page.head
    );
    assert!(
        !page.text().contains("://"),
        "the page names another server"
    );
    let mut seen = 0;
    for part in page
        .text()
        .split(['"'])
        .filter(|part| part.starts_with("/docs/"))
    {
        let asset = http.ask(&format!("GET {part}"));
        assert_eq!(
            (asset.status, asset.body.is_empty()),
            (200, false),
            "{part}"
        );
        seen += 1;
    }
    assert_eq!(seen, 3, "style, script and icon");
    let answer = http.ask("GET /docs/nope.js");
    assert_eq!(
        (answer.status, answer.text()),
        (404, r#"{"detail":"Not Found"}"#)
    );
}
