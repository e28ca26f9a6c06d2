//! `POST /api/v1/batch`: several operations in one step.

use serde_json::{Value, json};

use crate::support::http::{Answer, Http};
use crate::support::server::TestServer;

fn send(http: &mut Http, operations: &Value) -> Answer {
    let body = json!({ "operations": operations }).to_string();
    http.send("POST /api/v1/batch", &[], body.as_bytes());
    http.answer()
}

#[test]
fn what_a_batch_does_is_told_in_its_order() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let answer = send(
        &mut http,
        &json!([
            {"op": "get", "key": "a"},
            {"op": "put", "key": "a", "value": "1"},
            {"op": "get", "key": "a"},
            {"op": "put", "key": "a", "value": {"$base64": "AP8="}, "expires_at": "2100-01-01T00:00:00Z"},
            {"op": "put", "key": "a", "value": "2", "keep_expiry": true},
            {"op": "get", "key": "a"},
            {"op": "delete", "key": "a"},
            {"op": "delete", "key": "a"},
            {"op": "put", "key": "", "value": ""},
        ]),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let results = answer["results"].as_array().expect("a list");
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64())
        .collect();
    assert_eq!(
        statuses,
        [404, 201, 200, 200, 200, 200, 204, 404, 201].map(Some)
    );
    assert_eq!(results[2]["value"], "1");
    assert_eq!(results[2]["etag"], results[1]["etag"]);
    assert_eq!(results[2]["expires_at"], Value::Null);
    assert_eq!(results[5]["value"], "2");
    assert_eq!(results[5]["expires_at"], "2100-01-01T00:00:00.000Z");
    assert_eq!(results[6], json!({"key": "a", "status": 204}));
    assert_eq!(server.client().ask_rows("ALL"), ["ITEM \"\" \"\"", "END 1"]);
    // The ETag is the one that the key alone has.
    let etag = http
        .ask("GET /api/v1/key?key=")
        .header("etag")
        .map(str::to_owned);
    assert_eq!(results[8]["etag"].as_str(), etag.as_deref());
}

#[test]
fn a_batch_that_is_refused_has_changed_nothing_and_says_where() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let put = json!({"op": "put", "key": "a", "value": "1"});
    let key_max = 64 << 10;
    for (wrong, status, reason) in [
        (
            json!({"op": "get", "key": "a", "value": "1"}),
            422,
            "operations[1]: only a put takes a value",
        ),
        (
            json!({"op": "delete", "key": "a", "expires_in_ms": 5}),
            422,
            "operations[1]: only a put takes an expiry",
        ),
        (
            json!({"op": "put", "key": "a"}),
            422,
            "operations[1]: a put has no value: say which",
        ),
        (
            json!({"op": "put", "key": "a", "value": 3}),
            422,
            "operations[1]: value is neither a JSON string",
        ),
        (
            json!({"op": "put", "key": "a", "value": "1", "expires_in_ms": 5, "keep_expiry": true}),
            422,
            "operations[1]: there is more than one of expires_at",
        ),
        (
            json!({"op": "put", "key": "a", "value": "1", "expires_in_ms": 0}),
            422,
            "operations[1]: expires_in_ms is 0",
        ),
        (
            json!({"op": "put", "key": "x".repeat(key_max + 1), "value": "1"}),
            413,
            "operations[1]: ",
        ),
        (
            json!({"op": "rename", "key": "a"}),
            422,
            "the body is not what is asked for here: unknown variant `rename`",
        ),
        (
            json!({"op": "get"}),
            422,
            "the body is not what is asked for here: missing field `key`",
        ),
        (
            json!({"op": "get", "key": "a", "if": "b"}),
            422,
            "the body is not what is asked for here: unknown field `if`",
        ),
    ] {
        let answer = send(&mut http, &json!([put, wrong]));
        let detail = answer.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(answer.status, status, "{wrong}: {detail}");
        assert!(detail.starts_with(reason), "{wrong}: {detail}");
    }
    for (body, status) in [
        ("", 400),
        ("[]", 422),
        ("{}", 422),
        ("{\"operations\": [", 400),
    ] {
        http.send("POST /api/v1/batch", &[], body.as_bytes());
        assert_eq!(http.answer().status, status, "{body}");
    }
    let bare = br#"[{"op": "put", "key": "a", "value": "1"}]"#;
    http.send("POST /api/v1/batch", &[], bare);
    let refused = http.answer();
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["detail"], "the body is not a JSON object");
    assert_eq!(server.stat("keys"), 0);
    assert_eq!(send(&mut http, &json!([])).text(), r#"{"results":[]}"#);
}

#[test]
fn a_batch_may_have_ten_thousand_operations() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let puts = |count: usize| {
        let one = |number| json!({"op": "put", "key": format!("k{number}"), "value": "v"});
        Value::Array((0..count).map(one).collect())
    };
    let refused = send(&mut http, &puts(10_001));
    assert_eq!(refused.status, 422);
    assert!(
        refused
            .text()
            .contains("there are 10001 operations, and a batch may have 10000")
    );
    assert_eq!(server.stat("keys"), 0);
    let done = send(&mut http, &puts(10_000));
    assert_eq!(done.status, 200);
    assert_eq!(
        done.json()["results"].as_array().map(Vec::len),
        Some(10_000)
    );
    // All of it, or nothing: also after a crash.
    let server = server.kill().restart();
    assert_eq!(server.stat("keys"), 10_000);
}

#[test]
fn a_batch_may_read_64_mib_of_values() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mib = "x".repeat(1 << 20);
    let put = json!({"op": "put", "key": "mib", "value": mib});
    assert_eq!(
        send(
            &mut http,
            &json!([put, {"op": "put", "key": "b", "value": "y"}])
        )
        .status,
        200
    );
    let get = json!({"op": "get", "key": "mib"});
    let mut operations = vec![get; 64];
    operations.insert(0, json!({"op": "put", "key": "new", "value": "1"}));
    let whole = send(&mut http, &Value::Array(operations.clone()));
    assert_eq!(whole.status, 200);
    assert!(whole.body.len() > 64 << 20);
    assert_eq!(whole.json()["results"][64]["value"].as_str(), Some(&*mib));
    operations[0]["value"] = json!("2");
    operations.push(json!({"op": "get", "key": "b"}));
    let refused = send(&mut http, &Value::Array(operations));
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert!(
        refused.text().contains("nothing was changed"),
        "{}",
        refused.text()
    );
    assert_eq!(server.client().ask("GET new"), "VALUE \"1\"");
}

#[test]
fn nobody_sees_a_part_of_a_batch() {
    let server = TestServer::start();
    let addr = server.http_addr();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut http = Http::connect(&server);
            for number in 0..500 {
                let value = number.to_string();
                let keys = ["a", "b", "c"];
                let puts = keys.map(|key| json!({"op": "put", "key": key, "value": value}));
                assert_eq!(send(&mut http, &json!(puts)).status, 200, "{addr}");
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut client = server.client();
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
            let values = client.ask_array("MGET a b c");
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        }
    });
}
