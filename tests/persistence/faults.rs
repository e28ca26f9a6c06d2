//! The disk fails once, at any of its calls: nothing acknowledged is lost, and the server mends by itself.
//!
//! Goal: the rules of persistence hold whichever call fails. Method: the unmodified server runs under strace, which makes the
//! n-th fsync, fdatasync, rename, ... fail, while one client changes pairs and another saves; n goes from one to past the
//! end. Afterwards changes must be taken again, and a kill and a start without faults must give back every change that was
//! acknowledged.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::server::{Stopped, TestClient, TestServer, is_skipped, wait_until};

/// The calls that persistence makes, and how often one thread may make each before the end of the load. A sync that fails
/// takes its time first, so that others write meanwhile.
const CALLS: &[(&str, usize)] = &[
    ("fsync:error=EIO:delay_enter=150000", 16),
    ("fdatasync:error=EIO:delay_enter=150000", 8),
    ("rename:error=EIO:delay_enter=50000", 8),
    ("unlink:error=EIO", 6),
    ("ftruncate:error=EIO", 1),
];

/// The calls at which the server is killed, before the system has done what they ask for.
const KILLS: &[(&str, usize)] = &[
    ("fsync:signal=KILL", 12),
    ("fdatasync:signal=KILL", 5),
    ("rename:signal=KILL", 6),
    ("unlink:signal=KILL", 4),
    ("ftruncate:signal=KILL", 1),
];

/// How many servers a call has killed while they served.
static KILLED_UNDER_LOAD: AtomicUsize = AtomicUsize::new(0);

/// How many servers run side by side: most of their time goes by waiting.
const SIDE_BY_SIDE: usize = 8;

#[test]
fn whichever_call_fails_once_every_acknowledged_change_is_kept() {
    if is_skipped("strace") {
        return;
    }
    for_each_case(CALLS, survive);
}

#[test]
fn at_whichever_call_the_server_is_killed_every_acknowledged_change_is_kept() {
    if is_skipped("strace") {
        return;
    }
    for_each_case(KILLS, survive_two_kills);
    // The faults must have hit, or nothing has been shown.
    let killed = KILLED_UNDER_LOAD.load(Ordering::Relaxed);
    assert!(killed >= 20, "only {killed} servers were killed under load");
}

/// Runs a check for each call, each time that it is made, and both durabilities that promise something.
fn for_each_case(calls: &[(&str, usize)], check: fn(&str, &str)) {
    let cases: Vec<(String, &str)> = calls
        .iter()
        .flat_map(|(call, most)| (1..=*most).map(move |n| format!("{call}:when={n}")))
        .flat_map(|inject| ["everysec", "always"].map(|durability| (inject.clone(), durability)))
        .collect();
    assert!(cases.len() > 50, "only {} cases", cases.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((inject, durability)) =
                    cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    check(inject, durability);
                }
            });
        }
    });
}

/// One fault, one load, one kill.
fn survive(inject: &str, durability: &str) {
    let stopped = Stopped::new(&["--durability", durability]);
    stopped.write("store.json", "{\"old\": \"pair\"}");
    let (stopped, acknowledged) = match stopped.with_fault(inject).try_restart() {
        Ok(server) => {
            let acknowledged = load(&server);
            assert_no_distrusted_file_is_used(&server.log(), inject);
            (server.kill(), acknowledged)
        }
        // A start that fails says why, and the next one goes well.
        Err(stopped) => {
            assert!(
                stopped.log().contains("Input/output error"),
                "{inject}: {}",
                stopped.log()
            );
            (*stopped, Vec::new())
        }
    };
    assert_all_kept(stopped, &acknowledged, &format!("{inject}, {durability}"));
}

/// A start without faults must give back the pair of store.json, and every change that was acknowledged.
fn assert_all_kept(stopped: Stopped, acknowledged: &[String], case: &str) {
    let server = stopped.with_fault("").restart();
    let mut client = server.client();
    assert_eq!(client.ask("GET old"), "VALUE \"pair\"", "{case}");
    for key in acknowledged {
        assert_eq!(
            client.ask(&format!("GET {key}")),
            "VALUE \"v\"",
            "{case}: {key} is lost"
        );
    }
}

/// Changes pairs and saves until the fault has come and gone; the keys that were acknowledged.
fn load(server: &TestServer) -> Vec<String> {
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| {
        let mut saver = server.client();
        let saving = scope.spawn(move || {
            let started = Instant::now();
            // Long enough for the syncs of everysec to come, too.
            while started.elapsed() < Duration::from_millis(1_200) {
                let reply = saver.ask("SAVE");
                assert!(reply == "OK" || reply.starts_with("ERR DISK "), "{reply}");
            }
        });
        let mut client = server.client();
        for n in 0.. {
            put(&mut client, &format!("k{}", n % 5_000), &mut acknowledged);
            if saving.is_finished() {
                break;
            }
        }
    });
    let mut client = server.client();
    wait_until("changes are taken again", || {
        put(&mut client, "again", &mut acknowledged)
    });
    for n in 0..10 {
        put(&mut client, &format!("after{n}"), &mut acknowledged);
    }
    acknowledged
}

/// A file whose sync has failed is never relied on again: once changes are taken again, it is gone.
fn assert_no_distrusted_file_is_used(log: &str, case: &str) {
    for line in log
        .lines()
        .filter(|line| line.contains("ERROR cannot sync "))
    {
        let path = line
            .split("cannot sync ")
            .nth(1)
            .and_then(|rest| rest.split(": ").next())
            .expect("a path");
        let settled = path.trim_end_matches(".new");
        assert!(
            !Path::new(path).exists() && !Path::new(settled).exists(),
            "{case}: {path} is still used"
        );
    }
}

fn put(client: &mut TestClient, key: &str, acknowledged: &mut Vec<String>) -> bool {
    let reply = client.ask(&format!("PUT {key} v"));
    assert!(reply == "OK" || reply.starts_with("ERR DISK "), "{reply}");
    if reply == "OK" {
        acknowledged.push(key.to_owned());
    }
    reply == "OK"
}

/// One kill under load, one at the same call of the start after it, and a start that goes well.
fn survive_two_kills(inject: &str, durability: &str) {
    let stopped = Stopped::new(&["--durability", durability]);
    stopped.write("store.json", "{\"old\": \"pair\"}");
    let (stopped, acknowledged) = match stopped.with_fault(inject).try_restart() {
        Ok(server) => {
            let acknowledged = load_until_killed(&server);
            (server.kill(), acknowledged)
        }
        Err(stopped) => (*stopped, Vec::new()),
    };
    // The second start may get past the call; then nothing has been asked of it.
    let stopped = match stopped.try_restart() {
        Ok(server) => server.kill(),
        Err(stopped) => *stopped,
    };
    assert_all_kept(stopped, &acknowledged, &format!("{inject}, {durability}"));
}

/// Changes pairs and saves until the server is killed, or has not been in a second; the keys that were acknowledged.
fn load_until_killed(server: &TestServer) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let started = Instant::now();
    let goes_on = || started.elapsed() < Duration::from_secs(1);
    std::thread::scope(|scope| {
        let mut saver = server.client();
        scope.spawn(move || while goes_on() && saver.try_ask("SAVE").is_some() {});
        let mut client = server.client();
        for n in 0.. {
            let key = format!("k{}", n % 5_000);
            match client.try_ask(&format!("PUT {key} v")) {
                Some(reply) if goes_on() => {
                    assert_eq!(reply, "OK");
                    acknowledged.push(key);
                }
                Some(_) => return,
                None => {
                    KILLED_UNDER_LOAD.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    });
    acknowledged
}
