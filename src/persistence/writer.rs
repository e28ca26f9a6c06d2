//! The live journal: append, hand to the system, sync, rotate.
//!
//! In: records, under the locks of their keys. Out: journals that hold them in that order. Promises:
//! - `append` only numbers the record and copies it to memory; `commit` returns once everything appended before it is as
//!   safe as the durability says. Connections share writes, and under `always` they share syncs.
//! - A write that fails is cut back to the last whole record, kept in memory, and tried again until it succeeds; meanwhile
//!   new changes are refused.
//! - After a sync that failed the file is never trusted again: its pages may be gone while the next sync succeeds. Changes
//!   are refused until a snapshot, which holds everything, is on disk with a new journal. Nothing that was acknowledged is
//!   removed before.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::watch;

use super::folder::Folder;
use super::journal::Record;
use super::replay::Replayed;
use super::segment::Segment;
use super::snapshot::Saved;
use super::{DiskFault, Durability};

/// How often what was written is synced under `everysec`: half of what is promised, the other half is the disk's.
const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// Room that a buffer keeps once it is empty: one long record must not hold its memory for ever.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Records that nobody has begun to write.
struct Tail {
    lines: Vec<u8>,
    next_seq: u64,
}

/// The journal that is written to, and what is to be written to it.
struct Open {
    segment: Segment,
    /// Taken from the tail: they are being written, or could not be.
    lines: Vec<u8>,
    /// The number of the last of them.
    lines_seq: u64,
    /// The highest number that a journal has had.
    highest: u64,
    /// The journals before: their paths and lengths.
    older: Vec<(PathBuf, u64)>,
}

/// Why changes are refused.
#[derive(Debug, Clone)]
struct Fault {
    reason: String,
    /// Whether only a snapshot and a new journal can mend it; else it is enough that a write succeeds.
    needs_save: bool,
}

/// The live journal of a data folder. The locks are taken in the order in which they stand here.
pub struct Writer {
    folder: Arc<Folder>,
    durability: Durability,
    /// One at a time syncs or rotates: the order of syncs is what recovery relies on.
    syncing: Mutex<()>,
    open: Mutex<Open>,
    tail: Mutex<Tail>,
    fault: Mutex<Option<Fault>>,
    /// Whether there is a fault; set and cleared under its lock.
    is_faulty: AtomicBool,
    /// The last record that was appended, written, synced.
    appended: AtomicU64,
    written: AtomicU64,
    synced: watch::Sender<u64>,
    syncer: OnceLock<Thread>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Goes on where the journals end, or begins the first one, with number `first_number`. Journals that are in doubt are
    /// not gone on with: changes are refused until a save has taken their place.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(
        folder: Arc<Folder>,
        durability: Durability,
        mut replayed: Replayed,
        first_number: u64,
    ) -> io::Result<Arc<Self>> {
        let next_seq = replayed.next_seq;
        let segment = match replayed.segments.pop() {
            Some(last) => Segment::resume(&last)?,
            None => Segment::create(&folder, first_number, next_seq)?,
        };
        let older = replayed
            .segments
            .into_iter()
            .map(|segment| (segment.path, segment.bytes));
        let older = older
            .chain(replayed.leftover.into_iter().map(|path| (path, 0)))
            .collect();
        let highest = replayed.highest.max(segment.number);
        let seq = next_seq - 1;
        let writer = Arc::new(Self {
            folder,
            durability,
            syncing: Mutex::new(()),
            open: Mutex::new(Open {
                segment,
                lines: Vec::new(),
                lines_seq: seq,
                highest,
                older,
            }),
            tail: Mutex::new(Tail {
                lines: Vec::new(),
                next_seq,
            }),
            fault: Mutex::new(None),
            is_faulty: AtomicBool::new(false),
            appended: AtomicU64::new(seq),
            written: AtomicU64::new(seq),
            synced: watch::channel(seq).0,
            syncer: OnceLock::new(),
        });
        if locked(&writer.open).segment.is_new {
            writer.settle()?;
        } else if replayed.is_in_doubt || !locked(&writer.open).segment.is_trusted {
            let doubt = io::Error::other("it is not known to be on disk");
            writer.lose_trust("rely on", &doubt);
        }
        let weak = Arc::downgrade(&writer);
        let thread = std::thread::Builder::new()
            .name("pykv-sync".to_owned())
            .spawn(move || run_syncer(&weak))?;
        writer.syncer.get_or_init(|| thread.thread().clone());
        Ok(writer)
    }

    /// Numbers a record and takes it. Called under the lock of its keys.
    ///
    /// # Errors
    /// [`DiskFault`], while changes are refused.
    pub fn append(&self, record: Record) -> Result<(), DiskFault> {
        let mut tail = locked(&self.tail);
        if self.is_faulty.load(Ordering::Acquire) {
            drop(tail);
            return Err(self.refusal());
        }
        self.push(&mut tail, record);
        Ok(())
    }

    fn push(&self, tail: &mut Tail, record: Record) {
        let seq = tail.next_seq;
        record.write(seq, &mut tail.lines);
        tail.next_seq += 1;
        self.appended.store(seq, Ordering::Release);
    }

    /// Returns once everything that has been appended is as safe as the durability says.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub async fn commit(&self) -> Result<(), DiskFault> {
        let appended = self.appended.load(Ordering::Acquire);
        if self.durability == Durability::Off || self.is_safe(appended) {
            return Ok(());
        }
        // While there is a fault the syncer tries again; that everybody did so for each request would help nobody.
        if !self.is_faulty.load(Ordering::Acquire) {
            match self.durability {
                Durability::Always => self.wait_for_sync(appended).await,
                _ => self.write_to(&mut locked(&self.open))?,
            }
        }
        if self.is_safe(appended) {
            Ok(())
        } else {
            Err(self.refusal())
        }
    }

    /// Whether a record, and all before it, are as safe as the durability says.
    fn is_safe(&self, appended: u64) -> bool {
        let reached = match self.durability {
            Durability::Always => *self.synced.borrow(),
            _ => self.written.load(Ordering::Acquire),
        };
        // Looked at after the number: after a loss of trust, `written` and `synced` pass over records that have been dropped,
        // and only the snapshot, which ends the fault, keeps what they say.
        reached >= appended && !self.is_faulty.load(Ordering::Acquire)
    }

    /// Waits until a record has been synced, or a fault has come.
    async fn wait_for_sync(&self, appended: u64) {
        let mut synced = self.synced.subscribe();
        if let Some(syncer) = self.syncer.get() {
            syncer.unpark();
        }
        let is_over = |synced: &u64| *synced >= appended || self.is_faulty.load(Ordering::Acquire);
        // The sender lives as long as the writer.
        let _ = synced.wait_for(is_over).await;
    }

    /// Hands what has been appended to the system.
    fn write_to(&self, open: &mut Open) -> Result<(), DiskFault> {
        if !open.segment.is_trusted {
            return Err(self.refusal());
        }
        {
            let mut tail = locked(&self.tail);
            if open.lines.is_empty() {
                std::mem::swap(&mut open.lines, &mut tail.lines);
            } else {
                open.lines.append(&mut tail.lines);
            }
            open.lines_seq = tail.next_seq - 1;
        }
        if open.lines.is_empty() {
            return Ok(());
        }
        let records = open.lines_seq - self.written.load(Ordering::Acquire);
        if let Err(error) = open.segment.write(&open.lines, records) {
            let reason = format!("cannot write {}: {error}", open.segment.path.display());
            return Err(self.set_fault(reason, !open.segment.is_trusted));
        }
        open.lines.clear();
        open.lines.shrink_to(BUFFER_BYTES_KEPT);
        self.written.store(open.lines_seq, Ordering::Release);
        self.clear_write_fault();
        Ok(())
    }

    /// Brings everything that has been appended to the disk.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn sync(&self) -> Result<(), DiskFault> {
        let _one = locked(&self.syncing);
        self.sync_alone()
    }

    fn sync_alone(&self) -> Result<(), DiskFault> {
        let (file, seq) = {
            let mut open = locked(&self.open);
            self.write_to(&mut open)?;
            (Arc::clone(&open.segment.file), open.lines_seq)
        };
        if *self.synced.borrow() >= seq {
            return Ok(());
        }
        // Not under the lock of the file: writes go on while the disk works.
        file.sync_data()
            .map_err(|error| self.lose_trust("sync", &error))?;
        self.synced.send_replace(seq);
        Ok(())
    }

    /// Begins a new journal, so that every record in the older ones is in memory before a snapshot's scan begins.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn rotate(&self) -> Result<(), DiskFault> {
        let _one = locked(&self.syncing);
        let (is_trusted, is_new, records, number) = {
            let Open { segment, .. } = &*locked(&self.open);
            (
                segment.is_trusted,
                segment.is_new,
                segment.records,
                segment.number,
            )
        };
        if !is_trusted {
            return self.begin_anew();
        }
        // A new journal that is trusted was begun anew by a save that then failed; nothing has come since.
        if is_new {
            return Ok(());
        }
        self.sync_alone()?;
        // The first journal begins from nothing, and must not stand beside a store.json as if it still did.
        if records == 0 && number > 1 && locked(&self.open).segment.records == 0 {
            return Ok(());
        }
        self.begin_next()
    }

    /// Goes on in the next journal.
    fn begin_next(&self) -> Result<(), DiskFault> {
        let before = {
            let mut open = locked(&self.open);
            self.write_to(&mut open)?;
            let next = Segment::create(&self.folder, open.highest + 1, open.lines_seq + 1);
            let next = next
                .map_err(|error| DiskFault::new(&format!("cannot begin a new journal: {error}")))?;
            open.switch_to(next)
        };
        // In this order: the older journal is on disk before anything in the newer one counts.
        before
            .sync_data()
            .and_then(|()| self.settle())
            .map_err(|error| self.lose_trust("sync", &error))
    }

    /// Leaves a journal that is not trusted any more for the next one. Changes are refused, and stay so until a snapshot is
    /// on disk: it holds what the records say that are dropped here, and none of them has been acknowledged.
    fn begin_anew(&self) -> Result<(), DiskFault> {
        let mut open = locked(&self.open);
        // It stands still: changes are refused. The lock is not held meanwhile, as whoever asks for a change takes it.
        let next_seq = locked(&self.tail).next_seq;
        let next = Segment::create(&self.folder, open.highest + 1, next_seq);
        let next =
            next.map_err(|error| DiskFault::new(&format!("cannot begin a new journal: {error}")))?;
        locked(&self.tail).lines.clear();
        open.lines.clear();
        open.lines_seq = next_seq - 1;
        self.written.store(open.lines_seq, Ordering::Release);
        open.switch_to(next);
        drop(open);
        // It must be in the folder before the snapshot is that takes the place of the journals before it.
        self.folder
            .sync()
            .map_err(|error| self.lose_trust("sync", &error))
    }

    /// Brings a new journal to the disk and gives it its final name; not under the lock of the file, as it takes time.
    fn settle(&self) -> io::Result<()> {
        let file = Arc::clone(&locked(&self.open).segment.file);
        file.sync_all()?;
        locked(&self.open).segment.rename(&self.folder)?;
        self.folder.sync()
    }

    /// Records that store.json has been written, and brings everything to the disk that it may hold.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn record_saved(&self, saved: &Saved) -> Result<(), DiskFault> {
        self.push(&mut locked(&self.tail), Record::of_saved(saved));
        self.sync()
    }

    /// Removes the journals that the snapshot has taken the place of; after a loss of trust, trust begins anew.
    ///
    /// # Errors
    /// What the system said.
    pub fn drop_older(&self) -> io::Result<()> {
        let _one = locked(&self.syncing);
        let older = locked(&self.open).older.clone();
        for (path, _) in older {
            self.folder.remove(&path)?;
            locked(&self.open).older.retain(|(kept, _)| *kept != path);
        }
        let is_begun_anew = {
            let Open { segment, .. } = &*locked(&self.open);
            segment.is_new && segment.is_trusted
        };
        if is_begun_anew {
            self.settle()
                .inspect_err(|error| drop(self.lose_trust("sync", error)))?;
            let mut fault = locked(&self.fault);
            *fault = None;
            self.is_faulty.store(false, Ordering::Release);
            tracing::warn!("a snapshot and a new journal are on disk: changes are taken again");
        }
        Ok(())
    }

    /// Whether only a save can bring trust back.
    #[must_use]
    pub fn needs_save(&self) -> bool {
        locked(&self.fault)
            .as_ref()
            .is_some_and(|fault| fault.needs_save)
    }

    /// Why changes are refused, if they are.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        locked(&self.fault)
            .as_ref()
            .map(|fault| fault.reason.clone())
    }

    /// Bytes in all journals, and how many there are.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let open = locked(&self.open);
        let older: u64 = open.older.iter().map(|(_, bytes)| bytes).sum();
        (older + open.segment.bytes, open.older.len() as u64 + 1)
    }

    fn refusal(&self) -> DiskFault {
        DiskFault::new(
            &self
                .fault()
                .unwrap_or_else(|| "the disk did not take the change; try again".to_owned()),
        )
    }

    /// What was written to the open journal cannot be relied on any more.
    fn lose_trust(&self, action: &str, error: &io::Error) -> DiskFault {
        let mut open = locked(&self.open);
        open.segment.is_trusted = false;
        self.set_fault(
            format!("cannot {action} {}: {error}", open.segment.path.display()),
            true,
        )
    }

    fn set_fault(&self, reason: String, needs_save: bool) -> DiskFault {
        let refusal = DiskFault::new(&reason);
        let mut fault = locked(&self.fault);
        if fault.is_none() {
            tracing::error!("{reason}; changes are refused until the disk takes them, reads go on");
        }
        // A fault that needs more is not hidden by one that needs less.
        if needs_save || fault.as_ref().is_none_or(|fault| !fault.needs_save) {
            *fault = Some(Fault { reason, needs_save });
        }
        self.is_faulty.store(true, Ordering::Release);
        drop(fault);
        // Whoever waits for a sync must look again.
        self.synced.send_modify(|_| ());
        refusal
    }

    /// A write has succeeded: that is the end of a fault that was a failed write.
    fn clear_write_fault(&self) {
        if !self.is_faulty.load(Ordering::Acquire) {
            return;
        }
        let mut fault = locked(&self.fault);
        if fault.as_ref().is_some_and(|fault| !fault.needs_save) {
            *fault = None;
            self.is_faulty.store(false, Ordering::Release);
            tracing::warn!("the disk takes changes again");
        }
    }
}

impl Open {
    /// Goes on in another journal; the file that was written to before.
    fn switch_to(&mut self, next: Segment) -> Arc<std::fs::File> {
        self.highest = next.number;
        let before = std::mem::replace(&mut self.segment, next);
        self.older.push((before.path, before.bytes));
        before.file
    }
}

fn run_syncer(writer: &Weak<Writer>) {
    loop {
        let Some(writer) = writer.upgrade() else {
            return;
        };
        let is_faulty = writer.is_faulty.load(Ordering::Acquire);
        let is_behind = *writer.synced.borrow() < writer.appended.load(Ordering::Acquire);
        // A fault is kept and shown; there is nobody here to tell.
        if (is_behind || is_faulty) && !writer.needs_save() {
            let _ = writer.sync();
        }
        let goes_on = writer.durability == Durability::Always && is_behind && !is_faulty;
        drop(writer);
        if !goes_on {
            std::thread::park_timeout(SYNC_INTERVAL);
        }
    }
}
