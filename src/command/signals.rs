//! Signals to the task that serves a client: why it is woken, other than by its client.
//!
//! In: signals, from any task. Out: the same to the task, which is woken. Promises: a signal that is raised is seen; where there is
//! none, a request costs one load.

use std::sync::atomic::{
    AtomicU8,
    Ordering::{AcqRel, Acquire, Release},
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// One signal.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub enum Signal {
    /// The client is to be disconnected at once.
    Killed = 1,
    /// The client is to be disconnected once the requests that it has sent are answered.
    Draining = 2,
    /// The client is to be disconnected, as it holds too much.
    OverBudget = 4,
    /// Users have changed, and the client may no longer receive what it has subscribed to or follows.
    NewPermissions = 8,
    /// The outbox has messages.
    Messages = 16,
    /// The client sends no more, which ends a request that waits.
    HungUp = 32,
    /// Its wait is to be ended.
    Unblocked = 64,
}

/// Signals that have been raised, and the waker of the task.
#[derive(Debug, Default)]
pub struct Signals {
    raised: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

impl Signals {
    /// Raises a signal, and wakes the task.
    pub fn raise(&self, signal: Signal) {
        self.raised.fetch_or(signal as u8, Release);
        if let Some(waker) = &*self.waker() {
            waker.wake_by_ref();
        }
    }

    /// Takes a signal back. Returns true if it was raised.
    pub fn take(&self, signal: Signal) -> bool {
        self.has(signal) && self.raised.fetch_and(!(signal as u8), AcqRel) & signal as u8 != 0
    }

    /// Returns true if a signal is raised.
    #[must_use]
    #[inline(always)]
    pub fn has(&self, signal: Signal) -> bool {
        self.raised.load(Acquire) & signal as u8 != 0
    }

    /// Returns true if any signal is raised.
    #[must_use]
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.raised.load(Acquire) != 0
    }

    /// Registers the waker of the task. A signal that was raised before wakes nobody: it is to be looked for after this.
    pub fn register(&self, waker: &Waker) {
        let mut registered = self.waker();
        if registered.as_ref().is_none_or(|it| !it.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn each_signal_wakes_the_task_that_has_registered_once() {
        let (signals, wakes) = (Signals::default(), Arc::new(Wakes::default()));
        signals.raise(Signal::Draining);
        signals.register(&Arc::clone(&wakes).into());
        assert!(signals.any(), "raised before the task has registered");
        signals.raise(Signal::Messages);
        assert!(signals.take(Signal::Messages));
        assert!(!signals.take(Signal::Messages), "it has been taken");
        signals.raise(Signal::Killed);
        assert_eq!(wakes.0.load(Relaxed), 2);
        assert!(signals.has(Signal::Draining) && signals.has(Signal::Killed));
    }
}
