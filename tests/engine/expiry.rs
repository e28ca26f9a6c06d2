//! Pairs that cease to be: exactly at their moment for whoever asks, soon after for the memory and the journal, and for good over
//! a restart.
//!
//! In: commands with moments. Out: nothing but the verdict. Nothing waits for luck: a moment is read from the server, and what
//! must have come by then is compared with the clock on both sides of the question.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::full_disk::limit_files;
use crate::support::server::{TestServer, is_skipped, wait_until};

/// Milliseconds since 1970, on the clock that the server reads.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.expect("it is past 1970").as_millis()).expect("64 bits")
}

fn count(reply: &str) -> u64 {
    let number = reply
        .strip_prefix("COUNT ")
        .and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{reply} is no count"))
}

fn wait_for(moment: u64) {
    wait_until("the moment has come", || now_ms() >= moment);
}

#[test]
fn a_pair_is_shown_up_to_its_moment_and_never_after_it() {
    let server = TestServer::start();
    let mut client = server.client();
    for _ in 0..20 {
        assert_eq!(client.ask("SET k v PX 40"), "OK");
        let set_at = now_ms();
        let mut moment = set_at;
        loop {
            let asked_at = now_ms();
            let reply = client.ask("PEXPIRETIME k");
            let answered_at = now_ms();
            if reply == "COUNT -2" {
                assert!(answered_at >= moment, "it went before its moment");
                break;
            }
            moment = count(&reply);
            assert!(
                moment <= set_at + 40,
                "{moment} is not 40 ms after {set_at}"
            );
            assert!(asked_at < moment, "it was shown after its moment");
        }
    }
}

#[test]
fn what_has_expired_is_in_no_reply_though_its_memory_is_not_free_yet() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MSET k:k v k:stay v"), "OK");
    assert_eq!(client.ask("PEXPIRE k:k 30"), "COUNT 1");
    wait_for(now_ms() + 30);
    let gone = [
        ("GET k:k", "NOT_FOUND"),
        ("EXISTS k:k k:stay", "COUNT 1"),
        ("TYPE k:k", "VALUE \"none\""),
        ("TTL k:k", "COUNT -2"),
        ("PTTL k:k", "COUNT -2"),
        ("STRLEN k:k", "COUNT 0"),
        ("GETRANGE k:k 0 -1", "VALUE \"\""),
        ("COUNT k:", "COUNT 1"),
        ("DELPREFIX k: DRYRUN", "COUNT 1"),
        ("RANDOMKEY", "VALUE \"k:stay\""),
        ("SET k:k new XX", "UNCHANGED"),
        ("SET k:k new IFEQ v", "UNCHANGED"),
        ("DELIFEQ k:k v", "COUNT 0"),
        ("EXPIRE k:k 60", "COUNT 0"),
        ("PERSIST k:k", "COUNT 0"),
        ("GETDEL k:k", "NOT_FOUND"),
        ("COPY k:k k:copy", "COUNT 0"),
        ("RENAME k:k k:new", "ERR ARGS no such key"),
        ("DEL k:k", "COUNT 0"),
    ];
    for (line, reply) in gone {
        assert_eq!(client.ask(line), reply, "{line}");
    }
    assert_eq!(client.ask_rows("KEYS k:"), ["KEY \"k:stay\"", "END 1"]);
    assert_eq!(
        client.ask_rows("ALL k:"),
        ["ITEM \"k:stay\" \"v\"", "END 1"]
    );
    assert_eq!(
        client.ask_rows("NAMESPACES"),
        ["NAMESPACE \"k:\" 1", "END 1"]
    );
    assert_eq!(
        client.ask_array("MGET k:k k:stay"),
        ["NOT_FOUND", "VALUE \"v\""]
    );
    // What is counted or added to begins anew.
    for (line, reply) in [
        ("SET n 5 PX 1", "OK"),
        ("SET s text PX 1", "OK"),
        ("SET x v PX 1", "OK"),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
    wait_for(now_ms() + 2);
    for (line, reply) in [
        ("INCR n", "VALUE \"1\""),
        ("TTL n", "COUNT -1"),
        ("APPEND s new", "COUNT 3"),
        ("TTL s", "COUNT -1"),
        ("SETNX x new", "COUNT 1"),
        ("TTL x", "COUNT -1"),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
}

#[test]
fn expired_pairs_are_reclaimed_though_nobody_asks_and_the_journal_says_so() {
    let server = TestServer::start();
    let mut client = server.client();
    for n in 0..1_000 {
        client.send(&format!("SET gone:{n} {} PX 200", "v".repeat(1_000)));
    }
    for _ in 0..1_000 {
        assert_eq!(client.reply(), "OK");
    }
    assert_eq!(client.ask("SET later v EX 999999"), "OK");
    assert_eq!(client.ask("PUT stay v"), "OK");
    // What is hidden still takes room; what is reclaimed does not.
    wait_until("what has expired is reclaimed", || {
        server.stat("data_bytes") == 11
    });
    assert_eq!(client.ask("DBSIZE"), "COUNT 2");
    let stopped = server.kill();
    let mut deleted = BTreeSet::new();
    for line in stopped.read("journal-1.jsonl").lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        for key in record["del"].as_array().into_iter().flatten() {
            deleted.insert(key.as_str().expect("a key").to_owned());
        }
    }
    let expected: BTreeSet<String> = (0..1_000).map(|n| format!("gone:{n}")).collect();
    assert_eq!(deleted, expected);
    assert_eq!(stopped.restart().client().ask("DBSIZE"), "COUNT 2");
}

#[test]
fn what_expires_while_the_server_is_down_is_not_there_after_it() {
    for is_killed in [true, false] {
        let server = TestServer::start();
        let mut client = server.client();
        assert_eq!(client.ask("SET gone v PX 100"), "OK");
        assert_eq!(client.ask("SET stay v PXAT 4102444800123"), "OK");
        let moment = now_ms() + 100;
        let stopped = if is_killed {
            server.kill()
        } else {
            server.stop()
        };
        wait_for(moment);
        let server = stopped.restart();
        let mut client = server.client();
        // Not even the first question after the start shows it.
        assert_eq!(client.ask("DBSIZE"), "COUNT 1", "killed: {is_killed}");
        assert_eq!(client.ask("GET gone"), "NOT_FOUND");
        assert_eq!(client.ask("PEXPIRETIME stay"), "COUNT 4102444800123");
    }
}

#[test]
fn setting_one_expiry_again_and_again_costs_no_memory() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("PUT k v"), "OK");
    let mut again = |times: u32| {
        let lines: String = (0..times)
            .map(|n| format!("EXPIREAT k {}\n", 4_102_444_800 + u64::from(n)))
            .collect();
        let mut sender = client.sender();
        let writer = std::thread::spawn(move || sender.write_all(lines.as_bytes()));
        for _ in 0..times {
            assert_eq!(client.reply(), "COUNT 1");
        }
        let written = writer.join().expect("the writer ends");
        written.expect("the server reads");
    };
    again(20_000);
    let before = server.memory_bytes();
    again(200_000);
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes for one key");
    let mut client = server.client();
    assert_eq!(client.ask("DBSIZE"), "COUNT 1");
    assert_eq!(server.stat("data_bytes"), 2);
    assert_eq!(client.ask("EXPIRE k 0"), "COUNT 1");
    assert_eq!(client.ask("DBSIZE"), "COUNT 0");
    assert_eq!(server.stat("data_bytes"), 0);
}

#[test]
fn an_earlier_moment_that_holds_no_more_takes_nothing_away() {
    let server = TestServer::start();
    let mut client = server.client();
    for key in ["persisted", "put", "later", "taken", "swept"] {
        assert_eq!(client.ask(&format!("SET {key} v PX 300")), "OK");
    }
    for (line, reply) in [
        ("PERSIST persisted", "COUNT 1"),
        ("PUT put new", "OK"),
        ("EXPIRE later 999999", "COUNT 1"),
        ("GETDEL taken", "VALUE \"v\""),
        ("PUT taken again", "OK"),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
    wait_until("the one that expires is gone", || {
        client.ask("DBSIZE") == "COUNT 4"
    });
    assert_eq!(client.ask("EXISTS persisted put later taken"), "COUNT 4");
    assert_eq!(client.ask("EXISTS swept"), "COUNT 0");
}

#[test]
fn a_new_value_stays_and_a_changed_one_expires_as_before() {
    let server = TestServer::start();
    let mut client = server.client();
    let at = "COUNT 4102444800";
    for (line, key, expected) in [
        ("PUT k 1", "k", "COUNT -1"),
        ("SET k 1", "k", "COUNT -1"),
        ("SET k 1 XX", "k", "COUNT -1"),
        ("SET k 1 KEEPTTL", "k", at),
        ("SET k 1 EXAT 4102444801", "k", "COUNT 4102444801"),
        ("MSET k 1", "k", "COUNT -1"),
        ("GETSET k 1", "k", "COUNT -1"),
        ("GETEX k", "k", at),
        ("GETEX k PERSIST", "k", "COUNT -1"),
        ("INCR k", "k", at),
        ("DECRBY k 5", "k", at),
        ("INCRBYFLOAT k 0.5", "k", at),
        ("APPEND k 0", "k", at),
        ("SETRANGE k 1 0", "k", at),
        ("RENAME k other", "other", at),
        ("COPY k other REPLACE", "other", at),
        ("COPY k other REPLACE", "k", at),
    ] {
        assert_eq!(client.ask("MSET k 7 other 7"), "OK");
        assert_eq!(client.ask("EXPIREAT k 4102444800"), "COUNT 1");
        let reply = client.ask(line);
        assert!(!reply.starts_with("ERR"), "{line}: {reply}");
        assert_eq!(client.ask(&format!("EXPIRETIME {key}")), expected, "{line}");
    }
}

#[test]
fn conditions_on_an_expiry_hold_as_in_redis() {
    let server = TestServer::start();
    let mut client = server.client();
    // What the key has before, the condition, and whether 2000 seconds past 2100 are set.
    for (before, condition, is_set) in [
        (None, "NX", true),
        (None, "XX", false),
        (None, "GT", false),
        (None, "LT", true),
        (None, "XX GT", false),
        (Some(1_000), "NX", false),
        (Some(1_000), "XX", true),
        (Some(1_000), "GT", true),
        (Some(1_000), "LT", false),
        (Some(2_000), "GT", false),
        (Some(2_000), "LT", false),
        (Some(3_000), "GT", false),
        (Some(3_000), "LT", true),
        (Some(3_000), "xx lt", true),
    ] {
        client.ask("PUT k v");
        if let Some(before) = before {
            client.ask(&format!("EXPIREAT k {}", 4_102_444_800_u64 + before));
        }
        assert_eq!(
            client.ask(&format!("EXPIREAT k 4102446800 {condition}")),
            format!("COUNT {}", u8::from(is_set)),
            "{before:?} {condition}"
        );
        let now = match before {
            _ if is_set => "COUNT 4102446800".to_owned(),
            None => "COUNT -1".to_owned(),
            Some(before) => format!("COUNT {}", 4_102_444_800_u64 + before),
        };
        assert_eq!(client.ask("EXPIRETIME k"), now, "{before:?} {condition}");
    }
    for (line, reply) in [
        (
            "EXPIRE k 1 NX XX",
            "ERR ARGS NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "EXPIRE k 1 GT LT",
            "ERR ARGS GT and LT options at the same time are not compatible",
        ),
        ("EXPIRE k 1 SOON", "ERR ARGS Unsupported option SOON"),
        (
            "EXPIRE k soon",
            "ERR ARGS value is not an integer or out of range",
        ),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
}

#[test]
fn a_disk_that_takes_no_changes_hides_what_has_expired_and_reclaims_it_later() {
    if is_skipped("prlimit") {
        return;
    }
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MSET short v stay v more v"), "OK");
    limit_files(&server, "1");
    wait_until("the disk takes no more", || {
        client.ask("PUT more v").starts_with("ERR DISK ")
    });
    // The expiry itself is a change, and refused.
    assert!(client.ask("PEXPIRE short 1").starts_with("ERR DISK "));
    assert_eq!(client.ask("TTL short"), "COUNT -1");
    limit_files(&server, "unlimited");
    wait_until("changes are taken again", || {
        client.ask("PEXPIRE short 3000") == "COUNT 1"
    });
    let moment = now_ms() + 3_000;
    limit_files(&server, "1");
    wait_until("the disk takes no more", || {
        client.ask("PUT more v").starts_with("ERR DISK ")
    });
    wait_for(moment);
    assert_eq!(client.ask("GET short"), "NOT_FOUND");
    assert_eq!(client.ask("DBSIZE"), "COUNT 2");
    let hidden = server.stat("data_bytes");
    limit_files(&server, "unlimited");
    wait_until("it is reclaimed", || server.stat("data_bytes") < hidden);
    assert_eq!(client.ask("DBSIZE"), "COUNT 2");
}
