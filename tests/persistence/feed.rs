//! The change feed: what a follower is shown, and when, across saves, restarts, faults and power cuts.
//!
//! In: an engine on a simulated disk, with clients that change and save, and others that follow. Out: what these are shown.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use pykv::engine::{Barrier, Engine, FollowError, Follower, OwnedChange};
use pykv::model::{Key, Value};
use pykv::persistence::{Durability, Options, Progress};
use tempfile::TempDir;

use crate::persistence::power::{
    History, PROMISING, Pairs, Step, open, options, pairs_of, step, wait_for,
};
use crate::support::server::wait_until;
use crate::support::simulated_disk::{Fault, Kind, SimulatedDisk};

/// A moment after all tests, at which a pair expires.
const LATER: u64 = 32_503_680_000_000;

/// A change that does not come fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

type Changes = Vec<(u64, OwnedChange)>;

/// A follower, and what runs it.
struct Following {
    follower: Follower,
    runtime: tokio::runtime::Runtime,
}

fn key(name: &str) -> Key<'_> {
    Key::parse(name.as_bytes()).expect("a key")
}

fn put(name: &str, value: impl AsRef<[u8]>) -> Step {
    Step::Put(name.to_owned(), value.as_ref().to_vec())
}

fn delete(names: &[&str]) -> Step {
    Step::Delete(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Makes changes, each of which is acknowledged.
fn make(engine: &Engine, steps: &[Step]) {
    let mut history = History::new();
    for step in steps {
        history.make(engine, step).expect("a change");
    }
}

fn save(engine: &Engine) {
    wait_for(engine.save()).expect("a save");
}

/// The newest revision.
fn newest(engine: &Engine) -> u64 {
    let follower = engine.follow(key(""), None).expect("a journal");
    follower.revision()
}

fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("text")
}

fn shown(revision: u64, change: &OwnedChange) -> String {
    let mut shown = format!("{revision} ");
    match change {
        OwnedChange::Put(entry) => {
            let value = String::from_utf8_lossy(entry.value_bytes());
            write!(shown, "{}={value}", text(entry.key_bytes())).expect("memory");
            if let Some(at) = entry.expires_at() {
                write!(shown, " until {at}").expect("memory");
            }
        }
        OwnedChange::Delete(key) => write!(shown, "del {}", text(key)).expect("memory"),
        OwnedChange::Evict(key) => write!(shown, "evict {}", text(key)).expect("memory"),
        OwnedChange::Clear => shown.push_str("clear"),
    }
    shown
}

fn apply(change: &OwnedChange, pairs: &mut Pairs) {
    match change {
        OwnedChange::Put(entry) => {
            let value = entry.value_bytes().to_vec();
            pairs.insert(text(entry.key_bytes()).to_owned(), value);
        }
        OwnedChange::Delete(key) | OwnedChange::Evict(key) => drop(pairs.remove(text(key))),
        OwnedChange::Clear => pairs.clear(),
    }
}

impl Following {
    fn of(follower: Follower) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        Self {
            follower,
            runtime: runtime.expect("a runtime"),
        }
    }

    fn begin(engine: &Engine, prefix: &str, after: Option<u64>) -> Self {
        Self::of(engine.follow(key(prefix), after).expect("a follower"))
    }

    /// The next changes, or why there are none.
    fn next(&mut self) -> Result<Vec<String>, FollowError> {
        let next = async { tokio::time::timeout(PATIENCE, self.follower.next()).await };
        let changes = self.runtime.block_on(next).expect("changes in time")?;
        Ok(changes
            .iter()
            .map(|(revision, change)| shown(*revision, change))
            .collect())
    }

    /// So many changes, and no more in the same batch.
    fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.append(&mut self.next().expect("changes"));
        }
        assert_eq!(taken.len(), count, "{taken:?}");
        taken
    }

    /// The next changes, if they come soon.
    fn next_soon(&mut self) -> Option<Result<Changes, FollowError>> {
        let soon = Duration::from_millis(20);
        let next = async { tokio::time::timeout(soon, self.follower.next()).await };
        self.runtime.block_on(next).ok()
    }

    /// Nothing is there to be shown.
    fn assert_waits(&mut self, case: &str) {
        let shown = self.next_soon();
        assert!(shown.is_none(), "{case}: {shown:?}");
    }
}

#[test]
fn a_follower_is_shown_every_change_once_in_order_and_with_its_revision() {
    for durability in PROMISING {
        let engine = open(&SimulatedDisk::new(), durability).expect("a start");
        make(&engine, &[put("before", "0")]);
        let mut live = Following::begin(&engine, "", None);
        assert_eq!(live.follower.revision(), 1);
        make(
            &engine,
            &[
                put("a", "1"),
                put("bytes", b"\xff"),
                delete(&["before", "a"]),
                Step::Group(vec![
                    put("b", "2"),
                    Step::Clear,
                    put("c", "3"),
                    delete(&["c"]),
                ]),
                Step::Clear,
            ],
        );
        let value = Value::with_expiry(b"late", Some(LATER)).expect("a value");
        let mut made = Barrier::default();
        engine.put(key("d"), value, &mut made).expect("a put");
        let expected = [
            "2 a=1",
            "3 bytes=\u{fffd}",
            "4 del before",
            "4 del a",
            "5 b=2",
            "5 clear",
            "5 c=3",
            "5 del c",
            "6 clear",
            "7 d=late until 32503680000000",
        ];
        assert_eq!(live.take(expected.len()), expected);
        assert_eq!(live.follower.revision(), 7);
        live.assert_waits("all was shown");
        // Who asks for what was before is shown the same.
        let mut late = Following::begin(&engine, "", Some(0));
        assert_eq!(late.take(1 + expected.len())[1..], expected);
        let mut later = Following::begin(&engine, "", Some(4));
        assert_eq!(later.take(6), expected[4..]);
    }
}

#[test]
fn a_follower_of_a_prefix_is_shown_its_keys_alone() {
    let engine = open(&SimulatedDisk::new(), Durability::EverySecond).expect("a start");
    let mut following = Following::begin(&engine, "user:", None);
    make(
        &engine,
        &[
            put("user:1", "Ann"),
            put("user", "no"),
            Step::Group(vec![put("x", "no"), put("user:", "yes")]),
            delete(&["user", "user:1"]),
            put("y", "no"),
            Step::Clear,
        ],
    );
    let expected = ["1 user:1=Ann", "3 user:=yes", "4 del user:1", "6 clear"];
    assert_eq!(following.take(4), expected);
    // What is not shown is read all the same: a follower of it goes on from there.
    make(&engine, &[put("z", "no"), put("user:2", "Bob")]);
    assert_eq!(following.take(1), ["8 user:2=Bob"]);
}

/// Follows changes that put 0, 1, 2, ... under some key, from `first` on if it is known, up to the last; tells the last that
/// it has seen.
fn follow_count(mut following: Following, first: Option<u64>, last: u64, seen: &AtomicU64) {
    let (mut next, mut revision) = (first, following.follower.revision());
    while next.is_none_or(|next| next <= last) {
        for change in following.next().expect("changes") {
            let (at, change) = change.split_once(' ').expect("a revision");
            let (_, n) = change.split_once('=').expect("a value");
            let number = |text: &str| -> u64 { text.parse().expect("a number") };
            let (at, n) = (number(at), number(n));
            assert!(at > revision, "{at} after {revision}");
            assert_eq!(n, next.unwrap_or(n), "revision {at}");
            (revision, next) = (at, Some(n + 1));
            seen.store(n, Ordering::Relaxed);
        }
        // Records of saves, which are no changes, have revisions as well.
        assert!(following.follower.revision() >= revision);
    }
}

/// Goal: saves, which begin a new journal and remove the older ones, are nothing that a follower notices. Method: one writes
/// and another saves while two follow, of whom one begins in the middle; they are never left too far behind.
#[test]
fn followers_go_on_across_saves_while_changes_are_made() {
    const LAST: u64 = 4_000;
    const CHANGES_PER_SAVE: u64 = 50;
    for durability in PROMISING {
        let engine = open(&SimulatedDisk::new(), durability).expect("a start");
        let begin = || Following::begin(&engine, "", None);
        let (one, seen) = (begin(), [AtomicU64::new(0), AtomicU64::new(LAST)]);
        std::thread::scope(|scope| {
            scope.spawn(|| follow_count(one, Some(0), LAST, &seen[0]));
            let (demand, demands) = mpsc::channel();
            let saving = &engine;
            scope.spawn(move || demands.into_iter().for_each(|()| save(saving)));
            for n in 0..=LAST {
                if n == LAST / 2 {
                    let other = begin();
                    seen[1].store(n, Ordering::Relaxed);
                    scope.spawn(|| follow_count(other, None, LAST, &seen[1]));
                }
                if n % CHANGES_PER_SAVE == 0 {
                    demand.send(()).expect("somebody saves");
                    wait_until("all have seen what was some saves ago", || {
                        seen.iter()
                            .all(|seen| seen.load(Ordering::Relaxed) + 8 * CHANGES_PER_SAVE >= n)
                    });
                }
                make(&engine, &[put(&format!("k{}", n % 7), n.to_string())]);
            }
        });
        let journals = newest(&engine) - LAST - 1;
        assert!(journals > 20, "only {journals} saves");
    }
}

#[test]
fn a_follower_goes_on_where_it_was_after_a_kill_and_after_a_stop() {
    for durability in PROMISING {
        let disk = SimulatedDisk::new();
        let engine = open(&disk, durability).expect("a start");
        let mut following = Following::begin(&engine, "", None);
        make(&engine, &[put("a", "1"), put("b", "2"), put("c", "3")]);
        assert_eq!(following.take(3), ["1 a=1", "2 b=2", "3 c=3"]);
        // A kill leaves the journal.
        let disk = disk.without_faults();
        let engine = open(&disk, durability).expect("a start");
        make(&engine, &[put("d", "4")]);
        let mut following = Following::begin(&engine, "", Some(2));
        assert_eq!(following.take(2), ["3 c=3", "4 d=4"]);
        // A stop saves: whoever had seen all misses nothing, which is more than can be said of others.
        save(&engine);
        let disk = disk.without_faults();
        let engine = open(&disk, durability).expect("a start");
        make(&engine, &[put("e", "5")]);
        let mut following = Following::begin(&engine, "", Some(4));
        assert_eq!(following.take(1), ["6 e=5"]);
        let gone = engine.follow(key(""), Some(3)).err().expect("it is gone");
        assert!(
            matches!(gone, FollowError::Gone { after: 3, from: 4 }),
            "{gone:?}"
        );
    }
}

#[test]
fn revisions_that_are_gone_or_never_were_are_told_of_plainly() {
    let engine = open(&SimulatedDisk::new(), Durability::EverySecond).expect("a start");
    make(&engine, &[put("a", "1"), put("b", "2"), put("c", "3")]);
    let refusal = |after| {
        let refused = engine.follow(key(""), Some(after)).err();
        refused.map(|error| error.to_string())
    };
    assert_eq!(refusal(0), None);
    assert_eq!(refusal(3), None);
    assert_eq!(
        refusal(4).as_deref(),
        Some(
            "revision 4 is of another history: the newest is 3; read the pairs anew, and follow from now on"
        )
    );
    save(&engine);
    assert_eq!(newest(&engine), 4, "the save is a record");
    assert_eq!(
        refusal(2).as_deref(),
        Some(
            "the changes after revision 2 are not kept any more, only those after 3; read the pairs anew, and follow from now on"
        )
    );
    assert_eq!(refusal(3), None);
    let off = open(&SimulatedDisk::new(), Durability::Off).expect("a start");
    let refused = off.follow(key(""), None).err().expect("no journal");
    assert_eq!(
        refused.to_string(),
        "there is no journal to follow: the server runs with --durability off; everysec and always keep one"
    );
}

/// Goal: whoever has not read yet what a save removes is not left behind, unless by many saves. Method: a follower that has
/// read nothing; one more journal than is kept, and one byte more.
#[test]
fn a_follower_may_be_sixteen_saves_behind_and_no_more() {
    for (saves, is_kept) in [(16, true), (17, false)] {
        let engine = open(&SimulatedDisk::new(), Durability::EverySecond).expect("a start");
        let mut following = Following::begin(&engine, "", None);
        for n in 0..saves {
            make(&engine, &[put("k", n.to_string())]);
            save(&engine);
        }
        let found = following.next();
        if is_kept {
            let mut found = found.expect("changes");
            found.extend(following.take(saves - found.len()));
            let expected = (0..saves).map(|n| format!("{} k={n}", 2 * n + 1));
            assert_eq!(found, expected.collect::<Vec<_>>());
        } else {
            // A journal holds the record of the save before, and one change.
            let from = 2 * saves as u64 - 1;
            let error = found.expect_err("too many saves");
            assert!(
                matches!(error, FollowError::Gone { after: 0, from: at } if at == from),
                "{error:?}, not {from}"
            );
        }
    }
}

#[test]
fn journals_of_64_mib_are_kept_for_followers_and_no_more() {
    let engine = open(&SimulatedDisk::new(), Durability::EverySecond).expect("a start");
    let value = vec![b'v'; 16 << 20];
    for (values, is_kept) in [(3, true), (4, false)] {
        let mut following = Following::begin(&engine, "", None);
        for _ in 0..values {
            make(&engine, &[put("k", &value)]);
        }
        save(&engine);
        let found = following.next();
        assert_eq!(found.is_ok(), is_kept, "{values}: {:?}", found.err());
    }
}

/// Files of this folder whose names are gone, and which this process has open.
fn removed_and_open(folder: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("what is open");
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.starts_with(folder) && link.to_string_lossy().ends_with(" (deleted)"))
        .count()
}

#[test]
fn what_was_kept_for_followers_goes_with_the_last_of_them() {
    let folder = TempDir::new().expect("a folder");
    let options = Options {
        data: folder.path().to_owned(),
        ..options(Durability::EverySecond)
    };
    let engine = Engine::open(&options, Arc::default(), &Progress::new()).expect("a start");
    let change_and_save = || {
        make(&engine, &[put("a", "1")]);
        save(&engine);
        removed_and_open(folder.path())
    };
    assert_eq!(change_and_save(), 0, "nobody follows");
    let followers = [(); 2].map(|()| engine.follow(key(""), None).expect("a follower"));
    assert_eq!(change_and_save(), 1);
    assert_eq!(change_and_save(), 2);
    let [one, other] = followers;
    drop(one);
    assert_eq!(removed_and_open(folder.path()), 2);
    drop(other);
    assert_eq!(removed_and_open(folder.path()), 0);
}

/// From the n-th operation on everything fails.
fn fault_from(n: u64) -> Fault {
    Fault {
        kind: None,
        at: n,
        is_lasting: true,
        error: 5,
        short: None,
    }
}

/// Goal: under `always` nothing is shown that is not on the disk, though it is in the file already, and what is lost then is
/// told of as gone. Method: a disk whose syncs fail, until it is well again and a save has taken the place of what was lost.
#[test]
fn what_could_not_be_synced_is_not_shown() {
    let disk = SimulatedDisk::new();
    let engine = open(&disk, Durability::Always).expect("a start");
    let mut following = Following::begin(&engine, "", None);
    make(&engine, &[put("a", "1")]);
    assert_eq!(following.take(1), ["1 a=1"]);
    disk.fail(Fault {
        kind: Some(Kind::Sync),
        ..fault_from(1)
    });
    let refused = History::new().make(&engine, &put("b", "2"));
    assert!(refused.is_err(), "it is not on the disk");
    let is_written = disk.names().into_iter().any(|name| {
        let journal = disk.read(&name).unwrap_or_default();
        String::from_utf8_lossy(&journal).contains("{\"put\":\"b\"")
    });
    assert!(is_written, "{:?}", disk.names());
    following.assert_waits("it is not on the disk");
    // Who reads that journal now, what is safe included, is shown no more of it.
    let mut late = Following::begin(&engine, "", Some(0));
    assert_eq!(late.take(1), ["1 a=1"]);
    late.assert_waits("it is not on the disk");
    // A save has synced what follows, but store.json is not there yet, which alone is sure to hold it.
    disk.fail(Fault {
        kind: Some(Kind::Rename),
        ..fault_from(1)
    });
    wait_until("a save has failed at its end", || disk.met().is_some());
    for following in [&mut following, &mut late] {
        following.assert_waits("it is not in store.json");
    }
    disk.fail(fault_from(u64::MAX));
    wait_until("a save has mended it", || engine.disk().fault.is_none());
    make(&engine, &[put("c", "3")]);
    for mut following in [following, late] {
        // It is in store.json, and follows from the journal that these have open.
        let shown = following.take(2);
        assert_eq!(shown[0], "2 b=2");
        assert!(shown[1].ends_with(" c=3"), "{shown:?}");
    }
}

/// Goal: changes that no journal holds are not passed over in silence. Method: a write that fails in its middle, and cannot be
/// cut back: the journal is left, and what waited to be written comes to the disk by a save alone.
#[test]
fn what_was_dropped_after_a_loss_of_trust_is_told_of_as_gone() {
    let disk = SimulatedDisk::new();
    let engine = open(&disk, Durability::EverySecond).expect("a start");
    let mut following = Following::begin(&engine, "", None);
    make(&engine, &[put("a", "1")]);
    assert_eq!(following.take(1), ["1 a=1"]);
    disk.fail(Fault {
        short: Some(9),
        ..fault_from(1)
    });
    let refused = History::new().make(&engine, &put("b", "2"));
    assert!(refused.is_err(), "it is not written");
    following.assert_waits("it is not written");
    disk.fail(fault_from(u64::MAX));
    wait_until("a save has mended it", || engine.disk().fault.is_none());
    let error = following.next().expect_err("it was dropped");
    let FollowError::Gone { after: 1, from } = error else {
        panic!("{error:?}");
    };
    let mut following = Following::begin(&engine, "", Some(from));
    make(&engine, &[put("c", "3")]);
    assert!(following.take(1)[0].ends_with(" c=3"));
}

/// Goal: of a write that fails halfway nothing is shown, and once it has succeeded all of it. Method: it fails after so many
/// bytes, and is tried again by the server.
#[test]
fn half_a_record_is_not_shown() {
    for short in [0, 1, 20, 40] {
        let disk = SimulatedDisk::new();
        let engine = open(&disk, Durability::EverySecond).expect("a start");
        let mut following = Following::begin(&engine, "", None);
        make(&engine, &[put("a", "1")]);
        assert_eq!(following.take(1), ["1 a=1"]);
        disk.fail(Fault {
            kind: Some(Kind::Append),
            is_lasting: false,
            short: Some(short),
            ..fault_from(1)
        });
        let _ = History::new().make(&engine, &put("b", "2"));
        wait_until("it is written", || engine.disk().fault.is_none());
        make(&engine, &[put("c", "3")]);
        assert_eq!(following.take(2), ["2 b=2", "3 c=3"]);
    }
}

/// Goal: wherever in a long journal somebody begins, the first change is the next one, and they come a bounded number at a
/// time. Method: many records, some of them longer than what is read at a time, and marks between.
#[test]
fn a_follower_may_begin_anywhere_in_a_long_journal() {
    const RECORDS: u64 = 30_000;
    let is_long = |revision: u64| revision.is_multiple_of(7_001);
    let engine = open(&SimulatedDisk::new(), Durability::EverySecond).expect("a start");
    let mut made = Barrier::default();
    for n in 1..=RECORDS {
        let value = vec![b'v'; if is_long(n) { 3 << 20 } else { 100 }];
        let value = Value::parse(&value).expect("a value");
        engine
            .put(key(&n.to_string()), value, &mut made)
            .expect("a put");
        if n % 1_000 == 0 {
            wait_for(engine.wait_until_durable(made)).expect("a disk");
        }
    }
    let longs = (1..=RECORDS).filter(|n| is_long(*n));
    let near_longs = longs.flat_map(|n| [n - 2, n - 1, n, n + 1]);
    let ends = [0, 1, RECORDS - 1];
    for after in (0..RECORDS).step_by(977).chain(near_longs).chain(ends) {
        let mut following = Following::begin(&engine, "", Some(after));
        let first = following.next().expect("changes").swap_remove(0);
        let expected = format!("{0} {0}=v", after + 1);
        assert!(
            first.starts_with(&expected),
            "{} is not {expected}",
            &first[..20]
        );
    }
    let mut following = Following::begin(&engine, "", Some(0));
    let (mut next, mut batches) = (1, 0);
    while next <= RECORDS {
        let batch = following.next().expect("changes");
        let bytes: usize = batch.iter().map(String::len).sum();
        assert!(
            bytes < 256 << 10 || batch.len() == 1,
            "{bytes} bytes in {}",
            batch.len()
        );
        for change in batch {
            assert!(change.starts_with(&format!("{next} {next}=v")));
            next += 1;
        }
        batches += 1;
    }
    assert!(batches > 10, "{batches} batches");
}

/// A connection ceases to wait whenever its client says something.
#[test]
fn who_ceases_to_wait_at_any_moment_loses_nothing() {
    const CHANGES: usize = 300;
    let engine = open(&SimulatedDisk::new(), Durability::EverySecond).expect("a start");
    let Following {
        mut follower,
        runtime,
    } = Following::begin(&engine, "", None);
    let mut taken = Vec::new();
    let mut ceased = 0;
    for n in 0..CHANGES {
        make(&engine, &[put("k", n.to_string())]);
        // So often it is polled, and then dropped.
        for polls in 0..n % 5 {
            let found = runtime.block_on(async {
                let mut next = Box::pin(follower.next());
                for _ in 0..=polls {
                    let polled = poll_fn(|context| Poll::Ready(next.as_mut().poll(context)));
                    if let Poll::Ready(found) = polled.await {
                        return Some(found);
                    }
                    tokio::task::yield_now().await;
                }
                None
            });
            match found {
                Some(found) => taken.extend(found.expect("changes")),
                None => ceased += 1,
            }
        }
    }
    let mut following = Following { follower, runtime };
    let mut taken: Vec<_> = taken
        .iter()
        .map(|(at, change)| shown(*at, change))
        .collect();
    if taken.len() < CHANGES {
        taken.extend(following.take(CHANGES - taken.len()));
    }
    let expected = (0..CHANGES).map(|n| format!("{} k={n}", n + 1));
    assert_eq!(taken, expected.collect::<Vec<_>>());
    assert!(ceased > 50, "it ceased to wait {ceased} times");
}

#[test]
fn of_several_followers_whichever_has_changes_is_heard() {
    let engine = open(&SimulatedDisk::new(), Durability::EverySecond).expect("a start");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let follow = |prefix: &str| engine.follow(key(prefix), None).expect("a follower");
    let mut followers = ["a", "b", "c"].map(follow);
    make(&engine, &[put("b", "1"), put("c", "2"), put("a", "3")]);
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let (place, changes) = runtime.block_on(Follower::next_of(&mut followers));
        for (at, change) in changes.expect("changes") {
            heard.push((place, shown(at, &change)));
        }
    }
    heard.sort_unstable();
    let expected = [(0, "3 a=3"), (1, "1 b=1"), (2, "2 c=2")];
    assert_eq!(
        heard,
        expected.map(|(place, shown)| (place, shown.to_owned()))
    );
}

/// What a follower has seen: the pairs that its changes leave, the last revision, and how many changes.
#[derive(Default)]
struct Seen {
    pairs: Pairs,
    revision: u64,
    changes: usize,
}

/// Follows until nothing more comes after the end, or the machine goes off.
fn watch(mut following: Following, disk: &SimulatedDisk, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    loop {
        let was_over = is_over.load(Ordering::Acquire);
        match following.next_soon() {
            Some(Ok(changes)) => {
                for (at, change) in changes {
                    apply(&change, &mut seen.pairs);
                    (seen.revision, seen.changes) = (at, seen.changes + 1);
                }
            }
            Some(Err(_)) if disk.met().is_some() => return seen,
            Some(Err(error)) => panic!("{error}"),
            None if was_over => return seen,
            None => {}
        }
    }
}

/// Goal: whatever a follower was shown under `always` is kept, and has its revision still, when the power goes. Method: it goes
/// at operation 1, 6, 11, ... of a server that saves while it changes, on a disk whose syncs take long enough to look.
#[test]
fn what_a_follower_was_shown_is_kept_when_the_power_goes() {
    let mut some = 0;
    for n in (1..).step_by(5) {
        let disk = SimulatedDisk::new().with_sync_time(Duration::from_millis(1));
        disk.cut_power_at(n);
        let Ok(engine) = open(&disk, Durability::Always) else {
            assert!(n < 60, "a start that fails at {n}");
            continue;
        };
        let following = Following::begin(&engine, "", None);
        let (mut history, is_over) = (History::new(), AtomicBool::new(false));
        let seen = std::thread::scope(|scope| {
            let (demand, demands) = mpsc::channel();
            let saving = &engine;
            scope.spawn(move || {
                for () in demands {
                    // Whether it succeeds is seen by what is kept.
                    let _ = wait_for(saving.save());
                }
            });
            let watching = scope.spawn(|| watch(following, &disk, &is_over));
            for n in 0..30 {
                if n % 7 == 2 {
                    demand.send(()).expect("somebody saves");
                }
                if history.make(&engine, &step(n)).is_err() {
                    break;
                }
            }
            is_over.store(true, Ordering::Release);
            watching.join().expect("a follower")
        });
        drop(engine);
        some += usize::from(seen.changes > 0);
        let case = format!("cut at {n}, seen up to {}", seen.revision);
        // The changes were shown in order, and none was left out.
        history.assert_is_prefix(&seen.pairs, 0, &case);
        let mut states = history.states.iter();
        let least = states.position(|state| *state == seen.pairs);
        for seed in 0..3 {
            let after = disk.after_power_cut(seed);
            let engine = open(&after, Durability::Always).expect("a start");
            assert!(newest(&engine) >= seen.revision, "{case}, seed {seed}");
            history.assert_is_prefix(&pairs_of(&engine), least.unwrap_or(0), &case);
        }
        if disk.met().is_none() {
            break;
        }
    }
    assert!(some > 10, "only {some} followers have seen anything");
}
