//! The rules of persistence (`src/persistence/mod.rs` lists them) that no other module of these tests shows.

use std::path::Path;

use crate::support::server::{Stopped, TestServer, wait_until};

fn rows(server: &TestServer) -> Vec<String> {
    let mut rows = server.client().ask_rows("ALL");
    rows.sort_unstable();
    rows
}

/// A server that is killed after the new snapshot has got its name, and before the older journal has gone, leaves both. Their
/// records hold results, so that replaying the older ones over the newer pairs ends in the same state.
#[test]
fn an_older_journal_over_a_newer_snapshot_ends_in_the_same_state() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("PUT counter 1"), "OK");
    assert_eq!(client.ask("SAVE"), "OK");
    for line in ["PUT counter 2", "PUT gone 1", "DEL gone", "PUT counter 3"] {
        client.ask(line);
    }
    let older = std::fs::read(server.data().join("journal-2.jsonl")).expect("the journal");
    assert_eq!(client.ask("SAVE"), "OK");
    assert_eq!(client.ask("PUT counter 4"), "OK");
    let before = rows(&server);
    let stopped = server.kill();
    assert_eq!(stopped.names(), ["journal-3.jsonl", "store.json"]);
    stopped.write("journal-2.jsonl", older);
    assert_eq!(rows(&stopped.restart()), before);
}

#[test]
fn a_request_that_changes_several_keys_is_one_record() {
    let server = TestServer::start();
    let mut client = server.client();
    for key in ["a", "b", "c"] {
        client.ask(&format!("PUT {key} 1"));
    }
    assert_eq!(client.ask("DEL a b c"), "COUNT 3");
    let stopped = server.kill();
    let journal = stopped.unmarked_journal();
    let lines: Vec<&str> = journal.lines().collect();
    let record = lines.last().expect("a record");
    assert!(
        record.starts_with("{\"del\":[\"a\",\"b\",\"c\"],\"seq\":4,"),
        "{record}"
    );
    // Whoever cuts into it takes all of it away.
    let whole = journal.trim_end().len() - record.len();
    for cut in [1, record.len() / 2, record.len() - 1] {
        stopped.write("journal-1.jsonl", &journal.as_bytes()[..whole + cut]);
        let server = Stopped::new(&[]).at(&stopped.data()).restart();
        assert_eq!(
            server.client().ask("COUNT"),
            "COUNT 3",
            "cut after {cut} bytes"
        );
    }
}

#[test]
fn a_transaction_is_one_record() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("PUT old 0"), "OK");
    for line in ["MULTI", "PUT a 1", "DEL old", "PUT b 2"] {
        client.ask(line);
    }
    client.send("EXEC");
    let replies: Vec<String> = (0..4).map(|_| client.reply()).collect();
    assert_eq!(replies, ["ARRAY 3", "OK", "COUNT 1", "OK"]);
    let stopped = server.kill();
    let journal = stopped.unmarked_journal();
    let record = journal.lines().last().expect("a record");
    let members = r#"{"put":"a","value":"1"},{"del":["old"]},{"put":"b","value":"2"}"#;
    assert!(
        record.starts_with(&format!("{{\"group\":[{members}],\"seq\":2,")),
        "{record}"
    );
    // Whoever cuts into it takes all of it away.
    let whole = journal.trim_end().len() - record.len();
    for (cut, is_there) in [
        (record.len() + 1, true),
        (record.len() - 1, false),
        (record.len() / 2, false),
        (1, false),
    ] {
        stopped.write("journal-1.jsonl", &journal.as_bytes()[..whole + cut]);
        let server = Stopped::new(&[]).at(&stopped.data()).restart();
        let mut client = server.client();
        let (new, old) = (client.ask("EXISTS a b"), client.ask("EXISTS old"));
        let expected = if is_there {
            ("COUNT 2", "COUNT 0")
        } else {
            ("COUNT 0", "COUNT 1")
        };
        assert_eq!((&*new, &*old), expected, "cut after {cut} bytes");
    }
}

#[test]
fn a_pair_that_expires_is_recorded_as_deleted() {
    let stopped = Stopped::new(&[]);
    stopped.write(
        "store.json",
        r#"{"k": {"$text": "v", "$expires_at": "2001-01-01T00:00:00Z"}}"#,
    );
    let server = stopped.restart();
    let journal = |server: &TestServer| {
        std::fs::read_to_string(server.data().join("journal-2.jsonl")).unwrap_or_default()
    };
    wait_until("it is in the journal", || {
        journal(&server).contains("{\"del\":[\"k\"],")
    });
}

/// The last change of a burst has nobody after it whose sync would bring it to the disk.
#[test]
fn an_idle_tail_is_synced_by_the_clock() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT k v"), "OK");
    // What waits grows older from look to look.
    let mut looks = 0;
    wait_until("nothing waits for the disk", || {
        let rows = server.client().ask_rows("STATS");
        let is_synced = rows.contains(&"STAT unsynced_seconds 0.0".to_owned());
        looks = if is_synced { looks + 1 } else { 0 };
        looks == 5
    });
    // The next records come with a mark that says so.
    assert_eq!(server.client().ask("PUT k w"), "OK");
    assert!(
        server
            .kill()
            .read("journal-1.jsonl")
            .contains("{\"synced\":1,"),
        "no mark"
    );
}

#[test]
fn a_save_that_fails_is_told_of_and_tried_again_until_it_succeeds() {
    let server = TestServer::start_with(&["--save-interval", "1"]);
    assert_eq!(server.client().ask("PUT k old"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    let in_the_way = server.data().join("store.json.new");
    std::fs::create_dir(&in_the_way).expect("a folder in the way");
    assert_eq!(server.client().ask("PUT k new"), "OK");
    let health = || crate::support::full_disk::health(&server);
    wait_until("health tells of it", || {
        health().1.contains("the last save failed: cannot write ")
    });
    assert_eq!(health().0, 503);
    let saved = || std::fs::read_to_string(server.data().join("store.json")).unwrap_or_default();
    assert!(saved().contains("\"old\""), "the old one is kept");
    assert!(journals(&server.data()) >= 2, "all journals are kept");
    // Changes go on meanwhile.
    assert_eq!(server.client().ask("PUT other 1"), "OK");
    std::fs::remove_dir(&in_the_way).expect("it is there");
    wait_until("it is saved without being asked for", || {
        saved().contains("\"new\"") && health().0 == 200
    });
    assert_eq!(journals(&server.data()), 1);
}

fn journals(data: &Path) -> usize {
    std::fs::read_dir(data)
        .expect("the data folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("journal-"))
        .count()
}
