//! The ground under the server: a folder or journal that is removed, replaced or taken by another server while it runs, a
//! disk that is small, and one that is read-only. Changes are refused, reads go on, and it mends by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::by_hand::held;
use crate::support::full_disk::health;
use crate::support::server::{Stopped, TestServer, is_skipped, wait_until};

/// Changes pairs until it is refused, which must be soon; how many were acknowledged.
fn is_noticed(server: &TestServer, because: &str) -> u64 {
    let started = Instant::now();
    let mut client = server.client();
    let mut acknowledged = 0;
    let refusal = loop {
        match client.ask(&format!("PUT k{acknowledged} v")) {
            reply if reply == "OK" => acknowledged += 1,
            reply => break reply,
        }
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "it is not noticed"
        );
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(
        refusal.starts_with("ERR DISK ") && refusal.contains(because),
        "{refusal}"
    );
    assert_eq!(client.ask("GET first"), "VALUE \"1\"");
    let stats = client.ask_rows("STATS");
    assert!(
        stats
            .iter()
            .any(|row| row.starts_with("STAT disk \"cannot ")),
        "{stats:#?}"
    );
    let (code, body) = health(server);
    assert!(
        code == 503 && body.contains("changes are refused: cannot "),
        "{body}"
    );
    acknowledged
}

/// Changes are taken again, and everything survives a kill.
fn mends(server: TestServer, acknowledged: u64) -> TestServer {
    let mut client = server.client();
    wait_until("changes are taken again", || {
        client.ask("PUT again 1") == "OK"
    });
    wait_until("health is well again", || health(&server).0 == 200);
    let server = server.kill().restart();
    let mut client = server.client();
    for n in 0..acknowledged {
        assert_eq!(
            client.ask(&format!("EXISTS k{n}")),
            "COUNT 1",
            "k{n} is lost"
        );
    }
    assert_eq!(client.ask("GET first"), "VALUE \"1\"");
    assert_eq!(client.ask("GET again"), "VALUE \"1\"");
    server
}

fn serving(durability: &str) -> TestServer {
    let server = TestServer::start_with(&["--durability", durability]);
    assert_eq!(server.client().ask("PUT first 1"), "OK");
    server
}

#[test]
fn a_folder_that_is_removed_is_noticed_and_mended_once_one_is_there() {
    for durability in ["everysec", "always"] {
        let server = serving(durability);
        fs::remove_dir_all(server.data()).expect("the folder");
        let acknowledged = is_noticed(&server, "was removed");
        assert!(!server.data().exists(), "it made a folder of its own");
        fs::create_dir(server.data()).expect("a folder");
        mends(server, acknowledged);
    }
}

#[test]
fn a_folder_that_is_moved_away_and_back_is_gone_on_with() {
    let server = serving("everysec");
    let away = server.data().with_extension("away");
    fs::rename(server.data(), &away).expect("a new name");
    let acknowledged = is_noticed(&server, "was removed");
    fs::rename(&away, server.data()).expect("the old name");
    let stopped = mends(server, acknowledged).kill();
    assert_eq!(stopped.names(), ["journal-2.jsonl", "store.json"]);
}

#[test]
fn a_journal_that_is_removed_or_replaced_is_noticed_and_mended_at_once() {
    for has_replacement in [false, true] {
        let server = serving("everysec");
        let journal = server.data().join("journal-1.jsonl");
        fs::remove_file(&journal).expect("the journal");
        if has_replacement {
            fs::write(&journal, "somebody's").expect("a file");
        }
        // It is mended within a second: what is seen of it is what it says.
        wait_until("it is noticed", || {
            server.log().contains("ERROR cannot find ")
        });
        mends(server, 0);
    }
}

#[test]
fn what_is_in_a_folder_that_takes_the_place_of_ours_is_kept_aside() {
    let server = serving("everysec");
    let other = serving("everysec");
    assert_eq!(other.client().ask("SAVE"), "OK");
    assert_eq!(other.client().ask("PUT other 1"), "OK");
    let other = other.kill();
    let (journal, store) = (other.read("journal-2.jsonl"), other.read("store.json"));
    fs::rename(server.data(), server.data().with_extension("away")).expect("a new name");
    fs::rename(other.data(), server.data()).expect("the other folder");
    // No process has it: it is taken, and what is in it belongs to somebody.
    wait_until("it is noticed", || {
        server.log().contains("ERROR cannot find ")
    });
    let server = mends(server, 0);
    assert_eq!(server.client().ask("GET other"), "NOT_FOUND");
    let stopped = server.kill();
    assert_eq!(stopped.read("journal-2.jsonl.unused"), journal);
    assert_eq!(stopped.read("store.json.edited"), store);
}

#[test]
fn a_folder_that_another_server_has_taken_is_not_written_to() {
    for durability in ["everysec", "always", "off"] {
        let server = serving(durability);
        fs::remove_dir_all(server.data()).expect("the folder");
        let other = Stopped::new(&[]).at(&server.data()).restart();
        assert_eq!(other.client().ask("PUT other 1"), "OK");
        let before = held(&server.data());
        // At once, and again once it has been noticed.
        for _ in 0..3 {
            let refusal = server.client().ask("SAVE");
            assert!(
                refusal.starts_with("ERR DISK cannot "),
                "{durability}: {refusal}"
            );
            assert_eq!(held(&server.data()), before, "{durability}");
        }
        if durability != "off" {
            is_noticed(&server, "cannot ");
        }
        assert_eq!(server.client().ask("GET first"), "VALUE \"1\"");
        assert_eq!(health(&other).0, 200);
        assert!(!other.log().contains("ERROR"), "{}", other.log());
        assert_eq!(held(&server.data()), before, "{durability}");
        drop(other);
        wait_until("it is taken", || server.client().ask("SAVE") == "OK");
        let stopped = server.kill();
        assert!(stopped.read("journal-1.jsonl.unused").contains("\"other\""));
        assert_eq!(stopped.restart().client().ask("GET first"), "VALUE \"1\"");
    }
}

/// A disk that is mounted, and no more when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts; nothing if this user may not.
    fn new(options: &[&str], at: &Path) -> Option<Self> {
        let status = Command::new("mount").args(options).arg(at).output();
        if !status.expect("mount (of util-linux) runs").status.success() {
            println!("skipped: this user may not mount");
            return None;
        }
        Some(Self(at.to_owned()))
    }

    fn again(&self, options: &str) {
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", options]).arg(&self.0).status();
        assert!(status.expect("mount runs").success(), "{options}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_small_disk_that_is_full_loses_nothing_and_goes_on_once_there_is_room() {
    if is_skipped("mount") {
        return;
    }
    for durability in ["everysec", "always"] {
        let stopped = Stopped::new(&["--durability", durability]);
        fs::create_dir(stopped.data()).expect("a folder");
        let Some(disk) = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], &stopped.data())
        else {
            return;
        };
        let server = stopped.restart();
        let mut client = server.client();
        assert_eq!(client.ask("PUT first 1"), "OK");
        let value = "v".repeat(900);
        let mut acknowledged = 0;
        while client.ask(&format!("PUT k{acknowledged} {value}")) == "OK" {
            acknowledged += 1;
            assert!(acknowledged < 100, "the disk is never full");
        }
        assert!(acknowledged > 20, "{acknowledged}");
        let refusal = client.ask("SAVE");
        assert!(
            refusal.starts_with("ERR DISK ") && refusal.contains("No space left"),
            "{refusal}"
        );
        assert!(client.ask("PUT late 1").starts_with("ERR DISK "));
        assert_eq!(client.ask("GET k0"), format!("VALUE \"{value}\""));
        assert_eq!(health(&server).0, 503);
        // Killed on the full disk, and again once there is room.
        let server = server.kill().restart();
        for n in 0..acknowledged {
            assert_eq!(server.client().ask(&format!("EXISTS k{n}")), "COUNT 1");
        }
        let late = server
            .client()
            .ask(&format!("PUT late {}", "v".repeat(9_000)));
        assert!(late.starts_with("ERR DISK "), "{late}");
        disk.again("remount,size=2m");
        let server = mends(server, acknowledged);
        assert_eq!(server.client().ask("SAVE"), "OK");
        drop(server);
    }
}

#[test]
fn a_read_only_disk_is_told_of_and_left_as_soon_as_it_is_gone() {
    if is_skipped("mount") {
        return;
    }
    let server = serving("everysec");
    let options = ["-t", "tmpfs", "-o", "ro", "tmpfs"];
    let Some(disk) = Mount::new(&options, &server.data()) else {
        return;
    };
    let acknowledged = is_noticed(&server, "was removed");
    let refusal = server.client().ask("SAVE");
    assert!(refusal.contains("Read-only file system"), "{refusal}");
    drop(disk);
    mends(server, acknowledged);
}

#[test]
fn a_folder_on_a_read_only_disk_can_be_looked_at_and_not_be_served() {
    if is_skipped("mount") {
        return;
    }
    let stopped = serving("everysec").stop();
    let path = stopped
        .data()
        .to_str()
        .expect("a path that is text")
        .to_owned();
    let Some(disk) = Mount::new(&["--bind", &path], &stopped.data()) else {
        return;
    };
    disk.again("remount,bind,ro");
    let check = Command::new(env!("CARGO_BIN_EXE_pykv-server"))
        .args(["check", &path])
        .output();
    let said = String::from_utf8(check.expect("it runs").stdout).expect("text");
    assert!(said.contains("is sound: 1 pair;"), "{said}");
    let log = stopped.start_fails();
    assert!(log.contains("Read-only file system"), "{log}");
    drop(disk);
    assert_eq!(stopped.restart().client().ask("COUNT"), "COUNT 1");
}
