//! Walks over many keys, while others put and delete: what stays is seen, once; what is deleted by prefix is what was meant.
//!
//! In: SCAN, DELPREFIX, NAMESPACES. Out: nothing but the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::support::full_disk::limit_files;
use crate::support::server::{TestClient, TestServer, is_skipped, wait_until};

/// One page: the keys, and the cursor of the next.
fn page(client: &mut TestClient, request: &str) -> (Vec<String>, u64) {
    assert_eq!(client.ask(request), "ARRAY 2", "{request}");
    let text = |line: String| -> String {
        let json = line.strip_prefix("VALUE ");
        serde_json::from_str(json.expect("a value")).expect("a string")
    };
    let cursor = text(client.reply()).parse().expect("a number");
    let count = client.reply();
    let count = count.strip_prefix("ARRAY ").map(str::parse::<usize>);
    let Some(Ok(count)) = count else {
        panic!("{request} is answered without its keys");
    };
    ((0..count).map(|_| text(client.reply())).collect(), cursor)
}

/// All keys of a walk, in its order, and how many pages it had.
fn walk(client: &mut TestClient, options: &str) -> (Vec<String>, usize) {
    let (mut found, mut cursor, mut pages) = (Vec::new(), 0, 0);
    loop {
        let (keys, next) = page(client, &format!("SCAN {cursor} {options}"));
        found.extend(keys);
        pages += 1;
        cursor = next;
        if cursor == 0 {
            return (found, pages);
        }
    }
}

/// Puts so many keys `head` and a number.
fn fill(client: &mut TestClient, head: &str, count: usize) {
    let pairs: Vec<String> = (0..count).map(|n| format!("{head}{n} v")).collect();
    assert_eq!(client.ask(&format!("MSET {}", pairs.join(" "))), "OK");
}

/// Says that all is done when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_walk_sees_all_that_stay_once_while_others_come_and_go() {
    let server = TestServer::start();
    let mut client = server.client();
    fill(&mut client, "stay:", 3_000);
    let stays: BTreeSet<String> = (0..3_000).map(|n| format!("stay:{n}")).collect();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // However the walks end, those who come and go must.
        let end = Ends(&is_done);
        scope.spawn(|| {
            let mut client = server.client();
            let mut n = 0;
            while !is_done.load(Relaxed) {
                fill(&mut client, &format!("come:{}:", n % 5), 300);
                assert_eq!(
                    client.ask(&format!("DELPREFIX come:{}:", (n + 3) % 5)),
                    if n < 2 { "COUNT 0" } else { "COUNT 300" }
                );
                n += 1;
            }
            assert!(n > 5, "hardly anything came or went");
        });
        for count in ["", "COUNT 1", "COUNT 7", "COUNT 100", "COUNT 5000"] {
            let (found, _) = walk(&mut client, count);
            let keys: BTreeSet<String> = found.iter().cloned().collect();
            assert_eq!(keys.len(), found.len(), "{count}: a key was shown twice");
            let missed: Vec<_> = stays.difference(&keys).collect();
            assert!(missed.is_empty(), "{count}: {missed:?} were not shown");
        }
        drop(end);
    });
}

#[test]
fn a_page_has_about_as_many_keys_as_are_asked_for() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(walk(&mut client, ""), (vec![], 1));
    fill(&mut client, "k", 1_000);
    for (options, pages) in [
        ("", 100),
        ("COUNT 1", 1_000),
        ("COUNT 10", 100),
        ("COUNT 250", 4),
        ("COUNT 999", 2),
        ("COUNT 2000", 1),
    ] {
        let (found, seen) = walk(&mut client, options);
        assert_eq!(found.len(), 1_000, "{options}");
        // A last page may be empty, or spare itself.
        assert!(seen.abs_diff(pages) <= 1, "{options}: {seen} pages");
    }
    // What does not match is looked at, and not shown.
    let (found, pages) = walk(&mut client, "MATCH k99? COUNT 100");
    assert_eq!((found.len(), pages.abs_diff(10) <= 1), (10, true));
    assert_eq!(walk(&mut client, "TYPE string").0.len(), 1_000);
    assert_eq!(walk(&mut client, "TYPE list").0.len(), 0);
}

#[test]
fn a_walk_may_begin_at_any_number_and_ends() {
    let server = TestServer::start();
    let mut client = server.client();
    fill(&mut client, "k", 100);
    for cursor in [1, 12_345, 1 << 40, 1 << 63, u64::MAX] {
        let (_, next) = page(&mut client, &format!("SCAN {cursor} COUNT 1000"));
        assert_eq!(next, 0, "{cursor}");
    }
    for (line, reply) in [
        ("SCAN -1", "ERR ARGS invalid cursor"),
        ("SCAN 1.5", "ERR ARGS invalid cursor"),
        ("SCAN \"\"", "ERR ARGS invalid cursor"),
        ("SCAN 18446744073709551616", "ERR ARGS invalid cursor"),
        (
            "SCAN 0 COUNT many",
            "ERR ARGS value is not an integer or out of range",
        ),
        (
            "SCAN 0 COUNT 0",
            "ERR ARGS SCAN does not take these arguments: SCAN <cursor> [MATCH <pattern>] [COUNT <number>] [TYPE <type>]",
        ),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
}

#[test]
fn a_dry_run_changes_nothing_and_the_real_one_deletes_what_it_has_counted() {
    let server = TestServer::start();
    let mut client = server.client();
    fill(&mut client, "user:", 5_000);
    fill(&mut client, "users:", 10);
    client.ask("MSET \"user\" 1 \"User:1\" 2");
    let journal = server.stat("journal_bytes");
    assert_eq!(client.ask("DELPREFIX user: DRYRUN"), "COUNT 5000");
    assert_eq!(client.ask("delprefix user: dryrun"), "COUNT 5000");
    assert_eq!(client.ask("DELPREFIX nobody:"), "COUNT 0");
    assert_eq!(client.ask("DBSIZE"), "COUNT 5012");
    assert_eq!(server.stat("journal_bytes"), journal);
    assert_eq!(
        client.ask("DELPREFIX user: NOW"),
        "ERR ARGS DELPREFIX does not take these arguments: DELPREFIX <prefix> [DRYRUN]"
    );
    assert_eq!(client.ask("DELPREFIX user:"), "COUNT 5000");
    assert_eq!(client.ask("DELPREFIX user:"), "COUNT 0");
    let server = server.kill().restart();
    let mut client = server.client();
    assert_eq!(client.ask("DBSIZE"), "COUNT 12");
    assert_eq!(client.ask("EXISTS user User:1 users:9"), "COUNT 3");
}

#[test]
fn a_delete_by_prefix_that_the_disk_does_not_take_says_so_and_takes_nothing_away() {
    if is_skipped("prlimit") {
        return;
    }
    let server = TestServer::start();
    let mut client = server.client();
    fill(&mut client, "user:", 100);
    limit_files(&server, "1");
    wait_until("the disk takes no more", || {
        client.ask("PUT user:1 v").starts_with("ERR DISK ")
    });
    let refused = client.ask("DELPREFIX user:");
    assert!(
        refused.starts_with("ERR DISK ") && refused.ends_with("; 0 keys were deleted before"),
        "{refused}"
    );
    assert_eq!(client.ask("DELPREFIX user: DRYRUN"), "COUNT 100");
    limit_files(&server, "unlimited");
    wait_until("changes are taken again", || {
        client.ask("DELPREFIX user:") == "COUNT 100"
    });
    assert_eq!(server.kill().restart().client().ask("DBSIZE"), "COUNT 0");
}

#[test]
fn namespaces_are_what_stands_before_the_next_colon() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("MSET a:1 v a:2:x v a:2:y v a:b:c:d v b v :lonely v \"größe: ä\" v a: v");
    for (line, rows) in [
        ("NAMESPACES", &[(":", 1), ("a:", 5), ("größe:", 1)][..]),
        ("NAMESPACES a:", &[("a:2:", 2), ("a:b:", 1)]),
        ("NAMESPACES a:b:", &[("a:b:c:", 1)]),
        ("NAMESPACES a:b:c:", &[]),
        // A prefix may end anywhere.
        ("NAMESPACES a", &[("a:", 5)]),
        ("NAMESPACES g", &[("größe:", 1)]),
        ("NAMESPACES nobody", &[]),
    ] {
        let mut expected: Vec<String> = rows
            .iter()
            .map(|(name, keys)| format!("NAMESPACE \"{name}\" {keys}"))
            .collect();
        expected.push(format!("END {}", rows.len()));
        assert_eq!(client.ask_rows(line), expected, "{line}");
    }
}

#[test]
fn namespaces_of_many_keys_are_counted_as_keys_with_their_prefix_are() {
    let server = TestServer::start();
    let mut client = server.client();
    let pairs: Vec<String> = (0..2_000)
        .map(|n| format!("n{}:{n} v", n * n % 37))
        .collect();
    assert_eq!(client.ask(&format!("MSET {}", pairs.join(" "))), "OK");
    let mut counts = BTreeMap::new();
    for row in client.ask_rows("NAMESPACES") {
        if let Some((name, keys)) = row
            .strip_prefix("NAMESPACE \"")
            .and_then(|row| row.split_once("\" "))
        {
            counts.insert(name.to_owned(), keys.to_owned());
        }
    }
    assert_eq!(counts.len(), 19);
    for (name, keys) in counts {
        assert_eq!(
            client.ask(&format!("COUNT {name}")),
            format!("COUNT {keys}")
        );
    }
}
