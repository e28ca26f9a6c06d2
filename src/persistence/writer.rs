//! The live journal: append, hand to the system, sync, rotate.
//!
//! In: records, under the locks of their keys. Out: journals that hold them in that order. Promises:
//! - `append` only numbers the record and copies it to memory; `commit` returns once everything appended before it is as
//!   safe as the durability says. Connections share writes, and under `always` they share syncs.
//! - A write that fails is cut back to the last whole record, kept in memory, and tried again until it succeeds; meanwhile
//!   new changes are refused.
//! - After a sync that failed the file is never trusted again: its pages may be gone while the next sync succeeds. Changes
//!   are refused until a snapshot, which holds everything, is on disk with a new journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::watch;

use super::folder::Folder;
use super::journal::{self, Record};
use super::replay::Segment;
use super::{DiskFault, Durability};

/// How often what was written is synced under `everysec`: half of what is promised, the other half is the disk's.
const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// Room that a buffer keeps once it is empty: one long record must not hold its memory for ever.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Records that the system has not been given yet.
struct Tail {
    lines: Vec<u8>,
    next_seq: u64,
}

/// The file that is written to.
struct Open {
    file: Arc<File>,
    path: PathBuf,
    number: u64,
    /// Whether it still has the name of a new journal.
    is_new: bool,
    /// The length of its whole lines.
    bytes: u64,
    records: u64,
    /// What is being written, or is to be written again.
    lines: Vec<u8>,
    lines_seq: u64,
    /// The older journals: number and bytes.
    older: Vec<(u64, u64)>,
}

/// Why changes are refused.
#[derive(Debug, Clone)]
enum Fault {
    /// A write failed; it is tried again.
    Write(String),
    /// The file cannot be trusted; a snapshot and a new journal must take its place.
    Untrusted(String),
}

/// The live journal of a data folder.
pub struct Writer {
    folder: Arc<Folder>,
    durability: Durability,
    tail: Mutex<Tail>,
    open: Mutex<Open>,
    /// One at a time syncs or rotates: the order of syncs is what recovery relies on.
    syncing: Mutex<()>,
    fault: Mutex<Option<Fault>>,
    is_faulty: AtomicBool,
    appended: AtomicU64,
    written: AtomicU64,
    synced: watch::Sender<u64>,
    syncer: OnceLock<Thread>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Goes on where the journals end, or begins the first one, with number `first_number`.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(
        folder: Arc<Folder>,
        durability: Durability,
        mut segments: Vec<Segment>,
        next_seq: u64,
        first_number: u64,
    ) -> io::Result<Arc<Self>> {
        let mut is_first = false;
        let open = match segments.pop() {
            None => {
                is_first = true;
                create(&folder, first_number, next_seq, Vec::new())?
            }
            Some(last) => {
                let file = OpenOptions::new().append(true).open(&last.path)?;
                // What a killed server left to the system is not yet on disk.
                file.sync_all()?;
                Open {
                    file: Arc::new(file),
                    path: last.path,
                    number: last.number,
                    is_new: false,
                    bytes: last.bytes,
                    records: last.records,
                    lines: Vec::new(),
                    lines_seq: 0,
                    older: segments
                        .iter()
                        .map(|segment| (segment.number, segment.bytes))
                        .collect(),
                }
            }
        };
        let writer = Arc::new(Self {
            folder,
            durability,
            tail: Mutex::new(Tail {
                lines: Vec::new(),
                next_seq,
            }),
            open: Mutex::new(open),
            syncing: Mutex::new(()),
            fault: Mutex::new(None),
            is_faulty: AtomicBool::new(false),
            appended: AtomicU64::new(next_seq - 1),
            written: AtomicU64::new(next_seq - 1),
            synced: watch::channel(next_seq - 1).0,
            syncer: OnceLock::new(),
        });
        if is_first {
            writer.settle()?;
        }
        Self::start_syncer(&writer);
        Ok(writer)
    }

    fn start_syncer(writer: &Arc<Self>) {
        let weak = Arc::downgrade(writer);
        let thread = std::thread::Builder::new()
            .name("pykv-sync".to_owned())
            .spawn(move || run_syncer(&weak))
            .expect("the system can start a thread");
        writer.syncer.get_or_init(|| thread.thread().clone());
    }

    /// Numbers a record and takes it. Called under the lock of its keys.
    ///
    /// # Errors
    /// [`DiskFault`], while changes are refused.
    pub fn append(&self, record: Record) -> Result<(), DiskFault> {
        if self.is_faulty.load(Ordering::Acquire) {
            return Err(self.refusal());
        }
        self.append_always(record);
        Ok(())
    }

    fn append_always(&self, record: Record) {
        let mut tail = locked(&self.tail);
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
        match self.durability {
            Durability::Off => Ok(()),
            Durability::EverySecond if self.written.load(Ordering::Acquire) >= appended => Ok(()),
            Durability::EverySecond => self.write(),
            Durability::Always if *self.synced.borrow() >= appended => Ok(()),
            Durability::Always => self.wait_for_sync(appended).await,
        }
    }

    async fn wait_for_sync(&self, appended: u64) -> Result<(), DiskFault> {
        let mut synced = self.synced.subscribe();
        if let Some(syncer) = self.syncer.get() {
            syncer.unpark();
        }
        let is_over = |synced: &u64| *synced >= appended || self.is_faulty.load(Ordering::Acquire);
        let seq = synced.wait_for(is_over).await.map(|seq| *seq);
        if seq.is_ok_and(|seq| seq >= appended) {
            Ok(())
        } else {
            Err(self.refusal())
        }
    }

    /// Hands what has been appended to the system.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn write(&self) -> Result<(), DiskFault> {
        let mut open = locked(&self.open);
        self.write_to(&mut open)
    }

    fn write_to(&self, open: &mut Open) -> Result<(), DiskFault> {
        {
            let mut tail = locked(&self.tail);
            if open.lines.is_empty() {
                std::mem::swap(&mut open.lines, &mut tail.lines);
            } else {
                open.lines.append(&mut tail.lines);
            }
            open.lines_seq = tail.next_seq - 1;
        }
        if let Some(Fault::Untrusted(reason)) = &*locked(&self.fault) {
            return Err(DiskFault::new(reason));
        }
        if open.lines.is_empty() {
            return Ok(());
        }
        if let Err(error) = (&*open.file).write_all(&open.lines) {
            return Err(self.cut_back(open, &error));
        }
        open.bytes += open.lines.len() as u64;
        open.records += open.lines_seq - self.written.load(Ordering::Acquire);
        open.lines.clear();
        open.lines.shrink_to(BUFFER_BYTES_KEPT);
        self.written.store(open.lines_seq, Ordering::Release);
        self.clear_fault();
        Ok(())
    }

    /// Takes half a record back off the file.
    fn cut_back(&self, open: &mut Open, error: &io::Error) -> DiskFault {
        let reason = format!("cannot write {}: {error}", open.path.display());
        let cut = open.file.set_len(open.bytes);
        self.set_fault(if cut.is_ok() {
            Fault::Write(reason)
        } else {
            Fault::Untrusted(reason)
        })
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
        let (file, path, seq) = {
            let mut open = locked(&self.open);
            self.write_to(&mut open)?;
            (Arc::clone(&open.file), open.path.clone(), open.lines_seq)
        };
        if *self.synced.borrow() >= seq {
            return Ok(());
        }
        // Not under the lock of the file: writes go on while the disk works.
        if let Err(error) = file.sync_data() {
            return Err(self.set_fault(Fault::Untrusted(format!(
                "cannot sync {}: {error}",
                path.display()
            ))));
        }
        self.synced.send_replace(seq);
        Ok(())
    }

    /// Begins a new journal, so that every record in the older ones is in memory before a snapshot's scan begins.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn rotate(&self) -> Result<(), DiskFault> {
        let _one = locked(&self.syncing);
        let is_untrusted = matches!(&*locked(&self.fault), Some(Fault::Untrusted(_)));
        if !is_untrusted {
            self.sync_alone()?;
            let open = locked(&self.open);
            // The first journal begins from nothing, and must not stand beside a store.json as if it still did.
            if open.records == 0 && !open.is_new && open.number > 1 {
                return Ok(());
            }
        }
        let before = self
            .begin_next(is_untrusted)
            .map_err(|error| DiskFault::new(&format!("cannot begin a new journal: {error}")))?;
        if is_untrusted {
            return Ok(());
        }
        // In this order: the older journal is on disk before anything in the newer one counts.
        before
            .sync_data()
            .and_then(|()| self.settle())
            .map_err(|error| {
                self.set_fault(Fault::Untrusted(format!(
                    "cannot sync the journal: {error}"
                )))
            })
    }

    /// Brings a new journal to the disk and gives it its final name; not under the lock of the file, as it takes time.
    fn settle(&self) -> io::Result<()> {
        let (file, new_path, path) = {
            let open = locked(&self.open);
            (
                Arc::clone(&open.file),
                open.path.clone(),
                self.folder.join(&journal::name(open.number)),
            )
        };
        file.sync_all()?;
        self.folder.publish(&new_path, &path)?;
        let mut open = locked(&self.open);
        open.path = path;
        open.is_new = false;
        Ok(())
    }

    /// Switches to the next journal, which has the name of a new one; the file that was written to before.
    fn begin_next(&self, is_untrusted: bool) -> io::Result<Arc<File>> {
        let mut open = locked(&self.open);
        if is_untrusted {
            // The snapshot to come holds what these records say; none of them was promised.
            let tail = locked(&self.tail);
            open.lines.clear();
            open.lines_seq = tail.next_seq - 1;
        } else if self.write_to(&mut open).is_err() {
            return Err(io::Error::other("the journal before it cannot be written"));
        }
        let mut older = std::mem::take(&mut open.older);
        let number = if open.is_new {
            open.number
        } else {
            open.number + 1
        };
        if !open.is_new {
            older.push((open.number, open.bytes));
        }
        let next_seq = open.lines_seq + 1;
        match create(&self.folder, number, next_seq, older.clone()) {
            Ok(next) => Ok(std::mem::replace(&mut *open, next).file),
            Err(error) => {
                older.retain(|(number, _)| *number != open.number);
                open.older = older;
                Err(error)
            }
        }
    }

    /// Records that store.json has been written, and brings everything to the disk that it may hold.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn record_saved(&self, saved: &super::snapshot::Saved) -> Result<(), DiskFault> {
        if !self.is_untrusted() {
            self.append_always(Record::of_saved(saved));
            return self.sync();
        }
        // The new journal is empty; this is its first record.
        let mut lines = Vec::new();
        let mut open = locked(&self.open);
        let seq = {
            let mut tail = locked(&self.tail);
            tail.lines.clear();
            let seq = tail.next_seq;
            tail.next_seq += 1;
            seq
        };
        Record::of_saved(saved).write(seq, &mut lines);
        let written = (&*open.file)
            .write_all(&lines)
            .and_then(|()| open.file.sync_all());
        written.map_err(|error| {
            DiskFault::new(&format!("cannot write {}: {error}", open.path.display()))
        })?;
        open.bytes += lines.len() as u64;
        open.records += 1;
        open.lines_seq = seq;
        self.appended.store(seq, Ordering::Release);
        self.written.store(seq, Ordering::Release);
        Ok(())
    }

    /// Removes the journals that the snapshot has taken the place of; after a fault, trust begins anew.
    ///
    /// # Errors
    /// What the system said.
    pub fn drop_older(&self) -> io::Result<()> {
        let older = locked(&self.open).older.clone();
        for (number, _) in older {
            self.folder
                .remove(&self.folder.join(&journal::name(number)))?;
            locked(&self.open).older.retain(|(kept, _)| *kept != number);
        }
        if self.is_untrusted() {
            self.settle()?;
            self.synced.send_replace(locked(&self.open).lines_seq);
            *locked(&self.fault) = None;
            self.is_faulty.store(false, Ordering::Release);
            tracing::warn!("a snapshot and a new journal are on disk: changes are taken again");
        }
        Ok(())
    }

    /// Whether only a snapshot can bring trust back.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        matches!(&*locked(&self.fault), Some(Fault::Untrusted(_)))
    }

    /// Why changes are refused, if they are.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        locked(&self.fault)
            .as_ref()
            .map(|(Fault::Write(reason) | Fault::Untrusted(reason))| reason.clone())
    }

    /// Bytes in all journals, and how many there are.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let open = locked(&self.open);
        let older: u64 = open.older.iter().map(|(_, bytes)| bytes).sum();
        (older + open.bytes, open.older.len() as u64 + 1)
    }

    fn refusal(&self) -> DiskFault {
        DiskFault::new(
            &self
                .fault()
                .unwrap_or_else(|| "the disk did not take the change; try again".to_owned()),
        )
    }

    fn set_fault(&self, fault: Fault) -> DiskFault {
        let (Fault::Write(reason) | Fault::Untrusted(reason)) = &fault;
        let refusal = DiskFault::new(reason);
        let mut current = locked(&self.fault);
        if current.is_none() {
            tracing::error!("{reason}; changes are refused until the disk takes them, reads go on");
        }
        *current = Some(fault);
        self.is_faulty.store(true, Ordering::Release);
        drop(current);
        // Whoever waits for a sync must look again.
        self.synced.send_modify(|_| ());
        refusal
    }

    fn clear_fault(&self) {
        if self.is_faulty.load(Ordering::Acquire) {
            *locked(&self.fault) = None;
            self.is_faulty.store(false, Ordering::Release);
            tracing::warn!("the disk takes changes again");
        }
    }
}

fn run_syncer(writer: &Weak<Writer>) {
    loop {
        let Some(writer) = writer.upgrade() else {
            return;
        };
        let is_behind = match writer.durability {
            Durability::Always => *writer.synced.borrow() < writer.appended.load(Ordering::Acquire),
            _ => *writer.synced.borrow() < writer.written.load(Ordering::Acquire),
        };
        let is_faulty = writer.is_faulty.load(Ordering::Acquire);
        if (is_behind || is_faulty) && !writer.is_untrusted() {
            // A fault is kept and shown; there is nobody here to tell.
            let _ = writer.sync();
        }
        let wait = writer.durability != Durability::Always || is_faulty || !is_behind;
        drop(writer);
        if wait {
            std::thread::park_timeout(SYNC_INTERVAL);
        }
    }
}

/// Makes a journal with its first line, under the name of a new one.
fn create(
    folder: &Folder,
    number: u64,
    first_seq: u64,
    older: Vec<(u64, u64)>,
) -> io::Result<Open> {
    let path = folder.join(&journal::new_name(number));
    let mut header = Vec::new();
    journal::write_header(number, first_seq, &mut header);
    folder.remove(&path)?;
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(&path)?;
    file.write_all(&header)?;
    Ok(Open {
        file: Arc::new(file),
        path,
        number,
        is_new: true,
        bytes: header.len() as u64,
        records: 0,
        lines: Vec::new(),
        lines_seq: first_seq - 1,
        older,
    })
}
