//! The cap on the memory of the data, and evictions.
//!
//! In: servers with a small cap, and clients that store more than fits. Out: what stays, what is refused, and what figures, journal and
//! feed say. Promises under test: the data keeps to the cap; the pairs in use stay; nothing is evicted for what cannot fit; an eviction is
//! a delete for everybody who looks, and survives a restart.

use std::time::{Duration, Instant};

use crate::support::server::{Stopped, TestClient, TestServer, wait_until};

const MIB: u64 = 1 << 20;
const POLICIES: [&str; 5] = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "allkeys-smart",
    "volatile-lru",
];

fn server(max_memory: &str, eviction: &str) -> TestServer {
    TestServer::start_with(&["--max-memory", max_memory, "--eviction", eviction])
}

/// Stores pairs `name:from` to `name:to` with values of so many bytes, in pipelines. Returns the number of those that were stored.
fn fill(client: &mut TestClient, name: &str, numbers: std::ops::Range<u32>, bytes: usize) -> usize {
    let value = "v".repeat(bytes);
    let mut stored = 0;
    for from in numbers.clone().step_by(500) {
        let part = from..numbers.end.min(from + 500);
        let lines = part
            .clone()
            .map(|number| format!("PUT {name}:{number} {value}\n"));
        client.send_bytes(lines.collect::<String>().as_bytes());
        stored += part.filter(|_| client.reply() == "OK").count();
    }
    stored
}

fn count(client: &mut TestClient, prefix: &str) -> usize {
    let reply = client.ask(&format!("COUNT {prefix}"));
    let number = reply.strip_prefix("COUNT ").expect("a count");
    number.parse().expect("a number")
}

#[test]
fn the_data_keeps_to_the_cap_under_every_policy_and_every_write_is_taken() {
    for policy in POLICIES {
        let server = server("4mb", policy);
        let mut client = server.client();
        let stored = if policy.starts_with("volatile") {
            let mut stored = 0;
            for number in 0..20_000 {
                let put = client.ask(&format!("SET k:{number} {} EX 1000", "v".repeat(400)));
                stored += usize::from(put == "OK");
            }
            stored
        } else {
            fill(&mut client, "k", 0..20_000, 400)
        };
        assert_eq!(stored, 20_000, "{policy}");
        let (used, evicted, keys) = (
            server.stat("used_memory_bytes"),
            server.stat("evicted"),
            server.stat("keys"),
        );
        assert!(used <= 4 * MIB, "{policy}: {used}");
        assert!(used > 3 * MIB, "{policy}: it uses what it may: {used}");
        assert_eq!(keys + evicted, 20_000, "{policy}");
        assert_eq!(
            client.ask("GET k:19999"),
            format!("VALUE \"{}\"", "v".repeat(400)),
            "{policy}"
        );
    }
}

#[test]
fn without_a_policy_changes_that_need_memory_are_refused_and_all_others_go_on() {
    let server = server("2mb", "noeviction");
    let mut client = server.client();
    let stored = fill(&mut client, "k", 0..10_000, 400);
    assert!((3_000..5_000).contains(&stored), "{stored}");
    let refused = client.ask(&format!("PUT new {}", "v".repeat(400)));
    assert!(
        refused.starts_with("ERR FULL the data may take 2097152 bytes"),
        "{refused}"
    );
    client.send(&format!(
        "*3\r\n$3\r\nSET\r\n$3\r\nnew\r\n$400\r\n{}\r",
        "v".repeat(400)
    ));
    assert_eq!(
        client.reply(),
        "-OOM command not allowed when used memory > 'maxmemory'.\r"
    );
    assert_eq!(client.ask("GET new"), "NOT_FOUND");
    assert!(
        client.ask("GET k:0").starts_with("VALUE"),
        "nothing was evicted"
    );
    assert_eq!(client.ask("EXPIRE k:0 1000"), "COUNT 1");
    assert_eq!(client.ask("DEL k:0 k:1 k:2"), "COUNT 3");
    assert_eq!(
        client.ask(&format!("PUT new {}", "v".repeat(400))),
        "OK",
        "there is room again"
    );
    assert_eq!(server.stat("evicted"), 0);
}

#[test]
fn a_pair_larger_than_the_cap_is_refused_and_nothing_is_evicted_for_it() {
    let server = server("2mb", "allkeys-lru");
    let mut client = server.client();
    fill(&mut client, "k", 0..1_000, 400);
    let refused = client.ask(&format!("PUT huge {}", "v".repeat(3 << 20)));
    assert!(refused.starts_with("ERR FULL"), "{refused}");
    let refused = client.ask("SETRANGE huge 3000000 x");
    assert!(refused.starts_with("ERR FULL"), "{refused}");
    assert_eq!(count(&mut client, "k:"), 1_000);
    assert_eq!(
        client.ask(&format!("PUT half {}", "v".repeat(1 << 20))),
        "OK"
    );
    assert!(server.stat("evicted") == 0, "there was room");
    assert_eq!(client.ask("SETRANGE other 700000 x"), "COUNT 700001");
    assert!(
        server.stat("used_memory_bytes") <= 2 * MIB,
        "what grows makes room, too"
    );
    assert!(server.stat("evicted") > 0);
}

#[test]
fn pairs_in_use_outlive_a_scan_of_new_ones() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-smart"] {
        let server = server("4mb", policy);
        let mut client = server.client();
        fill(&mut client, "hot", 0..500, 400);
        for round in 0..40 {
            for number in 0..500 {
                client.send(&format!("GET hot:{number}"));
            }
            let hits = (0..500)
                .filter(|_| client.reply().starts_with("VALUE"))
                .count();
            assert!(hits > 450, "{policy}, round {round}: {hits}");
            fill(&mut client, "cold", round * 1_000..(round + 1) * 1_000, 400);
        }
        assert!(server.stat("evicted") > 10_000, "{policy}");
    }
}

#[test]
fn a_volatile_policy_evicts_only_what_expires_the_soonest_first_where_it_says_so() {
    let server = server("2mb", "volatile-ttl");
    let mut client = server.client();
    fill(&mut client, "stays", 0..1_000, 400);
    for number in 0..10_000 {
        // The later ones expire sooner.
        let seconds = 100_000 - number;
        let put = client.ask(&format!(
            "SET goes:{number} {} EX {seconds}",
            "v".repeat(400)
        ));
        assert_eq!(put, "OK", "{number}");
        if number == 4_000 {
            break;
        }
    }
    assert_eq!(count(&mut client, "stays:"), 1_000);
    assert!(
        client.ask("GET goes:0").starts_with("VALUE"),
        "it expires last"
    );
    assert_eq!(
        client.ask("GET goes:3990"),
        "NOT_FOUND",
        "it expired sooner than those that stay"
    );
    client.ask("CONFIG SET maxmemory-policy volatile-lru");
    let stored = fill(&mut client, "more", 0..10_000, 400);
    assert!(
        stored < 10_000,
        "once nothing that expires is left, changes are refused"
    );
    assert_eq!(count(&mut client, "goes:"), 0);
    assert_eq!(count(&mut client, "stays:"), 1_000);
}

#[test]
fn expired_pairs_go_before_any_other() {
    let server = server("2mb", "allkeys-random");
    let mut client = server.client();
    for number in 0..2_000 {
        client.ask(&format!("SET brief:{number} {} PX 1", "v".repeat(400)));
    }
    fill(&mut client, "k", 0..3_000, 400);
    assert_eq!(server.stat("evicted"), 0);
    assert_eq!(count(&mut client, "k:"), 3_000);
}

#[test]
fn an_eviction_is_a_delete_in_feed_and_journal_and_survives_a_kill() {
    let server = server("1mb", "allkeys-lru");
    let (mut client, mut follower) = (server.client(), server.client());
    follower.ask("FOLLOW k:");
    fill(&mut client, "k", 0..4_000, 400);
    let mut evicted = 0;
    for _ in 0..4_000 {
        let change = follower.reply();
        if change.contains(" DEL ") {
            assert!(change.ends_with(" \"evicted\""), "{change}");
            evicted += 1;
            break;
        }
    }
    assert_eq!(evicted, 1);
    client.send("*2\r\n$6\r\nFOLLOW\r\n$5\r\nother\r");
    let keys = server.stat("keys");
    assert_eq!(keys + server.stat("evicted"), 4_000);
    let stopped = server.kill();
    assert!(
        stopped
            .unmarked_journal()
            .contains("\"],\"reason\":\"evicted\",\"seq\":")
    );
    let server = stopped.restart();
    assert_eq!(server.stat("keys"), keys);
}

#[test]
fn a_cap_and_a_policy_can_be_set_and_taken_back_while_the_server_runs() {
    let server = TestServer::start();
    let mut client = server.client();
    fill(&mut client, "k", 0..10_000, 400);
    let refused = client.ask("CONFIG SET maxmemory-policy newest");
    assert!(
        refused.contains("argument must be one of the following: noeviction, allkeys-lru"),
        "{refused}"
    );
    let refused = client.ask("CONFIG SET maxmemory much");
    assert!(
        refused.starts_with("ERR ARGS CONFIG SET failed"),
        "{refused}"
    );
    assert_eq!(
        client.ask("CONFIG SET maxmemory 2mb maxmemory-policy allkeys-lru"),
        "OK"
    );
    wait_until("the cap is reached", || {
        server.stat("used_memory_bytes") <= 2 * MIB + MIB / 64
    });
    assert!(server.stat("evicted") > 5_000);
    for policy in ["allkeys-smart", "allkeys-lfu", "allkeys-random"] {
        client.ask(&format!("CONFIG SET maxmemory-policy {policy}"));
        assert_eq!(
            fill(&mut client, policy, 0..10_000, 400),
            10_000,
            "{policy}"
        );
        assert!(server.stat("used_memory_bytes") <= 2 * MIB, "{policy}");
    }
    client.ask("CONFIG SET maxmemory 0");
    let evicted = server.stat("evicted");
    fill(&mut client, "free", 0..10_000, 400);
    assert_eq!(server.stat("evicted"), evicted);
    assert_eq!(count(&mut client, "free:"), 10_000);
}

#[test]
fn a_transaction_makes_room_for_all_it_stores_or_is_refused_whole() {
    let server = server("2mb", "noeviction");
    let mut client = server.client();
    fill(&mut client, "k", 0..10_000, 400);
    let exec = |client: &mut TestClient, requests: &[String]| {
        client.ask("MULTI");
        for request in requests {
            assert_eq!(client.ask(request), "QUEUED");
        }
        client.ask("EXEC")
    };
    let large = format!("PUT large {}", "v".repeat(100_000));
    let refused = exec(&mut client, &["DEL k:0".to_owned(), large.clone()]);
    assert!(refused.starts_with("ERR FULL"), "{refused}");
    assert!(
        client.ask("GET k:0").starts_with("VALUE"),
        "nothing was executed"
    );
    let refused = exec(&mut client, &["SETRANGE long 1000000 x".to_owned()]);
    assert!(
        refused.starts_with("ERR FULL"),
        "what it needs shows under way: {refused}"
    );
    assert_eq!(client.ask("GET long"), "NOT_FOUND");
    client.ask("CONFIG SET maxmemory-policy allkeys-lru");
    let done = exec(&mut client, &["SETRANGE long 1000000 x".to_owned(), large]);
    assert!(done.starts_with("ARRAY 2"), "{done}");
    assert_eq!([client.reply(), client.reply()], ["COUNT 1000001", "OK"]);
    assert!(server.stat("used_memory_bytes") <= 2 * MIB);
}

#[test]
fn what_is_loaded_keeps_to_a_lower_cap_than_it_was_stored_under() {
    let server = TestServer::start();
    let mut client = server.client();
    fill(&mut client, "k", 0..50_000, 400);
    assert_eq!(client.ask("SAVE"), "OK");
    fill(&mut client, "j", 0..50_000, 400);
    let stopped = server.stop();
    let all = |stopped: Stopped, eviction: &str| {
        let server = stopped
            .with_flags(&["--max-memory", "8mb", "--eviction", eviction])
            .restart();
        let keys = server.stat("keys");
        (server.stop(), keys)
    };
    let (stopped, keys) = all(stopped, "noeviction");
    assert_eq!(keys, 100_000, "nothing is lost that may not be evicted");
    let server = stopped
        .with_flags(&["--max-memory", "8mb", "--eviction", "allkeys-smart"])
        .restart();
    wait_until("the cap is reached", || {
        server.stat("used_memory_bytes") <= 8 * MIB + MIB / 16
    });
    let keys = server.stat("keys");
    assert!((14_000..20_000).contains(&keys), "{keys}");
}

#[test]
fn a_bit_that_would_make_a_value_too_long_for_the_cap_is_not_set() {
    let server = server("1mb", "noeviction");
    let mut client = server.client();
    for line in ["SETBIT half 4000000 1", "BITFIELD part SET u8 #300000 255"] {
        assert!(!client.ask(line).starts_with("ERR"), "{line}");
    }
    assert_eq!(client.reply(), "COUNT 0");
    for line in [
        "SETBIT half 16000000 1",
        "SETBIT other 16000000 1",
        "BITFIELD part SET u8 #2000000 255",
        "BITOP OR copy half",
    ] {
        let reply = client.ask(line);
        let refusal = "ERR FULL the data may take 1048576 bytes of memory (--max-memory)";
        assert!(reply.starts_with(refusal), "{line}: {reply}");
    }
    assert_eq!(client.ask("STRLEN half"), "COUNT 500001");
    assert_eq!(client.ask("STRLEN part"), "COUNT 300001");
    assert_eq!(client.ask("EXISTS other copy"), "COUNT 0");
    // What is there is changed in place.
    assert_eq!(client.ask("SETBIT half 7 1"), "COUNT 0");
    assert_eq!(client.ask("GETBIT half 7"), "COUNT 1");
}

#[test]
fn the_uses_of_a_pair_are_told_and_a_look_is_none() {
    let server = server("10mb", "allkeys-lru");
    let mut client = server.client();
    client.ask("PUT a 1");
    let idle = |client: &mut TestClient| client.ask("OBJECT IDLETIME a");
    assert_eq!(idle(&mut client), "COUNT 0");
    wait_until("a second has passed", || idle(&mut client) == "COUNT 1");
    for look in [
        "EXISTS a",
        "TYPE a",
        "TTL a",
        "OBJECT ENCODING a",
        "MEMORY USAGE a",
    ] {
        client.ask(look);
        assert_ne!(idle(&mut client), "COUNT 0", "{look}");
    }
    assert_eq!(client.ask("CLIENT NO-TOUCH ON"), "OK");
    client.ask("GET a");
    assert_ne!(idle(&mut client), "COUNT 0", "the client said so");
    assert!(client.ask("CLIENT INFO").contains("flags=T "));
    client.ask("TOUCH a");
    assert_eq!(idle(&mut client), "COUNT 0", "TOUCH is always a use");
    client.ask("CLIENT NO-TOUCH OFF");
    let refused = client.ask("OBJECT FREQ a");
    assert!(
        refused.contains("An LFU maxmemory policy is not selected"),
        "{refused}"
    );
    client.ask("CONFIG SET maxmemory-policy allkeys-lfu");
    client.ask("PUT b 1");
    assert_eq!(client.ask("OBJECT FREQ b"), "COUNT 5");
    client.ask("GET b");
    assert_eq!(client.ask("OBJECT FREQ b"), "COUNT 6");
    let refused = client.ask("OBJECT IDLETIME b");
    assert!(
        refused.contains("An LFU maxmemory policy is selected"),
        "{refused}"
    );
    let without = TestServer::start();
    let mut client = without.client();
    client.ask("PUT a 1");
    let refused = client.ask("OBJECT IDLETIME a");
    assert!(refused.contains("only under a cap on memory"), "{refused}");
}

#[test]
fn a_client_that_asks_for_it_is_not_disconnected_for_its_memory() {
    let server = TestServer::start_with(&["--client-memory", "8mb"]);
    let (mut kept, mut others) = (server.client(), Vec::new());
    assert_eq!(kept.ask("CLIENT NO-EVICT ON"), "OK");
    assert!(kept.ask("CLIENT INFO").contains("flags=e "));
    kept.ask("MULTI");
    let value = "v".repeat(1 << 20);
    for number in 0..4 {
        assert_eq!(kept.ask(&format!("PUT k:{number} {value}")), "QUEUED");
    }
    let mut refused = 0;
    for _ in 0..6 {
        let mut other = server.client();
        other.try_ask("MULTI");
        let queued = other.try_ask(&format!("PUT other {value}"));
        refused += usize::from(queued.as_deref() != Some("QUEUED"));
        others.push(other);
    }
    assert!(
        refused > 0 || server.stat("clients_ended_total") > 0,
        "together they hold too much"
    );
    assert_eq!(kept.ask("EXEC"), "ARRAY 4");
}

/// A bound that a slow machine keeps, too: without it, lowering the cap would hold up everybody.
#[test]
fn a_cap_that_is_lowered_by_much_is_reached_beside_the_requests() {
    let server = TestServer::start_with(&["--max-memory", "200mb", "--eviction", "allkeys-smart"]);
    let mut client = server.client();
    fill(&mut client, "k", 0..100_000, 400);
    client.ask("CONFIG SET maxmemory 4mb");
    let (mut longest, started) = (Duration::ZERO, Instant::now());
    while server.stat("used_memory_bytes") > 4 * MIB {
        assert!(started.elapsed() < Duration::from_secs(60));
        for number in 0..100 {
            let asked = Instant::now();
            assert_eq!(client.ask(&format!("PUT new:{number} value")), "OK");
            longest = longest.max(asked.elapsed());
        }
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}
