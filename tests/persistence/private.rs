//! Who may read what the server writes: its user alone, or whoever a person has let read the file that a new one replaces.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::support::server::{Stopped, TestServer, wait_until};

fn mode(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path);
    metadata
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .mode()
        & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn what_the_server_creates_is_for_its_user_alone() {
    let stopped = Stopped::new(&[]);
    let deep = stopped.data().join("above").join("data");
    let server = stopped.at(&deep).restart();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    assert_eq!(server.client().ask("PUT a 2"), "OK");
    for folder in [&*deep, deep.parent().expect("above")] {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    let stopped = server.kill();
    let names = stopped.names();
    assert_eq!(names, ["journal-2.jsonl", "store.json"]);
    for name in names.iter().map(String::as_str).chain(["lock"]) {
        assert_eq!(mode(&deep.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_mode_that_a_person_gave_is_that_of_the_files_that_follow() {
    let server = TestServer::start();
    let data = server.data();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    set_mode(&data, 0o750);
    set_mode(&data.join("store.json"), 0o640);
    set_mode(&data.join("journal-2.jsonl"), 0o604);
    let kept = |server: &TestServer, journal: &str| {
        assert_eq!(server.client().ask("PUT a 2"), "OK");
        assert_eq!(server.client().ask("SAVE"), "OK");
        assert_eq!(mode(&data.join("store.json")), 0o640);
        assert_eq!(mode(&data.join(journal)), 0o604);
        assert_eq!(mode(&data), 0o750);
    };
    kept(&server, "journal-3.jsonl");
    let server = server.kill().restart();
    kept(&server, "journal-4.jsonl");
    // Also where the journal before is gone.
    fs::remove_file(data.join("journal-4.jsonl")).expect("the journal");
    wait_until("changes are taken again", || {
        server.client().ask("PUT a 3") == "OK"
    });
    assert_eq!(mode(&data.join("journal-5.jsonl")), 0o604);
}

#[test]
fn what_is_set_aside_keeps_its_mode() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let stopped = server.kill();
    let journal = stopped.data().join("journal-1.jsonl");
    set_mode(&journal, 0o640);
    let whole = stopped.read("journal-1.jsonl");
    stopped.write("journal-1.jsonl", format!("{whole}{{\"put\":"));
    let stopped = stopped.restart().kill();
    assert_eq!(mode(&stopped.data().join("journal-1.jsonl.torn")), 0o640);
    // A copy for want of a damaged one.
    stopped.write("journal-1.jsonl", format!("{whole}damaged\n{whole}"));
    let repair = Command::new(env!("CARGO_BIN_EXE_pykv-server"))
        .arg("repair")
        .arg(stopped.data())
        .output()
        .expect("it runs");
    assert!(repair.status.success(), "{repair:?}");
    assert_eq!(mode(&stopped.data().join("journal-1.jsonl.damaged")), 0o640);
    assert_eq!(mode(&stopped.data().join("store.json")), 0o600);
}

#[test]
fn a_new_snapshot_has_the_owner_of_the_one_before() {
    let server = TestServer::start();
    let path = server.data().join("store.json");
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    if chown(&path, Some(65_534), Some(65_534)).is_err() {
        println!("skipped: this user may not give files away");
        return;
    }
    set_mode(&path, 0o640);
    assert_eq!(server.client().ask("PUT a 2"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    let metadata = fs::metadata(&path).expect("the snapshot");
    assert_eq!((metadata.uid(), metadata.gid()), (65_534, 65_534));
    assert_eq!(mode(&path), 0o640);
}
