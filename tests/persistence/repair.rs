//! `pykv-server check` and `repair`: what they say of a folder, that a look changes nothing, and that a repair brings back
//! all that can be had and keeps all that it removes, also if it is killed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::by_hand::{Held, header_of, held, put};
use crate::support::server::{Stopped, TestServer, is_skipped, strace};

const SERVER: &str = env!("CARGO_BIN_EXE_pykv-server");

/// What the program said on standard output and then on standard error, and its exit status.
pub fn run(arguments: &[&str]) -> (String, Option<i32>) {
    // It names the folder itself: the settings of a server are none of its business.
    said(
        Command::new(SERVER)
            .args(arguments)
            .env("PYKV_DATA", "/nowhere"),
    )
}

fn said(command: &mut Command) -> (String, Option<i32>) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program runs");
    let said = [stdout, stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), status.code())
}

fn on(action: &str, folder: &Path) -> (String, Option<i32>) {
    run(&[action, folder.to_str().expect("a path that is text")])
}

fn check(stopped: &Stopped) -> (String, Option<i32>) {
    on("check", &stopped.data())
}

fn repair(stopped: &Stopped) -> (String, Option<i32>) {
    on("repair", &stopped.data())
}

/// All but the lock, which says who had the folder last.
fn files(stopped: &Stopped) -> Vec<Held> {
    let mut files = held(&stopped.data());
    files.retain(|(name, ..)| name != "lock");
    files
}

/// The pairs of a server, each as `key value`, in order.
pub fn keys(server: &TestServer) -> Vec<String> {
    let mut rows = server.client().ask_rows("ALL");
    rows.pop();
    rows.sort_unstable();
    rows.iter()
        .map(|row| row.replace("ITEM ", "").replace('"', ""))
        .collect()
}

/// A folder with `a` in store.json, `b`, `c` and `d` in journal-2, `e` in journal-3, as a killed server leaves it.
pub fn two_journals() -> Stopped {
    let server = TestServer::start_with(&["--durability", "always"]);
    let mut client = server.client();
    assert_eq!(client.ask("PUT a 1"), "OK");
    assert_eq!(client.ask("SAVE"), "OK");
    for line in ["PUT b 2", "PUT c 3", "PUT d 4"] {
        assert_eq!(client.ask(line), "OK");
    }
    // A save that cannot be written keeps the journals and begins another.
    let in_the_way = server.data().join("store.json.new");
    std::fs::create_dir(&in_the_way).expect("a folder in the way");
    assert!(client.ask("SAVE").starts_with("ERR DISK cannot write "));
    assert_eq!(client.ask("PUT e 5"), "OK");
    std::fs::remove_dir(&in_the_way).expect("it is there");
    server.kill()
}

/// Damages the lines with these words in one file.
fn damage(stopped: &Stopped, name: &str, changes: &[(&str, &str)]) {
    let mut text = stopped.read(name);
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}: {text}");
        text = text.replace(from, to);
    }
    stopped.write(name, text);
}

/// Goal: whatever is wrong, check tells it and touches nothing; repair keeps what was there, and a start has all the rest.
fn damaged_folder(stopped: Stopped, faults: &[&str], kept: &[&str], pairs: &[&str]) {
    let before = held(&stopped.data());
    let (said, status) = check(&stopped);
    assert_eq!(status, Some(1), "{said}");
    for fault in faults {
        assert!(said.contains(fault), "{fault} is not in\n{said}");
    }
    assert!(
        said.contains("is damaged") && said.contains("pykv-server repair"),
        "{said}"
    );
    assert_eq!(held(&stopped.data()), before, "a look changed something");
    let log = stopped.start_fails();
    assert!(log.contains("pykv-server repair"), "{log}");
    let (said, status) = repair(&stopped);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("is mended") && !said.contains("ERROR"),
        "{said}"
    );
    for name in kept {
        let content = &before.iter().find(|file| file.0 == *name).expect(name).3;
        let aside = format!("{name}.damaged");
        assert_eq!(
            stopped.read(&aside).as_bytes(),
            content,
            "{name} is not kept"
        );
        assert!(said.contains(&aside), "{said}");
    }
    assert_sound(&stopped, pairs.len());
    assert_eq!(keys(&stopped.restart()), pairs, "{faults:?}");
}

fn assert_sound(stopped: &Stopped, pairs: usize) {
    let (said, status) = check(stopped);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&format!("is sound: {pairs} pair")), "{said}");
    let before = files(stopped);
    let (said, status) = repair(stopped);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("is sound") && said.contains("nothing was changed"),
        "{said}"
    );
    assert_eq!(
        files(stopped),
        before,
        "the repair of a sound folder changed something"
    );
}

#[test]
fn a_look_at_a_sound_folder_counts_its_pairs_and_changes_nothing() {
    let stopped = two_journals();
    let before = held(&stopped.data());
    assert_eq!(check(&stopped).1, Some(0));
    assert_eq!(held(&stopped.data()), before);
    std::fs::remove_file(stopped.data().join("lock")).expect("the lock");
    let before = held(&stopped.data());
    let (said, status) = check(&stopped);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("is sound: 5 pairs"), "{said}");
    assert_eq!(held(&stopped.data()), before, "a lock was made, or more");
    assert_sound(&stopped, 5);
    assert_eq!(
        keys(&stopped.restart()),
        ["a 1", "b 2", "c 3", "d 4", "e 5"]
    );
}

#[test]
fn what_a_start_mends_by_itself_is_told_and_is_no_damage() {
    let stopped = two_journals();
    let journal = stopped.data().join("journal-3.jsonl");
    let mut journal = OpenOptions::new()
        .append(true)
        .open(journal)
        .expect("the journal");
    journal.write_all(b"{\"put\":\"half").expect("room");
    stopped.write("store.json.new", "{\n");
    let before = held(&stopped.data());
    let (said, status) = check(&stopped);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("journal-3.jsonl: from line ") && said.contains("journal-3.jsonl.torn"),
        "{said}"
    );
    assert!(
        said.contains("store.json.new is what an unfinished save has left"),
        "{said}"
    );
    assert_eq!(held(&stopped.data()), before);
    assert_sound(&stopped, 5);
    assert_eq!(keys(&stopped.restart()).len(), 5);
}

#[test]
fn an_edited_store_json_is_told_and_is_no_damage() {
    let stopped = two_journals();
    stopped.write("store.json", "{\"z\": \"edited\"}");
    let (said, status) = check(&stopped);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("store.json has been edited") && said.contains("is sound"),
        "{said}"
    );
    assert_sound(&stopped, 5);
}

#[test]
fn damaged_lines_of_journals_are_told_one_by_one_and_all_others_come_back() {
    let stopped = two_journals();
    damage(&stopped, "journal-2.jsonl", &[("\"c\"", "\"X\"")]);
    damaged_folder(
        stopped,
        &[
            "journal-2.jsonl: line 5: it is not what was written",
            "lost: the change that it held",
            "(1 fault)",
        ],
        &["journal-2.jsonl"],
        &["a 1", "b 2", "d 4", "e 5"],
    );
    let stopped = two_journals();
    damage(
        &stopped,
        "journal-2.jsonl",
        &[("\"b\"", "\"X\""), ("\"c\"", "\"Y\"")],
    );
    damage(
        &stopped,
        "journal-3.jsonl",
        &[("\"number\":3", "\"number\":4")],
    );
    damaged_folder(
        stopped,
        &[
            "journal-2.jsonl: line 3: ",
            "journal-2.jsonl: line 5: ",
            "journal-3.jsonl: line 1: ",
            "(3 faults)",
        ],
        &["journal-2.jsonl", "journal-3.jsonl"],
        &["a 1", "d 4", "e 5"],
    );
}

#[test]
fn the_last_line_of_an_older_journal_is_missed_and_the_newer_one_is_not() {
    let stopped = two_journals();
    damage(&stopped, "journal-2.jsonl", &[("\"d\"", "\"X\"")]);
    damaged_folder(
        stopped,
        &["journal-2.jsonl: line 7: "],
        &["journal-2.jsonl"],
        &["a 1", "b 2", "c 3", "e 5"],
    );
}

#[test]
fn a_first_line_that_is_damaged_costs_no_pair() {
    let stopped = two_journals();
    std::fs::remove_file(stopped.data().join("journal-3.jsonl")).expect("it is there");
    damage(
        &stopped,
        "journal-2.jsonl",
        &[("\"number\":2", "\"number\":7")],
    );
    // What came before it is in store.json, and is not said to be lost.
    damaged_folder(
        stopped,
        &[
            "journal-2.jsonl: line 1: it is no whole first line",
            "(1 fault)",
        ],
        &["journal-2.jsonl"],
        &["a 1", "b 2", "c 3", "d 4"],
    );
}

#[test]
fn missing_files_are_told_by_name_and_the_others_come_back() {
    let stopped = two_journals();
    std::fs::remove_file(stopped.data().join("journal-2.jsonl")).expect("it is there");
    damaged_folder(
        stopped,
        &["journal-3.jsonl: journal-2.jsonl, which it continues, is missing"],
        &["journal-3.jsonl"],
        &["a 1", "e 5"],
    );
    let stopped = two_journals();
    std::fs::remove_file(stopped.data().join("store.json")).expect("it is there");
    damaged_folder(
        stopped,
        &["journal-2.jsonl: store.json, or journal-1.jsonl, which it continues, is missing"],
        &["journal-2.jsonl"],
        &["b 2", "c 3", "d 4", "e 5"],
    );
}

#[test]
fn a_malformed_store_json_gives_back_every_line_that_is_a_pair() {
    for (text, faults, pairs) in [
        (
            "{\n  \"a\": \"1\",\n  \"k\": \"2\"\n  \"l\": \"3\"\n}\n",
            "line 4: expected `,` or `}`",
            vec!["a 1", "k 2", "l 3"],
        ),
        (
            "{\n  \"a\": \"1\",\n  \"k\": \"2,\n  \"l\": \"3\"\n}\n",
            "line 3: ",
            vec!["a 1", "l 3"],
        ),
        (
            "{\n  \"a\": \"1\",\n  \"k\": \"2\",\n",
            "line 4: EOF while parsing a value at line 4 column 0; lost: what came after it",
            vec!["a 1", "k 2"],
        ),
        (
            "{\n  \"a\": \"1\",\n  \"k\": \"2",
            "line 3: EOF while parsing a string",
            vec!["a 1"],
        ),
        (
            "{\"a\":\"1\",\"k\":\"2\"x,\"l\":\"3\"}",
            "line 1: expected `,` or `}`",
            vec!["a 1", "k 2"],
        ),
        // A value that is missing is not made up from the next line.
        (
            "{\n  \"a\": \"1\",\n  \"k\":\n  \"l\": \"3\"\n}\n",
            "line 3: it is no pair; lost: what it held: ",
            vec!["a 1", "l 3"],
        ),
        // What is inside a value is no pair, wherever the fault is.
        (
            "{\n  \"a\": \"1\"\n  \"o\": {\n    \"in\": \"9\"\n  },\n  \"l\": \"3\"\n}\n",
            "line 4: it is no pair; lost: what it held: ",
            vec!["a 1", "l 3"],
        ),
        (
            "{\n  \"a\": \"1\",\n  \"o\": {\n    \"in\" \"9\",\n    \"in2\": \"9\"\n  },\n  \"l\": \"3\"\n}\n",
            "line 5: it is no pair",
            vec!["a 1", "l 3"],
        ),
    ] {
        let stopped = two_journals();
        stopped.write("store.json", text);
        let mut pairs = pairs;
        pairs.extend(["b 2", "c 3", "d 4", "e 5"]);
        pairs.sort_unstable();
        damaged_folder(stopped, &["store.json: ", faults], &["store.json"], &pairs);
    }
    // Without any journal, too.
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", "{\n  \"a\": \"1\"\n  \"b\": \"2\"\n}\n");
    damaged_folder(
        stopped,
        &["store.json: line 3: "],
        &["store.json"],
        &["a 1", "b 2"],
    );
}

#[test]
fn a_store_json_that_changed_without_its_time_is_kept_and_taken() {
    let stopped = two_journals();
    let path = stopped.data().join("store.json");
    let modified = std::fs::metadata(&path)
        .and_then(|file| file.modified())
        .expect("a time");
    stopped.write("store.json", "{\n  \"a\": \"7\"\n}\n");
    let file = OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("store.json");
    file.set_modified(modified).expect("a time");
    damaged_folder(
        stopped,
        &[
            "store.json: its content has changed, but its time of modification has not",
            "it cannot be told which pairs",
        ],
        &["store.json"],
        &["a 7", "b 2", "c 3", "d 4", "e 5"],
    );
}

#[test]
fn a_folder_in_use_is_left_alone_and_its_server_is_named() {
    let server = TestServer::start();
    server.client().ask("PUT a 1");
    let before = held(&server.data());
    for action in ["check", "repair"] {
        let (said, status) = on(action, &server.data());
        assert_eq!(status, Some(1), "{said}");
        let expected = format!(
            "is in use by another pykv-server (process {})",
            server.pid()
        );
        assert!(said.contains(&expected), "{said}");
    }
    assert_eq!(held(&server.data()), before);
    assert_eq!(server.client().ask("PUT b 2"), "OK");
}

#[test]
fn what_is_no_folder_or_of_a_newer_server_is_told_and_nothing_is_made() {
    for action in ["check", "repair"] {
        let stopped = Stopped::new(&[]);
        let (said, status) = on(action, &stopped.data());
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("there is no data folder "), "{said}");
        assert!(!stopped.data().exists());
        std::fs::write(stopped.data(), "a file").expect("a file");
        let (said, status) = on(action, &stopped.data());
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("Not a directory"), "{said}");
        let stopped = Stopped::new(&[]);
        stopped.write("journal-1.jsonl", header_of(99, 1, 1) + &put(1, "a", "1"));
        let before = files(&stopped);
        let (said, status) = on(action, &stopped.data());
        assert_eq!(status, Some(1), "{said}");
        assert!(
            said.contains("has format 99") && said.contains("newer pykv-server"),
            "{said}"
        );
        assert_eq!(files(&stopped), before);
    }
}

#[test]
fn without_a_folder_the_call_is_wrong_and_help_says_what_there_is() {
    for (arguments, status) in [
        (&["check"][..], 2),
        (&["repair"], 2),
        (&["check", "a", "b"], 2),
        (&["--data", "a", "check", "b"], 2),
        (&["check", "--help"], 0),
        (&["repair", "--help"], 0),
    ] {
        let (said, ended) = run(arguments);
        assert_eq!(ended, Some(status), "{arguments:?}: {said}");
        assert!(status == 0 || said.contains("--help"), "{said}");
    }
    let (said, _) = run(&["--help"]);
    assert!(
        said.contains("pykv-server check data") && said.contains("pykv-server repair data"),
        "{said}"
    );
}

#[test]
fn a_repair_that_finds_no_room_says_so_and_can_be_done_again() {
    let stopped = two_journals();
    damage(&stopped, "journal-2.jsonl", &[("\"c\"", "\"X\"")]);
    let script = "ulimit -f 0; trap '' XFSZ; exec \"$0\" repair \"$1\"";
    let (said, status) = said(
        Command::new("sh")
            .args(["-c", script, SERVER])
            .arg(stopped.data()),
    );
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("cannot save what could be read: ") && said.contains("repair again"),
        "{said}"
    );
    assert_eq!(check(&stopped).1, Some(1));
    assert_eq!(repair(&stopped).1, Some(0));
    assert_sound(&stopped, 4);
    assert_eq!(keys(&stopped.restart()), ["a 1", "b 2", "d 4", "e 5"]);
}

/// Goal: a repair may be killed anywhere. Method: strace kills it at the n-th call, n from one to past the last; then it is
/// run again. The damage is of the kind that looks like a torn tail once the journal after it is taken for unfinished.
#[test]
fn a_repair_that_is_killed_at_any_call_and_run_again_loses_nothing() {
    if is_skipped("strace") {
        return;
    }
    let mut killed = 0;
    for call in ["fsync", "fdatasync", "rename", "unlink", "linkat"] {
        for n in 1.. {
            assert!(n < 30, "{call} never ends");
            let stopped = two_journals();
            damage(&stopped, "journal-2.jsonl", &[("\"d\"", "\"X\"")]);
            let damaged = stopped.read("journal-2.jsonl");
            let words = strace(&format!("{call}:signal=KILL:when={n}"));
            let mut strace = Command::new(&words[0]);
            strace.args(&words[1..]).args([SERVER, "repair"]);
            let (said, status) = said(strace.arg(stopped.data()));
            if status.is_some() {
                assert_eq!(status, Some(0), "{said}");
                break;
            }
            killed += 1;
            let (said, status) = repair(&stopped);
            assert_eq!(status, Some(0), "{call} {n}: {said}");
            assert_sound(&stopped, 4);
            assert_eq!(
                stopped.read("journal-2.jsonl.damaged"),
                damaged,
                "{call} {n}"
            );
            let pairs = keys(&stopped.restart());
            assert_eq!(pairs, ["a 1", "b 2", "c 3", "e 5"], "{call} {n}");
        }
    }
    assert!(killed >= 12, "only {killed} repairs were killed");
}
