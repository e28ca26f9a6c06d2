//! The snapshotter: a thread that saves all pairs to store.json, on demand, at intervals, and again after a failure.
//!
//! In: demands. Out: a saved store, and the outcome to each who asked. Promises: an idle server does not rewrite its store; a
//! save that fails is tried again at growing intervals; a demand that comes during a save is met by the next one; a save
//! sleeps after a tenth of a millisecond's work, or once the entries of a shard are taken, whichever takes longer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::data::Data;
use super::scan::Scan;
use crate::model::Key;
use crate::model::entry::Entry;
use crate::persistence::{DiskFault, FaultKind};

/// The interval at which the thread looks whether a save is due.
const TICK: Duration = Duration::from_secs(1);
/// The longest wait before a failed save is tried again; and the longest while changes are refused until one succeeds.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(60);
const RETRY_INTERVAL_REFUSING_MAX: Duration = Duration::from_secs(5);
/// A journal of less than this, in bytes, is no reason to save, however small the store: to read it back takes a moment.
const JOURNAL_BYTES_MIN: u64 = 16 << 20;
/// A journal of more than this, in bytes, is a reason once it is twice as long as the data: to read it back takes some seconds.
/// A shorter one may be ten times as long: to save again and again what is written again and again would cost more than
/// it gains.
const JOURNAL_BYTES_LONG: u64 = 1 << 30;
/// The work after which a save sleeps. The clock is read after so many pairs, and whenever the entries of a shard are taken.
const WORK_MAX: Duration = Duration::from_micros(100);
const PAIRS_PER_LOOK: usize = 64;
/// The length of a sleep, in lengths of the work before it: four fifths of the core are left to others.
const SLEEP_PER_WORK: u32 = 4;
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_millis(1);

/// The longest that a save waits while the pairs are being replaced, and the interval at which it looks.
const REPLACING_WAIT_MAX: Duration = Duration::from_secs(1);
const REPLACING_LOOK_INTERVAL: Duration = Duration::from_millis(10);

type Demand = oneshot::Sender<Result<(), DiskFault>>;

/// The handle of the thread. Once it is dropped, the thread ends.
pub(super) struct Snapshotter {
    demands: mpsc::Sender<Demand>,
    /// Taken by the thread when it starts.
    receiver: Mutex<Option<Receiver<Demand>>>,
    at_full_speed: Arc<AtomicBool>,
}

impl Snapshotter {
    pub(super) fn new() -> Self {
        let (demands, receiver) = mpsc::channel();
        Self {
            demands,
            receiver: Mutex::new(Some(receiver)),
            at_full_speed: Arc::default(),
        }
    }

    /// Starts the thread. It does not keep the data: it ends when they are dropped.
    pub(super) fn start(&self, data: &Arc<Data>, interval: Duration) {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = receiver.take();
        let receiver = receiver.expect("it is started once, when the engine is opened");
        let (data, at_full_speed) = (Arc::downgrade(data), Arc::clone(&self.at_full_speed));
        std::thread::Builder::new()
            .name("pykv-save".to_owned())
            .spawn(move || run(&data, &receiver, interval, &at_full_speed))
            .expect("the system can start a thread");
    }

    /// Lets this and every later save go on without sleeping.
    pub(super) fn save_at_full_speed(&self) {
        self.at_full_speed.store(true, Relaxed);
    }

    /// Saves all pairs, and waits for it.
    ///
    /// # Errors
    /// [`DiskFault`], if the disk does not take the snapshot, or the thread has ended.
    pub(super) async fn save(&self) -> Result<(), DiskFault> {
        let (done, wait) = oneshot::channel();
        let stopped = || DiskFault::new("the server is stopping");
        self.demands.send(done).map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())?
    }
}

fn run(
    data: &Weak<Data>,
    receiver: &Receiver<Demand>,
    interval: Duration,
    at_full_speed: &Arc<AtomicBool>,
) {
    let mut last_try = Instant::now();
    let mut retry_interval = TICK;
    let mut failed = false;
    let mut was_needed = false;
    loop {
        let mut demands = Vec::new();
        match receiver.recv_timeout(TICK) {
            Ok(demand) => demands.push(demand),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        demands.extend(receiver.try_iter());
        let Some(data) = data.upgrade() else {
            return;
        };
        let is_needed = data.store.needs_save();
        let is_due = if failed {
            // A new need does not wait: it is another fault than the one that has failed before.
            last_try.elapsed() >= retry_interval || (is_needed && !was_needed)
        } else {
            is_needed || is_due(&data, last_try, interval)
        };
        was_needed = is_needed;
        if demands.is_empty() && !is_due {
            continue;
        }
        let saved = save(&data, at_full_speed);
        last_try = Instant::now();
        retry_interval = if failed {
            let longest = if is_needed {
                RETRY_INTERVAL_REFUSING_MAX
            } else {
                RETRY_INTERVAL_MAX
            };
            (retry_interval * 2).min(longest)
        } else {
            TICK
        };
        failed = saved.is_err();
        for demand in demands {
            // Whoever asked may have hung up meanwhile.
            let _ = demand.send(saved.clone());
        }
    }
}

fn is_due(data: &Data, last_try: Instant, interval: Duration) -> bool {
    let journal_bytes = data.store.disk().journal_bytes;
    let data_bytes = data.table.data_bytes();
    let allowed = (10 * data_bytes).min(JOURNAL_BYTES_LONG.max(2 * data_bytes));
    let is_outgrown = journal_bytes > JOURNAL_BYTES_MIN.max(allowed);
    data.store.is_unsaved() && (is_outgrown || last_try.elapsed() >= interval)
}

/// Saves all pairs without sleeping.
///
/// # Errors
/// [`DiskFault`], if the disk does not take the snapshot.
pub(super) fn save_at_full_speed(data: &Arc<Data>) -> Result<(), DiskFault> {
    save(data, &AtomicBool::new(true))
}

fn save(data: &Arc<Data>, at_full_speed: &AtomicBool) -> Result<(), DiskFault> {
    let everything = Key::parse(b"").expect("the empty key is a key");
    let until = Instant::now() + REPLACING_WAIT_MAX;
    loop {
        let saved = data.store.save(ThrottledScan {
            scan: Scan::new(data, everything),
            entries: Vec::new().into_iter(),
            taken: 0,
            working_since: Instant::now(),
            at_full_speed,
            is_sorted: data.table.has_seed(),
        });
        let is_replacing = |fault: &DiskFault| fault.kind == FaultKind::Replacing;
        if !saved.as_ref().is_err_and(is_replacing) || Instant::now() > until {
            return saved;
        }
        std::thread::sleep(REPLACING_LOOK_INTERVAL);
    }
}

/// A scan of all pairs that sleeps between short pieces of work: who waits for its core waits for a moment only.
struct ThrottledScan<'s> {
    scan: Scan,
    /// The entries of the current shard.
    entries: std::vec::IntoIter<Entry>,
    /// The number of pairs since the last look at the clock.
    taken: usize,
    working_since: Instant,
    at_full_speed: &'s AtomicBool,
    /// True if the pairs of each shard are sorted, so that the file is that of other servers with the same pairs.
    is_sorted: bool,
}

impl Iterator for ThrottledScan<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if self.taken == PAIRS_PER_LOOK {
                self.sleep_if_due();
            }
            if let Some(entry) = self.entries.next() {
                self.taken += 1;
                return Some(entry);
            }
            let mut entries = self.scan.next()?;
            if self.is_sorted {
                entries.sort_unstable_by(|a, b| a.key_bytes().cmp(b.key_bytes()));
            }
            self.entries = entries.into_iter();
            self.sleep_if_due();
        }
    }
}

impl ThrottledScan<'_> {
    fn sleep_if_due(&mut self) {
        self.taken = 0;
        let worked = self.working_since.elapsed();
        if worked < WORK_MAX {
            return;
        }
        if !self.at_full_speed.load(Relaxed) {
            std::thread::sleep((worked * SLEEP_PER_WORK).min(SLEEP_MAX));
        }
        self.working_since = Instant::now();
    }
}
