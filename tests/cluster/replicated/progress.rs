//! What the clients have got done so far, and how long they had to wait for it.
//!
//! In: an acknowledgement, whenever there is one; marks, where something was done to the cluster. Out: how many there were; the time from a
//! mark to the first success of what was asked after it; and the longest silence since the mark.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wait::wait_for;

/// The clients' progress.
pub struct Progress(Mutex<State>);

struct State {
    acknowledged: usize,
    value_bytes: usize,
    mark: Instant,
    first: Option<Duration>,
    last: Instant,
    silence: Duration,
}

impl Progress {
    /// None so far; the clients begin with values of this length.
    pub fn new(value_bytes: usize) -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            acknowledged: 0,
            value_bytes,
            mark: now,
            first: None,
            last: now,
            silence: Duration::ZERO,
        }))
    }

    /// Notes what was asked then and is acknowledged now.
    pub fn note(&self, asked: Instant) {
        let now = Instant::now();
        let mut state = self.state();
        state.acknowledged += 1;
        if state.first.is_none() && asked > state.mark {
            state.first = Some(now - state.mark);
        }
        state.silence = state.silence.max(now - state.last);
        state.last = now;
    }

    /// Marks what was done to the cluster now.
    pub fn mark(&self) {
        let mut state = self.state();
        state.mark = Instant::now();
        state.first = None;
        state.silence = Duration::ZERO;
    }

    /// Marks again, without forgetting the longest silence.
    pub fn mark_again(&self) {
        let mut state = self.state();
        state.mark = Instant::now();
        state.first = None;
    }

    /// Waits for the first success after the mark; how long after it that came.
    pub fn next_success(&self) -> Duration {
        let mut first = None;
        wait_for("a change succeeds again", || {
            first = self.state().first;
            first.map(drop).ok_or_else(|| "none does".to_owned())
        });
        first.expect("it was waited for")
    }

    /// Waits for so many acknowledgements more.
    pub fn wait_for_more(&self, count: usize) {
        let before = self.acknowledged();
        wait_for("changes are acknowledged", || {
            let now = self.acknowledged();
            if now >= before + count {
                return Ok(());
            }
            Err(format!("only {} more", now - before))
        });
    }

    /// How many have been acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.state().acknowledged
    }

    /// The longest time without an acknowledgement since the mark, or since the last one before it, up to now.
    pub fn silence(&self) -> Duration {
        let state = self.state();
        state.silence.max(state.last.elapsed())
    }

    /// The length of values at present.
    pub fn value_bytes(&self) -> usize {
        self.state().value_bytes
    }

    /// Has the clients write values of this length from now on.
    pub fn set_value_bytes(&self, bytes: usize) {
        self.state().value_bytes = bytes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
