//! The live journal: append, hand to the system, sync.
//!
//! In: records, under the locks of their keys. Out: journals that hold them in that order. Promises:
//! - `append` only numbers the record and copies it to memory; `commit` returns once a record, and all before it, are as safe
//!   as the durability says. Under `always` a thread writes what all have appended and syncs it, so that they share syncs. Under
//!   `everysec` the first to come writes for all, which is quick, but while the disk is slow a thread does it; another one
//!   syncs, and nobody waits for it.
//! - A write that fails is cut back to the last whole record, kept in memory, and tried again until it succeeds; meanwhile
//!   new changes are refused.
//! - After a sync that failed the file is never trusted again: its pages may be gone while the next sync succeeds. Changes
//!   are refused until a snapshot, which holds everything, is on disk with a new journal (`rotation`). Nothing that was
//!   acknowledged is removed before.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use tokio::sync::Semaphore;

use super::fault::Faults;
use super::feed::{Kept, READING_MAX};
use super::files::File;
use super::folder::Folder;
use super::journal::{self, Record, Records};
use super::replay::Replayed;
use super::segment::Segment;
use super::watermark::Watermark;
use super::window::Window;
use super::{DiskFault, Durability};

/// Room that a buffer keeps once it is empty: one long record must not hold its memory for ever.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// So much is synced before its time: a sync keeps a core busy, and whoever needs that core waits.
const SYNC_BYTES: usize = 4 << 20;

/// A write that takes longer has waited for the disk.
const SLOW_WRITE: Duration = Duration::from_millis(1);

/// Nobody writes at once; somebody does; and is to look again, as more has come.
const IDLE: u8 = 0;
const WRITING: u8 = 1;
const WANTED: u8 = 2;

/// How often one writes for others before the thread does: its own clients wait.
const ROUNDS_MAX: usize = 16;

/// Records that nobody has begun to write.
pub(super) struct Tail {
    pub(super) lines: Vec<u8>,
    pub(super) next_seq: u64,
}

/// The journal that is written to, and what is to be written to it.
pub(super) struct Open {
    pub(super) segment: Segment,
    /// Taken from the tail: they are being written, or could not be.
    pub(super) lines: Vec<u8>,
    /// The number of the last of them.
    pub(super) lines_seq: u64,
    /// How much has been written to it since the last sync began.
    pub(super) unsynced_bytes: usize,
    /// The highest number that a journal has had.
    pub(super) highest: u64,
    /// The journals before, oldest first.
    pub(super) older: Vec<Older>,
}

/// A journal that is not written to any more, until a save has taken its place.
#[derive(Clone)]
pub(super) struct Older {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// The number of its first record; none: it holds nothing that was used.
    pub(super) first_seq: Option<u64>,
    /// The file, once its name goes and it is to be kept for followers.
    pub(super) file: Option<Arc<dyn File>>,
}

/// The live journal of a data folder. The locks are taken in the order in which they stand here.
pub struct Writer {
    pub(super) folder: Arc<Folder>,
    pub(super) durability: Durability,
    sync_interval: Duration,
    /// One at a time syncs or rotates: the order of syncs is what recovery relies on.
    pub(super) syncing: Mutex<()>,
    /// Held while a file is written to: never taken by whoever must not wait for the disk.
    pub(super) open: Mutex<Open>,
    pub(super) tail: CachePadded<Mutex<Tail>>,
    /// Asked before each change: it has a line of the cache of its own, apart from what each change writes to.
    pub(super) faults: CachePadded<Faults>,
    pub(super) window: Window,
    /// The last record that was appended, written, synced.
    appended: CachePadded<AtomicU64>,
    pub(super) written: Watermark,
    synced: Watermark,
    /// The last record that followers may be shown.
    pub(super) fed: Watermark,
    pub(super) followers: AtomicUsize,
    /// How many followers may begin to read.
    pub(super) reading: Arc<Semaphore>,
    pub(super) kept: Mutex<Kept>,
    /// The number of the first record in all journals.
    pub(super) first_seq: AtomicU64,
    /// Bytes of all journals, and how many there are, as of the last write.
    size: (AtomicU64, AtomicU64),
    /// Whether a write may have to wait for the disk: after a write that did, and while a sync runs.
    is_slow: AtomicBool,
    is_syncing: AtomicBool,
    /// What goes on in `write_at_once`.
    at_once: AtomicU8,
    threads: OnceLock<Vec<Thread>>,
    acknowledges_early: bool,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Goes on where the journals end, or begins the first one, with number `first_number`. Journals that are in doubt, or
    /// whose damage was passed over, are not gone on with: changes are refused until a save has taken their place.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(
        folder: Arc<Folder>,
        durability: Durability,
        sync_interval: Duration,
        mut replayed: Replayed,
        first_number: u64,
    ) -> io::Result<Arc<Self>> {
        let next_seq = replayed.next_seq;
        let last = replayed.segments.pop();
        let is_older_format = last
            .as_ref()
            .is_some_and(|last| last.version < journal::VERSION);
        let is_resumed = last.is_some();
        let segment = match last {
            Some(last) => Segment::resume(&folder, &last)?,
            None => {
                let mut first = Segment::create(&folder, first_number)?;
                first.begin(next_seq)?;
                first
            }
        };
        let older = replayed
            .segments
            .into_iter()
            .map(|read| (read.path, read.bytes, Some(read.first_seq)));
        let leftover = replayed.leftover.into_iter().map(|path| (path, 0, None));
        let older = older.chain(leftover).map(|(path, bytes, first_seq)| Older {
            path,
            bytes,
            first_seq,
            file: None,
        });
        let older = older.collect();
        let highest = replayed.highest.max(segment.number);
        let seq = next_seq - 1;
        let writer = Arc::new(Self {
            folder,
            durability,
            sync_interval,
            syncing: Mutex::new(()),
            open: Mutex::new(Open {
                segment,
                lines: Vec::new(),
                lines_seq: seq,
                unsynced_bytes: 0,
                highest,
                older,
            }),
            tail: CachePadded::new(Mutex::new(Tail {
                lines: Vec::new(),
                next_seq,
            })),
            faults: CachePadded::default(),
            window: Window::default(),
            appended: CachePadded::new(AtomicU64::new(seq)),
            written: Watermark::new(seq),
            synced: Watermark::new(seq),
            fed: Watermark::new(0),
            followers: AtomicUsize::new(0),
            reading: Arc::new(Semaphore::new(READING_MAX)),
            kept: Mutex::default(),
            first_seq: AtomicU64::new(0),
            size: (AtomicU64::new(0), AtomicU64::new(0)),
            is_slow: AtomicBool::new(false),
            is_syncing: AtomicBool::new(false),
            at_once: AtomicU8::new(IDLE),
            threads: OnceLock::new(),
            acknowledges_early: cfg!(debug_assertions)
                && std::env::var_os("PYKV_BREAK").is_some_and(|how| how == "acknowledge-early"),
        });
        if !is_resumed {
            writer.settle()?;
        } else if !replayed.findings.is_empty() {
            // The damage itself outlives a crash. A name that says "in doubt" would make it look like a torn tail.
            locked(&writer.open).segment.is_trusted = false;
            writer
                .faults
                .hold("the folder is damaged, and is being mended".to_owned());
        } else if replayed.is_in_doubt || !locked(&writer.open).segment.is_trusted {
            let doubt = io::Error::other("it is not known to be on disk");
            writer.lose_trust("rely on", &doubt);
        } else if is_older_format {
            writer.begin_next().map_err(io::Error::other)?;
        }
        writer.measure(&locked(&writer.open));
        writer.feed();
        writer.start_threads()?;
        Ok(writer)
    }

    fn start_threads(self: &Arc<Self>) -> io::Result<()> {
        type Work = fn(&Writer);
        let works: &[(&str, Work)] = match self.durability {
            Durability::EverySecond => &[
                ("pykv-write", |writer| writer.write_what_waits()),
                ("pykv-sync", |writer| writer.sync_what_waits()),
            ],
            Durability::Always => &[("pykv-sync", |writer| writer.sync_what_waits())],
            Durability::Off => &[],
        };
        let threads = works.iter().map(|(name, work)| {
            let (weak, work, interval) = (Arc::downgrade(self), *work, self.sync_interval);
            let thread = std::thread::Builder::new()
                .name((*name).to_owned())
                .spawn(move || run(&weak, work, interval))?;
            Ok(thread.thread().clone())
        });
        let threads = threads.collect::<io::Result<_>>()?;
        self.threads.get_or_init(|| threads);
        Ok(())
    }

    /// Numbers a record and takes it; its number. Called under the lock of its keys.
    ///
    /// # Errors
    /// [`DiskFault`], while changes are refused.
    pub fn append(&self, record: Record) -> Result<u64, DiskFault> {
        let mut tail = locked(&self.tail);
        self.admit()?;
        Ok(self.push(&mut tail, record))
    }

    /// Numbers records and takes them, come what may; the number of the last one. Called under the locks of their keys, which
    /// have been changed already: where changes are refused since, it is as if that had come a moment later.
    pub fn append_all(&self, records: Records) -> u64 {
        let mut tail = locked(&self.tail);
        let next_seq = tail.next_seq + records.count() as u64;
        let first_seq = std::mem::replace(&mut tail.next_seq, next_seq);
        records.write(first_seq, &mut tail.lines);
        self.appended.store(next_seq - 1, Ordering::Release);
        next_seq - 1
    }

    /// Whether changes are taken.
    ///
    /// # Errors
    /// [`DiskFault`], while they are refused.
    pub fn admit(&self) -> Result<(), DiskFault> {
        if self.faults.is_set() {
            return Err(self.faults.refusal());
        }
        Ok(())
    }

    pub(super) fn push(&self, tail: &mut Tail, record: Record) -> u64 {
        let seq = tail.next_seq;
        record.write(seq, &mut tail.lines);
        tail.next_seq += 1;
        self.appended.store(seq, Ordering::Release);
        seq
    }

    /// The number of the last record that was appended.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    /// Returns once this record, and all before it, are as safe as the durability says.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub async fn commit(&self, seq: u64) -> Result<(), DiskFault> {
        let Some(reached) = self.reached() else {
            return Ok(());
        };
        if self.acknowledges_early || self.is_reached(reached, seq) {
            return Ok(());
        }
        // While there is a fault the thread tries again; that everybody woke it for each request would help nobody.
        if !self.faults.is_set() {
            // Others that are ready to run may append meanwhile: one write serves them all.
            tokio::task::yield_now().await;
            if reached.get() < seq && !self.write_at_once() {
                self.wake();
            }
            reached
                .wait_until(|| reached.get() >= seq || self.faults.is_set())
                .await;
        }
        if self.is_reached(reached, seq) {
            Ok(())
        } else {
            Err(self.faults.refusal())
        }
    }

    /// How far the changes are that are as safe as the durability says.
    pub(super) fn reached(&self) -> Option<&Watermark> {
        match self.durability {
            Durability::Off => None,
            Durability::EverySecond => Some(&self.written),
            Durability::Always => Some(&self.synced),
        }
    }

    fn is_reached(&self, reached: &Watermark, seq: u64) -> bool {
        // The fault is looked at after the number: after a loss of trust, `written` and `synced` pass over records that have
        // been dropped, and only the snapshot, which ends the fault, keeps what they say.
        reached.get() >= seq && !self.faults.is_set()
    }

    /// Writes what all have appended, on this thread, where that takes no longer than to wake another: under `everysec`, while
    /// the disk is quick. A write that turns out to be slow is the last one of its kind until the disk is quick again. Who comes
    /// while another writes so leaves it to that one, which looks again.
    fn write_at_once(&self) -> bool {
        if self.durability != Durability::EverySecond {
            return false;
        }
        // Exchanged, not stored: whoever writes sees what was appended by those whose wish it takes back.
        if self.at_once.swap(WANTED, Ordering::AcqRel) != IDLE {
            return true;
        }
        for _ in 0..ROUNDS_MAX {
            if self.is_slow.load(Ordering::Relaxed) || self.is_syncing.load(Ordering::Relaxed) {
                break;
            }
            // Who has the lock may have taken the records before these came.
            let Ok(mut open) = self.open.try_lock() else {
                break;
            };
            self.at_once.swap(WRITING, Ordering::AcqRel);
            // A failure is told of by the fault that it leaves.
            let _ = self.write_to(&mut open);
            drop(open);
            let ended =
                self.at_once
                    .compare_exchange(WRITING, IDLE, Ordering::AcqRel, Ordering::Relaxed);
            if ended.is_ok() {
                return true;
            }
        }
        // The thread, which is woken now, does what is left.
        self.at_once.swap(IDLE, Ordering::AcqRel);
        false
    }

    /// Wakes the thread that writes.
    fn wake(&self) {
        if let Some(thread) = self.threads().first() {
            thread.unpark();
        }
    }

    fn threads(&self) -> &[Thread] {
        self.threads.get().map_or(&[], Vec::as_slice)
    }

    fn write_what_waits(&self) {
        // A fault is kept and shown; there is nobody here to tell.
        if (self.is_behind(&self.written) || self.faults.is_set()) && !self.faults.needs_save() {
            let _ = self.write_to(&mut locked(&self.open));
        }
    }

    fn sync_what_waits(&self) {
        if (self.is_behind(&self.synced) || self.faults.is_set()) && !self.faults.needs_save() {
            let _ = self.sync();
        }
    }

    fn is_behind(&self, reached: &Watermark) -> bool {
        reached.get() < self.appended()
    }

    /// Hands what has been appended to the system.
    pub(super) fn write_to(&self, open: &mut Open) -> Result<(), DiskFault> {
        if !open.segment.is_trusted {
            return Err(self.faults.refusal());
        }
        self.take_lines(open);
        if open.lines.is_empty() {
            return Ok(());
        }
        let records = open.lines_seq - self.written.get();
        let started = Instant::now();
        let result = open.segment.write(&open.lines, records);
        self.is_slow
            .store(started.elapsed() > SLOW_WRITE, Ordering::Relaxed);
        if let Err(error) = result {
            let reason = format!("cannot write {}: {error}", open.segment.path.display());
            let is_cut_back = open.segment.is_trusted;
            if !is_cut_back {
                open.segment.distrust(&self.folder);
            }
            return Err(self.refuse(reason, !is_cut_back));
        }
        open.unsynced_bytes += open.lines.len();
        open.lines.clear();
        open.lines.shrink_to(BUFFER_BYTES_KEPT);
        if open.unsynced_bytes >= SYNC_BYTES && !self.is_syncing.load(Ordering::Relaxed) {
            // The thread that syncs is the last one.
            self.threads().last().inspect(|thread| thread.unpark());
        }
        self.measure(open);
        self.window.written();
        self.faults.end_of_failed_write();
        self.written.raise(open.lines_seq);
        self.feed();
        Ok(())
    }

    /// Takes the records that wait, with a mark if there is news of what is on disk.
    fn take_lines(&self, open: &mut Open) {
        let mut tail = locked(&self.tail);
        if open.lines.is_empty() {
            std::mem::swap(&mut open.lines, &mut tail.lines);
        } else {
            open.lines.append(&mut tail.lines);
        }
        open.lines_seq = tail.next_seq - 1;
        drop(tail);
        let synced = self.synced.get();
        if synced > open.segment.marked && !open.lines.is_empty() {
            journal::write_mark(synced, &mut open.lines);
            open.segment.marked = synced;
        }
    }

    /// Brings everything that has been appended to the disk.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn sync(&self) -> Result<(), DiskFault> {
        let _one = locked(&self.syncing);
        self.sync_alone()
    }

    /// As `sync`, by whoever holds `syncing`.
    pub(super) fn sync_alone(&self) -> Result<(), DiskFault> {
        let (file, seq) = {
            let mut open = locked(&self.open);
            self.write_to(&mut open)?;
            self.window.sync_begins();
            open.unsynced_bytes = 0;
            (Arc::clone(&open.segment.file), open.lines_seq)
        };
        if self.synced.get() < seq {
            // Not under the lock of the file: writes go on while the disk works, if only by the thread that may wait for it.
            self.is_syncing.store(true, Ordering::Relaxed);
            let synced = file.sync_data();
            self.is_syncing.store(false, Ordering::Relaxed);
            synced.map_err(|error| self.lose_trust("sync", &error))?;
            self.synced.raise(seq);
            self.feed();
        }
        self.window.sync_ends();
        Ok(())
    }

    /// Whether the journal that is written to is still the one in the folder; if not, it is relied on no more.
    pub(super) fn check_folder(&self) {
        let (path, file) = {
            let Open { segment, .. } = &*locked(&self.open);
            if !segment.is_trusted {
                return;
            }
            (segment.path.clone(), Arc::clone(&segment.file))
        };
        let is_there = || -> io::Result<bool> {
            self.folder.check()?;
            Ok(self.folder.files().stat(&path)?.id == file.stat()?.id)
        };
        // Renamed or left meanwhile, it is not the one that is written to.
        let is_current = || locked(&self.open).segment.path == path;
        let gone = match is_there() {
            Ok(true) => return,
            Ok(false) => io::Error::other("another file has its name"),
            Err(error) => error,
        };
        if is_current() {
            self.lose_trust("find", &gone);
        }
    }

    /// Whether only a save can bring trust back.
    #[must_use]
    pub fn needs_save(&self) -> bool {
        self.faults.needs_save()
    }

    /// Why changes are refused, if they are.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.faults.reason()
    }

    /// The age of the oldest change that is not on disk; and the longest that any has waited.
    #[must_use]
    pub fn unsynced(&self) -> (Duration, Duration) {
        self.window.age()
    }

    /// Bytes in all journals, and how many there are.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let (bytes, segments) = &self.size;
        (
            bytes.load(Ordering::Relaxed),
            segments.load(Ordering::Relaxed),
        )
    }

    /// Takes down the size of all journals, and where they begin.
    pub(super) fn measure(&self, open: &Open) {
        let older: u64 = open.older.iter().map(|older| older.bytes).sum();
        let first_seq = open.older.iter().find_map(|older| older.first_seq);
        let first_seq = first_seq.unwrap_or(open.segment.first_seq);
        self.first_seq.store(first_seq, Ordering::Relaxed);
        let (bytes, segments) = &self.size;
        bytes.store(older + open.segment.bytes, Ordering::Relaxed);
        segments.store(open.older.len() as u64 + 1, Ordering::Relaxed);
    }

    /// What was written to the open journal cannot be relied on any more.
    pub(super) fn lose_trust(&self, action: &str, error: &io::Error) -> DiskFault {
        let mut open = locked(&self.open);
        let reason = format!("cannot {action} {}: {error}", open.segment.path.display());
        open.segment.distrust(&self.folder);
        self.refuse(reason, true)
    }

    fn refuse(&self, reason: String, needs_save: bool) -> DiskFault {
        let refusal = self.faults.set(reason, needs_save);
        // Whoever waits must look again.
        self.written.wake();
        self.synced.wake();
        // A full disk needs the room.
        locked(&self.kept).clear();
        refusal
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // They find that it is gone, and end.
        for thread in self.threads() {
            thread.unpark();
        }
    }
}

/// What a thread of the writer does: its work whenever it is woken, and from time to time.
fn run(writer: &Weak<Writer>, work: fn(&Writer), interval: Duration) {
    let mut checked = Instant::now();
    loop {
        let Some(writer) = writer.upgrade() else {
            return;
        };
        let started = Instant::now();
        work(&writer);
        if checked.elapsed() >= interval {
            writer.check_folder();
            checked = Instant::now();
        }
        drop(writer);
        // After a slow sync the next one begins at once: what has come meanwhile has waited long enough.
        std::thread::park_timeout(interval.saturating_sub(started.elapsed()));
    }
}
