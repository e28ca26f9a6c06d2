//! The power goes, or the disk fails, at any operation: what was acknowledged is kept, and nothing but a prefix is read back.
//!
//! In: an engine on a simulated disk, one client, and saves meanwhile. Out: what the next start finds. Promises: every
//! operation is hit, the one of a start and of a recovery included; where a case fails, its numbers are said.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use pykv::engine::{Barrier, Engine, WriteTransaction};
use pykv::model::{Key, Value};
use pykv::persistence::{Durability, Options, Progress, StoreError};
use pykv::protocol::ErrorReply;

use crate::support::simulated_disk::{DATA, Kind, Met, SimulatedDisk};

/// What the disks of one cut are chosen by.
const SEEDS: u64 = 4;

/// The steps before the kill, and after it.
const STEPS_BEFORE: Range<usize> = 0..12;
pub const STEPS_AFTER: Range<usize> = 12..48;

pub const PROMISING: [Durability; 2] = [Durability::Always, Durability::EverySecond];

pub type Pairs = BTreeMap<String, Vec<u8>>;

/// A change that a client asks for.
#[derive(Debug, Clone)]
pub enum Step {
    Put(String, Vec<u8>),
    Delete(Vec<String>),
    Clear,
    /// All of these, or none.
    Group(Vec<Step>),
}

/// What a client has done.
#[derive(Debug, Clone)]
pub struct History {
    /// The pairs after so many changes that were made.
    pub states: Vec<Pairs>,
    /// So many of them are acknowledged.
    pub acknowledged: usize,
}

pub fn options(durability: Durability) -> Options {
    Options {
        data: PathBuf::from(DATA),
        durability,
        save_interval: Duration::from_secs(3_600),
        sync_interval: Duration::from_millis(2),
        is_copy: false,
        order: None,
    }
}

pub fn open(disk: &Arc<SimulatedDisk>, durability: Durability) -> Result<Arc<Engine>, StoreError> {
    Engine::open_on(
        Arc::clone(disk) as _,
        &options(durability),
        Arc::default(),
        &Progress::new(),
    )
}

pub fn wait_for<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

fn key(name: &str) -> Key<'_> {
    Key::parse(name.as_bytes()).expect("a key")
}

pub fn pairs_of(engine: &Arc<Engine>) -> Pairs {
    let entries = engine.scan(key("")).flatten();
    let pairs = entries.map(|entry| {
        let value = entry.value().bytes().to_vec();
        let key = entry.key_bytes().to_vec();
        (String::from_utf8(key).expect("text"), value)
    });
    pairs.collect()
}

/// The n-th step of the client: values of their own, which reach over sectors, now and then keys that go, and now and then
/// several of these at once.
pub fn step(n: usize) -> Step {
    match n {
        n if n % 5 == 3 => {
            let others = [n * 7 + 4, n * 7 + 6, n * 7 + 1];
            let mut steps: Vec<_> = others.into_iter().map(step_alone).collect();
            if n % 2 == 0 {
                steps.insert(1, Step::Clear);
            }
            Step::Group(steps)
        }
        n => step_alone(n),
    }
}

fn step_alone(n: usize) -> Step {
    let name = |n: usize| format!("k{}", n % 8);
    match n {
        n if n % 17 == 14 => Step::Clear,
        n if n % 6 == 4 => Step::Delete(vec![name(n), name(n + 3), name(n * 5)]),
        n => Step::Put(
            name(n * 3),
            format!("{n}:{}", "v".repeat(n * 13)).into_bytes(),
        ),
    }
}

impl Step {
    /// Asks for it; an error: it was not made.
    pub fn make(&self, engine: &Engine, made: &mut Barrier) -> Result<(), ErrorReply> {
        match self {
            Self::Put(name, value) => {
                engine.put(key(name), Value::parse(value).expect("a value"), made)?;
                Ok(())
            }
            Self::Delete(names) => {
                let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
                let mut group = engine.begin(&keys);
                self.make_in(&mut group);
                Ok(group.commit(made, |_| {}).map(drop)?)
            }
            Self::Clear | Self::Group(_) => {
                let mut group = engine.begin_on_all();
                self.make_in(&mut group);
                Ok(group.commit(made, |_| {}).map(drop)?)
            }
        }
    }

    fn make_in(&self, group: &mut WriteTransaction<'_>) {
        match self {
            Self::Put(name, value) => {
                group.put(key(name), Value::parse(value).expect("a value"));
            }
            Self::Delete(names) => {
                for name in names {
                    group.delete(key(name));
                }
            }
            Self::Clear => group.clear(),
            Self::Group(steps) => steps.iter().for_each(|step| step.make_in(group)),
        }
    }

    pub fn apply(&self, pairs: &mut Pairs) {
        match self {
            Self::Put(name, value) => drop(pairs.insert(name.clone(), value.clone())),
            Self::Delete(names) => pairs.retain(|name, _| !names.contains(name)),
            Self::Clear => pairs.clear(),
            Self::Group(steps) => steps.iter().for_each(|step| step.apply(pairs)),
        }
    }
}

impl History {
    pub fn new() -> Self {
        Self {
            states: vec![Pairs::new()],
            acknowledged: 0,
        }
    }

    pub fn now(&self) -> &Pairs {
        self.states.last().expect("the first is always there")
    }

    /// Makes a change and waits until it is safe; an error: it was not acknowledged.
    pub fn make(&mut self, engine: &Engine, step: &Step) -> Result<(), ErrorReply> {
        let mut made = Barrier::default();
        step.make(engine, &mut made)?;
        let mut pairs = self.now().clone();
        step.apply(&mut pairs);
        self.states.push(pairs);
        wait_for(engine.wait_until_durable(made))?;
        self.acknowledged = self.states.len() - 1;
        Ok(())
    }

    /// The pairs must be those after some number of changes, not less than this.
    pub fn assert_is_prefix(&self, found: &Pairs, least: usize, case: &str) {
        assert!(
            self.states[least..].contains(found),
            "{case}: found is the state after {:?} changes, which should be {least} to {}: {:?}",
            self.states.iter().rposition(|state| state == found),
            self.states.len() - 1,
            found
                .iter()
                .map(|(key, value)| (key, String::from_utf8_lossy(&value[..value.len().min(9)])))
                .collect::<Vec<_>>(),
        );
    }
}

/// One server and its client: steps, with saves by another thread meanwhile. Ends at the first error.
fn serve(
    disk: &Arc<SimulatedDisk>,
    durability: Durability,
    steps: Range<usize>,
    history: &mut History,
) -> Result<(), StoreError> {
    let engine = open(disk, durability)?;
    assert_eq!(
        &pairs_of(&engine),
        history.now(),
        "nothing but a kill came before"
    );
    std::thread::scope(|scope| {
        let (save, saves) = mpsc::channel();
        let saving = Arc::clone(&engine);
        scope.spawn(move || {
            while saves.recv().is_ok() {
                // Whether it succeeds is seen by what is kept.
                let _ = wait_for(saving.save());
            }
        });
        for n in steps {
            if n % 7 == 2 {
                save.send(()).expect("the saver listens");
            }
            if history.make(&engine, &step(n)).is_err() {
                return;
            }
            disk.note(history.acknowledged as u64);
        }
    });
    Ok(())
}

/// A disk with a store.json of somebody else's, which a server has left that was killed, and what its client had done.
pub fn killed(durability: Durability) -> (Arc<SimulatedDisk>, History) {
    let (disk, mut history) = (SimulatedDisk::new(), History::new());
    disk.write("store.json", b"{\"old\": \"pair\"}");
    history.states[0].insert("old".to_owned(), b"pair".to_vec());
    serve(&disk, durability, STEPS_BEFORE, &mut history).expect("a start");
    (disk.without_faults(), history)
}

/// How many changes must be there after the power was cut.
pub fn least(disk: &SimulatedDisk, durability: Durability, history: &History) -> usize {
    match durability {
        Durability::Always => history.acknowledged,
        _ => usize::try_from(disk.noted_safe()).expect("a count"),
    }
}

/// Starts on a disk without faults, which must go well and then take changes; what is there.
pub fn recover(disk: &Arc<SimulatedDisk>, durability: Durability, case: &str) -> Pairs {
    let engine = open(disk, durability);
    let engine = engine.unwrap_or_else(|error| panic!("{case}: the start is refused: {error:?}"));
    let pairs = pairs_of(&engine);
    let mut history = History::new();
    let put = Step::Put("again".to_owned(), b"taken".to_vec());
    let made = history.make(&engine, &put);
    assert!(made.is_ok(), "{case}: {made:?}");
    pairs
}

/// A disk whose power was cut, and all that is known of it.
pub struct Cut {
    pub disk: Arc<SimulatedDisk>,
    pub durability: Durability,
    pub history: History,
    pub met: Met,
    pub case: String,
}

impl Cut {
    /// A server loses power at its n-th change of the disk; nothing, if it never comes to so many.
    fn at(
        n: u64,
        (base, history): &(Arc<SimulatedDisk>, History),
        durability: Durability,
        steps: Range<usize>,
    ) -> Option<Self> {
        let sync_time = Duration::from_micros(if n.is_multiple_of(3) { 100 } else { 0 });
        let (disk, mut history) = (base.with_sync_time(sync_time), history.clone());
        disk.cut_power_at(n);
        let served = serve(&disk, durability, steps, &mut history);
        let met = disk.met()?;
        assert!(
            served.is_ok() || history.states.len() == 1 || n < 60,
            "{n}: {served:?}"
        );
        let case = format!("{durability}, cut at {n}, {met:?}");
        Some(Self {
            disk,
            durability,
            history,
            met,
            case,
        })
    }

    /// Starts on the disk that has come back; what is there, which must be all that was promised.
    pub fn assert_kept(&self, after: &Arc<SimulatedDisk>, seed: u64) -> Pairs {
        let case = format!("{}, seed {seed}", self.case);
        let found = recover(after, self.durability, &case);
        let least = least(&self.disk, self.durability, &self.history);
        self.history.assert_is_prefix(&found, least, &case);
        found
    }
}

/// Cuts the power at operation 1, 2, ... of a server on an empty disk, and of one that comes after a kill.
pub fn for_each_cut(step: usize, check: impl Fn(&Cut) + Sync) -> Vec<Met> {
    let met = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for durability in PROMISING {
            let empty = (SimulatedDisk::new(), History::new());
            for (base, steps) in [(empty, STEPS_BEFORE), (killed(durability), STEPS_AFTER)] {
                let (check, met) = (&check, &met);
                scope.spawn(move || {
                    for n in (1..).step_by(step) {
                        let Some(cut) = Cut::at(n, &base, durability, steps.clone()) else {
                            assert!(n > 30, "{durability}: there were only {n} operations");
                            return;
                        };
                        check(&cut);
                        met.lock().expect("no check failed").push(cut.met);
                    }
                });
            }
        }
    });
    met.into_inner().expect("no check failed")
}

/// So many of these operations must have been met, or nothing has been shown.
pub fn assert_met(met: &[Met], kind: Kind, is_named: fn(&str) -> bool, least: usize) {
    let of_kind = met.iter().filter(|(met, _)| *met == kind);
    let names: Vec<_> = of_kind.map(|(_, name)| name).collect();
    let count = names.iter().filter(|name| is_named(name)).count();
    assert!(
        count >= least,
        "{kind:?} was met {count} times, not {least}: {names:?}"
    );
}

pub fn is_journal(name: &str) -> bool {
    name.starts_with("journal-") && !name.contains(".jsonl.")
}

pub fn is_new_journal(name: &str) -> bool {
    name.ends_with(".jsonl.new")
}

pub fn is_store(name: &str) -> bool {
    name == "store.json"
}

pub fn is_new_store(name: &str) -> bool {
    name == "store.json.new"
}

/// Goal: whenever the power goes, the next start goes well and gives back the pairs as they were after one of the changes, not
/// before the last that was promised. Method: the power goes at operation 1, 2, ... to past the end, while a client makes
/// changes and another saves; of each such disk several may come back.
#[test]
fn wherever_the_power_goes_all_that_was_promised_is_read_back_and_no_hole_is() {
    let recoveries = AtomicUsize::new(0);
    let met = for_each_cut(1, |cut| {
        for seed in 0..SEEDS {
            cut.assert_kept(&cut.disk.after_power_cut(seed), seed);
            recoveries.fetch_add(1, Ordering::Relaxed);
        }
    });
    for (kind, is_named, times) in [
        (Kind::Lock, (|name| name == "lock") as fn(&str) -> bool, 2),
        (Kind::MakeFolder, |_| true, 2),
        (Kind::Append, is_journal, 30),
        (Kind::Sync, is_journal, 30),
        (Kind::Create, is_new_journal, 4),
        (Kind::Append, is_new_journal, 4),
        (Kind::Sync, is_new_journal, 4),
        (Kind::Rename, is_journal, 4),
        (Kind::Append, is_new_store, 4),
        (Kind::Sync, is_new_store, 4),
        (Kind::Rename, is_store, 4),
        (Kind::SyncFolder, |_| true, 10),
        (Kind::Remove, is_journal, 4),
    ] {
        assert_met(&met, kind, is_named, times);
    }
    println!("{} cuts, {recoveries:?} recoveries", met.len());
}

/// What starts have cut off and set aside.
fn torn(disk: &SimulatedDisk) -> BTreeSet<Vec<u8>> {
    let names = disk.names().into_iter();
    let torn = names.filter(|name| name.contains(".torn") && !name.contains(".new"));
    torn.filter_map(|name| disk.read(&name)).collect()
}

/// Goal: as before, where the power goes once more while the start mends what the first cut has left. Method: a sample of
/// first cuts; for each, the start is cut at operation 1, 2, ... until it passes. What it then shows must stay, and what it has
/// cut off is kept.
#[test]
fn a_second_cut_during_the_recovery_loses_nothing_either() {
    let met = Mutex::new(Vec::new());
    for_each_cut(7, |cut| {
        for seed in 0..2 {
            let first = cut.disk.after_power_cut(seed);
            let set_aside = {
                let disk = first.without_faults();
                recover(&disk, cut.durability, &cut.case);
                torn(&disk)
            };
            for n in 1.. {
                let disk = first.without_faults();
                disk.cut_power_at(n);
                let shown = open(&disk, cut.durability).map(|engine| pairs_of(&engine));
                for seed in 0..2 {
                    let after = disk.after_power_cut(seed);
                    let found = cut.assert_kept(&after, seed);
                    assert!(
                        torn(&after).is_superset(&set_aside),
                        "{}: cut again at {n}, {:?}, seed {seed}: what was torn off is lost",
                        cut.case,
                        disk.met()
                    );
                    if let (Ok(shown), None) = (&shown, disk.met()) {
                        assert_eq!(&found, shown, "{}: shown and lost, {seed}", cut.case);
                    }
                }
                let Some(operation) = disk.met() else {
                    break;
                };
                met.lock().expect("no check failed").push(operation);
            }
        }
    });
    let met = met.into_inner().expect("no check failed");
    for (kind, is_named, times) in [
        (Kind::Sync, is_journal as fn(&str) -> bool, 30),
        (Kind::SetLen, is_journal, 4),
        (Kind::Append, |name| name.contains(".torn"), 4),
        (Kind::Sync, |name| name.contains(".torn"), 4),
        (Kind::Rename, |name| name.contains(".torn"), 4),
        (Kind::Remove, is_new_store, 4),
        (Kind::Rename, is_store, 4),
        (Kind::Create, is_new_journal, 4),
    ] {
        assert_met(&met, kind, is_named, times);
    }
    println!("{} second cuts", met.len());
}
