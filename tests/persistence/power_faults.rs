//! Each operation of a simulated disk fails, once or for good: what was acknowledged is kept, and the server mends by itself.
//!
//! In: the servers of `power`, on disks with one fault. Out: what they answer meanwhile, and what the next start finds.
//! Promises: every operation is hit, until a run passes without meeting its fault; where a case fails, its numbers are said.

use std::error::Error as _;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use pykv::engine::Engine;
use pykv::persistence::{Durability, StoreError};

use crate::persistence::power::{
    History, PROMISING, Step, assert_met, for_each_cut, is_journal, is_new_journal, is_new_store,
    is_store, killed, least, open, pairs_of, recover, step, wait_for,
};
use crate::support::simulated_disk::{Fault, Kind, Met, SimulatedDisk};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// What the client of a failing disk asks for.
const STEPS: Range<usize> = 12..32;

/// The n-th operation of a kind fails; which error it is changes from one to the next.
fn fault(kind: Kind, n: u64, is_lasting: bool, short: Option<usize>) -> Fault {
    let error = match n % 3 {
        _ if short.is_some() => ENOSPC,
        0 => EROFS,
        1 => EIO,
        _ => ENOSPC,
    };
    Fault {
        kind: Some(kind),
        at: n,
        is_lasting,
        error,
        short,
    }
}

fn again(n: usize) -> Step {
    Step::Put("again".to_owned(), n.to_string().into_bytes())
}

/// An error that a start ends with must say what the system said.
fn assert_says_why(error: &StoreError, fault: Fault, case: &str) {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        said += &format!(": {error}");
        source = error.source();
    }
    let expected = format!("os error {}", fault.error);
    assert!(said.contains(&expected), "{case}: {said}");
}

/// A client that goes on whatever it is answered, and gives up when that does not end.
fn serve(engine: &Arc<Engine>, disk: &SimulatedDisk, history: &mut History) {
    std::thread::scope(|scope| {
        let (save, saves) = mpsc::channel();
        scope.spawn(move || {
            while saves.recv().is_ok() {
                // Whether it succeeds is seen by what is kept.
                let _ = wait_for(engine.save());
            }
        });
        let mut failed = 0;
        for n in STEPS {
            if n % 7 == 2 {
                save.send(()).expect("the saver listens");
            }
            match history.make(engine, &step(n)) {
                Ok(()) => disk.note(history.acknowledged as u64),
                Err(_) => failed += 1,
            }
            if failed == 6 {
                return;
            }
        }
    });
}

/// What is known of a disk with a fault, and of those who used it.
struct Case<'a> {
    disk: &'a Arc<SimulatedDisk>,
    fault: Fault,
    durability: Durability,
    text: String,
}

impl Case<'_> {
    /// Once the fault has come and gone, changes are taken again, and no journal whose sync has failed is used; saves are asked
    /// for meanwhile, if that is allowed.
    fn assert_mended(&self, engine: &Engine, history: &mut History, may_save: bool) {
        let (started, mut taken) = (Instant::now(), 0);
        for n in 0.. {
            let mut distrusted = self.disk.distrusted();
            distrusted.retain(|name| name.starts_with("journal-"));
            let made = history.make(engine, &again(n));
            self.disk.note(history.acknowledged as u64);
            let case = &self.text;
            assert!(
                made.is_err() || distrusted.is_empty() || self.durability != Durability::Always,
                "{case}: acknowledged, and written to {distrusted:?}"
            );
            taken = if made.is_ok() { taken + 1 } else { 0 };
            if taken >= 3 && distrusted.is_empty() {
                return;
            }
            let elapsed = started.elapsed();
            assert!(
                elapsed < Duration::from_secs(5),
                "{case}: {made:?}, {distrusted:?}"
            );
            if may_save {
                // Whether it succeeds is seen by what is taken.
                let _ = wait_for(engine.save());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// After a kill, and after a power cut, the next start has all that was promised.
    fn assert_kept(&self, history: &History) {
        let next = self.disk.without_faults();
        let found = recover(&next, self.durability, &self.text);
        history.assert_is_prefix(&found, history.acknowledged, &self.text);
        // Asked for before the power goes: the last sync may still be running.
        let least = least(self.disk, self.durability, history);
        for seed in 0..2 {
            let text = format!("{}, seed {seed}", self.text);
            let found = recover(&self.disk.after_power_cut(seed), self.durability, &text);
            history.assert_is_prefix(&found, least, &text);
        }
    }
}

/// A server is started on a disk with a fault, and used; the operation that failed, if it came to that.
fn survive(
    (base, history): &(Arc<SimulatedDisk>, History),
    fault: Fault,
    durability: Durability,
    may_save: bool,
) -> Option<Met> {
    let (disk, mut history) = (base.without_faults(), history.clone());
    disk.fail(fault);
    let opened = open(&disk, durability);
    let text = format!("{durability}, {fault:?}, {:?}", disk.met());
    let mut case = Case {
        disk: &disk,
        fault,
        durability,
        text,
    };
    match opened {
        Ok(engine) => {
            serve(&engine, &disk, &mut history);
            case.text = format!("{durability}, {fault:?}, {:?}", disk.met());
            if !fault.is_lasting {
                case.assert_mended(&engine, &mut history, may_save);
            }
            let shown = pairs_of(&engine);
            assert_eq!(&shown, history.now(), "{}: reads are true", case.text);
        }
        Err(error) => assert_says_why(&error, case.fault, &case.text),
    }
    case.assert_kept(&history);
    disk.met()
}

/// Every way in which an operation fails here.
fn ways() -> Vec<(Kind, bool, Option<usize>)> {
    let whole = Kind::ALL
        .iter()
        .flat_map(|kind| [false, true].map(|is_lasting| (*kind, is_lasting, None)));
    let short = [(false, 1), (false, 300), (true, 60)]
        .map(|(is_lasting, bytes)| (Kind::Append, is_lasting, Some(bytes)));
    whole.chain(short).collect()
}

/// Goal: whichever operation fails, once or for good, what was acknowledged is kept, reads stay true, and a fault that goes
/// leaves nothing behind. Method: for each kind of operation the first, the second, ... fails, while a client makes changes
/// and another saves, until a run passes without meeting its fault; then a kill, and power cuts.
#[test]
fn whichever_operation_fails_what_was_acknowledged_is_kept_and_the_server_mends() {
    let (met, next) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let bases = PROMISING.map(|durability| (durability, killed(durability)));
    let ways = ways();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((kind, is_lasting, short)) =
                    ways.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    for (durability, base) in &bases {
                        for n in 1.. {
                            let fault = fault(*kind, n, *is_lasting, *short);
                            let Some(hit) = survive(base, fault, *durability, true) else {
                                break;
                            };
                            met.lock().expect("no case failed").push(hit);
                        }
                    }
                }
            });
        }
    });
    let met = met.into_inner().expect("no case failed");
    for (kind, is_named, times) in [
        (Kind::Append, is_journal as fn(&str) -> bool, 30),
        (Kind::Sync, is_journal, 30),
        (Kind::Create, is_new_journal, 4),
        (Kind::Append, is_new_journal, 8),
        (Kind::Sync, is_new_journal, 4),
        (Kind::Rename, is_journal, 4),
        (Kind::Append, is_new_store, 8),
        (Kind::Sync, is_new_store, 4),
        (Kind::Rename, is_store, 4),
        (Kind::Remove, is_journal, 4),
        (Kind::SyncFolder, |_| true, 10),
        (Kind::Lock, |_| true, 4),
        (Kind::Read, is_journal, 4),
        (Kind::Look, |_| true, 10),
    ] {
        assert_met(&met, kind, is_named, times);
    }
    println!("{} faults", met.len());
}

/// The demand is for the tests only: without one, the saver tries again by itself.
#[test]
fn a_fault_that_goes_is_mended_without_being_asked() {
    for durability in PROMISING {
        let base = killed(durability);
        for kind in [Kind::Append, Kind::Sync, Kind::SyncFolder] {
            let met = survive(&base, fault(kind, 4, false, None), durability, false);
            assert!(met.is_some(), "{durability}: no {kind:?} has failed");
        }
    }
}

/// Half a record at the end of the last journal, if none is new: whatever else the cut has done, there is a tail to mend.
fn tear(disk: &SimulatedDisk) {
    let names = disk.names();
    let last = names.iter().rfind(|name| is_journal(name));
    if let (Some(name), false) = (last, names.iter().any(|name| is_new_journal(name))) {
        let mut bytes = disk.read(name).expect("it is there");
        bytes.extend_from_slice(b"{\"put\":\"half");
        disk.damage(name, &bytes);
    }
}

/// Goal: a start that mends what a power cut has left may meet any fault: it goes well, or says why and leaves a folder on
/// which the next one goes well. Method: a sample of cuts; for each, the first, second, ... operation of the start fails.
#[test]
fn a_recovery_that_fails_says_why_and_the_next_one_goes_well() {
    let met = Mutex::new(Vec::new());
    for_each_cut(29, |cut| {
        for seed in 0..2 {
            let first = cut.disk.after_power_cut(seed);
            if seed == 1 {
                tear(&first);
            }
            for (kind, is_lasting, short) in ways() {
                for n in 1.. {
                    let (disk, fault) = (first.without_faults(), fault(kind, n, is_lasting, short));
                    disk.fail(fault);
                    let opened = open(&disk, cut.durability);
                    let case = format!("{}, seed {seed}, {fault:?}, {:?}", cut.case, disk.met());
                    if let Err(error) = &opened {
                        assert_says_why(error, fault, &case);
                    }
                    let shown = opened.map(|engine| pairs_of(&engine));
                    let found = recover(&disk.without_faults(), cut.durability, &case);
                    let least = least(&cut.disk, cut.durability, &cut.history);
                    cut.history.assert_is_prefix(&found, least, &case);
                    if let Ok(shown) = shown {
                        assert_eq!(found, shown, "{case}: shown and lost");
                    }
                    let Some(hit) = disk.met() else {
                        break;
                    };
                    met.lock().expect("no case failed").push(hit);
                }
            }
        }
    });
    let met = met.into_inner().expect("no case failed");
    for (kind, is_named, times) in [
        (Kind::Sync, is_journal as fn(&str) -> bool, 8),
        (Kind::SetLen, is_journal, 2),
        (Kind::Append, |name| name.contains(".torn"), 2),
        (Kind::Sync, |name| name.contains(".torn"), 2),
        (Kind::Rename, |name| name.contains(".torn"), 2),
        (Kind::Read, is_journal, 8),
        (Kind::Look, |_| true, 8),
    ] {
        assert_met(&met, kind, is_named, times);
    }
    println!("{} faults of recoveries", met.len());
}
