//! What survives: a kill, a torn file, an edit by hand; and what must stop the start: damage, a gap, another server.

use std::fs::OpenOptions;
use std::io::Write as _;

use crate::persistence::repair::{keys, two_journals};
use crate::support::server::{Stopped, TestServer, wait_until};

#[test]
fn a_put_acknowledged_before_kill_9_is_there_after_restart() {
    for durability in ["everysec", "always"] {
        let mut server = TestServer::start_with(&["--durability", durability]);
        for round in 0..5 {
            let mut client = server.client();
            for n in 0..100 {
                assert_eq!(
                    client.ask(&format!("PUT {round}:{n} \"value\\n{n}\"")),
                    "OK"
                );
            }
            assert_eq!(client.ask(&format!("DEL {round}:7 {round}:8")), "COUNT 2");
            if round == 2 {
                assert_eq!(client.ask("SAVE"), "OK");
            }
            server = server.kill().restart();
            let mut client = server.client();
            assert_eq!(
                client.ask("COUNT"),
                format!("COUNT {}", 98 * (round + 1)),
                "{durability}"
            );
            assert_eq!(
                client.ask(&format!("GET {round}:99")),
                "VALUE \"value\\n99\""
            );
            assert_eq!(client.ask(&format!("GET {round}:7")), "NOT_FOUND");
        }
    }
}

#[test]
fn a_clear_acknowledged_before_kill_9_stays_cleared() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("PUT before 1");
    assert_eq!(client.ask("SAVE"), "OK");
    assert_eq!(client.ask("CLEAR"), "OK");
    assert_eq!(client.ask("PUT after 1"), "OK");
    let server = server.kill().restart();
    assert_eq!(server.client().ask_rows("KEYS"), ["KEY \"after\"", "END 1"]);
}

#[test]
fn a_clean_stop_saves_and_leaves_one_journal_without_changes() {
    let server = TestServer::start_with(&["--durability", "off"]);
    assert_eq!(server.client().ask("PUT name \"Ada \\\"L\\\"\""), "OK");
    let stopped = server.stop();
    assert_eq!(stopped.names(), ["journal-2.jsonl", "store.json"]);
    assert_eq!(
        stopped.read("store.json"),
        "{\n  \"name\": \"Ada \\\"L\\\"\"\n}\n"
    );
    assert!(!stopped.read("journal-2.jsonl").contains("\"put\""));
    assert_eq!(
        stopped.restart().client().ask("GET name"),
        "VALUE \"Ada \\\"L\\\"\""
    );
}

#[test]
fn an_interrupt_saves_as_well_and_a_start_that_changed_nothing_rewrites_nothing() {
    let server = TestServer::start();
    server.client().ask("PUT a 1");
    let (stopped, code) = server.signal("INT");
    assert_eq!(code, Some(0));
    let modified = |stopped: &Stopped| {
        std::fs::metadata(stopped.data().join("store.json"))
            .and_then(|file| file.modified())
            .expect("store.json")
    };
    let before = modified(&stopped);
    let stopped = stopped.restart().stop();
    assert_eq!(modified(&stopped), before);
}

#[test]
fn what_was_received_before_a_stop_is_answered_and_kept() {
    let server = TestServer::start();
    let mut client = server.client();
    let requests: String = (0..5_000).map(|n| format!("PUT k{n} {n}\n")).collect();
    assert_eq!(client.ask("PING"), "PONG");
    client.send_bytes(requests.as_bytes());
    server.send_signal("TERM");
    let answered = client.rest().lines().filter(|line| *line == "OK").count();
    let (stopped, code) = server.signal("CONT");
    assert_eq!(code, Some(0));
    let server = stopped.restart();
    assert_eq!(answered, 5_000);
    assert_eq!(server.client().ask("COUNT"), "COUNT 5000");
}

#[test]
fn a_stop_answers_every_change_that_it_makes_to_a_client_that_sends_on() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut sender = client.sender();
    let writer = std::thread::spawn(move || {
        // It ends when the server does not take any more.
        for n in 0_u64.. {
            let lines: String = (0..100)
                .map(|place| format!("PUT k{} v\n", n * 100 + place))
                .collect();
            if sender.write_all(lines.as_bytes()).is_err() {
                return;
            }
        }
    });
    for _ in 0..10_000 {
        assert_eq!(client.reply(), "OK");
    }
    server.send_signal("TERM");
    let answered = 10_000 + client.rest().lines().filter(|line| *line == "OK").count();
    writer.join().expect("the writer ends");
    let (stopped, code) = server.signal("CONT");
    assert_eq!(code, Some(0), "{}", stopped.log());
    assert_eq!(
        stopped.restart().client().ask("COUNT"),
        format!("COUNT {answered}")
    );
}

#[test]
fn with_durability_off_a_kill_goes_back_to_the_last_save() {
    let server = TestServer::start_with(&["--durability", "off"]);
    let mut client = server.client();
    client.ask("PUT saved 1");
    assert_eq!(client.ask("SAVE"), "OK");
    client.ask("PUT unsaved 1");
    let server = server.kill().restart();
    assert_eq!(server.client().ask_rows("KEYS"), ["KEY \"saved\"", "END 1"]);
}

#[test]
fn durability_may_change_from_start_to_start() {
    let server = TestServer::start();
    server.client().ask("PUT k journaled");
    // Without a journal, the old record must not come back over what is saved later.
    let server = server.kill().with_flags(&["--durability", "off"]).restart();
    let mut client = server.client();
    assert_eq!(client.ask("GET k"), "VALUE \"journaled\"");
    client.ask("PUT k saved");
    assert_eq!(client.ask("SAVE"), "OK");
    let server = server
        .kill()
        .with_flags(&["--durability", "always"])
        .restart();
    assert_eq!(server.client().ask("GET k"), "VALUE \"saved\"");
    server.client().ask("PUT k synced");
    assert_eq!(
        server.kill().restart().client().ask("GET k"),
        "VALUE \"synced\""
    );
}

#[test]
fn changes_are_saved_in_the_background_within_the_interval() {
    let server = TestServer::start_with(&["--save-interval", "1"]);
    server.client().ask("PUT k v");
    let path = server.data().join("store.json");
    wait_until("store.json is there", || path.exists());
    assert_eq!(
        std::fs::read_to_string(path).expect("store.json"),
        "{\n  \"k\": \"v\"\n}\n"
    );
    wait_until("the save is told of", || {
        server
            .client()
            .ask_rows("STATS")
            .contains(&"STAT last_save_result \"ok\"".to_owned())
    });
}

#[test]
fn a_file_of_the_older_program_is_read_as_it_is() {
    for text in [
        "{\n    \"user:101:name\": \"Alice Johnson\",\n    \"config:retries\": 3,\n    \"flag\": true,\n    \"o\": {\"a\": [1, 2.50]}\n}",
        "\u{feff}{\"user:101:name\":\"Alice Johnson\",\"config:retries\":3,\"flag\":true,\r\n\"o\":{\"a\":[1,2.50]}}\r\n\r\n",
        r#"{"user:101:name": "gone", "user:101:name": "\u0041lice Johnson", "config:retries": 3, "flag": true, "o": {"a":[ 1 ,2.50]}}"#,
    ] {
        let stopped = Stopped::new(&[]);
        stopped.write("store.json", text);
        let server = stopped.restart();
        let mut client = server.client();
        assert_eq!(client.ask("GET user:101:name"), "VALUE \"Alice Johnson\"");
        assert_eq!(client.ask("GET config:retries"), "VALUE \"3\"");
        assert_eq!(client.ask("GET flag"), "VALUE \"true\"");
        assert_eq!(client.ask("GET o"), "VALUE \"{\\\"a\\\":[1,2.50]}\"");
        assert_eq!(client.ask("COUNT"), "COUNT 4");
    }
}

#[test]
fn bytes_and_expiry_in_store_json_are_kept() {
    let stopped = Stopped::new(&[]);
    let text = concat!(
        r#"{"bin": {"$base64": "AP8="}, "#,
        r#""later": {"$text": "x", "$expires_at": "2999-01-01T00:00:00Z"}, "#,
        r#""past": {"$text": "x", "$expires_at": "2001-01-01T00:00:00Z"}, "#,
        r#""text": "{\"$base64\": \"AP8=\"}"}"#
    );
    stopped.write("store.json", text);
    let server = stopped.restart();
    let mut client = server.client();
    assert_eq!(client.ask("GET bin"), "BASE64 \"AP8=\"");
    assert_eq!(
        client.ask_rows("ALL bin"),
        ["ITEM \"bin\" BASE64 \"AP8=\"", "END 1"]
    );
    assert_eq!(client.ask("GET past"), "NOT_FOUND");
    assert_eq!(client.ask("COUNT"), "COUNT 3");
    assert_eq!(client.ask("PUT text2 plain"), "OK");
    let stopped = server.stop();
    let mut lines: Vec<String> = stopped
        .read("store.json")
        .lines()
        .map(|line| line.trim_end_matches(',').to_owned())
        .collect();
    lines.sort_unstable();
    let expected = [
        "  \"bin\": {\"$base64\":\"AP8=\"}",
        "  \"later\": {\"$text\":\"x\",\"$expires_at\":\"2999-01-01T00:00:00.000Z\"}",
        "  \"text\": \"{\\\"$base64\\\": \\\"AP8=\\\"}\"",
        "  \"text2\": \"plain\"",
        "{",
        "}",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_pair_is_gone_when_its_time_has_come() {
    let stopped = Stopped::new(&[]);
    let in_two_seconds = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    stopped.write(
        "store.json",
        format!(r#"{{"k": {{"$text": "x", "$expires_at": "{in_two_seconds}"}}, "stays": "x"}}"#),
    );
    let server = stopped.restart();
    let mut client = server.client();
    assert_eq!(client.ask("GET k"), "VALUE \"x\"");
    wait_until("it has expired", || client.ask("GET k") == "NOT_FOUND");
    wait_until("it is counted no more", || client.ask("COUNT") == "COUNT 1");
    // Its end is in the journal: it does not come back with a clock that goes wrong.
    wait_until("its end is recorded", || {
        std::fs::read_to_string(server.data().join("journal-2.jsonl"))
            .is_ok_and(|text| text.contains("{\"del\":[\"k\"]"))
    });
}

#[test]
fn a_store_json_that_is_no_json_stops_the_start_with_its_line_and_stays_as_it_is() {
    for (text, reason) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        (
            "{\n\"a\": \"1\",\n\"b\": \"2\"\n\"c\": \"3\"}",
            "expected `,` or `}` at line 4 column 1",
        ),
        (
            "{\n\"a\": \"1\",\n\"b\": \"2",
            "EOF while parsing a string at line 3 column 7",
        ),
        (
            "[\"a\"]",
            "invalid type: sequence, expected one JSON object of keys and values at line 1 column 1",
        ),
        (
            "{\"a\": \"1\"} {}",
            "trailing characters at line 1 column 12",
        ),
        (
            "{\n\"a\": {\"$base64\": \"?\"}}",
            "key \"a\": $base64 is not base64: Invalid symbol 63, offset 0. at line 2",
        ),
    ] {
        let stopped = Stopped::new(&[]);
        stopped.write("store.json", text);
        let log = stopped.start_fails();
        assert!(
            log.contains("store.json: ") && log.contains(reason),
            "{text:?} is answered\n{log}"
        );
        assert!(log.contains("nothing was loaded or changed"), "{log}");
        assert_eq!(stopped.read("store.json"), text);
    }
}

#[test]
fn an_edit_by_hand_is_taken_and_damage_is_not() {
    let server = TestServer::start();
    server.client().ask("PUT name Ada");
    let stopped = server.stop();
    let path = stopped.data().join("store.json");
    let modified = || {
        std::fs::metadata(&path)
            .and_then(|file| file.modified())
            .expect("store.json")
    };
    // A disk that has gone bad does not change the time of modification.
    let damage = |text: &str| {
        let before = modified();
        std::fs::write(&path, text).expect("store.json");
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("store.json");
        file.set_modified(before).expect("a time");
    };
    damage("{\n  \"name\": \"Bda\"\n}\n");
    let log = stopped.start_fails();
    assert!(
        log.contains("store.json has been damaged") && log.contains("`touch` it"),
        "{log}"
    );
    // An editor does.
    stopped.write("store.json", "{\"name\": \"Eda\"}");
    let server = stopped.restart();
    assert!(server.log().contains("has been edited"), "{}", server.log());
    assert_eq!(server.client().ask("GET name"), "VALUE \"Eda\"");
    // What was edited is watched over as well, from then on, though nothing has been saved.
    let stopped = server.stop();
    assert_eq!(stopped.read("store.json"), "{\"name\": \"Eda\"}");
    damage("{\"name\": \"Fda\"}");
    let log = stopped.start_fails();
    assert!(log.contains("store.json has been damaged"), "{log}");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(std::time::SystemTime::now()))
        .expect("a time");
    let server = stopped.restart();
    assert_eq!(server.client().ask("GET name"), "VALUE \"Fda\"");
    assert!(!server.kill().restart().log().contains("has been edited"));
}

/// Goal: word of an edited store.json does not make the journals before it look like ones whose place it has taken. Method: two
/// journals that it does not hold; then the later one gets the name that it has after a sync that failed.
#[test]
fn an_edit_beside_two_journals_takes_the_place_of_neither() {
    let stopped = two_journals();
    stopped.write("store.json", "{\"a\": \"edited\"}");
    let server = stopped.restart();
    let pairs = ["a edited", "b 2", "c 3", "d 4", "e 5"];
    assert_eq!(keys(&server), pairs);
    let stopped = server.kill();
    let path = stopped.data().join("journal-3.jsonl");
    std::fs::rename(&path, path.with_extension("jsonl.new")).expect("journal 3");
    assert_eq!(keys(&stopped.restart()), pairs);
}

#[test]
fn an_edit_made_while_the_server_runs_is_kept_aside() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("PUT k 1");
    assert_eq!(client.ask("SAVE"), "OK");
    let path = server.data().join("store.json");
    std::fs::write(&path, "{\"k\": \"edited\"}").expect("an edit");
    client.ask("PUT k 2");
    assert_eq!(client.ask("SAVE"), "OK");
    let stopped = server.stop();
    assert_eq!(stopped.read("store.json"), "{\n  \"k\": \"2\"\n}\n");
    assert_eq!(stopped.read("store.json.edited"), "{\"k\": \"edited\"}");
}

/// A folder whose journal holds three changes, as a killed server leaves it: one line each and no marks.
fn three_changes() -> Stopped {
    let server = TestServer::start();
    let mut client = server.client();
    for line in ["PUT a 1", "PUT b 2", "PUT c 3"] {
        assert_eq!(client.ask(line), "OK");
    }
    let stopped = server.kill();
    stopped.write("journal-1.jsonl", stopped.unmarked_journal());
    stopped
}

#[test]
fn a_torn_tail_is_set_aside_told_of_and_cut_off() {
    for tail in [
        "{\"put\":\"d\",\"va",
        "\0\0\0\0\0\0\0\0\n\0\0\0",
        "{\"put\":\"d\",\"value\":\"4\",\"seq\":4,\"crc\":\"00000000\"}\n",
    ] {
        let stopped = three_changes();
        let whole = stopped.read("journal-1.jsonl");
        let mut journal = OpenOptions::new()
            .append(true)
            .open(stopped.data().join("journal-1.jsonl"))
            .expect("the journal");
        journal
            .write_all(tail.as_bytes())
            .expect("room on the disk");
        let server = stopped.restart();
        assert_eq!(server.client().ask("COUNT"), "COUNT 3");
        assert!(
            server.log().contains("from line 5, are not whole"),
            "{}",
            server.log()
        );
        let stopped = server.kill();
        assert_eq!(stopped.read("journal-1.jsonl.torn"), tail);
        assert_eq!(stopped.read("journal-1.jsonl"), whole);
    }
}

/// Goal: a crash loses no finished record and brings back no half of one. Method: cut the journal at every byte of its
/// records; the whole lines that are left tell how many keys must return.
#[test]
fn a_journal_cut_at_any_byte_gives_back_its_whole_records() {
    let whole = three_changes().read("journal-1.jsonl");
    let header = whole.find('\n').expect("a first line") + 1;
    let stopped = Stopped::new(&[]);
    stopped.write("journal-1.jsonl", &whole);
    let mut server = stopped.restart();
    for cut in (header..whole.len())
        .step_by(7)
        .chain([whole.len() - 1, whole.len()])
    {
        let stopped = server.kill();
        stopped.write("journal-1.jsonl", &whole.as_bytes()[..cut]);
        let keys = whole[header..cut].matches('\n').count();
        server = stopped.restart();
        assert_eq!(
            server.client().ask("COUNT"),
            format!("COUNT {keys}"),
            "cut at byte {cut}"
        );
    }
}

#[test]
fn damage_before_whole_records_stops_the_start_with_file_and_line() {
    let stopped = three_changes();
    let damaged = stopped
        .read("journal-1.jsonl")
        .replace("\"value\":\"2\"", "\"value\":\"7\"");
    stopped.write("journal-1.jsonl", &damaged);
    let log = stopped.start_fails();
    assert!(log.contains("journal-1.jsonl: line 3 is damaged"), "{log}");
    assert!(log.contains("nothing was changed"), "{log}");
    assert_eq!(stopped.names(), ["journal-1.jsonl"]);
    assert_eq!(stopped.read("journal-1.jsonl"), damaged);
}

#[test]
fn a_missing_line_is_damage_too() {
    let stopped = three_changes();
    let lines: Vec<String> = stopped
        .read("journal-1.jsonl")
        .lines()
        .map(|line| format!("{line}\n"))
        .collect();
    stopped.write(
        "journal-1.jsonl",
        [&*lines[0], &*lines[1], &*lines[3]].concat(),
    );
    let log = stopped.start_fails();
    assert!(
        log.contains("line 3 is damaged (it is record 3 where 2 should stand)"),
        "{log}"
    );
}

#[test]
fn a_journal_without_the_store_that_it_continues_stops_the_start() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("PUT a 1");
    assert_eq!(client.ask("SAVE"), "OK");
    client.ask("PUT b 2");
    let stopped = server.kill();
    std::fs::remove_file(stopped.data().join("store.json")).expect("it is there");
    let log = stopped.start_fails();
    assert!(
        log.contains(
            "journal-2.jsonl: store.json, or journal-1.jsonl, which it continues, is missing"
        ),
        "{log}"
    );
    assert_eq!(stopped.names(), ["journal-2.jsonl"]);
}

#[test]
fn a_gap_in_the_journals_stops_the_start() {
    let stopped = three_changes();
    let text = stopped.read("journal-1.jsonl");
    stopped.write("journal-3.jsonl", &text);
    let log = stopped.start_fails();
    assert!(
        log.contains("journal-3.jsonl: journal-2.jsonl, which it continues, is missing"),
        "{log}"
    );
    std::fs::rename(
        stopped.data().join("journal-3.jsonl"),
        stopped.data().join("journal-2.jsonl"),
    )
    .expect("a new name");
    let log = stopped.start_fails();
    assert!(
        log.contains(
            "journal-2.jsonl: line 1 is damaged (it belongs to a journal with another number)"
        ),
        "{log}"
    );
}

#[test]
fn the_first_of_two_journals_is_missed_when_no_snapshot_has_taken_its_place() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("PUT a 1");
    assert_eq!(client.ask("SAVE"), "OK");
    client.ask("PUT b 2");
    // A save that cannot be written keeps the journals and begins another.
    std::fs::create_dir(server.data().join("store.json.new")).expect("a folder in the way");
    assert!(client.ask("SAVE").starts_with("ERR DISK cannot write "));
    let save_failed = "STAT last_save_result \"cannot write ";
    assert!(
        client
            .ask_rows("STATS")
            .iter()
            .any(|row| row.starts_with(save_failed))
    );
    client.ask("PUT c 3");
    let stopped = server.kill();
    std::fs::remove_dir(stopped.data().join("store.json.new")).expect("it is there");
    assert_eq!(
        stopped.names(),
        ["journal-2.jsonl", "journal-3.jsonl", "store.json"]
    );
    let before = stopped.read("journal-2.jsonl");
    std::fs::remove_file(stopped.data().join("journal-2.jsonl")).expect("it is there");
    let log = stopped.start_fails();
    assert!(
        log.contains("journal-3.jsonl: journal-2.jsonl, which it continues, is missing"),
        "{log}"
    );
    stopped.write("journal-2.jsonl", before);
    assert_eq!(stopped.restart().client().ask("COUNT"), "COUNT 3");
}

#[test]
fn a_save_that_was_cut_short_leaves_nothing_in_the_way() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("PUT a 1");
    assert_eq!(client.ask("SAVE"), "OK");
    client.ask("PUT b 2");
    let stopped = server.kill();
    stopped.write("store.json.new", "{\n  \"a\": \"1");
    let server = stopped.restart();
    assert_eq!(server.client().ask("COUNT"), "COUNT 2");
    assert_eq!(server.kill().names(), ["journal-2.jsonl", "store.json"]);
}

#[test]
fn a_new_journal_that_goes_on_is_taken_and_one_that_does_not_is_set_aside() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("PUT a 1");
    assert_eq!(client.ask("SAVE"), "OK");
    client.ask("PUT b 2");
    let stopped = server.kill();
    // As a server leaves it that is killed while it begins a journal. Whether all of it is on disk is not known then, so
    // it is saved before anything else.
    let name = |ending: &str| stopped.data().join(format!("journal-2.jsonl{ending}"));
    std::fs::rename(name(""), name(".new")).expect("a new name");
    let server = stopped.restart();
    assert_eq!(server.client().ask("COUNT"), "COUNT 2");
    assert_eq!(server.client().ask("PUT c 3"), "OK");
    let stopped = server.kill();
    assert_eq!(stopped.names(), ["journal-3.jsonl", "store.json"]);
    // As a power cut leaves it that the older journal came out of short: the newer begins at 99.
    let crc = crc32fast::hash(br#"{"journal":1,"number":4,"first_seq":99"#);
    let header = format!("{{\"journal\":1,\"number\":4,\"first_seq\":99,\"crc\":\"{crc:08x}\"}}\n");
    stopped.write("journal-4.jsonl.new", &header);
    let server = stopped.restart();
    assert_eq!(server.client().ask("COUNT"), "COUNT 3");
    assert!(
        server
            .log()
            .contains("does not go on where the journal before it ends"),
        "{}",
        server.log()
    );
    let stopped = server.kill();
    assert_eq!(
        stopped.names(),
        ["journal-4.jsonl.unused", "journal-5.jsonl", "store.json"]
    );
    assert_eq!(stopped.read("journal-4.jsonl.unused"), header);
    // A new journal without a whole first line holds nothing, and goes.
    stopped.write("journal-6.jsonl.new", "{\"journal\":1,\"num");
    let stopped = stopped.restart().kill();
    assert_eq!(
        stopped.names(),
        ["journal-4.jsonl.unused", "journal-7.jsonl", "store.json"]
    );
    assert_eq!(stopped.restart().client().ask("COUNT"), "COUNT 3");
}

/// A journal that is not relied on any more is left for a new one, and a snapshot takes its place. Whoever is killed right
/// then leaves the old one behind: it must not be replayed over the snapshot, which holds more.
#[test]
fn a_snapshot_that_a_new_journal_records_takes_the_place_of_all_journals_before() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("PUT a old");
    client.ask("PUT gone 1");
    let stale =
        std::fs::read_to_string(server.data().join("journal-1.jsonl")).expect("the journal");
    client.ask("DEL gone");
    client.ask("PUT a new");
    let stopped = server.stop();
    assert_eq!(stopped.names(), ["journal-2.jsonl", "store.json"]);
    // The state in the middle: the older journal is short, and still there; the newer has not got its name.
    let name = |ending: &str| stopped.data().join(format!("journal-2.jsonl{ending}"));
    std::fs::rename(name(""), name(".new")).expect("a new name");
    stopped.write("journal-1.jsonl", stale + "half a li");
    let server = stopped.restart();
    assert_eq!(
        server.client().ask_rows("ALL"),
        ["ITEM \"a\" \"new\"", "END 1"]
    );
    assert_eq!(server.client().ask("PUT b 1"), "OK");
    let stopped = server.kill();
    assert_eq!(stopped.names(), ["journal-3.jsonl", "store.json"]);
    assert_eq!(stopped.restart().client().ask("COUNT"), "COUNT 2");
}

#[test]
fn a_folder_serves_one_server_at_a_time() {
    let server = TestServer::start();
    server.client().ask("PUT a 1");
    let second = Stopped::new(&[]).at(&server.data());
    let log = second.start_fails();
    let expected = format!(
        "is in use by another pykv-server (process {})",
        server.pid()
    );
    assert!(log.contains(&expected), "{log}");
    assert_eq!(server.client().ask("GET a"), "VALUE \"1\"");
    assert_eq!(server.kill().restart().client().ask("GET a"), "VALUE \"1\"");
}

#[test]
fn a_taken_port_and_a_folder_that_is_a_file_are_told_of() {
    let server = TestServer::start();
    let log = Stopped::new(&[]).on(server.addr()).start_fails();
    assert!(
        log.contains(&format!(
            "cannot listen on {}; choose another with --listen",
            server.addr()
        )),
        "{log}"
    );
    let stopped = Stopped::new(&[]);
    std::fs::write(stopped.data(), "a file").expect("a file");
    let log = stopped.start_fails();
    assert!(
        log.contains("cannot find or make the folder: it is a file, not a folder"),
        "{log}"
    );
}
