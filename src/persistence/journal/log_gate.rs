//! The gate between the journal and a log that several servers share: which records the log has, and what this server may do.
//!
//! In: what the member of a cluster learns of the log and of its lease. Out: whether a change is taken, and whether a reply may leave.
//! Promises:
//! - a reply that reports a change leaves once the log has the change; a reply that shows data leaves only while no other server
//!   can have changed it, which the lease guarantees, or a confirmation that was asked for after the data was read;
//! - a change of one term is never confirmed by a later one, in which its number may be another record's.
//!
//! A term is a time in which the role of this server did not change. The lease is measured by a clock that goes on while the machine
//! is suspended.

use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::watermark::Watermark;
use crate::persistence::disk::DiskFault;

/// The longest that a reply waits for the log. After that its outcome is unknown to the client.
pub const LOG_WAIT_MAX: Duration = Duration::from_secs(5);

/// A time of the clock that goes on while the machine is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(u64);

impl BootTime {
    /// The time that is never over.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the time now.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
        Self(time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the time so much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// Returns how long it is until this time; zero if it is over.
    #[must_use]
    pub fn remaining(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(Self::now().0))
    }
}

/// The gate of a journal. Closed at first.
#[derive(Debug)]
pub struct LogGate {
    /// The last record that the log has.
    pub(super) logged: Watermark,
    term: AtomicU64,
    takes_changes: AtomicBool,
    /// Why the log takes no records, if it does not.
    fault: Mutex<Option<String>>,
    has_fault: AtomicBool,
    /// Data may be shown until then.
    valid_until: AtomicU64,
    /// True if each reply that shows data waits for a confirmation.
    is_confirming: AtomicBool,
    /// Confirmations that were asked for, and those that were given.
    asked: AtomicU64,
    confirmed: Watermark,
    /// Number of replies that wait.
    waiters: AtomicUsize,
    /// Notified when a reply waits.
    pub(super) waiting: Notify,
    /// Notified when a confirmation is asked for.
    asking: Notify,
}

impl LogGate {
    /// Creates a closed gate before a log whose last record is known.
    #[must_use]
    pub fn new(logged: u64) -> Self {
        Self {
            logged: Watermark::new(logged),
            term: AtomicU64::new(0),
            takes_changes: AtomicBool::new(false),
            fault: Mutex::new(None),
            has_fault: AtomicBool::new(false),
            valid_until: AtomicU64::new(0),
            is_confirming: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            confirmed: Watermark::new(0),
            waiters: AtomicUsize::new(0),
            waiting: Notify::new(),
            asking: Notify::new(),
        }
    }

    /// Returns the number of the term.
    #[must_use]
    #[inline(always)]
    pub fn term(&self) -> u64 {
        self.term.load(Acquire)
    }

    /// Begins another term, in which changes of clients are taken or not. No lock of a key may be held by others meanwhile: what they
    /// have admitted would be appended in the wrong term.
    pub fn begin_term(&self, takes_changes: bool) {
        self.takes_changes.store(takes_changes, Release);
        self.term.fetch_add(1, Release);
        self.logged.wake();
        self.confirmed.wake();
    }

    /// Takes no more changes of clients in this term.
    pub fn stop_changes(&self) {
        self.takes_changes.store(false, Release);
    }

    /// Lets data be shown until a time.
    pub fn extend(&self, until: BootTime) {
        self.valid_until.store(until.0, Release);
        self.logged.wake();
    }

    /// Returns the time until which data may be shown.
    #[must_use]
    pub fn valid_until(&self) -> BootTime {
        BootTime(self.valid_until.load(Acquire))
    }

    /// Lets each reply wait for a confirmation.
    pub fn confirm_each(&self) {
        self.is_confirming.store(true, Relaxed);
    }

    /// Returns the last record that the log has.
    #[must_use]
    pub fn logged(&self) -> u64 {
        self.logged.get()
    }

    /// Returns true while a reply waits.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.waiters.load(Acquire) > 0
    }

    /// Waits until a reply waits for records that the log does not have.
    pub async fn wait_for_demand(&self) {
        self.waiting.notified().await;
    }

    /// Waits until a confirmation is asked for.
    pub async fn wait_for_asking(&self) {
        self.asking.notified().await;
    }

    /// Returns the number of confirmations that were asked for by now.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Acquire)
    }

    /// Returns the number of confirmations that were given.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed.get()
    }

    /// Gives the first so many confirmations.
    pub fn confirm(&self, asked: u64) {
        self.confirmed.raise(asked);
    }

    /// Checks that changes of clients are taken.
    ///
    /// # Errors
    /// [`DiskFault`], if another server takes them.
    pub(super) fn admit(&self) -> Result<(), DiskFault> {
        if !self.takes_changes.load(Acquire) {
            return Err(DiskFault::not_leader());
        }
        if self.has_fault.load(Acquire) {
            return Err(DiskFault::new(&self.fault().unwrap_or_default()));
        }
        Ok(())
    }

    /// Refuses changes for a reason, as the log takes no records; or takes them again.
    pub fn refuse(&self, reason: Option<String>) {
        if reason.is_none() && !self.has_fault.load(Relaxed) {
            return;
        }
        self.has_fault.store(reason.is_some(), Release);
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Returns why the log takes no records, if it does not.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let fault = self.fault.lock();
        fault.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_valid(&self) -> bool {
        self.valid_until() > BootTime::now()
    }

    /// Returns true if the log has a record of a term, and data may be shown.
    #[must_use]
    pub fn is_safe(&self, seq: u64, term: u64) -> bool {
        // The term is read after the number: what is logged in a later term is not confirmed for this one.
        self.logged.get() >= seq
            && self.term() == term
            && self.is_valid()
            && !self.is_confirming.load(Relaxed)
    }

    /// Waits until the log has a record of a term, and data may be shown.
    ///
    /// # Errors
    /// [`DiskFault`], if the term has ended or that takes too long: what has become of the record is not known.
    pub async fn commit(&self, seq: u64, term: u64) -> Result<(), DiskFault> {
        if self.is_safe(seq, term) {
            return Ok(());
        }
        let _waiter = Waiter::of(&self.waiters);
        let is_over = || self.term() != term;
        let waited = timeout(LOG_WAIT_MAX, async {
            if self.logged.get() < seq {
                self.waiting.notify_one();
            }
            self.logged
                .wait_until(|| is_over() || (self.logged.get() >= seq && self.is_valid()))
                .await;
            if self.is_confirming.load(Relaxed) && self.valid_until() != BootTime::NEVER {
                let ticket = self.asked.fetch_add(1, Release) + 1;
                self.asking.notify_one();
                self.confirmed
                    .wait_until(|| is_over() || self.confirmed.get() >= ticket)
                    .await;
            }
        });
        match waited.await {
            Ok(()) if !is_over() => Ok(()),
            Ok(()) => Err(DiskFault::in_doubt(
                "this server has lost the lead before it could answer: a change may have been made, and what was read may be old",
            )),
            Err(_) => Err(DiskFault::in_doubt(
                "etcd has not answered in time: a change may have been made, or may still be, and what was read may be old",
            )),
        }
    }
}

/// A reply that waits, as it is counted.
struct Waiter<'w>(&'w AtomicUsize);

impl<'w> Waiter<'w> {
    fn of(waiters: &'w AtomicUsize) -> Self {
        waiters.fetch_add(1, Release);
        Self(waiters)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading(logged: u64) -> LogGate {
        let gate = LogGate::new(logged);
        gate.begin_term(true);
        gate.extend(BootTime::NEVER);
        gate
    }

    #[test]
    fn a_change_of_one_term_is_not_confirmed_by_a_later_one() {
        let gate = leading(7);
        let term = gate.term();
        assert!(gate.is_safe(7, term) && !gate.is_safe(8, term));
        gate.begin_term(false);
        gate.logged.raise(9);
        gate.begin_term(true);
        assert!(!gate.is_safe(7, term) && !gate.is_safe(8, term));
        assert!(gate.is_safe(8, gate.term()));
    }

    #[test]
    fn nothing_is_shown_once_the_lease_is_over() {
        let gate = leading(7);
        gate.extend(BootTime::now());
        assert!(!gate.is_safe(7, gate.term()));
        gate.extend(BootTime::now().after(Duration::from_secs(60)));
        assert!(gate.is_safe(7, gate.term()));
    }

    #[test]
    fn changes_are_taken_in_the_terms_of_a_leader_alone() {
        let gate = LogGate::new(0);
        assert!(gate.admit().is_err());
        gate.begin_term(true);
        assert!(gate.admit().is_ok());
        gate.begin_term(false);
        assert!(gate.admit().is_err());
    }
}
