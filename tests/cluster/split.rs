//! Requests on keys of several slots, with `--split-multi-key` and without it.
//!
//! In: how the scenario is run. Out: the figures, or a reply that is not that of the local engine, or not `CROSS_SLOT`.

use pykv::command::COMMANDS;

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::redis_cluster::slot_of;
use crate::server::{TestClient, TestServer};

/// Requests on keys of several slots that are split, in the order in which they are sent.
const SPLIT: &[&str] = &[
    r#"MSET a 1 b "two words" c 3 a 4"#,
    r#"MSET "" empty key:1 "" ключ "значение""#,
    "MGET a b nobody c a",
    r#"MGET "" key:1 ключ"#,
    "EXISTS a b a nobody",
    "EXISTS nobody noone",
    "TOUCH b c nobody c",
    "DEL a nobody b a",
    "DEL a b",
    "MGET a b c",
    "MSET a 1 b",
    "UNLINK c nobody",
    "UNLINK c nobody noone",
    r#"DEL "" key:1 ключ"#,
    "MGET a c key:1",
];

/// Requests on keys of several slots that are never split.
const WHOLE: &[&str] = &[
    "MSETNX a 9 b 9",
    "RENAME a b",
    "RENAMENX a b",
    "COPY a b",
    "COPY a b REPLACE",
];

/// What is sent before and after requests that must change nothing.
const PAIRS: &[&str] = &["PUT a 1", "PUT b 2", "PUT c 3"];

/// What is split is answered as by the local engine, and all else is refused.
pub fn documented(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server is asked".to_owned());
    }
    let keys = ["a", "b", "c", "key:1", "nobody", ""];
    let mut slots = keys.map(slot_of);
    slots.sort_unstable();
    assert!(
        slots.windows(2).all(|two| two[0] != two[1]),
        "the keys are of several slots"
    );
    let cluster = setup.cluster(3, 0);
    let local = TestServer::start();
    let splitting = Pykv::start(&cluster, &["--durability", "fast", "--split-multi-key"]);
    let mut ours = splitting.line_connection();
    let mut theirs = local.client();
    let mut failures = Vec::new();
    for request in SPLIT {
        let [expected, actual] = [&mut theirs, &mut ours].map(|client| reply(client, request));
        if expected != actual {
            failures.push(format!("{request}: {actual:?}, not {expected:?}"));
        }
    }
    refuse(&mut ours, WHOLE, &mut failures);
    let whole = Pykv::start(&cluster, &["--durability", "fast"]);
    let mut ours = whole.line_connection();
    let split = SPLIT.iter().copied();
    let split: Vec<&str> = split.filter(|request| is_complete(request)).collect();
    refuse(&mut ours, &split, &mut failures);
    refuse(&mut ours, WHOLE, &mut failures);
    refuse_in_transactions(&splitting, &mut failures);
    refuse_in_transactions(&whole, &mut failures);
    let figures = format!(
        "{} requests that are split, {} that are not; {} failures",
        SPLIT.len(),
        WHOLE.len(),
        failures.len()
    );
    if failures.is_empty() {
        return Ok(figures);
    }
    Err(format!("{figures}\n{}", failures.join("\n")))
}

/// Whether a request is not refused for its number of arguments.
fn is_complete(request: &str) -> bool {
    request != "MSET a 1 b"
}

/// Requests that must be refused, and change nothing.
fn refuse(client: &mut TestClient, requests: &[&str], failures: &mut Vec<String>) {
    for pair in PAIRS {
        assert_eq!(client.ask(pair), "OK", "{pair}");
    }
    for request in requests {
        let verb = request.split(' ').next().unwrap_or_default();
        assert!(
            COMMANDS.iter().any(|command| command.name == verb),
            "{verb} is a command"
        );
        let actual = reply(client, request);
        if !actual[0].starts_with("ERR CROSS_SLOT ") {
            failures.push(format!("{request}: {actual:?}, not CROSS_SLOT"));
        }
    }
    for pair in PAIRS {
        let (key, value) = (&pair[4..5], &pair[6..]);
        let actual = client.ask(&format!("GET {key}"));
        if actual != format!("VALUE \"{value}\"") {
            failures.push(format!("{key} is {actual} after requests that are refused"));
        }
    }
}

/// Transactions on keys of several slots are refused as a whole, also with what is split otherwise.
fn refuse_in_transactions(pykv: &Pykv, failures: &mut Vec<String>) {
    let mut client = pykv.line_connection();
    let transactions: [&[&str]; 3] = [
        &["MULTI", "PUT a 7", "PUT b 7"],
        &["MULTI", "MSET a 7 b 7"],
        &["WATCH a", "MULTI", "PUT b 7"],
    ];
    for pair in PAIRS {
        assert_eq!(client.ask(pair), "OK", "{pair}");
    }
    for transaction in transactions {
        for request in transaction {
            let actual = client.ask(request);
            if !["OK", "QUEUED"].contains(&&*actual) {
                failures.push(format!("{transaction:?}: {request} is answered {actual}"));
            }
        }
        let actual = client.ask("EXEC");
        if !actual.starts_with("ERR CROSS_SLOT ") {
            failures.push(format!("{transaction:?}: EXEC is answered {actual}"));
        }
    }
    for (key, value) in [("a", 1), ("b", 2)] {
        let actual = client.ask(&format!("GET {key}"));
        if actual != format!("VALUE \"{value}\"") {
            failures.push(format!(
                "{key} is {actual} after transactions that are refused"
            ));
        }
    }
}

/// All lines of the reply to a request.
fn reply(client: &mut TestClient, request: &str) -> Vec<String> {
    let mut lines = vec![client.ask(request)];
    let count = lines[0].strip_prefix("ARRAY ");
    let count = count.map_or(0, |count| count.parse().expect("a number"));
    lines.extend((0..count).map(|_| client.reply()));
    lines
}
