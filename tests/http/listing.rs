//! Pairs page by page, and namespaces, over HTTP.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::http::{Http, encoded};
use crate::support::server::{TestServer, wait_until};

fn page(http: &mut Http, query: &str) -> Value {
    let answer = http.ask(&format!("GET /api/v1/keys?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()
}

/// The keys of all pages.
fn walk(http: &mut Http, query: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = page(http, &format!("{query}{cursor}"));
        for shown in page["keys"].as_array().expect("a list") {
            keys.push(shown["key"].as_str().expect("text").to_owned());
        }
        match &page["cursor"] {
            Value::Null => return keys,
            at => cursor = format!("&cursor={}", at.as_str().expect("digits")),
        }
    }
}

fn filled() -> TestServer {
    let server = TestServer::start();
    let mut client = server.client();
    for number in 0..300 {
        let line = format!("PUT user:{number}:name Person{number}");
        assert_eq!(client.ask(&line), "OK");
    }
    for line in [
        "PUT config:mode Production",
        "PUT plain x",
        "PUT \"a b\" \"caf\u{e9}\"",
    ] {
        assert_eq!(client.ask(line), "OK");
    }
    server
}

#[test]
fn a_walk_shows_every_pair_once() {
    let server = filled();
    let mut http = Http::connect(&server);
    for limit in [1, 7, 50, 1000] {
        let keys = walk(&mut http, &format!("limit={limit}"));
        assert_eq!(keys.len(), 303, "{limit}");
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 303, "{limit}");
    }
    let first = page(&mut http, "limit=7");
    assert_eq!(first["keys"].as_array().map(Vec::len), Some(7));
    assert_eq!(
        page(&mut http, "")["keys"].as_array().map(Vec::len),
        Some(50)
    );
}

/// Goal: a page ends with its limit, also where many pairs are searched at a time because few match.
#[test]
fn a_page_has_no_more_pairs_than_its_limit() {
    let server = filled();
    let mut http = Http::connect(&server);
    for (query, pairs) in [("", 303), ("prefix=user:&", 300), ("search=person29&", 11)] {
        for limit in [1, 2, 7] {
            let (mut seen, mut cursor) = (0, "0".to_owned());
            while cursor != "null" {
                let page = page(&mut http, &format!("{query}limit={limit}&cursor={cursor}"));
                let shown = page["keys"].as_array().map_or(0, Vec::len);
                assert!(shown <= limit, "{query}{limit}: {page}");
                seen += shown;
                cursor = page["cursor"].as_str().unwrap_or("null").to_owned();
            }
            assert_eq!(seen, pairs, "{query}{limit}");
        }
    }
}

#[test]
fn a_prefix_and_a_text_narrow_it() {
    let server = filled();
    let mut http = Http::connect(&server);
    assert_eq!(walk(&mut http, "prefix=user:").len(), 300);
    assert_eq!(walk(&mut http, "prefix=user:7:"), ["user:7:name"]);
    assert_eq!(walk(&mut http, "prefix=nope"), [""; 0]);
    // In the key, in the value, and whatever the case.
    assert_eq!(walk(&mut http, "search=MODE"), ["config:mode"]);
    assert_eq!(walk(&mut http, "search=production"), ["config:mode"]);
    let found = walk(&mut http, "search=person29");
    assert_eq!(found.len(), 11, "{found:?}");
    assert_eq!(
        walk(&mut http, "search=person29&prefix=user:290"),
        ["user:290:name"]
    );
    assert_eq!(
        walk(&mut http, &format!("search={}", encoded("f\u{e9}"))),
        ["a b"]
    );
    assert_eq!(walk(&mut http, "search=person300"), [""; 0]);
}

#[test]
fn a_whole_key_is_found_at_once_and_shown_once() {
    let server = filled();
    let mut http = Http::connect(&server);
    for query in ["prefix=plain", "search=plain", "prefix=plain&search=plain"] {
        for begin in ["", "&cursor=0"] {
            let first = page(&mut http, &format!("{query}&limit=1{begin}"));
            assert_eq!(first["keys"][0]["key"], "plain", "{query}{begin}");
            let looked_at = first["looked_at"].as_u64().expect("a number");
            assert!(looked_at < 50, "{query}{begin}: {first}");
        }
        assert_eq!(
            walk(&mut http, &format!("{query}&limit=1")),
            ["plain"],
            "{query}"
        );
    }
    let some = page(&mut http, "prefix=user:&limit=10");
    let shown = some["keys"].as_array().map(Vec::len);
    assert!(shown.is_some_and(|shown| shown == 10), "{shown:?}");
    assert_eq!(walk(&mut http, "prefix=plain&search=nope"), [""; 0]);
    assert_eq!(walk(&mut http, "prefix=user:&search=plain"), [""; 0]);
    assert_eq!(server.client().ask("PUT user: itself"), "OK");
    assert_eq!(walk(&mut http, "prefix=user:").len(), 301);
}

#[test]
fn of_a_long_value_the_beginning_is_shown_and_of_bytes_base64() {
    let server = TestServer::start();
    let mut client = server.client();
    let long = "\u{e9}".repeat(200);
    assert_eq!(client.ask(&format!("PUT long {long}")), "OK");
    assert_eq!(client.ask("PUT short abc"), "OK");
    assert_eq!(client.ask("EXPIRE short 1000"), "COUNT 1");
    let mut resp = server.client();
    resp.send_bytes(b"*3\r\n$3\r\nSET\r\n$5\r\nbytes\r\n$2\r\n\x00\xff\r\n");
    assert_eq!(resp.reply(), "+OK\r");
    let mut http = Http::connect(&server);
    let mut shown = |key: &str| page(&mut http, &format!("prefix={key}"))["keys"][0].clone();
    let of_long = shown("long");
    assert_eq!(of_long["value"], "\u{e9}".repeat(128));
    assert_eq!(of_long["is_whole"], false);
    assert_eq!(of_long["bytes"], 400);
    let of_short = shown("short");
    assert_eq!(of_short["value"], "abc");
    assert_eq!(of_short["is_whole"], true);
    assert!(of_short["expires_at"].is_string());
    let of_bytes = shown("bytes");
    assert_eq!(of_bytes["value"], "AP8=");
    assert_eq!(of_bytes["encoding"], "base64");
    assert_eq!(of_bytes["expires_at"], Value::Null);
}

#[test]
fn a_parameter_that_cannot_be_is_a_problem_that_says_so() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for (query, status, words) in [
        ("limit=0", 422, "limit is 1 to 1000, not 0"),
        ("limit=1001", 422, "limit is 1 to 1000, not 1001"),
        ("limit=many", 422, "limit"),
        ("cursor=-1", 422, "cursor"),
    ] {
        let answer = http.ask(&format!("GET /api/v1/keys?{query}"));
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.json()["status"], status);
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(page(&mut http, "limit=1000")["keys"], serde_json::json!([]));
    assert_eq!(
        page(&mut http, "cursor=18446744073709551615")["cursor"],
        Value::Null
    );
}

fn namespaces(http: &mut Http, prefix: &str) -> (Vec<(String, u64)>, u64) {
    let answer = http.ask(&format!("GET /api/v1/namespaces?prefix={prefix}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert!(answer["counted_at"].is_string());
    let named = answer["namespaces"].as_array().expect("a list").iter();
    let named = named.map(|namespace| {
        let name = namespace["name"].as_str().expect("text").to_owned();
        (name, namespace["keys"].as_u64().expect("a number"))
    });
    (
        named.collect(),
        answer["others"].as_u64().expect("a number"),
    )
}

#[test]
fn namespaces_are_counted_below_a_prefix_and_again_after_a_while() {
    let server = filled();
    let mut http = Http::connect(&server);
    let named = |names: &[(&str, u64)]| -> Vec<(String, u64)> {
        names
            .iter()
            .map(|(name, keys)| ((*name).to_owned(), *keys))
            .collect()
    };
    let expected = named(&[("config:", 1), ("user:", 300)]);
    assert_eq!(namespaces(&mut http, ""), (expected, 2));
    assert_eq!(namespaces(&mut http, "config:"), (vec![], 1));
    assert_eq!(namespaces(&mut http, "user:7:"), (vec![], 1));
    assert_eq!(server.client().ask("PUT new:1 x"), "OK");
    let expected = named(&[("config:", 1), ("new:", 1), ("user:", 300)]);
    wait_until("the new one is counted", || {
        namespaces(&mut http, "").0 == expected
    });
}

#[test]
fn namespaces_are_counted_anew_for_whom_no_cached_count_will_do() {
    let server = filled();
    let mut http = Http::connect(&server);
    let mut client = server.client();
    let mut keys = |header: &str| {
        http.send("GET /api/v1/namespaces?prefix=user:", &[header], b"");
        http.answer().json()["keys"].as_u64().expect("a number")
    };
    assert_eq!(keys("Accept: */*"), 300);
    for number in 1..=20 {
        assert_eq!(client.ask(&format!("PUT user:new:{number} x")), "OK");
        assert_eq!(keys("Cache-Control: max-age=0, No-Cache"), 300 + number);
    }
}
