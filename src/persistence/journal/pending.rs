//! The tail of the journal: records that are numbered, in memory, and not yet being written.
//!
//! In: records, under the locks of their keys. Out: the same, in the order of their numbers. Promise: its lock is never
//! held while the disk works, except for the first line of a new journal after a failure, when changes are refused anyway.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;

use crate::persistence::disk::DiskFault;
use crate::persistence::format::Records;

#[derive(Debug)]
struct Queue {
    records: Records,
    next_seq: u64,
}

/// The records that nobody has begun to write. All who change anything write to it, so each part has its own cache line.
#[derive(Debug)]
pub struct Tail {
    queue: CachePadded<Mutex<Queue>>,
    last_seq: CachePadded<AtomicU64>,
    /// The length of the records, to be read without the lock.
    bytes: AtomicUsize,
}

impl Tail {
    /// Creates an empty tail; the next record gets this number.
    #[must_use]
    pub fn new(next_seq: u64) -> Self {
        Self {
            queue: CachePadded::new(Mutex::new(Queue {
                records: Records::default(),
                next_seq,
            })),
            last_seq: CachePadded::new(AtomicU64::new(next_seq - 1)),
            bytes: AtomicUsize::new(0),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of the last record that was appended.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Acquire)
    }

    /// Returns the length of the records that nobody has begun to write, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Appends a record if `admit` passes, which runs under the lock. Returns its number.
    ///
    /// # Errors
    /// The error of `admit`.
    pub fn append(
        &self,
        record: Records,
        admit: impl FnOnce() -> Result<(), DiskFault>,
    ) -> Result<u64, DiskFault> {
        let mut queue = self.locked();
        admit()?;
        Ok(self.append_to(&mut queue, record))
    }

    /// Appends records. Returns the number of the last one.
    pub fn append_all(&self, records: Records) -> u64 {
        self.append_to(&mut self.locked(), records)
    }

    fn append_to(&self, queue: &mut Queue, records: Records) -> u64 {
        queue.next_seq += records.count() as u64;
        queue.records.append(records);
        let last_seq = queue.next_seq - 1;
        self.bytes.store(queue.records.bytes(), Ordering::Relaxed);
        self.last_seq.store(last_seq, Ordering::Release);
        last_seq
    }

    /// Takes all records, and appends their lines to others; `room`, which is none, is exchanged for them meanwhile. Returns the numbers of
    /// the first one and the last one.
    pub fn take_lines(&self, room: &mut Records, lines: &mut Vec<u8>) -> (u64, u64) {
        let last_seq = {
            let mut queue = self.locked();
            std::mem::swap(room, &mut queue.records);
            self.bytes.store(0, Ordering::Relaxed);
            queue.next_seq - 1
        };
        // Not under the lock, which all who change anything wait for.
        let first_seq = last_seq + 1 - room.count() as u64;
        room.finish(first_seq, lines);
        (first_seq, last_seq)
    }

    /// Discards all records; the next one gets this number.
    pub fn restart_at(&self, next_seq: u64) {
        let mut queue = self.locked();
        queue.records.clear();
        queue.next_seq = next_seq;
        self.bytes.store(0, Ordering::Relaxed);
        self.last_seq.store(next_seq - 1, Ordering::Release);
    }

    /// Discards all records once `begin` has succeeded, which gets the number of the next record and runs under the lock, so that
    /// no record comes between. Returns the number of the last record.
    ///
    /// # Errors
    /// The error of `begin`; nothing is discarded then.
    pub fn discard(&self, begin: impl FnOnce(u64) -> io::Result<()>) -> io::Result<u64> {
        let mut queue = self.locked();
        begin(queue.next_seq)?;
        queue.records.clear();
        self.bytes.store(0, Ordering::Relaxed);
        Ok(queue.next_seq - 1)
    }
}
