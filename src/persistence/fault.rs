//! Why changes are refused, while they are.
//!
//! In: failures and their ends. Out: a reason for clients and health checks. Promises: a fault that only a new snapshot can
//! mend is not hidden by one that needs less; whether there is one costs nothing to ask.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::DiskFault;

#[derive(Debug)]
struct Fault {
    reason: String,
    /// Whether only a snapshot and a new journal can mend it; else it is enough that a write succeeds.
    needs_save: bool,
}

/// The fault of a journal, if it has one.
#[derive(Debug, Default)]
pub struct Faults {
    fault: Mutex<Option<Fault>>,
    /// Whether there is one; set and cleared under its lock.
    is_set: AtomicBool,
}

impl Faults {
    fn locked(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether changes are refused.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Whether only a save can bring trust back.
    #[must_use]
    pub fn needs_save(&self) -> bool {
        self.is_set() && self.locked().as_ref().is_some_and(|fault| fault.needs_save)
    }

    /// Why changes are refused, if they are.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.locked().as_ref().map(|fault| fault.reason.clone())
    }

    /// What a change is answered meanwhile.
    #[must_use]
    pub fn refusal(&self) -> DiskFault {
        let reason = self.reason();
        DiskFault::new(
            reason
                .as_deref()
                .unwrap_or("the disk did not take the change; try again"),
        )
    }

    /// From now on changes are refused.
    pub fn set(&self, reason: String, needs_save: bool) -> DiskFault {
        let refusal = DiskFault::new(&reason);
        let mut fault = self.locked();
        if fault.is_none() {
            tracing::error!("{reason}; changes are refused until the disk takes them, reads go on");
        }
        if needs_save || fault.as_ref().is_none_or(|fault| !fault.needs_save) {
            *fault = Some(Fault { reason, needs_save });
        }
        self.is_set.store(true, Ordering::Release);
        refusal
    }

    /// Changes are refused until a snapshot and a new journal are on disk, and nobody need be told why.
    pub fn hold(&self, reason: String) {
        let needs_save = true;
        *self.locked() = Some(Fault { reason, needs_save });
        self.is_set.store(true, Ordering::Release);
    }

    /// A write has succeeded: that is the end of a fault that was a failed write.
    pub fn end_of_failed_write(&self) {
        if !self.is_set() {
            return;
        }
        let mut fault = self.locked();
        if fault.as_ref().is_some_and(|fault| !fault.needs_save) {
            *fault = None;
            self.is_set.store(false, Ordering::Release);
            tracing::warn!("the disk takes changes again");
        }
    }

    /// A snapshot and a new journal are on disk: the end of any fault.
    pub fn end(&self) {
        *self.locked() = None;
        self.is_set.store(false, Ordering::Release);
        tracing::warn!("a snapshot and a new journal are on disk: changes are taken again");
    }
}
