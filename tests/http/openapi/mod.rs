//! `/openapi.json` is true: what it allows is accepted, what it does not is refused, and every response is of a form that it has.
//!
//! In: schemathesis (installed by `tests/run`), with the settings beside this file. Out: its verdict.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::http::Http;
use crate::support::server::{Stopped, TestServer, is_skipped};

/// Tries a server, as a user or as nobody. Nobody may make backups here: their folders may be anywhere on this machine.
fn try_all(server: &TestServer, sign_in: &[&str]) {
    let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let settings = checkout.join("tests/http/openapi");
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["schemathesis.toml", "addresses.py"] {
        std::fs::copy(settings.join(file), folder.path().join(file)).expect("a copy");
    }
    let program = checkout.join("target/clients/python/bin/schemathesis");
    let output = Command::new("timeout")
        .arg("300")
        .arg(program)
        .arg("run")
        .arg(format!("http://{}/openapi.json", server.http_addr()))
        .args(["--checks", "all", "--no-color"])
        .args(sign_in)
        .current_dir(folder.path())
        .output()
        .expect("tests/run installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let tried = said
        .lines()
        .find(|line| line.trim_start().starts_with("Tested:"));
    let tried = tried.and_then(|line| line.split_whitespace().last()?.parse().ok());
    assert!(tried > Some(30), "{said}");
}

#[test]
fn schemathesis_finds_nothing_where_anybody_may_ask() {
    if is_skipped("clients") {
        return;
    }
    let stopped = Stopped::new(&[]);
    stopped.write(
        "users.json",
        r#"{"users": {"default": {"rules": "on nopass allkeys allchannels allcommands -backup"}}}"#,
    );
    try_all(&stopped.restart(), &[]);
}

#[test]
fn schemathesis_finds_nothing_where_users_sign_in() {
    if is_skipped("clients") {
        return;
    }
    let stopped = Stopped::new(&[]);
    stopped.write(
        "users.json",
        r#"{"users": {"default": {"rules": "on >master allkeys allchannels allcommands"},
            "ann": {"rules": "on >wool allkeys allchannels allcommands -backup"}}}"#,
    );
    try_all(&stopped.restart(), &["--auth", "ann:wool"]);
}

#[test]
fn the_documentation_says_whether_the_client_has_to_sign_in() {
    let ways = json!([{"basic": []}, {"token": []}, {"session": []}]);
    let ways = ways.as_array().expect("a list");
    let document = |server: &TestServer| Http::connect(server).ask("GET /openapi.json").json();
    let open = TestServer::start();
    let security = document(&open)["security"].clone();
    let expected = [&[json!({})], &ways[..]].concat();
    assert_eq!(security, Value::from(expected));
    let closed = Stopped::new(&[])
        .with_env("PYKV_PASSWORD", "master")
        .restart();
    let document = document(&closed);
    assert_eq!(document["security"], Value::from(&ways[..]));
    for (path, is_open) in [
        ("/health", true),
        ("/docs/grafana.json", true),
        ("/all", false),
    ] {
        let security = document["paths"][path]["get"].get("security");
        assert_eq!(security == Some(&json!([])), is_open, "{path}");
    }
    let cookie = &document["components"]["securitySchemes"]["session"]["name"];
    let expected = format!("pykv-session-{}", closed.http_addr().port());
    assert_eq!(cookie.as_str(), Some(&*expected));
}

/// Goal: a parameter that an endpoint does not know is not passed over, as it may be a part of another one.
#[test]
fn an_unknown_parameter_is_refused_everywhere_in_the_api() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mut refused = 0;
    let document = http.ask("GET /openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    for (path, operations) in paths.iter().filter(|(path, _)| path.starts_with("/api/")) {
        for method in operations.as_object().expect("operations").keys() {
            let request = format!("{} {path}?nope=1", method.to_ascii_uppercase());
            let answer = http.ask(&request.replace("{key}", "a"));
            let status = if path.ends_with("{key}") { 400 } else { 422 };
            assert_eq!(answer.status, status, "{request}: {}", answer.text());
            refused += 1;
        }
    }
    assert_eq!(refused, 24);
    assert_eq!(http.ask("GET /health?probe=1").status, 200);
}

#[test]
fn an_integer_may_be_written_as_json_allows_and_null_is_none() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for (operation, status) in [
        (
            r#"{"op":"put","key":"a","value":"1","expires_in_ms":6e4}"#,
            200,
        ),
        (
            r#"{"op":"put","key":"a","value":"1","expires_in_ms":null}"#,
            422,
        ),
        (r#"{"op":"put","key":"a","value":null}"#, 422),
        (r#"{"op":"get","key":"a","value":null}"#, 422),
        (
            r#"{"op":"get","key":"a","expires_at":null,"keep_expiry":false}"#,
            200,
        ),
    ] {
        let body = format!(r#"{{"operations":[{operation}]}}"#);
        http.send("POST /api/v1/batch", &[], body.as_bytes());
        let answer = http.answer();
        assert_eq!(answer.status, status, "{operation}: {}", answer.text());
    }
}

#[test]
fn limits_of_parameters_hold_on_both_sides() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let mut http = Http::connect(&server);
    for (request, status) in [
        ("GET /api/v1/namespaces?limit=0", 200),
        ("GET /api/v1/namespaces?limit=100000", 200),
        ("GET /api/v1/namespaces?limit=100001", 422),
        ("GET /api/v1/keys?limit=1", 200),
        ("GET /api/v1/keys?limit=1000", 200),
        ("GET /api/v1/keys?limit=1001", 422),
        ("GET /api/v1/keys?cursor=", 422),
        ("GET /api/v1/keys?cursor=%2B5", 422),
        ("GET /api/v1/keys?cursor=18446744073709551615", 200),
    ] {
        assert_eq!(http.ask(request).status, status, "{request}");
    }
    // Digits beyond every cursor are behind the last pair.
    let page = http
        .ask("GET /api/v1/keys?cursor=99999999999999999999999")
        .json();
    assert_eq!(page["keys"], json!([]));
    assert_eq!(page["cursor"], Value::Null);
    for (to, word) in [
        ("relative", "from the root"),
        ("/tmp/nul\\u0000", "from the root"),
    ] {
        http.send(
            "POST /api/v1/backup",
            &[],
            format!(r#"{{"to":"{to}"}}"#).as_bytes(),
        );
        let answer = http.answer();
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains(word), "{}", answer.text());
    }
}
