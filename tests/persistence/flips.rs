//! Each byte of a journal and of store.json is changed, and each file cut short there: nothing false is ever read back.
//!
//! In: small folders on a simulated disk, with every kind of record. Out: what a start, `check` and `repair` say of them.
//! Promises: a start is refused, or gives back exactly what stands before the changed line; `check` finds something exactly
//! when it is refused; `repair` then loses no more than the lines that were changed, and keeps the file.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pykv::engine::{Barrier, Engine};
use pykv::model::{Key, Value};
use pykv::persistence::{Durability, Options, Progress};

use crate::persistence::power::{History, Pairs, Step, open, options, pairs_of, wait_for};
use crate::support::simulated_disk::{DATA, SimulatedDisk};

/// A moment after all tests, at which a pair expires.
const LATER: u64 = 32_503_680_000_000;

/// How a file is changed.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// The byte at this place becomes another.
    Byte(usize, u8),
    /// The file ends at this place.
    Cut(usize),
}

/// A folder, and what it holds.
struct Sample {
    disk: Arc<SimulatedDisk>,
    /// The pairs of store.json, and after each change of the journal.
    history: History,
    /// The changes of the journal.
    steps: Vec<Step>,
}

fn put(key: &str, value: &[u8]) -> Step {
    Step::Put(key.to_owned(), value.to_vec())
}

impl Sample {
    /// Saves some pairs, and makes these changes after them.
    fn new(durability: Durability, steps: Vec<Step>) -> Self {
        let (disk, mut history) = (SimulatedDisk::new(), History::new());
        let options = Options {
            sync_interval: Duration::from_secs(3_600),
            ..options(durability)
        };
        let engine = Engine::open_on(
            Arc::clone(&disk) as _,
            &options,
            Arc::default(),
            &Progress::new(),
        );
        let engine = engine.expect("a start");
        for (key, value) in [
            ("alpha", &b"one \"quoted\""[..]),
            ("gamma\n", b"two"),
            ("zeta", b"\xff\x00\x7f"),
        ] {
            history.make(&engine, &put(key, value)).expect("a put");
        }
        put_expiring(&engine, &mut history);
        wait_for(engine.save()).expect("a save");
        history.states.drain(..history.acknowledged);
        for step in &steps {
            history.make(&engine, step).expect("a change");
        }
        let disk = disk.without_faults();
        Self {
            disk,
            history,
            steps,
        }
    }

    /// The folder with one of its files changed.
    fn with(&self, name: &str, change: Change) -> Arc<SimulatedDisk> {
        let disk = self.disk.without_faults();
        disk.damage(name, &changed(&self.bytes(name), change));
        disk
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.disk.read(name).expect("a file of the sample")
    }
}

/// As `History::make`, with a time at which the pair ceases to be.
fn put_expiring(engine: &Engine, history: &mut History) {
    let (key, mut made) = ("expires", Barrier::default());
    let value = Value::with_expiry(b"late", Some(LATER)).expect("a value");
    let put_key = Key::parse(key.as_bytes()).expect("a key");
    engine.put(put_key, value, &mut made).expect("a put");
    wait_for(engine.wait_until_durable(made)).expect("a put");
    let mut pairs = history.now().clone();
    put(key, b"late").apply(&mut pairs);
    history.states.push(pairs);
    history.acknowledged += 1;
}

fn changed(bytes: &[u8], change: Change) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match change {
        Change::Byte(at, byte) => bytes[at] = byte,
        Change::Cut(at) => bytes.truncate(at),
    }
    bytes
}

/// Every byte with its lowest bit changed, every one with its highest changed, and a cut before each.
fn flips_and_cuts(bytes: &[u8]) -> Vec<Change> {
    let at_each = bytes.iter().enumerate().flat_map(|(at, byte)| {
        [
            Change::Cut(at),
            Change::Byte(at, byte ^ 1),
            Change::Byte(at, byte ^ 0x80),
        ]
    });
    at_each.collect()
}

/// Every byte made zero, as of a sector that was not written.
fn zeros(bytes: &[u8]) -> Vec<Change> {
    (0..bytes.len()).map(|at| Change::Byte(at, 0)).collect()
}

/// Where the lines are, their line feeds included.
fn lines(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        start += line.len();
        start - line.len()..start
    });
    lines.collect()
}

/// Which lines are not as they were.
fn touched(lines: &[Range<usize>], change: Change) -> BTreeSet<usize> {
    let line_of = |at| lines.iter().position(|line| line.contains(&at));
    match change {
        Change::Cut(at) => (line_of(at).expect("a line")..lines.len()).collect(),
        // A line feed that is gone makes one line of two.
        Change::Byte(at, _) => [line_of(at), line_of(at + 1)]
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn for_each_change(changes: &[Change], check: impl Fn(Change) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(change) = changes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(*change);
                }
            });
        }
    });
}

/// What a start finds; nothing, if it is refused, which `check` must say as well. A refusal names the file.
fn start(disk: &Arc<SimulatedDisk>, name: &str, case: &str) -> Option<Pairs> {
    let found = {
        let disk = disk.without_faults();
        let (_, inspection) = Engine::check(disk, Path::new(DATA)).expect("a look");
        inspection.findings().to_vec()
    };
    match open(&disk.without_faults(), Durability::EverySecond) {
        Ok(engine) => {
            assert!(found.is_empty(), "{case}: it starts, with {found:?}");
            Some(pairs_of(&engine))
        }
        Err(error) => {
            assert!(!found.is_empty(), "{case}: nothing found, but {error}");
            let path = Path::new(DATA).join(name).display().to_string();
            assert!(error.to_string().contains(&path), "{case}: {error}");
            None
        }
    }
}

/// What a start finds after a repair, which keeps the file that was changed.
fn repair(disk: &Arc<SimulatedDisk>, name: &str, case: &str) -> Pairs {
    let damaged = disk.read(name);
    let disk = disk.without_faults();
    let repaired = Engine::repair(Arc::clone(&disk) as _, Path::new(DATA));
    let (_, salvaged) = repaired.unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(!salvaged.findings.is_empty(), "{case}: nothing was damaged");
    assert_eq!(disk.read(&format!("{name}.damaged")), damaged, "{case}");
    let after = disk.without_faults();
    let engine = open(&after, Durability::EverySecond);
    let engine = engine.unwrap_or_else(|error| panic!("{case}: not repaired: {error}"));
    pairs_of(&engine)
}

/// Every kind of record, with a mark between each two under `always`, and without under `everysec`.
#[test]
fn a_journal_with_any_byte_changed_is_refused_or_read_up_to_there() {
    let steps = vec![
        put("alpha", b"new"),
        put("picture", b"\xff\xd8\xff"),
        Step::Delete(vec!["alpha".to_owned(), "zeta".to_owned()]),
        put("gamma\n", "\u{fc}".as_bytes()),
        Step::Group(vec![
            put("before", b"gone"),
            Step::Clear,
            put("one", b"1"),
            put("two", b"\xff"),
            Step::Delete(vec!["one".to_owned()]),
        ]),
        Step::Clear,
        put("last", b"a"),
        put("of all", b"b"),
    ];
    for (durability, changes) in [
        (Durability::Always, flips_and_cuts as fn(&[u8]) -> _),
        (Durability::EverySecond, zeros),
    ] {
        let sample = Sample::new(durability, steps.clone());
        let name = "journal-2.jsonl";
        let bytes = sample.bytes(name);
        let (lines, changes) = (lines(&bytes), changes(&bytes));
        let is_change = |line: &usize| {
            let line = &bytes[lines[*line].clone()];
            [&b"{\"put\""[..], b"{\"del\"", b"{\"clear\"", b"{\"group\""]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let change_lines: Vec<usize> = (0..lines.len()).filter(is_change).collect();
        assert_eq!(change_lines.len(), steps.len(), "the lines of the changes");
        let (refused, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for_each_change(&changes, |change| {
            let (disk, touched) = (sample.with(name, change), touched(&lines, change));
            let case = format!("{durability}, {change:?}, lines {touched:?} from 0");
            let first = touched.first().expect("a line");
            if let Some(found) = start(&disk, name, &case) {
                let before = change_lines.partition_point(|line| line < first);
                assert_eq!(found, sample.history.states[before], "{case}");
                read.fetch_add(1, Ordering::Relaxed);
            } else {
                let mut expected = sample.history.states[0].clone();
                for (step, line) in sample.steps.iter().zip(&change_lines) {
                    if !touched.contains(line) {
                        step.apply(&mut expected);
                    }
                }
                assert_eq!(repair(&disk, name, &case), expected, "{case}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        });
        println!("{durability}: {refused:?} refused, {read:?} read");
        assert!(refused.into_inner() > 100 && read.into_inner() > 50);
    }
}

/// Its time of modification is the one that the journal knows: then every change is damage.
#[test]
fn a_store_with_any_byte_changed_is_refused() {
    let sample = Sample::new(Durability::Always, vec![put("after", b"the save")]);
    let name = "store.json";
    let bytes = sample.bytes(name);
    let (lines, changes) = (lines(&bytes), flips_and_cuts(&bytes));
    let full = sample.history.now();
    // In JSON, each key but one stands as it is.
    let key_of = |line: usize| {
        let line = String::from_utf8_lossy(&bytes[lines[line].clone()]).into_owned();
        let key = line.split('"').nth(1).unwrap_or_default();
        key.replace("\\n", "\n")
    };
    let refused = AtomicUsize::new(0);
    for_each_change(&changes, |change| {
        let disk = sample.with(name, change);
        let case = format!("{change:?}");
        assert_eq!(start(&disk, name, &case), None, "{case}");
        refused.fetch_add(1, Ordering::Relaxed);
        let found = repair(&disk, name, &case);
        let may_differ: BTreeSet<_> = touched(&lines, change).into_iter().map(key_of).collect();
        for (key, value) in full {
            let is_same = found.get(key) == Some(value);
            assert!(is_same || may_differ.contains(key), "{case}: {key} differs");
        }
    });
    println!("{refused:?} refused");
    assert!(refused.into_inner() > 400);
}
