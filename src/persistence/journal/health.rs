//! The health of the live journal: one state, which decides whether changes are taken and what ends a fault.
//!
//! In: failures and successes of the disk. Out: the state, and the reason for clients and health checks. Promises: a fault
//! that only a save can end is not hidden by one that needs less; on the hot path the state costs one load.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::atomic::AtomicCell;

use crate::persistence::disk::DiskFault;

/// The state of the live journal. Changes are taken in [`State::Healthy`] alone; reads go on in every state.
///
/// ```text
///                   Healthy        WriteFailed    Poisoned       Restarted
/// WriteFailed       WriteFailed    WriteFailed    -              -
/// WriteSucceeded    -              Healthy        -              -
/// Poisoned          Poisoned       Poisoned       Poisoned       Poisoned
/// Restarted         -              -              Restarted      -
/// Saved             -              -              -              Healthy
/// ```
///
/// The rows are the events, the columns the states; `-` leaves the state as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// The disk takes changes.
    #[default]
    Healthy,
    /// A write failed, and the file was cut back to its last whole record. Writing is retried; a success ends it.
    WriteFailed,
    /// The open file cannot be relied on: a sync failed, half a record could not be cut back, or the file is not under its
    /// name. Nothing is written to it any more: after a failed sync its pages may be gone while the next sync succeeds.
    Poisoned,
    /// A new file was started in place of a poisoned one, without the records that only the poisoned one may hold. A snapshot
    /// of memory, which holds them all, ends it.
    Restarted,
}

/// An event that may change the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A write failed and was cut back.
    WriteFailed,
    /// A write succeeded.
    WriteSucceeded,
    /// The open file cannot be relied on any more.
    Poisoned,
    /// A new file was started.
    Restarted,
    /// A snapshot is on disk and has replaced all older journals.
    Saved,
}

impl State {
    /// Returns the state after an event; the table above.
    fn after(self, event: Event) -> Self {
        match (self, event) {
            (_, Event::Poisoned) => Self::Poisoned,
            (Self::Healthy, Event::WriteFailed) => Self::WriteFailed,
            (Self::WriteFailed, Event::WriteSucceeded) | (Self::Restarted, Event::Saved) => {
                Self::Healthy
            }
            (Self::Poisoned, Event::Restarted) => Self::Restarted,
            (state, _) => state,
        }
    }
}

/// The state of the live journal, and the reason for it.
#[derive(Debug, Default)]
pub struct Health {
    /// Changed under the lock of the reason alone; read without it.
    state: AtomicCell<State>,
    /// The reason for the fault; `None` while there is none.
    reason: Mutex<Option<String>>,
}

impl Health {
    /// Creates the health of a journal that is poisoned from the start. Nothing is logged: the caller knows the reason.
    #[must_use]
    pub fn poisoned(reason: &str) -> Self {
        Self {
            state: AtomicCell::new(State::Poisoned),
            reason: Mutex::new(Some(reason.to_owned())),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.load()
    }

    /// Returns true if changes are taken.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.state() == State::Healthy
    }

    /// Returns true if only a save can end the fault.
    #[must_use]
    pub fn needs_save(&self) -> bool {
        matches!(self.state(), State::Poisoned | State::Restarted)
    }

    /// Returns the reason for the fault, if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.locked().clone()
    }

    /// Returns the error for a change that is refused.
    #[must_use]
    pub fn refusal(&self) -> DiskFault {
        // The fault may have ended since it was met.
        let reason = self.reason();
        DiskFault::new(
            reason
                .as_deref()
                .unwrap_or("the disk did not take the change; try again"),
        )
    }

    /// Notes that a write failed and was cut back. Returns the error for those who wait for it.
    pub fn write_failed(&self, reason: &str) -> DiskFault {
        self.fail(Event::WriteFailed, reason)
    }

    /// Notes that the open file cannot be relied on any more. Returns the error for those who wait for it.
    pub fn poison(&self, reason: &str) -> DiskFault {
        self.fail(Event::Poisoned, reason)
    }

    fn fail(&self, event: Event, reason: &str) -> DiskFault {
        let mut kept = self.locked();
        let before = self.state.load();
        let after = before.after(event);
        if before == State::Healthy {
            tracing::error!("{reason}; changes are refused until the disk takes them, reads go on");
        }
        // The reason of a fault that needs a save stays until another such fault.
        if event == Event::Poisoned || after == State::WriteFailed {
            *kept = Some(reason.to_owned());
        }
        self.state.store(after);
        DiskFault::new(reason)
    }

    /// Notes that a write succeeded.
    pub fn write_succeeded(&self) {
        self.recover(Event::WriteSucceeded, "the disk takes changes again");
    }

    /// Refuses changes until a save, as memory holds other data from now on than the journal.
    pub fn replaced(&self, reason: &str) {
        *self.locked() = Some(reason.to_owned());
        self.state.store(State::Restarted);
    }

    /// Notes that a new file was started in place of a poisoned one.
    pub fn restarted(&self) {
        let _kept = self.locked();
        self.state.store(self.state.load().after(Event::Restarted));
    }

    /// Notes that a snapshot is on disk and has replaced all older journals.
    pub fn saved(&self) {
        self.recover(
            Event::Saved,
            "a snapshot and a new journal are on disk: changes are taken again",
        );
    }

    fn recover(&self, event: Event, message: &str) {
        if self.is_healthy() {
            return;
        }
        let mut kept = self.locked();
        let before = self.state.load();
        let after = before.after(event);
        if before != State::Healthy && after == State::Healthy {
            *kept = None;
            self.state.store(after);
            tracing::warn!("{message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Event::{Poisoned, Restarted, Saved, WriteFailed, WriteSucceeded};
    use super::*;

    /// Events that lead from a healthy journal to each state.
    const WAYS: [(State, &[Event]); 4] = [
        (State::Healthy, &[]),
        (State::WriteFailed, &[WriteFailed]),
        (State::Poisoned, &[Poisoned]),
        (State::Restarted, &[Poisoned, Restarted]),
    ];

    fn apply(health: &Health, event: Event, reason: &str) {
        match event {
            WriteFailed => drop(health.write_failed(reason)),
            WriteSucceeded => health.write_succeeded(),
            Poisoned => drop(health.poison(reason)),
            Restarted => health.restarted(),
            Saved => health.saved(),
        }
    }

    #[test]
    fn each_event_leads_from_each_state_where_the_table_says() {
        let table = [
            (WriteFailed, "WriteFailed WriteFailed - -"),
            (WriteSucceeded, "- Healthy - -"),
            (Poisoned, "Poisoned Poisoned Poisoned Poisoned"),
            (Restarted, "- - Restarted -"),
            (Saved, "- - - Healthy"),
        ];
        for (event, row) in table {
            for ((state, way), expected) in WAYS.into_iter().zip(row.split(' ')) {
                let health = Health::default();
                for earlier in way {
                    apply(&health, *earlier, "earlier");
                }
                assert_eq!(health.state(), state);
                apply(&health, event, "later");
                let expected = match expected {
                    "-" => format!("{state:?}"),
                    other => other.to_owned(),
                };
                let after = health.state();
                assert_eq!(format!("{after:?}"), expected, "{event:?} in {state:?}");
                // Nothing is refused without a reason.
                assert_eq!(health.reason().is_none(), after == State::Healthy);
                assert_eq!(
                    health.needs_save(),
                    matches!(after, State::Poisoned | State::Restarted)
                );
            }
        }
    }

    #[test]
    fn a_failed_write_does_not_hide_the_reason_for_a_save() {
        for way in [&[Poisoned][..], &[Poisoned, Restarted]] {
            let health = Health::default();
            for event in way {
                apply(&health, *event, "the sync failed");
            }
            assert_eq!(health.write_failed("full").to_string(), "full");
            assert_eq!(health.reason().as_deref(), Some("the sync failed"));
            assert_eq!(health.refusal().to_string(), "the sync failed");
        }
    }

    #[test]
    fn a_later_reason_of_the_same_kind_is_the_one_shown() {
        let health = Health::default();
        for (event, reason) in [
            (WriteFailed, "full"),
            (WriteFailed, "still full"),
            (Poisoned, "the sync failed"),
            (Poisoned, "the folder is gone"),
        ] {
            apply(&health, event, reason);
            assert_eq!(health.reason().as_deref(), Some(reason));
        }
    }
}
