//! Evictions: deletes that keep the data under the cap on memory.
//!
//! In: the bytes that a change is about to need. Out: room for them, or why there is none. Promises: expired pairs go first; an eviction
//! is recorded like every delete, before anybody sees it; one call evicts in proportion to what it asks for, so that no request waits for
//! the whole of what is too much.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::data::Data;
use super::error::EngineError;
use super::expiry::Expiry;
use super::listener::Cause;
use super::map::Choice;
use super::memory_cap::Eviction;
use crate::model::Change;
use crate::model::entry::Entry;
use crate::persistence::DiskFault;

/// Bytes that are freed for each byte that is needed while there is too much: at most, so that a request is not slow; and more than one,
/// so that a cap that was lowered is reached.
const FREED_PER_NEEDED: u64 = 2;
/// Number of choices of victims of one call for each KiB that is to be freed, beside [`CHOICES_MIN`]: where nothing can be freed, it ends.
const CHOICES_PER_KIB: u64 = 32;
const CHOICES_MIN: u64 = 64;
/// Part of the limit by which the data may be above it without an eviction that nobody asks for: after a restart, the same pairs may take
/// a little more, as they are divided among the hash tables anew.
const SLACK_PARTS: u64 = 256;
/// Bytes that a call of [`Evictor::reduce`] frees at most.
const REDUCED_BYTES: u64 = 16 << 10;

/// The number of evictions.
#[derive(Debug, Default)]
pub(super) struct Evictor {
    evicted: AtomicU64,
}

impl Evictor {
    /// Returns the number of pairs that were evicted since the start.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Makes room for so many bytes.
    ///
    /// # Errors
    /// [`EngineError::Full`], if there is none, and as much cannot be evicted: nothing is evicted for what is larger than the cap.
    /// [`EngineError::Disk`], while the disk takes no changes.
    pub(super) fn make_room(
        &self,
        data: &Data,
        expiry: &Expiry,
        bytes: u64,
    ) -> Result<(), EngineError> {
        let cap = data.table.cap();
        let needs = |bytes| data.table.memory_bytes() + bytes > cap.limit();
        if !needs(bytes) {
            return Ok(());
        }
        let full = || EngineError::Full {
            bytes,
            cap: cap.bytes(),
        };
        // The program itself cannot be evicted.
        if bytes > cap.limit().saturating_sub(cap.program_bytes()) {
            return Err(full());
        }
        let freed = self.free(data, expiry, bytes, FREED_PER_NEEDED * bytes)?;
        // What it has freed, it may use, even if there was too much before.
        if needs(bytes) && freed < bytes {
            return Err(full());
        }
        Ok(())
    }

    /// Evicts some pairs if there are more bytes than the limit allows, and a little more. Returns whether there may still be too many.
    pub(super) fn reduce(&self, data: &Data, expiry: &Expiry) -> bool {
        let cap = data.table.cap();
        let allowed = cap.limit().saturating_add(cap.limit() / SLACK_PARTS);
        if data.table.memory_bytes() <= allowed || cap.eviction() == Eviction::NoEviction {
            return false;
        }
        let freed = self.free(data, expiry, 0, REDUCED_BYTES);
        freed.is_ok_and(|freed| freed > 0) && data.table.memory_bytes() > allowed
    }

    /// Evicts pairs until so many bytes have room, or until so many are freed. Returns the bytes that are freed.
    fn free(&self, data: &Data, expiry: &Expiry, room: u64, most: u64) -> Result<u64, DiskFault> {
        let cap = data.table.cap();
        cap.note_time();
        let mut freed = 0;
        let mut choices = CHOICES_MIN + most / 1024 * CHOICES_PER_KIB;
        while data.table.memory_bytes() + room > cap.limit() && freed < most && choices > 0 {
            choices -= 1;
            let before = data.table.memory_bytes();
            if expiry.expire(data) {
                freed += before.saturating_sub(data.table.memory_bytes());
                continue;
            }
            let Choice { victims, kept } = data.table.choose();
            if victims.is_empty() {
                break;
            }
            freed += self.evict(data, &victims)?;
            data.table.compact(victims, kept);
        }
        Ok(freed)
    }

    /// Deletes these entries where they are still there, as one change. Returns the bytes that they took.
    fn evict(&self, data: &Data, victims: &[Entry]) -> Result<u64, DiskFault> {
        let removed = data.remove(
            victims,
            Entry::is_same,
            (|keys| Change::Evict(keys), Cause::Evicted),
        )?;
        self.evicted.fetch_add(removed.len() as u64, Relaxed);
        let freed: usize = removed.iter().map(Entry::allocated_bytes).sum();
        Ok(freed as u64)
    }
}
