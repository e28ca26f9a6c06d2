//! The changes that have been sent and not yet answered, by slot.
//!
//! In: slots of changes. Out: whether a slot has one. Promise: a change counts until it is answered or lost, whoever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};

use smallvec::SmallVec;

use super::slot::SLOTS;

/// For each slot the number of its changes.
#[derive(Debug, Clone)]
pub struct UnansweredChanges(Arc<[AtomicU32]>);

/// Some changes, until it is dropped.
#[derive(Debug)]
pub struct Unanswered {
    all: UnansweredChanges,
    slots: SmallVec<[u16; 16]>,
}

impl Default for UnansweredChanges {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl UnansweredChanges {
    /// Adds changes of these slots.
    #[must_use]
    pub fn add(&self, slots: impl Iterator<Item = u16>) -> Unanswered {
        let slots: SmallVec<[u16; 16]> = slots.collect();
        for slot in &slots {
            self.0[usize::from(*slot)].fetch_add(1, AcqRel);
        }
        let all = self.clone();
        Unanswered { all, slots }
    }

    /// Returns true if a slot has changes.
    #[must_use]
    pub fn has(&self, slot: u16) -> bool {
        self.0[usize::from(slot)].load(Acquire) > 0
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        for slot in &self.slots {
            self.all.0[usize::from(*slot)].fetch_sub(1, AcqRel);
        }
    }
}
