//! One server to a folder, whatever becomes of its names: a second one is refused, and one that has lost its folder or its journal
//! acknowledges nothing more.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::server::{Stopped, TestServer, wait_until};

fn serving(durability: &str) -> TestServer {
    let server = TestServer::start_with(&["--durability", durability]);
    assert_eq!(server.client().ask("PUT first 1"), "OK");
    server
}

/// A second server, `check` and `repair` on a folder are refused.
fn is_refused(data: &Path, pid: Option<u32>) {
    let holder = pid.map_or(String::new(), |pid| format!(" (process {pid})"));
    let expected = format!("is in use by another pykv-server{holder};");
    let said = Stopped::new(&[]).at(data).start_fails();
    assert!(said.contains(&expected), "{said}");
    for what in ["check", "repair"] {
        let run = Command::new(env!("CARGO_BIN_EXE_pykv-server"))
            .arg(what)
            .arg(data)
            .output()
            .expect("it runs");
        let said = String::from_utf8(run.stderr).expect("text");
        assert!(
            !run.status.success() && said.contains(&expected),
            "{what}: {said}"
        );
    }
}

#[test]
fn a_second_server_is_refused_whatever_becomes_of_the_lock_file() {
    let server = serving("everysec");
    let (data, pid) = (server.data(), server.pid());
    let lock = data.join("lock");
    is_refused(&data, Some(pid));
    fs::remove_file(&lock).expect("the lock");
    is_refused(&data, None);
    wait_until("it is there again", || lock.exists());
    is_refused(&data, Some(pid));
    fs::hard_link(&lock, data.join("second")).expect("a second name");
    fs::rename(data.join("second"), data.join("third")).expect("a third name");
    is_refused(&data, Some(pid));
    fs::remove_file(&lock).expect("the lock");
    fs::write(&lock, "7\n").expect("another file");
    is_refused(&data, Some(7));
    wait_until("it is ours again", || {
        fs::read_to_string(&lock).is_ok_and(|text| text == format!("{pid}\n"))
    });
    // Nothing was refused meanwhile.
    assert!(!server.log().contains("ERROR"), "{}", server.log());
    assert_eq!(server.client().ask("PUT more 1"), "OK");
    assert_eq!(server.kill().names(), ["journal-1.jsonl", "third"]);
}

#[test]
fn a_second_server_is_refused_by_whatever_path_it_comes() {
    let server = serving("everysec");
    let (data, pid) = (server.data(), server.pid());
    let link = data.with_extension("link");
    symlink(&data, &link).expect("a link");
    is_refused(&link, Some(pid));
    fs::remove_file(data.join("lock")).expect("the lock");
    is_refused(&link, None);
    let away = data.with_extension("away");
    fs::rename(&data, &away).expect("a new name");
    // The folder is the same, and it is still that of the first server.
    is_refused(&away, None);
}

#[test]
fn a_server_whose_snapshot_is_a_link_to_that_of_another_is_refused() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let pairs = elsewhere.path().join("pairs.json");
    fs::write(&pairs, "{}").expect("a file");
    let linked = || {
        let stopped = Stopped::new(&[]);
        fs::create_dir_all(stopped.data()).expect("a folder");
        symlink(&pairs, stopped.data().join("store.json")).expect("a link");
        stopped
    };
    let server = linked().restart();
    let said = linked().start_fails();
    let expected = "is a link to a file that another pykv-server uses";
    assert!(said.contains(expected), "{said}");
    assert_eq!(server.client().ask("PUT k 1"), "OK");
    drop(server.stop());
    let server = linked().restart();
    assert_eq!(server.client().ask("GET k"), "VALUE \"1\"");
}

#[test]
fn a_server_of_an_older_version_which_locks_the_file_alone_is_kept_out_and_keeps_out() {
    let server = serving("everysec");
    let lock = server.data().join("lock");
    let older = fs::File::open(&lock).expect("the lock");
    assert!(older.try_lock().is_err(), "the lock file is not locked");
    let stopped = server.kill();
    older.try_lock().expect("a free lock");
    is_refused(
        &stopped.data(),
        None.or(fs::read_to_string(&lock).expect("it").trim().parse().ok()),
    );
    drop(older);
    stopped.restart();
}

#[test]
fn a_server_that_has_lost_its_journal_acknowledges_nothing_more() {
    type Loss = fn(&Path);
    let losses: [(&str, Loss); 7] = [
        ("the journal removed", |data| {
            fs::remove_file(data.join("journal-1.jsonl")).expect("the journal");
        }),
        ("the journal renamed", |data| {
            let journal = data.join("journal-1.jsonl");
            fs::rename(&journal, data.join("old.jsonl")).expect("a new name");
        }),
        ("the journal replaced by a copy", |data| {
            let journal = data.join("journal-1.jsonl");
            fs::copy(&journal, data.join("copy")).expect("a copy");
            fs::rename(data.join("copy"), &journal).expect("the name");
        }),
        ("the journal replaced by a link to it", |data| {
            let journal = data.join("journal-1.jsonl");
            fs::rename(&journal, data.join("old.jsonl")).expect("a new name");
            symlink("old.jsonl", &journal).expect("a link");
        }),
        ("the folder removed", |data| {
            fs::remove_dir_all(data).expect("the folder");
        }),
        ("the folder renamed", |data| {
            fs::rename(data, data.with_extension("away")).expect("a new name");
        }),
        ("the folder replaced", |data| {
            fs::rename(data, data.with_extension("away")).expect("a new name");
            fs::create_dir(data).expect("a folder");
        }),
    ];
    for durability in ["everysec", "always"] {
        for (loss, lose) in losses {
            let server = serving(durability);
            let mut client = server.client();
            lose(&server.data());
            // The very next change, not one that comes after a look at the folder.
            let reply = client.ask("PUT lost 1");
            assert!(
                reply.starts_with("ERR DISK cannot find "),
                "{durability}, {loss}: {reply}"
            );
            assert_eq!(client.ask("GET first"), "VALUE \"1\"");
            if loss == "the folder removed" || loss == "the folder renamed" {
                continue;
            }
            wait_until("it mends", || client.ask("PUT again 1") == "OK");
            let server = server.kill().restart();
            let mut client = server.client();
            assert_eq!(client.ask("GET first"), "VALUE \"1\"", "{loss}");
            assert_eq!(client.ask("GET again"), "VALUE \"1\"", "{loss}");
        }
    }
}

#[test]
fn a_folder_that_another_server_took_over_is_left_to_it() {
    let server = serving("everysec");
    let data = server.data();
    fs::rename(&data, data.with_extension("away")).expect("a new name");
    let other = Stopped::new(&[]).at(&data).restart();
    assert_eq!(other.client().ask("PUT other 1"), "OK");
    let mut client = server.client();
    for _ in 0..3 {
        let reply = client.ask("PUT lost 1");
        assert!(reply.starts_with("ERR DISK "), "{reply}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let other = other.kill().restart();
    assert_eq!(other.client().ask("GET other"), "VALUE \"1\"");
    assert_eq!(other.client().ask("COUNT"), "COUNT 1");
}
