//! The saver: a thread that writes store.json, on demand, from time to time, and again after a failure.
//!
//! In: demands. Out: a saved store, and a word to each who asked. Promises: an idle server does not rewrite its store; a
//! save that fails is tried again at growing intervals; a demand that comes during a save is met by the next one; a save lets
//! others go first after a tenth of a millisecond's work, or once the entries of a shard are taken, whichever takes longer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Engine, Scan};
use crate::model::Key;
use crate::model::entry::Entry;
use crate::persistence::DiskFault;

/// How often the saver looks whether it is time.
const TICK: Duration = Duration::from_secs(1);
/// The longest wait before a failed save is tried again; and where changes are refused until one succeeds.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(60);
const RETRY_INTERVAL_REFUSING_MAX: Duration = Duration::from_secs(5);
/// A journal of less than this is no reason to save, however small the store: reading it back takes a moment.
const JOURNAL_BYTES_MIN: u64 = 16 << 20;
/// A journal of more than this is one once it is twice as long as the data: reading it back takes some seconds. A shorter one
/// may be ten times as long, as to save again and again what is written again and again would take more than it gives.
const JOURNAL_BYTES_LONG: u64 = 1 << 30;
/// After so much work a save lets others go first; looked at after so many pairs, and whenever those of a shard are taken.
const WORK_MAX: Duration = Duration::from_micros(100);
const PAIRS_AT_A_TIME: usize = 64;
/// How many times as long as it has worked it waits then: four fifths of its core are for others, where the pieces are short.
const PAUSES: u32 = 4;
/// The longest that it waits.
const PAUSE_MAX: Duration = Duration::from_millis(1);

type Demand = oneshot::Sender<Result<(), DiskFault>>;

/// The way to ask for a save.
pub(super) struct Saver {
    demands: mpsc::Sender<Demand>,
    receiver: Mutex<Option<Receiver<Demand>>>,
    /// Whether nobody is left who could be made to wait.
    hurries: AtomicBool,
}

impl Saver {
    pub(super) fn new() -> Self {
        let (demands, receiver) = mpsc::channel();
        Self {
            demands,
            receiver: Mutex::new(Some(receiver)),
            hurries: AtomicBool::new(false),
        }
    }

    /// Starts the thread. It ends when the engine is no more.
    pub(super) fn start(engine: &Arc<Engine>, interval: Duration) {
        let receiver = engine
            .saver
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let receiver = receiver.expect("the saver is started once, when the engine is opened");
        let engine = Arc::downgrade(engine);
        std::thread::Builder::new()
            .name("pykv-save".to_owned())
            .spawn(move || run(&engine, &receiver, interval))
            .expect("the system can start a thread");
    }

    pub(super) fn hurry(&self) {
        self.hurries.store(true, Relaxed);
    }

    pub(super) async fn save(&self) -> Result<(), DiskFault> {
        let (done, wait) = oneshot::channel();
        let stopped = || DiskFault::new("the server is stopping");
        self.demands.send(done).map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())?
    }
}

fn run(engine: &Weak<Engine>, receiver: &Receiver<Demand>, interval: Duration) {
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
        let Some(engine) = engine.upgrade() else {
            return;
        };
        let is_needed = engine.store.needs_save();
        let due = if failed {
            // A loss of trust is a reason of its own, whatever has failed before.
            last_try.elapsed() >= retry_interval || (is_needed && !was_needed)
        } else {
            is_needed || is_due(&engine, last_try, interval)
        };
        was_needed = is_needed;
        if demands.is_empty() && !due {
            continue;
        }
        let saved = save(&engine);
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

fn is_due(engine: &Engine, last_try: Instant, interval: Duration) -> bool {
    let journal_bytes = engine.store.disk().journal_bytes;
    let data_bytes = engine.data_bytes();
    let allowed = (10 * data_bytes).min(JOURNAL_BYTES_LONG.max(2 * data_bytes));
    let outgrown = journal_bytes > JOURNAL_BYTES_MIN.max(allowed);
    engine.is_unsaved() && (outgrown || last_try.elapsed() >= interval)
}

pub(super) fn save(engine: &Arc<Engine>) -> Result<(), DiskFault> {
    let everything = Key::parse(b"").expect("the empty key is a key");
    engine.store.save(Paced {
        scan: engine.scan(everything),
        entries: Vec::new().into_iter(),
        taken: 0,
        since: Instant::now(),
    })
}

/// All pairs, in small pieces of work with pauses between them: whoever waits for that core waits for a moment only.
struct Paced {
    scan: Scan,
    entries: std::vec::IntoIter<Entry>,
    taken: usize,
    since: Instant,
}

impl Iterator for Paced {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if self.taken == PAIRS_AT_A_TIME {
                self.pause_if_due();
            }
            if let Some(entry) = self.entries.next() {
                self.taken += 1;
                return Some(entry);
            }
            self.entries = self.scan.next()?.into_iter();
            self.pause_if_due();
        }
    }
}

impl Paced {
    fn pause_if_due(&mut self) {
        self.taken = 0;
        let worked = self.since.elapsed();
        if worked < WORK_MAX {
            return;
        }
        if !self.scan.engine.saver.hurries.load(Relaxed) {
            std::thread::sleep((worked * PAUSES).min(PAUSE_MAX));
        }
        self.since = Instant::now();
    }
}
