//! Files that are no files: a pipe, a socket, a device, a folder or a link where a file of the data folder should be. None is waited
//! for, read without end, or written through.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::support::server::{Stopped, TestServer};

/// Puts something there that is no regular file.
fn make(kind: &str, path: &Path) {
    match kind {
        "a named pipe" => {
            let made = Command::new("mkfifo").arg(path).status();
            assert!(made.expect("mkfifo (of coreutils) runs").success());
        }
        "a socket" => drop(UnixListener::bind(path).expect("a socket")),
        "a folder" => fs::create_dir(path).expect("a folder"),
        "a device" => symlink("/dev/zero", path).expect("a link"),
        other => panic!("{other}"),
    }
}

/// A folder with a snapshot and a journal after it.
fn stopped() -> Stopped {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    assert_eq!(server.client().ask("PUT b 2"), "OK");
    server.kill()
}

/// What `check` and `repair` say, which must fail.
fn refusal(what: &str, stopped: &Stopped) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_pykv-server"))
        .arg(what)
        .arg(stopped.data())
        .output()
        .expect("it runs");
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    String::from_utf8(run.stderr).expect("text")
}

#[test]
fn what_is_no_regular_file_stops_the_start_in_words() {
    for name in ["store.json", "journal-2.jsonl", "lock"] {
        for kind in ["a named pipe", "a socket", "a folder", "a device"] {
            let stopped = stopped();
            let path = stopped.data().join(name);
            fs::remove_file(&path).expect("the file");
            make(kind, &path);
            let is_link = kind == "a device" && name != "store.json";
            let expected = if is_link { "a symbolic link" } else { kind };
            let expected = format!("it is {expected}, not a regular file");
            for said in [
                stopped.start_fails(),
                refusal("check", &stopped),
                refusal("repair", &stopped),
            ] {
                assert!(said.contains(&expected), "{name}, {kind}: {said}");
                let place = if kind == "a device" && name == "store.json" {
                    "/dev/zero"
                } else {
                    name
                };
                assert!(said.contains(place), "{name}, {kind}: {said}");
            }
        }
    }
}

#[test]
fn a_snapshot_that_is_a_link_stays_one_and_the_file_that_it_leads_to_is_replaced() {
    let stopped = stopped();
    let data = stopped.data();
    let elsewhere = data.with_extension("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let target = elsewhere.join("pairs.json");
    fs::rename(data.join("store.json"), &target).expect("moved");
    // By way of another link, and relative.
    symlink("data.elsewhere/pairs.json", data.with_extension("link")).expect("a link");
    symlink("../data.link", data.join("store.json")).expect("a link");
    // What an unfinished save has left there.
    fs::write(elsewhere.join("pairs.json.new"), "{").expect("a file");
    let server = stopped.restart();
    assert!(!elsewhere.join("pairs.json.new").exists());
    assert_eq!(server.client().ask("GET a"), "VALUE \"1\"");
    assert_eq!(server.client().ask("PUT c 3"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    let stopped = server.kill();
    assert_eq!(stopped.names(), ["journal-3.jsonl", "store.json"]);
    assert!(data.join("store.json").is_symlink());
    let saved = fs::read_to_string(&target).expect("the snapshot");
    for pair in [r#""a": "1""#, r#""b": "2""#, r#""c": "3""#] {
        assert!(saved.contains(pair), "{saved}");
    }
    // The file and its lock.
    let names: Vec<_> = fs::read_dir(&elsewhere).expect("the folder").collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(elsewhere.join("pairs.json.lock").exists(), "{names:?}");
    // An edit meanwhile is kept, and so is damage.
    let server = stopped.restart();
    fs::write(&target, "{\"edited\": \"1\"}\n").expect("an edit");
    assert_eq!(server.client().ask("PUT d 4"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    let stopped = server.kill();
    assert_eq!(stopped.read("pairs.json.edited"), "{\"edited\": \"1\"}\n");
    fs::write(&target, "{\"a\": \"1\",\n\"b\n").expect("damage");
    let repair = Command::new(env!("CARGO_BIN_EXE_pykv-server"))
        .arg("repair")
        .arg(&data)
        .output()
        .expect("it runs");
    assert!(repair.status.success(), "{repair:?}");
    assert_eq!(stopped.read("pairs.json.damaged"), "{\"a\": \"1\",\n\"b\n");
    assert!(data.join("store.json").is_symlink());
    assert_eq!(stopped.restart().client().ask("GET a"), "VALUE \"1\"");
}

#[test]
fn a_snapshot_that_is_a_link_to_nothing_stops_the_start_and_fails_a_save() {
    let stopped = stopped();
    let path = stopped.data().join("store.json");
    let target = stopped.data().join("mounted").join("store.json");
    let store = stopped.read("store.json");
    for (link, reason) in [
        (target.as_path(), "No such file or directory"),
        (path.as_path(), "Too many levels of symbolic links"),
    ] {
        fs::remove_file(&path).expect("the snapshot");
        symlink(link, &path).expect("a link");
        for said in [
            stopped.start_fails(),
            refusal("check", &stopped),
            refusal("repair", &stopped),
        ] {
            assert!(
                said.contains("it is a symbolic link to ") && said.contains(reason),
                "{said}"
            );
        }
        assert!(path.is_symlink());
    }
    fs::remove_file(&path).expect("the link");
    stopped.write("store.json", &store);
    let server = stopped.restart();
    fs::remove_file(&path).expect("the snapshot");
    symlink(&target, &path).expect("a link");
    assert_eq!(server.client().ask("PUT c 3"), "OK");
    let said = server.client().ask("SAVE");
    assert!(
        said.starts_with("ERR DISK cannot write ") && said.contains("symbolic link"),
        "{said}"
    );
    assert!(path.is_symlink());
    // Once it leads to a place again, the save goes there.
    fs::create_dir(target.parent().expect("a folder")).expect("a folder");
    fs::write(&target, "{}").expect("a file");
    assert_eq!(server.client().ask("SAVE"), "OK");
    assert!(
        fs::read_to_string(&target)
            .expect("the snapshot")
            .contains("\"c\": \"3\"")
    );
}

#[test]
fn nothing_is_written_through_a_link_or_a_second_name() {
    let stopped = stopped();
    let data = stopped.data();
    let precious = data.with_extension("precious");
    fs::write(&precious, "precious").expect("a file");
    for name in [
        "store.json.new",
        "journal-3.jsonl.new",
        "store.json.edited",
        "journal-2.jsonl.torn",
    ] {
        symlink(&precious, data.join(name)).expect("a link");
    }
    fs::remove_file(data.join("lock")).expect("the lock");
    fs::hard_link(&precious, data.join("lock")).expect("a second name");
    let torn = stopped.read("journal-2.jsonl") + "{\"put\":";
    stopped.write("journal-2.jsonl", torn);
    fs::remove_file(data.join("journal-3.jsonl.new")).expect("it would be a journal");
    let server = stopped.restart();
    symlink(&precious, data.join("store.json.new")).expect("a link");
    symlink(&precious, data.join("journal-3.jsonl.new")).expect("a link");
    fs::write(data.join("store.json"), "{\"edited\": \"1\"}").expect("an edit");
    assert_eq!(server.client().ask("PUT c 3"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    let pid = server.pid();
    let stopped = server.kill();
    assert_eq!(fs::read_to_string(&precious).expect("it"), "precious");
    assert_eq!(stopped.read("lock"), format!("{pid}\n"));
    assert_eq!(stopped.read("journal-2.jsonl.torn-2"), "{\"put\":");
    assert_eq!(stopped.read("store.json.edited-2"), "{\"edited\": \"1\"}");
    // A lock that is a link is not followed, either.
    fs::remove_file(data.join("lock")).expect("the lock");
    symlink(&precious, data.join("lock")).expect("a link");
    let said = stopped.start_fails();
    assert!(
        said.contains("lock") && said.contains("it is a symbolic link"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&precious).expect("it"), "precious");
}
