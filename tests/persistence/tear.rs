//! What a power cut or a failing sync leaves: holes of zeros, journals of older formats, a doubt that outlives a kill.
//!
//! The journals are made by hand, as no test can cut the power.

use crate::support::by_hand::{header, mark, put};
use crate::support::server::{Stopped, TestServer, is_skipped, wait_until};

/// The length of a sector: what a disk writes at a time.
const SECTOR_BYTES: usize = 512;

/// A journal of 50 records with these lines after them, whose second sector never reached the disk.
fn with_a_hole(after: &str) -> (Stopped, Vec<u8>, usize) {
    let records: String = (1..=50)
        .map(|seq| put(seq, &format!("k{seq}"), "v"))
        .collect();
    let mut journal = (header(1, 1) + &records + after).into_bytes();
    journal[SECTOR_BYTES..2 * SECTOR_BYTES].fill(0);
    let lines = String::from_utf8_lossy(&journal[..SECTOR_BYTES]);
    let whole = lines.matches('\n').count() - 1;
    let stopped = Stopped::new(&[]);
    stopped.write("journal-1.jsonl", &journal);
    (stopped, journal, whole)
}

#[test]
fn a_hole_of_zeros_that_no_mark_speaks_of_is_a_tear() {
    // A mark that speaks of what is before the hole says nothing of the hole.
    for after in ["", &mark(3)] {
        let (stopped, journal, whole) = with_a_hole(after);
        let server = stopped.restart();
        assert_eq!(server.client().ask("COUNT"), format!("COUNT {whole}"));
        assert!(server.log().contains("are not whole"), "{}", server.log());
        assert_eq!(server.client().ask("PUT more 1"), "OK");
        let stopped = server.kill();
        let torn = std::fs::read(stopped.data().join("journal-1.jsonl.torn")).expect("the tail");
        assert!(
            journal.ends_with(&torn) && torn.len() > 1_000,
            "{} bytes",
            torn.len()
        );
        let kept = stopped.read("journal-1.jsonl");
        assert!(journal.starts_with(&kept.as_bytes()[..journal.len() - torn.len()]));
        assert_eq!(
            stopped.restart().client().ask("COUNT"),
            format!("COUNT {}", whole + 1)
        );
    }
}

#[test]
fn a_hole_of_zeros_that_a_later_mark_says_was_on_disk_is_damage() {
    for synced in [50, 12] {
        let (stopped, journal, whole) = with_a_hole(&mark(synced));
        let log = stopped.start_fails();
        let damaged = format!("journal-1.jsonl: line {} is damaged", whole + 2);
        assert!(log.contains(&damaged), "{log}");
        assert_eq!(stopped.names(), ["journal-1.jsonl"]);
        let there = std::fs::read(stopped.data().join("journal-1.jsonl")).expect("the journal");
        assert_eq!(there, journal);
    }
    // The first record in the hole decides.
    let (_, _, whole) = with_a_hole("");
    let whole = u64::try_from(whole).expect("a few");
    with_a_hole(&mark(whole)).0.restart();
    with_a_hole(&mark(whole + 1)).0.start_fails();
}

#[test]
fn a_server_marks_what_it_has_synced() {
    let server = TestServer::start_with(&["--durability", "always"]);
    for line in ["PUT a 1", "PUT b 2"] {
        assert_eq!(server.client().ask(line), "OK");
    }
    // The mark comes with what is written after the sync.
    let stopped = server.kill();
    let journal = stopped.read("journal-1.jsonl");
    assert_eq!(
        journal,
        header(1, 1) + &put(1, "a", "1") + &put(2, "b", "2") + &mark(1)
    );
    // A hole where the mark speaks of is told from one where it does not.
    let hole = |at: &str| {
        let from = journal.find(at).expect("a record");
        let mut journal = journal.clone().into_bytes();
        journal[from..from + 20].fill(0);
        stopped.write("journal-1.jsonl", journal);
    };
    hole("{\"put\":\"a\"");
    assert!(stopped.start_fails().contains("line 2 is damaged"));
    hole("{\"put\":\"b\"");
    assert_eq!(stopped.restart().client().ask("COUNT"), "COUNT 1");
}

/// A journal as an older server has left it, whose next record has this number: it is read, and stays as it is.
fn assert_is_gone_on_with_in_a_new_one(fixture: &str, next_seq: u64) {
    let stopped = Stopped::new(&[]);
    stopped.write("journal-1.jsonl", fixture);
    let mut server = stopped.restart();
    for n in 0..2 {
        let mut client = server.client();
        assert_eq!(client.ask("GET name"), "VALUE \"Ada \\\"L\\\"\"");
        assert_eq!(client.ask("GET bytes"), "BASE64 \"AP8=\"");
        assert_eq!(client.ask("COUNT"), format!("COUNT {}", 2 + n));
        assert_eq!(client.ask(&format!("PUT more{n} 1")), "OK");
        let stopped = server.kill();
        // Once begun, the new one is gone on with.
        assert_eq!(stopped.names(), ["journal-1.jsonl", "journal-2.jsonl"]);
        assert_eq!(stopped.read("journal-1.jsonl"), fixture);
        let journal = stopped.read("journal-2.jsonl");
        assert!(
            journal.starts_with(&(header(2, next_seq) + &put(next_seq, "more0", "1"))),
            "{journal}"
        );
        server = stopped.restart();
    }
    assert_eq!(server.client().ask("SAVE"), "OK");
    assert_eq!(server.kill().names(), ["journal-3.jsonl", "store.json"]);
}

#[test]
fn a_journal_of_the_first_format_is_read_and_gone_on_with_in_a_new_one() {
    let fixture = include_str!("fixtures/journal-1-format-1.jsonl");
    assert_is_gone_on_with_in_a_new_one(fixture, 6);
}

#[test]
fn a_journal_of_the_second_format_is_read_and_gone_on_with_in_a_new_one() {
    let fixture = include_str!("fixtures/journal-1-format-2.jsonl");
    assert_is_gone_on_with_in_a_new_one(fixture, 8);
}

#[test]
fn a_journal_of_the_third_format_is_read_and_gone_on_with_in_a_new_one() {
    let fixture = include_str!("fixtures/journal-1-format-3.jsonl");
    assert_is_gone_on_with_in_a_new_one(fixture, 6);
}

/// In which the line of a store.json that was written had a number.
#[test]
fn a_journal_of_the_fourth_format_is_read_and_gone_on_with_in_a_new_one() {
    let fixture = include_str!("fixtures/journal-1-format-4.jsonl");
    assert_is_gone_on_with_in_a_new_one(fixture, 8);
}

/// In which all keys were text.
#[test]
fn a_journal_of_the_fifth_format_is_read_and_gone_on_with_in_a_new_one() {
    let fixture = include_str!("fixtures/journal-1-format-5.jsonl");
    assert_is_gone_on_with_in_a_new_one(fixture, 8);
}

#[test]
fn a_doubt_outlives_a_kill_and_is_saved_away_before_changes_are_taken() {
    if is_skipped("strace") {
        return;
    }
    for durability in ["always", "everysec"] {
        let server = Stopped::new(&["--durability", durability])
            .with_fault("fdatasync:error=EIO:when=2+")
            .restart();
        let mut client = server.client();
        assert_eq!(client.ask("PUT a 1"), "OK");
        // The save that would end the doubt cannot be written.
        std::fs::create_dir(server.data().join("store.json.new")).expect("a folder in the way");
        wait_until("the first sync is over", || {
            client.ask("PUT b 2") != "OK" || durability == "always"
        });
        wait_until("the second has failed", || {
            client.ask("PUT c 3").starts_with("ERR DISK cannot ")
        });
        let doubtful = server.data().join("journal-1.jsonl.new");
        assert!(doubtful.exists(), "the doubt has no name");
        let stopped = server.kill();
        std::fs::remove_dir(stopped.data().join("store.json.new")).expect("it is there");
        let server = stopped.with_fault("").restart();
        assert_eq!(server.stat("journal_segments"), 1);
        assert!(!doubtful.exists());
        let store = std::fs::read_to_string(server.data().join("store.json")).expect("a save");
        assert!(store.contains("\"a\": \"1\""), "{store}");
        assert_eq!(server.client().ask("PUT d 4"), "OK");
        let server = server.kill().restart();
        assert_eq!(server.client().ask("EXISTS a d"), "COUNT 2");
    }
}
