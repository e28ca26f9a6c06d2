//! The writer of the live journal: append, hand to the system, sync.
//!
//! In: records, under the locks of their keys. Out: a journal that holds them in that order. Promises:
//! - `append` only numbers the record and copies it to memory; `commit` returns once a record, and all before it, are as safe
//!   as the durability says. Under `always` a thread writes what all have appended and syncs it, so that they share syncs.
//!   Under `everysec` the first to come writes for all, which is quick, but while the disk is slow a thread does it; another
//!   thread syncs, and nobody waits for it.
//! - A write that fails is cut back to the last whole record, kept in memory, and tried again until it succeeds; meanwhile
//!   new changes are refused. `health` has the states and what leads from one to the next.
//! - After a sync that failed the file is never trusted again. Changes are refused until a snapshot, which holds everything,
//!   is on disk with a new journal (`rotation`). Nothing that was acknowledged is removed before.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use super::direct_write::DirectWrite;
use super::health::{Health, State};
use super::log_gate::LogGate;
use super::open_journal::{Extent, JournalFile, OpenJournal};
use super::pending::Tail;
use super::retained::Retained;
use super::segment::WriteError;
use super::unsynced_age::UnsyncedAge;
use super::watermark::Watermark;
use super::workers::Workers;
use crate::persistence::disk::{DiskFault, Folder};
use crate::persistence::durability::Durability;
use crate::persistence::format::{
    Records, SnapshotFingerprint, Timeline, write_saved, write_timeline,
};

/// Bytes of memory that an empty buffer keeps: one long record must not hold its memory for ever.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Length in bytes from which on what has been appended is left to the thread that writes: its checksums and the write take
/// milliseconds, for which other tasks would wait.
const LONG_BYTES: usize = 2 << 20;

/// After so many bytes a sync begins before its time: a long sync keeps a core busy, and others wait for it.
const SYNC_BYTES: usize = 4 << 20;

/// Timelines that are kept: a replica that has been away for more starts of its primary copies the data anew.
const TIMELINES_MAX: usize = 100;

/// The longest that a save waits for the log to get what it has saved, and the interval at which it looks.
const LOGGED_WAIT_MAX: Duration = Duration::from_secs(30);
const LOGGED_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Records that a log which several servers share has, or is to get, as lines of the journal.
#[derive(Debug, Default)]
pub struct LoggedLines {
    /// The number of the first one.
    pub first_seq: u64,
    /// The number of the last one.
    pub last_seq: u64,
    /// The lines.
    pub bytes: Vec<u8>,
}

/// The live journal of a data folder. The locks are taken in the order of the fields.
pub struct Writer {
    pub(super) folder: Arc<Folder>,
    pub(super) durability: Durability,
    /// Held during a sync or a rotation: recovery relies on the order of syncs.
    pub(super) syncing: Mutex<()>,
    /// Held while the file is written to: never taken where nothing may wait for the disk.
    pub(super) open: Mutex<OpenJournal>,
    /// The timelines of the records, oldest first; none before a replica has come.
    pub(super) timelines: Mutex<Vec<Timeline>>,
    pub(super) tail: Tail,
    /// Read before each change: on a cache line of its own, apart from what each change writes to.
    pub(super) health: CachePadded<Health>,
    /// Before the log that several servers share, under [`Durability::Replicated`].
    pub(super) gate: Arc<LogGate>,
    pub(super) unsynced: UnsyncedAge,
    /// The last record that was handed to the system.
    pub(super) written: Watermark,
    /// The last record that was synced.
    pub(super) synced: Watermark,
    /// The last record that followers may be shown.
    pub(super) visible_seq: Watermark,
    pub(super) retained: Retained,
    /// The extent of all journals as of the last write, readable without the lock of the open one.
    pub(super) extent: Mutex<Extent>,
    pub(super) direct: DirectWrite,
    pub(super) workers: Workers,
    /// A bug on purpose, for the test that shows that such a bug is found.
    pub(super) acknowledges_early: bool,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Numbers a record and takes it. Returns its number. Called under the lock of its keys.
    ///
    /// # Errors
    /// [`DiskFault`], while changes are refused.
    pub fn append(&self, record: Records) -> Result<u64, DiskFault> {
        self.tail.append(record, || self.admit())
    }

    /// Numbers and takes a record of another server, as [`Self::append`] does, whoever leads.
    ///
    /// # Errors
    /// [`DiskFault`], while the disk takes no changes.
    pub fn append_foreign(&self, record: Records) -> Result<u64, DiskFault> {
        self.tail.append(record, || self.admit_by_disk())
    }

    /// Numbers records and takes them. Returns the number of the last one. Called under the locks of their keys, which have
    /// been changed already: where changes are refused since, the records count as appended a moment before.
    pub fn append_all(&self, records: Records) -> u64 {
        self.tail.append_all(records)
    }

    /// Checks that changes are taken.
    ///
    /// # Errors
    /// [`DiskFault`], while they are refused.
    pub fn admit(&self) -> Result<(), DiskFault> {
        if self.durability == Durability::Replicated {
            self.gate.admit()?;
        }
        self.admit_by_disk()
    }

    fn admit_by_disk(&self) -> Result<(), DiskFault> {
        if self.health.is_healthy() {
            Ok(())
        } else {
            Err(self.health.refusal())
        }
    }

    /// Returns the number of the last record that was appended.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.tail.last_seq()
    }

    /// Returns once this record of a term, and all before it, are as safe as the durability says.
    ///
    /// # Errors
    /// [`DiskFault`], if changes are refused before that, or the log does not get it.
    pub async fn commit(&self, seq: u64, term: u64) -> Result<(), DiskFault> {
        if self.durability == Durability::Replicated {
            return self.gate.commit(seq, term).await;
        }
        let Some(safe) = self.safe().filter(|_| !self.is_safe(seq, term)) else {
            return Ok(());
        };
        // In a fault the thread tries again once per interval; waking it for each request would help nobody.
        if self.health.is_healthy() {
            // Other tasks that are ready may append meanwhile: one write serves them all.
            tokio::task::yield_now().await;
            if safe.get() < seq && !self.write_directly() {
                self.workers.wake_first();
            }
            safe.wait_until(|| safe.get() >= seq || !self.health.is_healthy())
                .await;
        }
        if self.is_safe(seq, term) {
            Ok(())
        } else {
            Err(self.health.refusal())
        }
    }

    /// Returns the watermark of the changes that are as safe as the durability says; `None` if it says nothing.
    fn safe(&self) -> Option<&Watermark> {
        match self.durability {
            Durability::Off => None,
            // What the log has is written then, and only then.
            Durability::EverySecond | Durability::Replicated => Some(&self.written),
            Durability::Always => Some(&self.synced),
        }
    }

    /// Returns whether this record of a term, and all before it, are as safe as the durability says by now.
    #[must_use]
    pub fn is_safe(&self, seq: u64, term: u64) -> bool {
        if self.durability == Durability::Replicated {
            return self.gate.is_safe(seq, term);
        }
        // The health is read after the number: after the file is poisoned, `written` passes over records that were dropped, and
        // only the snapshot that ends the fault keeps what they say.
        let is_safe = |safe: &Watermark| safe.get() >= seq && self.health.is_healthy();
        self.acknowledges_early || self.safe().is_none_or(is_safe)
    }

    fn write_directly(&self) -> bool {
        self.durability == Durability::EverySecond
            && self.tail.bytes() < LONG_BYTES
            && self.direct.run(
                || self.open.try_lock().ok(),
                // A failure is reported by the fault that it leaves.
                |mut open| drop(self.write(&mut open)),
            )
    }

    /// Hands what has been appended to the system.
    ///
    /// # Errors
    /// [`DiskFault`], if the write fails or the file is poisoned.
    pub(super) fn write(&self, open: &mut OpenJournal) -> Result<(), DiskFault> {
        if self.health.state() == State::Poisoned {
            return Err(self.health.refusal());
        }
        if self.durability != Durability::Replicated {
            open.take_lines(&self.tail);
        }
        open.mark(self.synced.get());
        if open.lines.is_empty() {
            return Ok(());
        }
        let records = open.lines_seq - self.written.get();
        let started = Instant::now();
        let result = open.segment.write(&open.lines, records);
        self.direct.note_write(started.elapsed());
        if let Err(error) = result {
            return Err(self.fail_write(open, &error));
        }
        open.unsynced_bytes += open.lines.len();
        open.lines.clear();
        open.lines.shrink_to(BUFFER_BYTES_KEPT);
        if open.unsynced_bytes >= SYNC_BYTES && !self.direct.is_syncing() {
            // The thread that syncs is the last one.
            self.workers.wake_last();
        }
        self.measure(open);
        self.unsynced.written();
        if self.durability.syncs_by_clock() {
            // What was written to a file that is not under its name is not to be acknowledged.
            open.segment
                .check_name(&self.folder)
                .map_err(|error| self.lose(open, error))?;
        }
        self.health.write_succeeded();
        self.written.raise(open.lines_seq);
        self.show_followers();
        Ok(())
    }

    fn fail_write(&self, open: &mut OpenJournal, error: &WriteError) -> DiskFault {
        let path = open.segment.path.display();
        let fault = match error {
            WriteError::CutBack(error) => {
                let reason = format!("cannot write {path}: {error}");
                self.health.write_failed(&reason)
            }
            WriteError::Unknown(error) => {
                let reason = format!("cannot write {path}: {error}");
                open.segment.poison(&self.folder);
                self.health.poison(&reason)
            }
        };
        self.refuse_waiters();
        fault
    }

    /// Syncs everything that has been appended.
    ///
    /// # Errors
    /// [`DiskFault`], if the write or the sync fails, or the file is poisoned.
    pub(super) fn sync(&self) -> Result<(), DiskFault> {
        let _one = locked(&self.syncing);
        self.sync_exclusively()
    }

    /// As [`Writer::sync`], by the holder of `syncing`.
    pub(super) fn sync_exclusively(&self) -> Result<(), DiskFault> {
        let (file, seq, is_written) = {
            let mut open = locked(&self.open);
            self.write(&mut open)?;
            self.unsynced.sync_begins();
            let unsynced_bytes = std::mem::take(&mut open.unsynced_bytes);
            let file = Arc::clone(&open.segment.file);
            (file, open.lines_seq, unsynced_bytes > 0)
        };
        if is_written || self.synced.get() < seq {
            // Not under the lock of the file: writes go on while the disk works, if only by the thread that may wait for it.
            self.direct
                .during_sync(|| file.sync_data())
                .map_err(|error| self.poison("sync", &error))?;
            if self.durability == Durability::Always {
                self.check_folder();
            }
            self.synced.raise(seq);
            self.show_followers();
        }
        self.unsynced.sync_ends();
        Ok(())
    }

    /// Returns the gate before the log that several servers share.
    #[must_use]
    pub fn gate(&self) -> &Arc<LogGate> {
        &self.gate
    }

    /// Takes the records that have been appended, which the log is to get. To be called by one task alone.
    #[must_use]
    pub fn take_for_log(&self) -> LoggedLines {
        let mut records = Records::default();
        let mut bytes = Vec::new();
        let (first_seq, last_seq) = self.tail.take_lines(&mut records, &mut bytes);
        LoggedLines {
            first_seq,
            last_seq,
            bytes,
        }
    }

    /// Notes that the log has these records: replies may leave that report them, and they are written to the journal.
    pub fn note_logged(&self, lines: &LoggedLines) {
        let mut open = locked(&self.open);
        open.lines.extend_from_slice(&lines.bytes);
        open.lines_seq = lines.last_seq;
        self.gate.logged.raise(lines.last_seq);
        // A failure is reported by the fault that it leaves.
        let _ = self.write(&mut open);
    }

    /// Ends the term in which this server took changes, and discards those that the log does not have. Returns true if there were any.
    /// The locks of all keys must be held.
    pub fn follow_log(&self) -> bool {
        self.gate.begin_term(false);
        let logged = self.gate.logged();
        let has_more = self.appended() > logged;
        self.tail.restart_at(logged + 1);
        has_more
    }

    /// Waits, as a thread, until the log and the journal have all records that have been appended, of which none was discarded in this term.
    ///
    /// # Errors
    /// [`DiskFault::replacing`], if the term has ended; another, if that takes too long.
    fn wait_until_logged(&self, term: u64) -> Result<(), DiskFault> {
        let (seq, started) = (self.appended(), Instant::now());
        loop {
            let is_logged = self.written.get() >= seq;
            // Read after the number: what is written in a later term is not what was appended in this one.
            if self.gate.term() != term {
                return Err(DiskFault::replacing());
            }
            if is_logged {
                return Ok(());
            }
            if started.elapsed() > LOGGED_WAIT_MAX {
                return Err(DiskFault::new("etcd does not take the changes"));
            }
            self.gate.waiting.notify_one();
            std::thread::sleep(LOGGED_LOOK_INTERVAL);
        }
    }

    /// Records that store.json has been written, and syncs every change that it may hold. The term is that of the beginning of its scan.
    ///
    /// # Errors
    /// [`DiskFault`], if the write or the sync fails, or the file is poisoned, or the term has ended: the log may not have what it holds.
    pub fn record_saved(&self, saved: &SnapshotFingerprint, term: u64) -> Result<(), DiskFault> {
        self.check_folder();
        if self.durability == Durability::Replicated {
            self.wait_until_logged(term)?;
        }
        // Taken in a fault, too: it is the save that ends it.
        if self.is_copy() || self.durability == Durability::Replicated {
            // The numbers are those of another server, or of the log.
            write_saved(saved, &mut locked(&self.open).lines);
        } else {
            self.tail.append(Records::of_saved(saved), || Ok(()))?;
        }
        self.sync()
    }

    /// Returns the timelines of the records, oldest first.
    #[must_use]
    pub fn timelines(&self) -> Vec<Timeline> {
        locked(&self.timelines).clone()
    }

    /// Returns true if the records are those of another server.
    fn is_copy(&self) -> bool {
        let timelines = locked(&self.timelines);
        timelines.last().is_some_and(|timeline| !timeline.is_own)
    }

    /// Returns the name of the newest timeline, if there is any.
    #[must_use]
    pub fn newest_timeline(&self) -> Option<String> {
        let timelines = locked(&self.timelines);
        timelines.last().map(|timeline| timeline.id.clone())
    }

    /// Lets the records be of no timeline.
    pub fn forget_timelines(&self) {
        locked(&self.timelines).clear();
    }

    /// Lets the records from the next one on be of another timeline, whose name is random.
    ///
    /// # Errors
    /// [`DiskFault`], if the journal does not take that.
    pub fn begin_timeline(&self) -> Result<(), DiskFault> {
        self.add_timeline(Timeline {
            id: Timeline::random_id(),
            from: self.appended() + 1,
            is_own: true,
        })
    }

    /// Lets the records from a number on be of another timeline.
    ///
    /// # Errors
    /// [`DiskFault`], if the journal does not take that.
    pub fn add_timeline(&self, timeline: Timeline) -> Result<(), DiskFault> {
        self.retained.note_replica();
        {
            let mut open = locked(&self.open);
            let mut timelines = locked(&self.timelines);
            write_timeline(&timeline, &mut open.lines);
            timelines.push(timeline);
            let surplus = timelines.len().saturating_sub(TIMELINES_MAX);
            timelines.drain(..surplus);
        }
        self.sync()
    }

    /// Writes what waits; the work of a thread.
    pub(super) fn write_waiting(&self) {
        if self.has_work(&self.written) {
            // A fault is kept and shown; there is nobody here to report it to.
            let _ = self.write(&mut locked(&self.open));
        }
    }

    /// Syncs what waits; the work of a thread.
    pub(super) fn sync_waiting(&self) {
        if self.has_work(&self.synced) {
            let _ = self.sync();
        }
    }

    fn has_work(&self, done: &Watermark) -> bool {
        match self.health.state() {
            State::Healthy => done.get() < self.appended(),
            // Tried again until it succeeds.
            State::WriteFailed => true,
            State::Poisoned | State::Restarted => false,
        }
    }

    /// Checks that the open journal is still the one in the folder; if not, it is poisoned.
    pub fn check_folder(&self) {
        let there = self.folder.check();
        let mut open = locked(&self.open);
        if self.health.state() == State::Poisoned {
            return;
        }
        if let Err(error) = there.and_then(|()| open.segment.check_name(&self.folder)) {
            self.lose(&mut open, error);
        }
    }

    /// Poisons the open journal, which is not in the folder any more.
    fn lose(&self, open: &mut OpenJournal, error: io::Error) -> DiskFault {
        let cause = self.folder.check().err().unwrap_or(error);
        self.poison_open(open, "find", &cause)
    }

    /// Poisons the open journal: what was written to it cannot be relied on any more.
    pub(super) fn poison(&self, action: &str, error: &io::Error) -> DiskFault {
        self.poison_open(&mut locked(&self.open), action, error)
    }

    fn poison_open(&self, open: &mut OpenJournal, action: &str, error: &io::Error) -> DiskFault {
        let reason = format!("cannot {action} {}: {error}", open.segment.path.display());
        open.segment.poison(&self.folder);
        let fault = self.health.poison(&reason);
        self.refuse_waiters();
        fault
    }

    /// Lets all who wait for a commit see that changes are refused.
    fn refuse_waiters(&self) {
        self.written.wake();
        self.synced.wake();
        // A full disk needs the space.
        self.retained.clear();
    }

    /// Lets followers see what is as safe as the durability says by now.
    pub(super) fn show_followers(&self) {
        let Some(safe) = self.safe() else {
            return;
        };
        // In this order, as for a commit.
        let seq = safe.get();
        if seq > self.visible_seq.get() && self.health.is_healthy() {
            self.visible_seq.raise(seq);
        }
    }

    /// Returns the durability of the journal.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Returns the last record that was synced.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced.get()
    }

    /// Returns the last record that followers may be shown.
    #[must_use]
    pub fn visible_seq(&self) -> u64 {
        self.visible_seq.get()
    }

    /// Waits until followers may be shown a record after this one.
    pub async fn wait_for_visible(&self, after: u64) {
        let visible = &self.visible_seq;
        visible.wait_until(|| visible.get() > after).await;
    }

    /// Returns the journals that are kept for followers.
    #[must_use]
    pub fn retained(&self) -> &Retained {
        &self.retained
    }

    /// Finds the journal in which a record stands, if it is in any. Returns also the last revision whose changes may be
    /// missing where it is in none: everything after it can be read.
    ///
    /// # Errors
    /// Any error of the operating system, other than `NotFound`, while opening the file.
    pub fn find(&self, seq: u64) -> io::Result<(Option<JournalFile>, u64)> {
        // Under the lock no journal is renamed.
        let open = locked(&self.open);
        let next = open.next_begin(seq);
        let from = next.map_or_else(|| self.appended(), |first_seq| first_seq - 1);
        let found = open.find(seq, self.folder.files())?;
        Ok((found.or_else(|| self.retained.find(seq)), from))
    }

    /// Returns true if only a save can end the fault.
    #[must_use]
    pub fn needs_save(&self) -> bool {
        self.health.needs_save()
    }

    /// Returns the reason for the fault, if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.health.reason().or_else(|| self.gate.fault())
    }

    /// Returns the age of the oldest change that is not on disk, and the longest that any has waited.
    #[must_use]
    pub fn unsynced(&self) -> (Duration, Duration) {
        self.unsynced.get()
    }

    /// Takes down the extent of all journals.
    pub(super) fn measure(&self, open: &OpenJournal) {
        *locked(&self.extent) = open.extent();
    }

    /// Returns the extent of all journals as of the last write.
    #[must_use]
    pub fn extent(&self) -> Extent {
        *locked(&self.extent)
    }
}
