//! Backups: what a copy of the data folder holds that is made while others write, and what is left where it fails.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use pykv::persistence::{BackupError, BackupReport, Durability, FileReader, Files, back_up};
use serde_json::json;

use crate::persistence::power::{STEPS_AFTER, open, pairs_of, step, wait_for};
use crate::persistence::repair::{keys, run};
use crate::support::full_disk::limit_files;
use crate::support::http::Http;
use crate::support::server::{Stopped, TestClient, TestServer, is_skipped, wait_until};
use crate::support::simulated_disk::{DATA, Fault, Kind, SimulatedDisk};

const ENOSPC: i32 = 28;

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// A folder beside the data of a server that does not exist yet.
fn beside(data: &Path, name: &str) -> PathBuf {
    data.parent().expect("a folder for a test").join(name)
}

/// The answer of a running server to BACKUP.
fn ask_for(server: &TestServer, to: &Path) -> String {
    server.client().ask(&format!("BACKUP {}", to.display()))
}

/// What `pykv-server backup` says, and its exit status.
fn command(data: &Path, to: &Path) -> (String, Option<i32>) {
    run(&["backup", "--data", text(data), text(to)])
}

/// The pairs of a backup, from a server on it.
fn restored(backup: &Path) -> Vec<String> {
    let (said, status) = run(&["check", text(backup)]);
    assert_eq!(status, Some(0), "{said}");
    let sound = format!("{} is sound: ", backup.display());
    assert!(said.starts_with(&sound), "there are notes: {said}");
    keys(&Stopped::new(&[]).at(backup).restart())
}

/// Writes transactions of three pairs until it is told to stop; `acknowledged` is the number of the last one.
fn write(mut client: TestClient, acknowledged: &AtomicUsize, is_over: &AtomicBool) {
    for n in 1.. {
        if is_over.load(SeqCst) {
            return;
        }
        for line in ["MULTI", &format!("PUT left {n}"), &format!("PUT n:{n} {n}")] {
            client.ask(line);
        }
        client.ask(&format!("PUT right {n}"));
        assert_eq!(client.ask_array("EXEC"), ["OK", "OK", "OK"]);
        acknowledged.store(n, SeqCst);
    }
}

#[test]
fn a_backup_under_load_holds_what_was_acknowledged_and_no_half_transaction() {
    const BACKUPS: usize = 12;
    let server = TestServer::start();
    let (acknowledged, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let value = "v".repeat(1000);
    for n in 0..500 {
        assert_eq!(server.client().ask(&format!("PUT old:{n} {value}")), "OK");
    }
    let made: Vec<(PathBuf, usize)> = std::thread::scope(|scope| {
        scope.spawn(|| write(server.client(), &acknowledged, &is_over));
        // Each save replaces store.json and removes a journal.
        scope.spawn(|| {
            let mut client = server.client();
            while !is_over.load(SeqCst) {
                assert_eq!(client.ask("SAVE"), "OK");
            }
        });
        let made = (0..BACKUPS).map(|n| {
            let to = beside(&server.data(), &format!("copy-{n}"));
            wait_until("more is written", || acknowledged.load(SeqCst) > 20 * n);
            let before = acknowledged.load(SeqCst);
            if n % 2 == 0 {
                assert_eq!(ask_for(&server, &to), "OK");
            } else {
                let (said, status) = command(&server.data(), &to);
                assert_eq!(status, Some(0), "{said}");
            }
            (to, before)
        });
        let made = made.collect();
        is_over.store(true, SeqCst);
        made
    });
    for (backup, before) in made {
        let pairs = restored(&backup);
        let has = |pair: &str| pairs.iter().any(|it| it == pair);
        assert!((1..=before).all(|n| has(&format!("n:{n} {n}"))), "{before}");
        assert!((0..500).all(|n| has(&format!("old:{n} {value}"))));
        let last = pairs.iter().filter(|pair| pair.starts_with("n:")).count();
        assert!(last >= before);
        assert!(has(&format!("left {last}")) && has(&format!("right {last}")));
        assert_eq!(pairs.len(), 500 + last + 2);
    }
}

#[test]
fn a_backup_is_private_and_holds_the_data_and_the_accounts_alone() {
    let server = TestServer::start();
    let data = server.data();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    assert_eq!(server.client().ask("PUT b 2"), "OK");
    let account = "ACL SETUSER ada on >secret ~* +@all";
    assert_eq!(server.client().ask(account), "OK");
    for name in ["journal-1.jsonl.torn", "notes.txt"] {
        fs::write(data.join(name), "{}").expect("a file");
    }
    let to = beside(&data, "copy");
    // An empty folder is taken.
    fs::create_dir(&to).expect("a folder");
    assert_eq!(ask_for(&server, &to), "OK");
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(mode(&to), 0o700);
    let names = Stopped::new(&[]).at(&to).names();
    assert_eq!(names, ["journal-2.jsonl", "store.json", "users.json"]);
    for name in names {
        assert_eq!(mode(&to.join(&name)), 0o600, "{name}");
    }
    assert_eq!(restored(&to), ["a 1", "b 2"]);
    let log = server.log();
    assert!(
        log.contains(&format!("backup in {}: ", to.display())),
        "{log}"
    );
}

#[test]
fn a_folder_that_no_server_uses_is_copied_as_a_crash_has_left_it() {
    let server = TestServer::start();
    let data = server.data();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let stopped = server.kill();
    let journal = stopped.read("journal-1.jsonl");
    stopped.write("journal-1.jsonl", format!("{journal}{{\"put\":\"b\","));
    let to = beside(&data, "copy");
    let (said, status) = command(&data, &to);
    let told = format!(
        "{} is a backup of {}: {} bytes in 1 files\n",
        to.display(),
        data.display(),
        journal.len()
    );
    assert_eq!((&*said, status), (&*told, Some(0)));
    assert_eq!(restored(&to), ["a 1"]);
    assert_eq!(stopped.names(), ["journal-1.jsonl"], "nothing was mended");
}

#[test]
fn a_server_without_a_journal_saves_before_it_copies() {
    let server = TestServer::start_with(&["--durability", "off"]);
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let to = beside(&server.data(), "copy");
    let data = server.data();
    let flags = ["--durability", "off", "--data", text(&data)];
    let (said, status) = run(&[&["backup"], &flags[..], &[text(&to)]].concat());
    assert_eq!(status, Some(1));
    assert!(said.contains("keeps no journal (durability off)"), "{said}");
    assert_eq!(ask_for(&server, &to), "OK");
    assert_eq!(restored(&to), ["a 1"]);
}

#[test]
fn damage_in_a_backup_is_told_from_an_edit() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT name Ada"), "OK");
    assert_eq!(server.client().ask("SAVE"), "OK");
    let to = beside(&server.data(), "copy");
    assert_eq!(ask_for(&server, &to), "OK");
    let store = to.join("store.json");
    let modified = fs::metadata(&store).and_then(|it| it.modified());
    let damaged = fs::read_to_string(&store)
        .expect("text")
        .replace("Ada", "Bda");
    fs::write(&store, damaged).expect("a file");
    let file = fs::File::options()
        .write(true)
        .open(&store)
        .expect("it is there");
    file.set_modified(modified.expect("a time"))
        .expect("a time");
    let (said, status) = run(&["check", text(&to)]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("its content has changed, but its time"),
        "{said}"
    );
}

#[test]
fn a_backup_that_cannot_be_made_is_refused_in_words() {
    let server = TestServer::start();
    let data = server.data();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let to = beside(&data, "copy");
    let unfinished = beside(&data, "copy.unfinished");
    fs::create_dir(&unfinished).expect("a folder");
    let mut client = server.client();
    for (folder, refusal) in [
        (
            "copy".to_owned(),
            "ERR ARGS the folder of a backup is named from the root, ".to_owned(),
        ),
        (
            text(&data).to_owned(),
            format!("ERR ARGS {} is not empty: ", data.display()),
        ),
        ("/".to_owned(), "ERR ARGS / is not empty: ".to_owned()),
        (
            text(&to).to_owned(),
            format!("ERR ARGS {} is there: ", unfinished.display()),
        ),
        (
            text(&to.join("deep")).to_owned(),
            format!(
                "ERR DISK no backup was made: cannot write {}",
                to.join("deep.unfinished").display()
            ),
        ),
    ] {
        let reply = client.ask(&format!("BACKUP {folder}"));
        assert!(reply.starts_with(&refusal), "{folder}: {reply}");
    }
    assert_eq!(client.ask("MULTI"), "OK");
    assert!(client.ask("BACKUP /nowhere/copy").starts_with("ERR ARGS "));
    let nothing = beside(&data, "nothing");
    fs::create_dir(&nothing).expect("a folder");
    let (said, status) = command(&nothing, &to);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("holds no data: neither store.json nor a journal"),
        "{said}"
    );
    assert!(!to.exists());
}

#[test]
fn one_backup_is_made_at_a_time_and_goes_on_without_its_client() {
    if is_skipped("strace") {
        return;
    }
    let stopped = TestServer::start().stop();
    let (first, second) = (
        beside(&stopped.data(), "first"),
        beside(&stopped.data(), "second"),
    );
    let mut server = stopped
        .with_fault("mkdir:delay_enter=600000000")
        .start_loading();
    server.wait_until_loaded();
    let mut leaving = server.client();
    leaving.send(&format!("BACKUP {}", first.display()));
    wait_until("the first is being made", || {
        let stats = server.client().ask_rows("STATS");
        stats.iter().any(|row| row == "STAT command_backup 1")
    });
    let busy = "ERR BUSY another backup is being made, and one is made at a time; try again later";
    assert_eq!(ask_for(&server, &second), busy);
    drop(leaving);
    server.let_go();
    wait_until("the first is made", || first.exists());
    wait_until("the next is taken", || ask_for(&server, &second) == "OK");
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    if is_skipped("prlimit") {
        return;
    }
    let server = TestServer::start();
    let value = "v".repeat(100_000);
    assert_eq!(server.client().ask(&format!("PUT a {value}")), "OK");
    let to = beside(&server.data(), "copy");
    limit_files(&server, "50000");
    let reply = ask_for(&server, &to);
    let told = format!(
        "ERR DISK no backup was made: cannot write {}.unfinished/journal-1.jsonl: ",
        to.display()
    );
    assert!(reply.starts_with(&told), "{reply}");
    let around = fs::read_dir(to.parent().expect("a folder")).expect("a folder");
    let names: Vec<String> = around
        .map(|entry| {
            entry
                .expect("a name")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.starts_with("copy"))
        .collect();
    assert_eq!(names, [""; 0]);
    limit_files(&server, "unlimited");
    assert_eq!(ask_for(&server, &to), "OK");
    assert_eq!(restored(&to), [format!("a {value}")]);
}

#[test]
fn http_makes_a_backup_and_refuses_as_the_command_does() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let to = beside(&server.data(), "copy");
    let mut http = Http::connect(&server);
    let mut post = |body: &str| {
        http.send("POST /api/v1/backup", &[], body.as_bytes());
        let answer = http.answer();
        (answer.status, answer.json())
    };
    let body = json!({"to": text(&to)});
    assert_eq!(post(&body.to_string()), (200, body.clone()));
    assert_eq!(restored(&to), ["a 1"]);
    let (status, problem) = post(&body.to_string());
    assert_eq!(status, 422);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(" is not empty: "), "{detail}");
    assert_eq!(post("{}").0, 422);
    assert_eq!(post(r#"{"to": "copy", "from": "data"}"#).0, 422);
    assert_eq!(post("copy").0, 400);
}

/// The names and the content of the files in a folder of a simulated disk, or nothing if there is none.
fn content(disk: &SimulatedDisk, folder: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(folder);
    let names = match Files::names(disk, folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        names => names.expect("a disk without faults"),
    };
    let files = names.into_iter().filter(|name| name != "lock").map(|name| {
        let file = disk.open(&folder.join(&name)).expect("it is there");
        let mut bytes = Vec::new();
        FileReader::new(file, 0)
            .read_to_end(&mut bytes)
            .expect("it can be read");
        (name, bytes)
    });
    Some(files.collect())
}

fn back_up_on(disk: &Arc<SimulatedDisk>) -> Result<BackupReport, BackupError> {
    let files: Arc<dyn Files> = Arc::clone(disk) as _;
    back_up(
        &files,
        Path::new(DATA),
        Durability::Always,
        Path::new("/copy"),
    )
}

/// A disk with a snapshot and a journal, which a server has left.
fn used_disk() -> Arc<SimulatedDisk> {
    let disk = SimulatedDisk::new();
    let engine = open(&disk, Durability::Always).expect("an empty disk");
    let mut made = pykv::engine::Barrier::default();
    for n in STEPS_AFTER {
        if n == STEPS_AFTER.start + 20 {
            wait_for(engine.save()).expect("a disk without faults");
        }
        step(n)
            .make(&engine, &mut made)
            .expect("a disk without faults");
    }
    wait_for(engine.wait_until_durable(made)).expect("a disk without faults");
    drop(engine);
    disk
}

#[test]
fn whichever_operation_fails_a_backup_is_whole_or_absent() {
    let used = used_disk();
    let expected = content(&used, DATA).expect("the data");
    assert_eq!(expected.len(), 2);
    for n in 1.. {
        let disk = used.without_faults();
        let (kind, is_lasting, short) = (None, false, None);
        disk.fail(Fault {
            kind,
            at: n,
            is_lasting,
            error: ENOSPC,
            short,
        });
        let made = back_up_on(&disk);
        if disk.met().is_none() {
            assert!(n > 20, "only {n} operations");
            assert_eq!(made.expect("no fault was met").files, 2);
            return;
        }
        let disk = disk.without_faults();
        let found = content(&disk, "/copy");
        // A look that fails is one that is repeated.
        assert_eq!(
            found,
            made.is_ok().then(|| expected.clone()),
            "operation {n}"
        );
        assert_eq!(content(&disk, "/copy.unfinished"), None, "operation {n}");
    }
}

#[test]
fn wherever_the_power_goes_a_backup_is_whole_or_has_not_its_name() {
    let used = used_disk();
    let expected = content(&used, DATA).expect("the data");
    for n in 1.. {
        let disk = used.without_faults();
        disk.cut_power_at(n);
        let made = back_up_on(&disk);
        for seed in 0..8 {
            let after = disk.after_power_cut(seed);
            let found = content(&after, "/copy");
            let is_whole = found.as_ref().is_some_and(|found| *found == expected);
            assert!(
                is_whole || (made.is_err() && found.is_none()),
                "change {n}, seed {seed}"
            );
        }
        if made.is_ok() {
            assert!(n > 8, "only {n} changes");
            return;
        }
    }
}

/// Between its rename and the removal of the older journal, a new store.json may hold changes of a journal that was not listed yet.
#[test]
fn a_save_that_comes_after_the_names_were_listed_is_not_copied_by_half() {
    let disk = used_disk().without_faults();
    let engine = open(&disk, Durability::Always).expect("a sound folder");
    let saved = Arc::clone(&disk);
    disk.after_listing(move || {
        saved.fail(Fault {
            kind: Some(Kind::Remove),
            at: 1,
            is_lasting: true,
            error: ENOSPC,
            short: None,
        });
        assert!(wait_for(engine.save()).is_err(), "the older journal stays");
    });
    assert!(back_up_on(&disk).is_ok());
    let copied = content(&disk, "/copy").expect("a backup");
    let names: Vec<&str> = copied.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["journal-2.jsonl", "journal-3.jsonl", "store.json"]);
}

#[test]
fn a_server_starts_on_a_backup_with_the_pairs_of_the_original() {
    let used = used_disk();
    assert!(back_up_on(&used).is_ok());
    let copied = SimulatedDisk::new();
    for (name, bytes) in content(&used, "/copy").expect("a backup") {
        copied.write(&name, &bytes);
    }
    let pairs = |disk| pairs_of(&open(&disk, Durability::Always).expect("a sound folder"));
    assert_eq!(pairs(copied), pairs(used));
}
