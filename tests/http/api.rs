//! `/api/v1/keys`: pairs with their expiry, changes under conditions, and what is said of requests that cannot be done.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::full_disk::limit_files;
use crate::support::http::{Answer, Http, NASTY, encoded};
use crate::support::server::{Stopped, TestServer, is_skipped};

const MIB: usize = 1 << 20;

/// A request on a key, percent-encoded, such as `PUT name`. Only PUT and PATCH have a body.
fn ask(http: &mut Http, request: &str, headers: &[&str], body: &str) -> Answer {
    let (method, key) = request.split_once(' ').expect("a method and a key");
    let body = match method {
        "PUT" | "PATCH" => body,
        _ => "",
    };
    let request = format!("{method} /api/v1/key?key={key}");
    http.send(&request, headers, body.as_bytes());
    http.answer()
}

/// Stores a value; its ETag.
fn put(http: &mut Http, key: &str, value: &str) -> String {
    let body = json!({"value": value}).to_string();
    let answer = ask(http, &format!("PUT {key}"), &[], &body);
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    etag(&answer)
}

fn etag(answer: &Answer) -> String {
    let etag = answer.header("etag").map(str::to_owned);
    etag.unwrap_or_else(|| panic!("no ETag: {}", answer.head))
}

fn if_match(etag: &str) -> String {
    format!("If-Match: {etag}")
}

fn if_none_match(etag: &str) -> String {
    format!("If-None-Match: {etag}")
}

/// That an answer is a problem of this status, and says these words.
fn is_problem(answer: &Answer, status: u16, title: &str, words: &str) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"), "{text}");
    let problem = answer.json();
    assert_eq!(problem["type"], "about:blank", "{text}");
    assert_eq!(problem["title"], title, "{text}");
    assert_eq!(problem["status"], status, "{text}");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains(words)),
        "{text}"
    );
    assert_eq!(
        problem.as_object().map(serde_json::Map::len),
        Some(4),
        "{text}"
    );
}

fn is_unmet(answer: &Answer, header: &str) {
    is_problem(
        answer,
        412,
        "Precondition Failed",
        &format!("{header} does not hold"),
    );
}

fn is_missing(answer: &Answer) {
    is_problem(answer, 404, "Not Found", "there is no such key");
}

/// A moment so many milliseconds from now.
fn moment_in(ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() + jiff::SignedDuration::from_millis(ms)
}

/// The text of a moment, to the millisecond.
fn text_of(moment: jiff::Timestamp) -> String {
    format!("{moment:.3}")
}

#[test]
fn a_pair_is_stored_read_and_deleted() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    is_missing(&ask(&mut http, "GET name", &[], ""));
    is_missing(&ask(&mut http, "DELETE name", &[], ""));
    let answer = ask(&mut http, "PUT name", &[], r#"{"value":"Ada"}"#);
    assert_eq!(answer.text(), r#"{"key":"name","expires_at":null}"#);
    assert_eq!(answer.status, 201);
    let first = etag(&answer);
    let answer = ask(&mut http, "PUT name", &[], r#"{"value":"Bob"}"#);
    assert_eq!(answer.text(), r#"{"key":"name","expires_at":null}"#);
    assert_eq!(answer.status, 200);
    assert_ne!(etag(&answer), first);
    assert_eq!(server.client().ask("GET name"), "VALUE \"Bob\"");
    let read = ask(&mut http, "GET name", &[], "");
    assert_eq!(
        read.text(),
        r#"{"key":"name","value":"Bob","expires_at":null}"#
    );
    assert_eq!((read.status, etag(&read)), (200, etag(&answer)));
    assert_eq!(read.header("content-type"), Some("application/json"));
    assert_eq!(read.header("cache-control"), Some("no-cache"));
    let answer = ask(&mut http, "DELETE name", &[], "");
    assert_eq!((answer.status, answer.text()), (204, ""));
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
}

/// The hash of nothing is known: <https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors/test_vectors.json>.
#[test]
fn an_etag_is_the_hash_of_the_value_and_the_same_after_a_restart() {
    const OF_NOTHING: &str = "\"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\"";
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    assert_eq!(put(&mut http, "empty", ""), OF_NOTHING);
    assert_eq!(put(&mut http, "other", ""), OF_NOTHING);
    let ada = put(&mut http, "name", "Ada");
    assert_ne!(ada, OF_NOTHING);
    assert_eq!(put(&mut http, "name", "Bob").len(), OF_NOTHING.len());
    assert_eq!(server.client().ask("PUT name Ada"), "OK");
    let server = server.kill().restart();
    let mut http = Http::connect(&server);
    assert_eq!(etag(&ask(&mut http, "GET name", &[], "")), ada);
    assert_eq!(etag(&ask(&mut http, "GET empty", &[], "")), OF_NOTHING);
}

#[test]
fn a_reader_who_has_the_value_already_is_told_so_without_it() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let old = put(&mut http, "name", "Ada");
    let now = put(&mut http, "name", "Bob");
    let same = [
        now.clone(),
        "*".to_owned(),
        format!("W/{now}"),
        format!("{old} , {now}"),
    ];
    for tags in same {
        let answer = ask(&mut http, "GET name", &[&if_none_match(&tags)], "");
        assert_eq!((answer.status, answer.text()), (304, ""), "{tags}");
        assert_eq!(etag(&answer), now);
    }
    let answer = ask(
        &mut http,
        "GET name",
        &[&if_none_match(&old), &if_none_match(&now)],
        "",
    );
    assert_eq!(answer.status, 304, "two headers are one list");
    for tags in [old.clone(), "\"*\"".to_owned(), format!("W/{old}")] {
        let answer = ask(&mut http, "GET name", &[&if_none_match(&tags)], "");
        assert_eq!(
            (answer.status, &answer.json()["value"]),
            (200, &json!("Bob")),
            "{tags}"
        );
    }
    assert_eq!(
        ask(&mut http, "GET name", &[&if_match(&now)], "").status,
        200
    );
    is_unmet(
        &ask(&mut http, "GET name", &[&if_match(&old)], ""),
        "If-Match",
    );
    is_missing(&ask(&mut http, "GET nope", &[&if_none_match("*")], ""));
    is_missing(&ask(&mut http, "GET nope", &[&if_match("*")], ""));
}

#[test]
fn head_answers_as_get_does_without_the_body() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let tag = put(&mut http, "name", "Ada");
    for (key, condition, status) in [
        ("name", "X-None: 1".to_owned(), 200),
        ("name", if_none_match(&tag), 304),
        ("name", if_match("\"other\""), 412),
        ("nope", "X-None: 1".to_owned(), 404),
    ] {
        http.send(&format!("HEAD /api/v1/keys/{key}"), &[&condition], b"");
        let (answered, head) = http.head();
        assert_eq!(answered, status, "{key}, {condition}");
        assert_eq!(
            head.contains(&format!("\netag: {tag}\n")),
            status < 400,
            "{head}"
        );
    }
    // Had a body come, it would stand here.
    assert_eq!(ask(&mut http, "GET name", &[], "").status, 200);
}

#[test]
fn a_value_is_stored_only_where_there_is_none_or_only_where_there_is_one() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let (missing, there) = (&["If-None-Match: *"][..], &["If-Match: *"][..]);
    is_unmet(
        &ask(&mut http, "PUT name", there, r#"{"value":"Ada"}"#),
        "If-Match",
    );
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
    assert_eq!(
        ask(&mut http, "PUT name", missing, r#"{"value":"Ada"}"#).status,
        201
    );
    is_unmet(
        &ask(&mut http, "PUT name", missing, r#"{"value":"Bob"}"#),
        "If-None-Match",
    );
    assert_eq!(server.client().ask("GET name"), "VALUE \"Ada\"");
    assert_eq!(
        ask(&mut http, "PUT name", there, r#"{"value":"Bob"}"#).status,
        200
    );
    assert_eq!(server.client().ask("GET name"), "VALUE \"Bob\"");
    // A pair that has expired is not there.
    assert_eq!(server.client().ask("SET gone x PX 1"), "OK");
    while server.client().ask("EXISTS gone") == "COUNT 1" {}
    is_unmet(
        &ask(&mut http, "PUT gone", there, r#"{"value":"x"}"#),
        "If-Match",
    );
    assert_eq!(
        ask(&mut http, "PUT gone", missing, r#"{"value":"x"}"#).status,
        201
    );
}

#[test]
fn a_value_is_stored_only_in_the_place_of_the_one_that_was_read() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let body = r#"{"value":"new"}"#;
    is_unmet(
        &ask(&mut http, "PUT k", &["If-Match: \"a\""], body),
        "If-Match",
    );
    let first = put(&mut http, "k", "first");
    let second = put(&mut http, "k", "second");
    for tags in [first.clone(), "\"\"".to_owned(), format!("W/{second}")] {
        is_unmet(
            &ask(&mut http, "PUT k", &[&if_match(&tags)], body),
            "If-Match",
        );
    }
    is_unmet(
        &ask(&mut http, "PUT k", &[&if_none_match(&second)], body),
        "If-None-Match",
    );
    assert_eq!(server.client().ask("GET k"), "VALUE \"second\"");
    let answer = ask(&mut http, "PUT k", &[&if_match(&second)], body);
    assert_eq!(
        (answer.status, server.client().ask("GET k").as_str()),
        (200, "VALUE \"new\"")
    );
    let third = etag(&answer);
    // One of several will do; and both conditions must hold.
    let (any, none) = (
        if_match(&format!("{first}, {third}")),
        if_none_match(&third),
    );
    is_unmet(
        &ask(&mut http, "PUT k", &[&any, &none], r#"{"value":"x"}"#),
        "If-None-Match",
    );
    assert_eq!(
        ask(&mut http, "PUT k", &[&any], r#"{"value":"x"}"#).status,
        200
    );
    assert_eq!(
        ask(
            &mut http,
            "PUT k",
            &[&if_none_match(&third)],
            r#"{"value":"y"}"#
        )
        .status,
        200
    );
    assert_eq!(server.client().ask("GET k"), "VALUE \"y\"");
}

#[test]
fn a_key_is_deleted_and_its_expiry_set_only_if_the_value_is_the_one_that_was_read() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let old = put(&mut http, "k", "old");
    let now = put(&mut http, "k", "now");
    let soon = r#"{"expires_in_ms":60000}"#;
    is_unmet(
        &ask(&mut http, "DELETE k", &[&if_match(&old)], ""),
        "If-Match",
    );
    is_unmet(
        &ask(&mut http, "DELETE k", &[&if_none_match(&now)], ""),
        "If-None-Match",
    );
    is_unmet(
        &ask(&mut http, "PATCH k", &[&if_match(&old)], soon),
        "If-Match",
    );
    assert_eq!(server.client().ask("GET k"), "VALUE \"now\"");
    assert_eq!(server.client().ask("TTL k"), "COUNT -1");
    let answer = ask(&mut http, "PATCH k", &[&if_match(&now)], soon);
    assert_eq!(answer.status, 200);
    // The ETag is the value's alone.
    assert_eq!(
        ask(&mut http, "DELETE k", &[&if_match(&now)], "").status,
        204
    );
    for request in ["DELETE k", "PATCH k"] {
        is_missing(&ask(&mut http, request, &[&if_match(&now)], soon));
        is_missing(&ask(&mut http, request, &["If-Match: *"], soon));
    }
}

/// Goal: of all who change what they have read, exactly one does, however close they come.
/// Method: two clients count up, as in a loop of read, add, store under If-Match; a count that is lost is a change that was not one
/// step. A third client moves the expiry, which is no reason to fail. Values on both sides of what is hashed at once.
#[test]
fn of_two_clients_who_change_what_both_have_read_exactly_one_does() {
    const EACH: usize = 150;
    for padding in [0, 100_000] {
        let server = TestServer::start();
        let server = &server;
        put(&mut Http::connect(server), "n", &"0".repeat(padding + 1));
        let unmet: usize = std::thread::scope(|scope| {
            let counting = [1, 2].map(|_| {
                scope.spawn(move || {
                    let mut http = Http::connect(server);
                    let (mut done, mut unmet) = (0, 0);
                    while done < EACH {
                        let read = ask(&mut http, "GET n", &[], "");
                        let value = read.json()["value"].as_str().map(str::to_owned);
                        let number: usize =
                            value.and_then(|text| text.parse().ok()).expect("a number");
                        let value = format!("{}{}", "0".repeat(padding), number + 1);
                        let body = json!({"value": value, "keep_expiry": true}).to_string();
                        let answer = ask(&mut http, "PUT n", &[&if_match(&etag(&read))], &body);
                        match answer.status {
                            200 => done += 1,
                            _ => {
                                is_unmet(&answer, "If-Match");
                                unmet += 1;
                            }
                        }
                    }
                    unmet
                })
            });
            let moving = scope.spawn(move || {
                let mut client = server.client();
                for ms in 0..EACH {
                    assert_eq!(
                        client.ask(&format!("PEXPIRE n {}", 600_000 + ms)),
                        "COUNT 1"
                    );
                }
            });
            moving.join().expect("it ends");
            counting
                .map(|counting| counting.join().expect("it ends"))
                .into_iter()
                .sum()
        });
        let expected = format!("{}{}", "0".repeat(padding), 2 * EACH);
        let read = ask(&mut Http::connect(server), "GET n", &[], "");
        assert!(read.json()["value"] == expected, "{unmet} times unmet");
        assert!(unmet > 0, "they have never met");
    }
}

#[test]
fn of_many_who_create_a_key_or_delete_it_exactly_one_does() {
    let server = TestServer::start();
    let server = &server;
    for round in 0..20 {
        for (request, condition, body, status) in [
            ("PUT", "If-None-Match: *", r#"{"value":"x"}"#, 201),
            ("DELETE", "If-Match: *", "", 204),
        ] {
            let statuses: Vec<u16> = std::thread::scope(|scope| {
                let asking = [1, 2, 3, 4].map(|_| {
                    scope.spawn(move || {
                        let mut http = Http::connect(server);
                        ask(
                            &mut http,
                            &format!("{request} k{round}"),
                            &[condition],
                            body,
                        )
                        .status
                    })
                });
                asking
                    .map(|asking| asking.join().expect("an answer"))
                    .to_vec()
            });
            let done = statuses.iter().filter(|answered| **answered == status);
            assert_eq!(done.count(), 1, "{request}: {statuses:?}");
        }
    }
}

/// Goal: a pair is there up to the moment that was asked for, and not from it on.
#[test]
fn a_pair_expires_at_the_very_moment_that_was_asked_for() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let at = moment_in(400);
    let body = json!({"value": "x", "expires_at": text_of(at)}).to_string();
    let answer = ask(&mut http, "PUT k", &[], &body);
    let expected = format!(r#"{{"key":"k","expires_at":"{}"}}"#, text_of(at));
    assert_eq!((answer.status, answer.text()), (201, expected.as_str()));
    let mut seen = 0;
    loop {
        let before = jiff::Timestamp::now();
        let answer = ask(&mut http, "GET k", &[], "");
        let after = jiff::Timestamp::now();
        if answer.status == 404 {
            assert!(
                after.as_millisecond() >= at.as_millisecond(),
                "gone at {after}, not {at}"
            );
            break;
        }
        assert!(
            before.as_millisecond() < at.as_millisecond(),
            "there at {before}, not till {at}"
        );
        assert_eq!(answer.json()["expires_at"], text_of(at));
        seen += 1;
    }
    assert!(seen > 0, "it was never there");
    is_missing(&ask(&mut http, "PATCH k", &[], r#"{"expires_at":null}"#));
    is_missing(&ask(&mut http, "DELETE k", &[], ""));
}

#[test]
fn an_expiry_is_the_same_moment_after_a_restart_and_at_the_other_door() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let late = r#""2105-06-07T08:09:10.123Z""#;
    let first = ask(
        &mut http,
        "PUT at",
        &[],
        &format!(r#"{{"value":"x","expires_at":{late}}}"#),
    );
    let second = ask(
        &mut http,
        "PUT in",
        &[],
        r#"{"value":"x","expires_in_ms":3600000}"#,
    );
    put(&mut http, "patched", "x");
    let body = format!(r#"{{"expires_at":{late}}}"#);
    let third = ask(&mut http, "PATCH patched", &[], &body);
    for (answer, key) in [(&first, "at"), (&third, "patched")] {
        let expected = format!(r#"{{"key":"{key}","expires_at":{late}}}"#);
        assert_eq!(answer.text(), expected);
    }
    let moment: jiff::Timestamp = second.json()["expires_at"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a moment");
    let left = moment.as_millisecond() - jiff::Timestamp::now().as_millisecond();
    assert!((3_590_000..=3_600_000).contains(&left), "{left}");
    let server = server.kill().restart();
    let (mut http, mut client) = (Http::connect(&server), server.client());
    assert_eq!(client.ask("PEXPIRETIME at"), "COUNT 4273805350123");
    for (key, answer) in [("at", first), ("in", second), ("patched", third)] {
        let read = ask(&mut http, &format!("GET {key}"), &[], "");
        assert_eq!(
            read.json()["expires_at"],
            answer.json()["expires_at"],
            "{key}"
        );
    }
    // An expiry that was set at the other door reads as it was set.
    assert_eq!(client.ask("PEXPIREAT in 4273805350123"), "COUNT 1");
    let read = ask(&mut http, "GET in", &[], "");
    assert_eq!(
        read.text(),
        format!(r#"{{"key":"in","value":"x","expires_at":{late}}}"#)
    );
}

#[test]
fn a_value_that_replaces_another_keeps_its_expiry_only_if_asked_to() {
    let server = TestServer::start();
    let (mut http, mut client) = (Http::connect(&server), server.client());
    let kept = r#"{"value":"x","keep_expiry":true}"#;
    let answer = ask(&mut http, "PUT k", &[], kept);
    assert_eq!(
        (answer.status, &answer.json()["expires_at"]),
        (201, &Value::Null)
    );
    for (body, expected) in [
        (kept, json!("2105-06-07T08:09:10.123Z")),
        (r#"{"value":"x"}"#, Value::Null),
        (r#"{"value":"x","keep_expiry":false}"#, Value::Null),
        (r#"{"value":"x","expires_at":null}"#, Value::Null),
        (
            r#"{"value":"x","expires_at":"2105-06-07T10:09:10.9999+02:00"}"#,
            json!("2105-06-07T08:09:10.999Z"),
        ),
    ] {
        assert_eq!(client.ask("SET k old PXAT 4273805350123"), "OK");
        let answer = ask(&mut http, "PUT k", &[], body);
        assert_eq!(
            (answer.status, &answer.json()["expires_at"]),
            (200, &expected),
            "{body}"
        );
        assert_eq!(
            ask(&mut http, "GET k", &[], "").json()["expires_at"],
            expected,
            "{body}"
        );
    }
}

#[test]
fn a_patch_moves_the_expiry_or_takes_it_away_and_leaves_the_value() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    is_missing(&ask(&mut http, "PATCH k", &[], r#"{"expires_at":null}"#));
    let tag = put(&mut http, "k", "x");
    for (body, expected) in [
        (r#"{"expires_at":null}"#, Value::Null),
        (
            r#"{"expires_at":"2105-06-07T08:09:10.123Z"}"#,
            json!("2105-06-07T08:09:10.123Z"),
        ),
        (
            r#"{"expires_at":"2106-01-01T00:00:00Z"}"#,
            json!("2106-01-01T00:00:00.000Z"),
        ),
        (r#"{"expires_at":null}"#, Value::Null),
    ] {
        let answer = ask(&mut http, "PATCH k", &[], body);
        assert_eq!(
            answer.json(),
            json!({"key": "k", "expires_at": expected}),
            "{body}"
        );
        let read = ask(&mut http, "GET k", &[], "");
        assert_eq!(
            read.json(),
            json!({"key": "k", "value": "x", "expires_at": expected})
        );
        assert_eq!(etag(&read), tag);
    }
    let answer = ask(&mut http, "PATCH k", &[], r#"{"expires_in_ms":60000}"#);
    assert!(answer.json()["expires_at"].is_string(), "{}", answer.text());
}

#[test]
fn an_expiry_may_be_in_a_millisecond_or_in_the_year_9999_and_not_beyond() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    put(&mut http, "k", "x");
    for (member, fits) in [
        ("\"expires_in_ms\":1".to_owned(), true),
        ("\"expires_in_ms\":0".to_owned(), false),
        ("\"expires_in_ms\":-1".to_owned(), false),
        ("\"expires_in_ms\":1.5".to_owned(), false),
        ("\"expires_in_ms\":\"1\"".to_owned(), false),
        ("\"expires_in_ms\":60000.0".to_owned(), true),
        ("\"expires_in_ms\":null".to_owned(), false),
        ("\"expires_in_ms\":250000000000000".to_owned(), true),
        ("\"expires_in_ms\":250000000000001".to_owned(), false),
        ("\"expires_in_ms\":18446744073709551615".to_owned(), false),
        ("\"expires_in_ms\":18446744073709551616".to_owned(), false),
        (
            "\"expires_at\":\"9999-12-30T22:00:00.000Z\"".to_owned(),
            true,
        ),
        (
            "\"expires_at\":\"9999-12-30T22:00:00.001Z\"".to_owned(),
            false,
        ),
        ("\"expires_at\":\"2001-01-01T00:00:00Z\"".to_owned(), false),
        ("\"expires_at\":\"1901-01-01T00:00:00Z\"".to_owned(), false),
        ("\"expires_at\":\"tomorrow\"".to_owned(), false),
        (
            "\"expires_at\":\"2105-06-07T08:09:10.123\"".to_owned(),
            false,
        ),
        ("\"expires_at\":\"\"".to_owned(), false),
        ("\"expires_at\":4273805350123".to_owned(), false),
    ] {
        for (request, body) in [
            ("PUT k", format!(r#"{{"value":"x",{member}}}"#)),
            ("PATCH k", format!("{{{member}}}")),
        ] {
            put(&mut http, "k", "x");
            let answer = ask(&mut http, request, &[], &body);
            if fits {
                assert_eq!(answer.status, 200, "{request} {body}: {}", answer.text());
            } else {
                is_problem(&answer, 422, "Unprocessable Entity", "");
                let detail = answer.json()["detail"].to_string();
                assert!(
                    ["expires_", "whole number", "expected a"]
                        .iter()
                        .any(|word| detail.contains(word)),
                    "{body}: {detail}"
                );
                assert_eq!(
                    ask(&mut http, "GET k", &[], "").json()["expires_at"],
                    Value::Null
                );
            }
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_body_that_asks_for_nothing_that_can_be_is_told_what_is_wrong_and_changes_nothing() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    put(&mut http, "k", "old");
    let rows: &[(&str, &[u8], u16, &str)] = &[
        ("PUT", b"", 400, "the body is not JSON"),
        ("PUT", b"{", 400, "the body is not JSON"),
        ("PUT", b"value=x", 400, "the body is not JSON"),
        ("PUT", b"{\"value\":\"x\"} y", 400, "the body is not JSON"),
        ("PUT", b"{\"value\":\"\xff\"}", 400, "the body is not JSON"),
        ("PUT", b"{\"value\":\"a\nb\"}", 400, "the body is not JSON"),
        ("PUT", b"[]", 422, "is not a JSON object"),
        ("PUT", b"\"x\"", 422, "is not a JSON object"),
        ("PUT", b"{}", 422, "missing field `value`"),
        ("PUT", b"{\"valeu\":\"x\"}", 422, "unknown field `valeu`"),
        (
            "PUT",
            b"{\"value\":\"x\",\"ttl\":1}",
            422,
            "unknown field `ttl`",
        ),
        (
            "PUT",
            b"{\"value\":\"x\",\"value\":\"y\"}",
            422,
            "duplicate field `value`",
        ),
        (
            "PUT",
            b"{\"value\":null}",
            422,
            "value is neither a JSON string",
        ),
        (
            "PUT",
            b"{\"value\":1}",
            422,
            "value is neither a JSON string",
        ),
        (
            "PUT",
            b"{\"value\":[\"x\"]}",
            422,
            "value is neither a JSON string",
        ),
        ("PUT", b"[\"x\"]", 422, "is not a JSON object"),
        ("PATCH", b" [null]", 422, "is not a JSON object"),
        (
            "PUT",
            b"{\"value\":{}}",
            422,
            "value is neither a JSON string",
        ),
        (
            "PUT",
            b"{\"value\":{\"a\":1}}",
            422,
            "value is neither a JSON string",
        ),
        (
            "PUT",
            b"{\"value\":{\"$text\":\"x\"}}",
            422,
            "value is neither a JSON string",
        ),
        (
            "PUT",
            b"{\"value\":{\"$base64\":\"AA==\",\"$expires_at\":\"2105-06-07T08:09:10Z\"}}",
            422,
            "neither",
        ),
        (
            "PUT",
            b"{\"value\":{\"$base64\":1}}",
            422,
            "value: $base64 is not a string",
        ),
        (
            "PUT",
            b"{\"value\":{\"$base64\":\"A\"}}",
            422,
            "value: $base64 is not base64",
        ),
        (
            "PUT",
            b"{\"value\":\"\\ud800\"}",
            422,
            "value: half of a surrogate pair",
        ),
        (
            "PUT",
            b"{\"value\":\"x\",\"keep_expiry\":1}",
            422,
            "expected a boolean",
        ),
        (
            "PUT",
            b"{\"value\":\"x\",\"keep_expiry\":true,\"expires_in_ms\":1}",
            422,
            "more than one of",
        ),
        (
            "PUT",
            b"{\"value\":\"x\",\"expires_in_ms\":1,\"expires_at\":\"2105-06-07T08:09:10Z\"}",
            422,
            "more than one of",
        ),
        ("PATCH", b"", 400, "the body is not JSON"),
        ("PATCH", b"{}", 422, "must have one of"),
        ("PATCH", b"null", 422, "is not a JSON object"),
        ("PATCH", b"{\"value\":\"x\"}", 422, "unknown field `value`"),
        (
            "PATCH",
            b"{\"keep_expiry\":true}",
            422,
            "unknown field `keep_expiry`",
        ),
        (
            "PATCH",
            b"{\"expires_in_ms\":null}",
            422,
            "expected a JSON number",
        ),
        (
            "PATCH",
            b"{\"expires_at\":null,\"expires_in_ms\":1}",
            422,
            "must have one of",
        ),
    ];
    for (method, body, status, words) in rows {
        http.send(&format!("{method} /api/v1/keys/k"), &[], body);
        let title = if *status == 400 {
            "Bad Request"
        } else {
            "Unprocessable Entity"
        };
        is_problem(&http.answer(), *status, title, words);
    }
    // What is quoted is not repeated by the megabyte.
    let long = format!(r#"{{"{}":1}}"#, "m".repeat(MIB));
    let answer = ask(&mut http, "PUT k", &[], &long);
    assert!(
        answer.status == 422 && answer.body.len() < 1000,
        "{}",
        answer.body.len()
    );
    let read = ask(&mut http, "GET k", &[], "");
    assert_eq!(
        read.text(),
        r#"{"key":"k","value":"old","expires_at":null}"#
    );
}

#[test]
fn a_condition_that_cannot_be_read_is_refused_and_not_passed_over() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let tag = put(&mut http, "k", "old");
    let bare = tag.trim_matches('"');
    for name in ["If-Match", "If-None-Match"] {
        for value in [
            "",
            bare,
            "\"a",
            "*, \"a\"",
            "\"a\" \"b\"",
            "\"é\"",
            "\"a b\"",
            "w/\"a\"",
        ] {
            let condition = format!("{name}: {value}");
            for request in ["GET k", "PUT k", "PATCH k", "DELETE k"] {
                let answer = ask(&mut http, request, &[&condition], r#"{"value":"x"}"#);
                let words = format!("the header {} is neither", name.to_lowercase());
                is_problem(&answer, 400, "Bad Request", &words);
            }
        }
    }
    assert_eq!(server.client().ask("GET k"), "VALUE \"old\"");
}

#[test]
fn bytes_that_are_no_text_go_in_and_come_out_as_base64() {
    let server = TestServer::start();
    let (mut http, mut client) = (Http::connect(&server), server.client());
    let body = r#"{"value":{"$base64":"AP/+"},"expires_in_ms":60000}"#;
    let answer = ask(&mut http, "PUT k", &[], body);
    assert_eq!(answer.status, 201);
    assert_eq!(client.ask("GET k"), "BASE64 \"AP/+\"");
    let read = ask(&mut http, "GET k", &[], "");
    assert_eq!(read.json()["value"], json!({"$base64": "AP/+"}));
    assert_eq!(etag(&read), etag(&answer));
    // Text is text, however it came.
    let answer = ask(&mut http, "PUT k", &[], r#"{"value":{"$base64":"QWRh"}}"#);
    assert_eq!(etag(&answer), put(&mut http, "other", "Ada"));
    let read = ask(&mut http, "GET k", &[], "");
    assert_eq!(
        read.text(),
        r#"{"key":"k","value":"Ada","expires_at":null}"#
    );
}

/// Goal: whatever a client or a proxy makes of a path, no other key is read or changed than was meant.
/// Method: the keys that such a normalization leads to exist; every path that it can end or begin with is tried.
#[test]
fn a_path_that_may_have_had_another_key_is_refused_and_says_where_to_send_it() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mut client = server.client();
    for key in ["", "a", "b", "a/b", "/", ".", ".."] {
        assert_eq!(client.ask(&format!("PUT {} old", json!(key))), "OK");
    }
    let before = client.ask_rows("ALL").len();
    let body = r#"{"value": "new"}"#;
    for path in [
        "",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        ".%2E",
        "/",
        "//",
        "a/",
        "/a",
        "a//b",
        "a/./b",
        "a/../b",
        "../a",
        "a/..",
        "./",
        "a%2F",
        "%2Fa",
        "a%2F%2Fb",
        "a%2f..%2fb",
        "a%2F%2E%2Fb",
        "%2F",
        "a?",
        "a?b",
        "a?key=b",
        ".?",
    ] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let answer = asked_alone(&server, method, &format!("/api/v1/keys/{path}"), body);
            is_problem(&answer, 400, "Bad Request", "/api/v1/key?key=...");
        }
        http.send(&format!("HEAD /api/v1/keys/{path}"), &[], b"");
        assert_eq!(http.head().0, 400, "{path}");
        let older = http.ask(&format!("DELETE /delete/{path}"));
        assert_eq!(older.status, 400, "{path}");
        let detail = older.json()["detail"].as_str().map(str::to_owned);
        assert!(
            detail.is_some_and(|text| text.contains("nothing was done. Send the key in the query")),
            "{}",
            older.text()
        );
    }
    let rows = client.ask_rows("ALL");
    assert_eq!(rows.len(), before);
    assert!(
        rows[..before - 1]
            .iter()
            .all(|row| row.ends_with(" \"old\"")),
        "{rows:?}"
    );
    // What no normalization changes is a key as it stands.
    for (path, key) in [
        ("a/b", "a/b"),
        ("c%2Fd%25", "c/d%"),
        ("...", "..."),
        (".x", ".x"),
        ("%5C", "\\"),
        ("%20", " "),
    ] {
        http.send(&format!("PUT /api/v1/keys/{path}"), &[], body.as_bytes());
        assert!(matches!(http.answer().status, 200 | 201), "{path}");
        assert_eq!(client.ask(&format!("GET {}", json!(key))), "VALUE \"new\"");
        assert_eq!(
            http.ask(&format!("DELETE /delete/{path}")).status,
            200,
            "{path}"
        );
    }
}

/// The answer to a request on a connection of its own, with a body if the method takes one: a body that is refused is not read, and
/// its connection ends.
fn asked_alone(server: &TestServer, method: &str, target: &str, body: &str) -> Answer {
    let takes_body = matches!(method, "PUT" | "PATCH");
    let sent = if takes_body { body } else { "" };
    let mut http = Http::connect(server);
    http.send(&format!("{method} {target}"), &[], sent.as_bytes());
    http.answer()
}

#[test]
fn a_query_names_one_key_and_nothing_else() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mut client = server.client();
    for key in ["", "a", "undefined"] {
        assert_eq!(client.ask(&format!("PUT {} old", json!(key))), "OK");
    }
    let body = r#"{"value": "new"}"#;
    // A missing key is not the empty one, and what follows an `&` may be the rest of a key that was not encoded.
    for query in [
        "",
        "?",
        "?key",
        "?key&",
        "?KEY=a",
        "?prefix=a",
        "?key=a&",
        "?key=a&b",
        "?key=a&key=b",
        "?b&key=a",
        "?key=a&key=a",
    ] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            is_problem(
                &asked_alone(&server, method, &format!("/api/v1/key{query}"), body),
                422,
                "Unprocessable Entity",
                "the query must be key=... and nothing else",
            );
        }
    }
    assert_eq!(client.ask_rows("ALL").len(), 4);
    // The same holds for a prefix to delete.
    for query in [
        "prefix=a&b",
        "prefix=a&prefix=b",
        "prefix=%FF",
        "prefix=a%F0%9F",
    ] {
        assert_eq!(
            http.ask(&format!("DELETE /api/v1/keys?{query}")).status,
            422,
            "{query}"
        );
    }
    for path in [
        "keys?search=%FF",
        "namespaces?prefix=%FF",
        "count?prefix=%FF",
        "export?prefix=%FF",
    ] {
        assert_eq!(
            http.ask(&format!("GET /api/v1/{path}")).status,
            422,
            "{path}"
        );
    }
    assert_eq!(client.ask("COUNT"), "COUNT 3");
    http.send("HEAD /api/v1/key?key=", &[], b"");
    assert_eq!(http.head().0, 200);
    assert_eq!(http.ask("DELETE /api/v1/key?key=").status, 204);
    assert_eq!(client.ask("EXISTS \"\" a"), "COUNT 1");
}

/// Goal: any key, percent-encoded, is one key at every door; the empty one included.
#[test]
fn a_key_of_any_characters_is_stored_read_and_deleted_as_it_is() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for key in NASTY {
        let path = encoded(key);
        let tag = put(&mut http, &path, key);
        let read = ask(&mut http, &format!("GET {path}"), &[], "");
        assert_eq!(
            read.json(),
            json!({"key": key, "value": key, "expires_at": null})
        );
        let answer = ask(
            &mut http,
            &format!("PATCH {path}"),
            &[&if_match(&tag)],
            r#"{"expires_in_ms":60000}"#,
        );
        assert_eq!((answer.status, &answer.json()["key"]), (200, &json!(key)));
    }
    let mut client = server.client();
    assert_eq!(client.ask("COUNT"), format!("COUNT {}", NASTY.len()));
    for key in NASTY {
        let line = format!("GET {}", json!(key));
        assert_eq!(client.ask(&line), format!("VALUE {}", json!(key)));
        assert_eq!(
            ask(&mut http, &format!("DELETE {}", encoded(key)), &[], "").status,
            204
        );
    }
    assert_eq!(client.ask("COUNT"), "COUNT 0");
    // A query is a form, in which a plus is a space; slashes need no encoding.
    put(&mut http, "a/b%2Fc%25d/+%2B", "x");
    assert_eq!(client.ask("GET \"a/b/c%d/ +\""), "VALUE \"x\"");
    for request in ["GET a%FF", "PUT a%FF", "PATCH a%FF", "DELETE a%FF"] {
        let answer = ask(&mut http, request, &[], r#"{"value":"x"}"#);
        is_problem(
            &answer,
            422,
            "Unprocessable Entity",
            "the key is not UTF-8 (its byte 2)",
        );
    }
}

#[test]
fn a_value_may_have_64_mib_and_not_one_byte_more_and_comes_out_whole() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for length in [65_535, 65_536, 65_537, MIB, 64 * MIB] {
        let value = "v".repeat(length);
        let body = format!(r#"{{"value":"{value}","expires_at":"2105-06-07T08:09:10.123Z"}}"#);
        let stored = ask(&mut http, "PUT long", &[], &body);
        let read = ask(&mut http, "GET long", &[], "");
        let expected = format!(r#"{{"key":"long",{}"#, &body[1..]);
        assert!(read.text() == expected, "{length}");
        assert_eq!(etag(&read), etag(&stored), "{length}");
        let again = ask(&mut http, "PUT long", &[&if_match(&etag(&read))], &body);
        assert_eq!(again.status, 200, "{length}");
        // A value that is sent in pieces has no length before it.
        assert_eq!(
            read.header("content-length").is_some(),
            length <= 65_536,
            "{length}"
        );
    }
    let body = format!(r#"{{"value":"{}"}}"#, "v".repeat(64 * MIB + 1));
    let answer = ask(&mut http, "PUT long", &[], &body);
    is_problem(
        &answer,
        413,
        "Payload Too Large",
        "the value has 67108865 bytes, and may have 67108864",
    );
    for method in ["PUT", "PATCH"] {
        let mut http = Http::connect(&server);
        let head = format!(
            "{method} /api/v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 403047425\r\n\r\n{{"
        );
        http.send_bytes(head.as_bytes());
        is_problem(
            &http.answer(),
            413,
            "Payload Too Large",
            "the body is longer than the 403047424 bytes",
        );
    }
    assert_eq!(
        server.client().ask("STRLEN long"),
        format!("COUNT {}", 64 * MIB)
    );
}

/// Goal: values of many megabytes, which take long to be parsed and hashed, keep no other request waiting for them.
#[test]
fn others_are_served_while_long_values_are_hashed() {
    let server = TestServer::start_with(&["--durability", "off"]);
    let server = &server;
    put(&mut Http::connect(server), "long", &"v".repeat(64 * MIB));
    std::thread::scope(|scope| {
        let reading = [0; 8].map(|_| {
            scope.spawn(move || {
                let mut http = Http::connect(server);
                for _ in 0..5 {
                    http.send("HEAD /api/v1/keys/long", &[], b"");
                    assert_eq!(http.head().0, 200);
                }
            })
        });
        let mut http = Http::connect(server);
        let mut count = 0;
        while reading.iter().any(|reading| !reading.is_finished()) {
            assert_eq!(http.ask("GET /health").status, 200);
            count += 1;
        }
        assert!(count > 40, "only {count} were count meanwhile");
    });
}

#[test]
fn a_method_or_a_path_that_is_not_known_is_a_problem_too() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for key in ["", "a", "a/b"] {
        for method in ["POST", "OPTIONS"] {
            let answer = ask(&mut http, &format!("{method} {key}"), &[], "");
            is_problem(&answer, 405, "Method Not Allowed", "Method Not Allowed");
            let allow = answer.header("allow").unwrap_or_default();
            assert_eq!(allow, "get,head,put,patch,delete", "{method} {key}");
        }
    }
    for path in ["/api/v1/key/", "/api/v1/key/a", "/api/v1", "/api/v2/keys/a"] {
        is_problem(
            &http.ask(&format!("GET {path}")),
            404,
            "Not Found",
            "Not Found",
        );
    }
    assert_eq!(http.ask("GET /nope").text(), r#"{"detail":"Not Found"}"#);
}

/// Goal: nothing that another site's page can make a browser send reaches these routes either.
#[test]
fn pages_of_other_sites_reach_none_of_it() {
    let server = TestServer::start();
    put(&mut Http::connect(&server), "k", "old");
    for request in [
        "GET k",
        "GET ",
        "PUT k",
        "PUT ",
        "PATCH k",
        "DELETE k",
        "OPTIONS k",
    ] {
        for mark in [
            "Sec-Fetch-Site: cross-site",
            "Origin: http://evil.example",
            "Origin: null",
        ] {
            // What is refused is not read, and its connection ends.
            let mut http = Http::connect(&server);
            let answer = ask(&mut http, request, &[mark], r#"{"value":"x"}"#);
            is_problem(
                &answer,
                403,
                "Forbidden",
                "another site's page has caused this request",
            );
            assert!(!answer.head.contains("access-control-"), "{}", answer.head);
        }
        let (method, key) = request.split_once(' ').expect("a method and a key");
        let mut http = Http::connect(&server);
        let head =
            format!("{method} /api/v1/keys/{key} HTTP/1.1\r\nHost: evil.example:8000\r\n\r\n");
        http.send_bytes(head.as_bytes());
        is_problem(
            &http.answer(),
            403,
            "Forbidden",
            "is not known as evil.example:8000",
        );
    }
    let mut client = server.client();
    assert_eq!(
        (client.ask("GET k").as_str(), client.ask("COUNT").as_str()),
        ("VALUE \"old\"", "COUNT 1")
    );
}

#[test]
fn requests_are_counted_and_watched_as_the_commands_that_they_amount_to() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mut monitor = server.client();
    assert_eq!(monitor.ask("MONITOR"), "OK");
    for (request, body, status, command) in [
        ("GET k", "", 404, Some("get")),
        ("PUT k", r#"{"value":"x"}"#, 201, Some("set")),
        ("PUT k", r#"{"value":1}"#, 422, None),
        ("GET k", "", 200, Some("get")),
        (
            "PATCH k",
            r#"{"expires_in_ms":60000}"#,
            200,
            Some("pexpireat"),
        ),
        ("PATCH k", r#"{"expires_at":null}"#, 200, Some("persist")),
        ("DELETE k", "", 204, Some("del")),
    ] {
        assert_eq!(
            ask(&mut http, request, &[], body).status,
            status,
            "{request} {body}"
        );
        if let Some(command) = command {
            let seen = monitor.reply();
            let verb = command.to_uppercase();
            let expected = format!(r#" [0 http] \"{verb}\" \"k\"""#);
            assert!(seen.ends_with(&expected), "{request} {body}: {seen}");
        }
    }
    let condition = ask(&mut http, "PUT k", &["If-Match: *"], r#"{"value":"x"}"#);
    assert_eq!(condition.status, 412);
    let figures = http.ask("GET /stats").json();
    for (name, expected) in [
        ("requests_total", 9),
        ("hits", 1),
        ("misses", 1),
        ("errors", 0),
        ("command_get", 2),
        ("command_set", 2),
        ("command_pexpireat", 1),
        ("command_persist", 1),
        ("command_del", 1),
    ] {
        assert_eq!(figures[name], expected, "{name}");
    }
}

#[test]
fn a_disk_that_takes_no_more_is_a_503_and_reads_go_on() {
    if is_skipped("prlimit") {
        return;
    }
    let server = TestServer::start_with(&["--durability", "always"]);
    let mut http = Http::connect(&server);
    let value = "v".repeat(1_000);
    let tag = put(&mut http, "k", &value);
    limit_files(&server, "1500");
    let body = json!({"value": value}).to_string();
    let answer = ask(&mut http, "PUT other", &[], &body);
    is_problem(&answer, 503, "Service Unavailable", "cannot write");
    for (request, body) in [
        ("PUT k", r#"{"value":"x"}"#),
        ("PATCH k", r#"{"expires_in_ms":1}"#),
        ("DELETE k", ""),
    ] {
        let answer = ask(&mut http, request, &[&if_match(&tag)], body);
        is_problem(&answer, 503, "Service Unavailable", "cannot write");
    }
    let read = ask(&mut http, "GET k", &[], "");
    assert_eq!(
        read.json(),
        json!({"key": "k", "value": value, "expires_at": null})
    );
}

#[test]
fn while_the_data_is_being_loaded_every_request_is_told_so() {
    if is_skipped("strace") {
        return;
    }
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", r#"{"k": "old"}"#);
    let mut server = stopped.held_at("store.json").start_loading();
    let mut http = Http::connect(&server);
    for (request, body) in [
        ("GET k", ""),
        ("PUT k", r#"{"value":"x"}"#),
        ("PATCH k", r#"{"expires_at":null}"#),
        ("DELETE k", ""),
    ] {
        for condition in ["X-None: 1", "If-Match: *", "If-Match: \"a\""] {
            let answer = ask(&mut http, request, &[condition], body);
            is_problem(&answer, 503, "Service Unavailable", "loading the data: ");
        }
    }
    server.let_go();
    server.wait_until_loaded();
    assert_eq!(ask(&mut http, "GET k", &[], "").json()["value"], "old");
}

#[test]
fn a_change_that_was_answered_survives_a_kill_with_its_expiry() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    put(&mut http, "gone", "x");
    put(&mut http, "stays", "x");
    assert_eq!(
        ask(&mut http, "PATCH stays", &[], r#"{"expires_in_ms":60000}"#).status,
        200
    );
    assert_eq!(
        ask(&mut http, "PATCH stays", &[], r#"{"expires_at":null}"#).status,
        200
    );
    let short = r#"{"value":"x","expires_in_ms":50}"#;
    assert_eq!(ask(&mut http, "PUT short", &[], short).status, 201);
    assert_eq!(ask(&mut http, "DELETE gone", &[], "").status, 204);
    let stopped = server.kill();
    std::thread::sleep(Duration::from_millis(60));
    let server = stopped.restart();
    let mut http = Http::connect(&server);
    assert_eq!(
        ask(&mut http, "GET stays", &[], "").json()["expires_at"],
        Value::Null
    );
    is_missing(&ask(&mut http, "GET gone", &[], ""));
    is_missing(&ask(&mut http, "GET short", &[], ""));
}
