//! A slow disk: who waits for it, who does not, and that it is told of.
//!
//! Method: the unmodified server runs under strace, which makes a call of the system take seconds; when syncs begin is seen
//! on a simulated disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pykv::engine::{Barrier, Engine};
use pykv::model::{Key, Value};
use pykv::persistence::{Durability, Options, Progress};

use crate::persistence::power::{options, wait_for};
use crate::support::full_disk::health;
use crate::support::server::{Stopped, TestServer, is_skipped, wait_until};
use crate::support::simulated_disk::SimulatedDisk;

/// A figure of STATS with a fraction.
fn seconds(server: &TestServer, name: &str) -> f64 {
    let stats = server.client().ask_rows("STATS");
    let head = format!("STAT {name} ");
    let row = stats.iter().find_map(|row| row.strip_prefix(&head));
    row.and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number {name} in {stats:#?}"))
}

#[test]
fn under_everysec_nobody_waits_for_a_slow_sync_and_the_window_is_told_of() {
    if is_skipped("strace") {
        return;
    }
    let delay = Duration::from_secs(4);
    let server = Stopped::new(&[])
        .with_fault("fdatasync:delay_enter=4000000:when=1")
        .restart();
    assert_eq!(health(&server).0, 200);
    let started = Instant::now();
    assert_eq!(server.client().ask("PUT first 1"), "OK");
    wait_until("the window is exceeded", || {
        seconds(&server, "unsynced_seconds") > 1.0
    });
    let asked = Instant::now();
    let mut clients = [
        server.client(),
        server.client(),
        server.client(),
        server.client(),
    ];
    for n in 0..50 {
        assert_eq!(clients[0].ask(&format!("PUT k{n} v")), "OK");
        assert_eq!(clients[1].ask(&format!("GET k{n}")), "VALUE \"v\"");
        assert_eq!(clients[2].ask(&format!("DEL k{n}")), "COUNT 1");
        assert_eq!(clients[3].ask("PING"), "PONG");
    }
    assert!(
        asked.elapsed() < delay / 2,
        "200 requests took {:?}",
        asked.elapsed()
    );
    let (status, body) = health(&server);
    assert!(
        started.elapsed() < delay,
        "the sync was over too early to show anything"
    );
    assert_eq!(status, 503, "{body}");
    assert!(
        body.contains("a power cut now would take the last ")
            && body.contains(" more than everysec promises"),
        "{body}"
    );
    wait_until("the window is kept again", || {
        health(&server).0 == 200 && seconds(&server, "unsynced_seconds") < 1.0
    });
    let longest = seconds(&server, "unsynced_seconds_max");
    assert!((4.0..30.0).contains(&longest), "{longest}");
    wait_until("nothing waits", || {
        seconds(&server, "unsynced_seconds") == 0.0
    });
}

/// Goal: a change that waits for the disk holds up those who would be shown it, or whose own change it makes unnecessary, and
/// nobody else. A reader waits for the last
/// change of its key's part of the data, of which there are 1024: so one of the other keys may be unlucky, but not two.
fn only_those_wait_who_see_the_change(server: &TestServer, delay: Duration) {
    let soon = delay / 2;
    let started = Instant::now();
    let mut writer = server.client();
    writer.send("PUT slow 1");
    wait_until("the change is made", || server.stat("keys") == 6);
    let ask = |line: String, expected: String| {
        let mut client = server.client();
        move || {
            assert_eq!(client.ask(&line), expected, "{line}");
            started.elapsed()
        }
    };
    let seeing = [
        ("GET slow", "VALUE \"1\""),
        ("SETNX slow 2", "COUNT 0"),
        ("PERSIST slow", "COUNT 0"),
        ("DELIFEQ slow 2", "COUNT 0"),
    ];
    let (answered, shown) = std::thread::scope(|scope| {
        let seeing = seeing.map(|(line, reply)| ask(line.to_owned(), reply.to_owned()));
        let seeing = seeing.map(|ask| scope.spawn(ask));
        let others = (0..5).map(|n| ask(format!("GET k{n}"), format!("VALUE \"{n}\"")));
        let others: Vec<_> = others.map(|ask| scope.spawn(ask)).collect();
        assert_eq!(server.client().ask("PING"), "PONG");
        assert_eq!(server.stat("keys"), 6);
        assert!(
            started.elapsed() < soon,
            "PING and STATS took {:?}",
            started.elapsed()
        );
        let ended = |asked: Vec<std::thread::ScopedJoinHandle<'_, Duration>>| -> Vec<Duration> {
            let ended = asked.into_iter().map(std::thread::ScopedJoinHandle::join);
            ended.map(|after| after.expect("an answer")).collect()
        };
        (ended(others), ended(seeing.into()))
    });
    let held_up = answered.iter().filter(|after| **after > soon).count();
    assert!(held_up <= 1, "{answered:?} with a delay of {delay:?}");
    assert!(
        shown.iter().all(|after| *after > soon),
        "what is not on the disk was told of after {shown:?}"
    );
    assert_eq!(writer.reply(), "OK");
}

/// A folder with five pairs, as a stopped server leaves it.
fn five_pairs(durability: &str) -> Stopped {
    let server = TestServer::start_with(&["--durability", durability]);
    for n in 0..5 {
        assert_eq!(server.client().ask(&format!("PUT k{n} {n}")), "OK");
    }
    server.stop()
}

#[test]
fn under_always_a_slow_sync_holds_up_the_change_and_those_who_see_it_only() {
    if is_skipped("strace") {
        return;
    }
    let server = five_pairs("always")
        .with_fault("fdatasync:delay_enter=3000000")
        .restart();
    only_those_wait_who_see_the_change(&server, Duration::from_secs(3));
}

#[test]
fn a_slow_write_holds_up_the_change_and_those_who_see_it_only() {
    if is_skipped("strace") {
        return;
    }
    for durability in ["everysec", "always"] {
        let server = five_pairs(durability)
            .with_fault_at("write:delay_enter=3000000", "journal-2.jsonl")
            .restart();
        only_those_wait_who_see_the_change(&server, Duration::from_secs(3));
    }
}

#[test]
fn four_mebibytes_of_changes_are_synced_before_their_time() {
    let options = Options {
        sync_interval: Duration::from_secs(3_600),
        ..options(Durability::EverySecond)
    };
    let engine = Engine::open_on(
        SimulatedDisk::new() as _,
        &options,
        Arc::default(),
        &Progress::new(),
    );
    let engine = engine.expect("a start");
    let put_mebibytes = |count: usize| {
        let value = vec![b'v'; 1 << 20];
        let value = Value::parse(&value).expect("a value");
        for _ in 0..count {
            let (key, mut made) = (Key::parse(b"key").expect("a key"), Barrier::default());
            engine.put(key, value, &mut made).expect("a put");
            wait_for(engine.wait_until_durable(made)).expect("a put");
        }
    };
    let is_synced = || engine.disk().unsynced.is_zero();
    put_mebibytes(1);
    wait_until("what was put is on the disk", || {
        is_synced() || {
            put_mebibytes(1);
            false
        }
    });
    put_mebibytes(3);
    assert!(!is_synced(), "three mebibytes were synced");
    put_mebibytes(1);
    wait_until("four mebibytes are on the disk", is_synced);
}
