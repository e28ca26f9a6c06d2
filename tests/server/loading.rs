//! While the data is being loaded: what clients are told, and that they are served afterwards; what the log says; and how a
//! load ends that is stopped, or that finds damage.
//!
//! Method: strace holds the server where it first reads a file of its data, until the test lets it go. So the load takes as
//! long as the test needs, however fast the code or slow the machine is.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::http::Http;
use crate::support::server::{Stopped, TestServer, is_skipped, wait_until};

/// A folder with a store.json of 1,000 bytes that holds `old`, and a journal that holds `new`.
fn folder() -> Stopped {
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", format!("{:<1000}", r#"{"old": "pair"}"#));
    let server = stopped.restart();
    assert_eq!(server.client().ask("PUT new pair"), "OK");
    server.kill()
}

/// The content of all files but the lock, which says who has last had it.
fn content(stopped: &Stopped) -> BTreeMap<String, String> {
    let names = stopped.names().into_iter();
    names
        .map(|name| (name.clone(), stopped.read(&name)))
        .collect()
}

/// What the log says of a load that is under way.
fn progress_lines(log: &str) -> Vec<&str> {
    log.lines()
        .filter_map(|line| line.split("INFO loading: ").nth(1))
        .collect()
}

/// The status and the body of the answer to a request, such as `GET /health`.
fn ask_http(server: &TestServer, request: &str, origin: Option<&str>) -> (u16, Value) {
    let (method, target) = request.split_once(' ').expect("a method and a target");
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://{}{target}", server.http_addr());
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(origin) = origin {
        request = request.header("Origin", origin);
    }
    let mut answer = agent
        .run(request.body(()).expect("a request"))
        .unwrap_or_else(|error| panic!("{target}: {error}"));
    let body = answer.body_mut().read_to_string().expect("a body of text");
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    (answer.status().as_u16(), body)
}

#[test]
fn a_client_that_comes_during_the_load_is_told_so_and_is_served_afterwards_on_the_same_connection()
{
    if is_skipped("strace") {
        return;
    }
    let stopped = Stopped::new(&[]);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    stopped.write(
        "store.json",
        format!(r#"{{"name": "Ada", "soon": {{"$text": "x", "$expires_at": "{soon}"}}}}"#),
    );
    let mut server = stopped.held_at("store.json").start_loading();
    let mut client = server.client();
    for line in [
        "GET name",
        "PUT a 1",
        "DEL name",
        "EXISTS name",
        "ALL",
        "KEYS",
        "COUNT",
        "CLEAR",
        "SAVE",
        "STATS",
        "PING",
        "HELP",
    ] {
        let reply = client.ask(line);
        assert!(reply.starts_with("ERR BUSY loading "), "{line}: {reply}");
    }
    for (line, error) in [
        ("GET", "ERR ARGS "),
        ("GET \"name", "ERR SYNTAX "),
        ("GET \"\\ud83d\"", "ERR TEXT "),
        ("FETCH name", "ERR UNKNOWN "),
    ] {
        let reply = client.ask(line);
        assert!(reply.starts_with(error), "{line}: {reply}");
    }
    client.send_bytes("PUT many 1\n".repeat(1_000).as_bytes());
    for _ in 0..1_000 {
        assert!(client.reply().starts_with("ERR BUSY loading "));
    }
    let mut leaving = server.client();
    assert_eq!(leaving.ask("QUIT"), "OK");
    assert_eq!(leaving.rest(), "");
    let mut browser = server.client();
    browser.send("POST / HTTP/1.1");
    assert!(browser.rest().starts_with("ERR DENIED "));
    server.let_go();
    server.wait_until_loaded();
    assert_eq!(client.ask("GET name"), "VALUE \"Ada\"");
    assert_eq!(client.ask("EXISTS a many"), "COUNT 0");
    wait_until("what has expired is gone", || {
        client.ask("COUNT") == "COUNT 1"
    });
    assert_eq!(client.ask("PUT a 1"), "OK");
    let server = server.kill().with_fault("").restart();
    assert_eq!(server.client().ask("COUNT"), "COUNT 2");
}

#[test]
fn http_says_503_during_the_load_and_health_says_loading_and_then_ok() {
    if is_skipped("strace") {
        return;
    }
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", r#"{"name": "Ada"}"#);
    let mut server = stopped.held_at("store.json").start_loading();
    for request in [
        "GET /get/name",
        "GET /all",
        "GET /stats",
        "GET /api/v1/keys",
        "GET /api/v1/namespaces",
        "GET /api/v1/count",
        "GET /api/v1/export",
        "GET /api/v1/stats",
        "DELETE /api/v1/keys?prefix=a",
        "POST /put?key=a&value=1",
        "DELETE /delete/name",
        "DELETE /clear",
    ] {
        let (status, body) = ask_http(&server, request, None);
        let detail = body["detail"].as_str().unwrap_or_default();
        assert_eq!(status, 503, "{request}: {body}");
        assert!(
            detail.starts_with("loading the data: 0% of "),
            "{request}: {body}"
        );
    }
    let (status, health) = ask_http(&server, "GET /health", None);
    assert_eq!((status, &health["status"]), (503, &json!("loading")));
    let reasons = health["reasons"].as_array().expect("reasons");
    assert!(
        reasons[0]
            .as_str()
            .is_some_and(|reason| reason.starts_with("loading the data: 0% of ")),
        "{health}"
    );
    for (request, expected) in [
        ("GET /docs", 200),
        ("GET /openapi.json", 200),
        ("POST /put", 422),
        ("GET /no", 404),
    ] {
        assert_eq!(ask_http(&server, request, None).0, expected, "{request}");
    }
    let (status, body) = ask_http(&server, "GET /get/name", Some("http://elsewhere.example"));
    assert_eq!(status, 403, "{body}");
    let (_, api) = ask_http(&server, "GET /openapi.json", None);
    // These answer in any case.
    let ready = [
        "/health/live",
        "/metrics",
        "/api/v1/commands",
        "/api/v1/operations",
        "/api/v1/live",
        "/api/v1/members",
        "/api/v1/session",
        "/docs/grafana.json",
        "/openapi.json",
    ];
    let waits = |path: &str| !ready.contains(&path);
    for (path, methods) in api["paths"].as_object().expect("paths") {
        for operation in methods.as_object().expect("methods").values() {
            let reason = operation["responses"]["503"]["description"].as_str();
            let is_documented = reason.is_some_and(|reason| reason.contains("being loaded"));
            assert_eq!(is_documented, waits(path), "{operation}");
            // Others are refused where the server has too many clients.
            assert_eq!(reason.is_none(), path == "/health/live", "{operation}");
        }
    }
    assert_eq!(ask_http(&server, "GET /health/live", None).0, 200);
    let mut http = Http::connect(&server);
    let metrics = http.ask("GET /metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.text().contains("\npykv_loading 1\n"),
        "{}",
        metrics.text()
    );
    assert!(
        !metrics.text().contains("\npykv_keys "),
        "{}",
        metrics.text()
    );
    server.let_go();
    server.wait_until_loaded();
    let well = json!({"status": "ok", "reasons": []});
    assert_eq!(ask_http(&server, "GET /health", None), (200, well));
    let pairs = json!({"name": "Ada"});
    assert_eq!(ask_http(&server, "GET /all", None), (200, pairs));
}

#[test]
fn a_load_of_more_than_a_second_says_in_the_log_and_to_clients_how_far_it_is() {
    if is_skipped("strace") {
        return;
    }
    let stopped = folder();
    let journal = stopped.read("journal-2.jsonl").len();
    let (percent, total) = (1000 * 100 / (1000 + journal), 1000 + journal);
    assert!((1_000..1_000_000).contains(&total));
    let started = Instant::now();
    let mut server = stopped.held_at("journal-2.jsonl").start_loading();
    let mut client = server.client();
    let busy = format!(
        "ERR BUSY loading the data: {percent}% of store.json and the journals has been read; try again in a moment"
    );
    wait_until("store.json has been read", || client.ask("GET old") == busy);
    let line = format!("{percent}% of {},{:03} bytes, ", total / 1000, total % 1000);
    wait_until("it is told in the log", || {
        progress_lines(&server.log())
            .iter()
            .any(|said| said.starts_with(&line))
    });
    server.let_go();
    server.wait_until_loaded();
    assert_eq!(client.ask("GET new"), "VALUE \"pair\"");
    let log = server.log();
    assert!(
        progress_lines(&log).len() as u64 <= started.elapsed().as_secs(),
        "{log}"
    );
    let seconds = progress_lines(&log)[0]
        .rsplit(", ")
        .next()
        .and_then(|rest| rest.strip_suffix(" s"));
    assert!(
        seconds.is_some_and(|seconds| seconds.parse().is_ok_and(|seconds: f64| seconds >= 1.0)),
        "{log}"
    );
}

#[test]
fn a_quick_load_says_nothing_of_how_far_it_is() {
    let stopped = folder();
    let started = Instant::now();
    let server = stopped.restart();
    // None, that is, wherever a start takes less than a second.
    let log = server.log();
    assert!(
        progress_lines(&log).len() as u64 <= started.elapsed().as_secs(),
        "{log}"
    );
}

#[test]
fn a_stop_during_the_load_ends_at_once_with_status_0_and_changes_nothing() {
    if is_skipped("strace") {
        return;
    }
    for signal in ["TERM", "INT"] {
        let stopped = folder();
        // Its end is torn: a load that goes through would cut it off.
        let journal = stopped.read("journal-2.jsonl") + "torn";
        stopped.write("journal-2.jsonl", journal);
        let before = content(&stopped);
        let server = stopped.held_at("journal-2.jsonl").start_loading();
        let mut client = server.client();
        assert!(client.ask("PUT a 1").starts_with("ERR BUSY loading "));
        server.send_signal(signal);
        let (stopped, code) = server.ended();
        assert_eq!(code, Some(0), "{}", stopped.log());
        assert_eq!(client.rest(), "");
        assert_eq!(content(&stopped), before);
        let server = stopped.with_fault("").restart();
        assert_eq!(server.client().ask("EXISTS old new a"), "COUNT 2");
    }
}

#[test]
fn damage_that_is_found_at_the_end_of_a_long_load_still_stops_the_start() {
    if is_skipped("strace") {
        return;
    }
    let damages = [
        ("store.json", "}", ",", "store.json: "),
        (
            "journal-2.jsonl",
            "\"new\"",
            "\"now\"",
            "journal-2.jsonl: line 3 is damaged ",
        ),
    ];
    for (name, whole, damaged, said) in damages {
        let stopped = folder();
        assert_eq!(&stopped.names()[..], ["journal-2.jsonl", "store.json"]);
        let mut text = stopped.read(name).replacen(whole, damaged, 1);
        if name != "store.json" {
            // A whole record after it, so that it is no tear.
            text += &stopped
                .read(name)
                .lines()
                .last()
                .map(|line| format!("{line}\n"))
                .expect("a record");
        }
        stopped.write(name, text);
        let before = content(&stopped);
        let mut server = stopped.held_at(name).start_loading();
        let mut client = server.client();
        assert!(client.ask("GET old").starts_with("ERR BUSY loading "));
        wait_until("the load is long", || {
            !progress_lines(&server.log()).is_empty()
        });
        server.let_go();
        let (stopped, code) = server.ended();
        let log = stopped.log();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("pykv-server: ") && log.contains(said), "{log}");
        assert_eq!(client.rest(), "");
        assert_eq!(content(&stopped), before);
    }
}

#[test]
fn the_limit_on_connections_holds_during_the_load() {
    if is_skipped("strace") {
        return;
    }
    let stopped = Stopped::new(&[]).with_files(100);
    stopped.write("store.json", r#"{"name": "Ada"}"#);
    let mut server = stopped.held_at("store.json").start_loading();
    let mut clients: Vec<_> = (0..75).map(|_| server.client()).collect();
    for client in &mut clients {
        assert!(client.ask("PING").starts_with("ERR BUSY loading "));
    }
    assert_eq!(
        server.client().rest(),
        "ERR BUSY there are 75 connections already; try again later\n"
    );
    server.let_go();
    server.wait_until_loaded();
    assert_eq!(clients[74].ask("GET name"), "VALUE \"Ada\"");
}
