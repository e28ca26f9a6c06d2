//! Pipelines: requests that arrive together and share locks, look-ups and one write, and still are done one after the other.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::support::server::{TestClient, TestServer};

/// A plain map, and what the server has to answer to each request.
#[derive(Default)]
struct Plain {
    requests: String,
    replies: Vec<String>,
    pairs: BTreeMap<String, String>,
}

impl Plain {
    /// A random request for one of a few keys, so that many of one batch name the same.
    fn ask(&mut self, random: &mut fastrand::Rng, prefix: &str) {
        let key = format!("{prefix}{}", random.u8(0..12));
        let value = "v".repeat(random.usize(0..40)) + &random.u16(..).to_string();
        let shown = |value: Option<&String>| match value {
            Some(value) => format!("VALUE \"{value}\""),
            None => "NOT_FOUND".to_owned(),
        };
        let (request, reply) = match random.u8(0..20) {
            0..=7 => (format!("GET {key}"), shown(self.pairs.get(&key))),
            8..=15 => {
                self.pairs.insert(key.clone(), value.clone());
                (format!("PUT {key} {value}"), "OK".to_owned())
            }
            16 => {
                let length = self.pairs.get(&key).map_or(0, String::len);
                (format!("STRLEN {key}"), format!("COUNT {length}"))
            }
            17 => {
                let deleted = usize::from(self.pairs.remove(&key).is_some());
                (format!("DEL {key}"), format!("COUNT {deleted}"))
            }
            18 => {
                let is_new = !self.pairs.contains_key(&key);
                self.pairs.entry(key.clone()).or_insert(value.clone());
                let count = usize::from(is_new);
                (format!("SETNX {key} {value}"), format!("COUNT {count}"))
            }
            _ => {
                let old = self.pairs.insert(key.clone(), value.clone());
                (format!("GETSET {key} {value}"), shown(old.as_ref()))
            }
        };
        writeln!(self.requests, "{request}").expect("memory");
        self.replies.push(reply);
    }

    fn expect_all(&self, client: &mut TestClient, prefix: &str) {
        let mut rows = client.ask_rows(&format!("ALL {prefix}"));
        rows.sort_unstable();
        let mut expected: Vec<String> = self
            .pairs
            .iter()
            .map(|(key, value)| format!("ITEM \"{key}\" \"{value}\""))
            .collect();
        expected.push(format!("END {}", self.pairs.len()));
        expected.sort_unstable();
        assert_eq!(rows, expected);
    }
}

/// Goal: what is done in runs, under shared locks, is what a plain map does, and a killed server gives it back.
/// Method: four clients with keys of their own send random requests, hundreds at once; each reply is compared, and all that is
/// left, before and after a kill -9.
#[test]
fn requests_of_a_pipeline_do_what_a_plain_map_does_and_outlive_a_kill() {
    for flags in [
        &["--durability", "everysec"][..],
        &["--durability", "always"][..],
    ] {
        let server = TestServer::start_with(flags);
        let plains: Vec<Plain> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4_u64)
                .map(|number| {
                    let mut client = server.client();
                    scope.spawn(move || {
                        let mut random = fastrand::Rng::with_seed(number);
                        let mut plain = Plain::default();
                        for _ in 0..20 {
                            plain.requests.clear();
                            plain.replies.clear();
                            for _ in 0..random.usize(1..300) {
                                plain.ask(&mut random, &format!("{number}:"));
                            }
                            client.send_bytes(plain.requests.as_bytes());
                            for reply in &plain.replies {
                                assert_eq!(client.reply(), *reply);
                            }
                        }
                        plain
                    })
                })
                .collect();
            let ended = clients.into_iter().map(std::thread::ScopedJoinHandle::join);
            ended.map(|plain| plain.expect("a client")).collect()
        });
        let mut client = server.client();
        for (number, plain) in plains.iter().enumerate() {
            plain.expect_all(&mut client, &format!("{number}:"));
        }
        let server = server.kill().restart();
        let mut client = server.client();
        for (number, plain) in plains.iter().enumerate() {
            plain.expect_all(&mut client, &format!("{number}:"));
        }
    }
}

/// Goal: runs that want the same locks in another order cannot wait for each other for ever, and none is seen by half.
/// Method: one client names keys upwards, one downwards, one all at once; each is answered, and a pair that two of them write
/// is one of theirs.
#[test]
fn pipelines_over_the_same_keys_in_other_orders_all_end() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for writer in ["up", "down", "all"] {
            let mut client = server.client();
            scope.spawn(move || {
                for _ in 0..100 {
                    let mut requests = String::new();
                    let mut keys: Vec<u8> = (0..64).collect();
                    if writer == "down" {
                        keys.reverse();
                    }
                    if writer == "all" {
                        let pairs: Vec<String> =
                            keys.iter().map(|key| format!("{key} all")).collect();
                        requests += &format!("MSET {}\n", pairs.join(" ")).repeat(64);
                    } else {
                        for key in keys {
                            writeln!(requests, "PUT {key} {writer}").expect("memory");
                        }
                    }
                    client.send_bytes(requests.as_bytes());
                    for _ in 0..64 {
                        assert_eq!(client.reply(), "OK");
                    }
                }
            });
        }
    });
    let mut client = server.client();
    for key in 0..64 {
        let value = client.ask(&format!("GET {key}"));
        let theirs = ["VALUE \"up\"", "VALUE \"down\"", "VALUE \"all\""];
        assert!(theirs.contains(&value.as_str()), "{value} under {key}");
    }
}

#[test]
fn a_long_value_in_a_pipeline_is_sent_in_its_turn() {
    let server = TestServer::start();
    let mut client = server.client();
    let long = "x".repeat(100_000);
    assert_eq!(client.ask(&format!("PUT long {long}")), "OK");
    client.send("PUT a 1\nGET a\nGET long\nPUT a 2\nGET a\nGET long\nGET nobody");
    for reply in ["OK", "VALUE \"1\""] {
        assert_eq!(client.reply(), reply);
    }
    assert_eq!(client.reply(), format!("VALUE \"{long}\""));
    for reply in ["OK", "VALUE \"2\""] {
        assert_eq!(client.reply(), reply);
    }
    assert_eq!(client.reply(), format!("VALUE \"{long}\""));
    assert_eq!(client.reply(), "NOT_FOUND");
    let server = server.kill().restart();
    assert_eq!(server.client().ask("GET a"), "VALUE \"2\"");
}

#[test]
fn a_watched_pair_that_a_pipeline_writes_over_with_a_value_as_long_is_seen_to_have_changed() {
    let server = TestServer::start();
    let (mut one, mut other) = (server.client(), server.client());
    assert_eq!(one.ask("PUT a 1"), "OK");
    assert_eq!(one.ask("WATCH a"), "OK");
    other.send("GET a\nPUT a 2\nPUT b 3");
    for reply in ["VALUE \"1\"", "OK", "OK"] {
        assert_eq!(other.reply(), reply);
    }
    assert_eq!(one.ask("MULTI"), "OK");
    assert_eq!(one.ask("PUT a 4"), "QUEUED");
    assert_eq!(one.ask("EXEC"), "UNCHANGED");
    assert_eq!(one.ask("GET a"), "VALUE \"2\"");
}

#[test]
fn a_pipeline_on_a_pair_that_expires_sees_it_go_and_come() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("PSETEX a 1 old"), "OK");
    // Until it has expired, whatever the clock does.
    while client.ask("GET a") != "NOT_FOUND" {}
    client.send("GET a\nPUT a new\nGET a\nSETEX a 100 later\nGET a\nPUT a again\nTTL a");
    for reply in [
        "NOT_FOUND",
        "OK",
        "VALUE \"new\"",
        "OK",
        "VALUE \"later\"",
        "OK",
        "COUNT -1",
    ] {
        assert_eq!(client.reply(), reply);
    }
    assert_eq!(server.stat("keys"), 1);
}
