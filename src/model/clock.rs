//! The time that keys expire by.
//!
//! In: the clock of the machine. Out: the time now, which stands still for a thread while it executes a transaction or a script, from the
//! first request of it that asks for the time: no key expires between two of its requests, as in Redis.

use std::cell::Cell;
use std::marker::PhantomData;

/// A time, in milliseconds since 1970-01-01 UTC.
pub type UnixMs = u64;

thread_local! {
    static CLOCK: Cell<Clock> = const { Cell::new(Clock::Running) };
}

/// The clock of a thread.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Running,
    /// It stands still, at the time that it has been asked for first.
    Stopped(Option<UnixMs>),
}

/// Returns the time now.
#[must_use]
pub fn now_ms() -> UnixMs {
    match CLOCK.get() {
        Clock::Running => read_clock(),
        Clock::Stopped(Some(time)) => time,
        Clock::Stopped(None) => {
            let time = read_clock();
            CLOCK.set(Clock::Stopped(Some(time)));
            time
        }
    }
}

fn read_clock() -> UnixMs {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// The clock of a thread that stands still until this is dropped.
#[must_use]
pub struct StoppedClock {
    /// True if it is the first that stopped the clock.
    is_first: bool,
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl StoppedClock {
    /// Stops the clock of this thread, if it has not been stopped.
    pub fn stop() -> Self {
        let is_first = matches!(CLOCK.get(), Clock::Running);
        if is_first {
            CLOCK.set(Clock::Stopped(None));
        }
        Self {
            is_first,
            thread: PhantomData,
        }
    }
}

impl Drop for StoppedClock {
    fn drop(&mut self) {
        if self.is_first {
            CLOCK.set(Clock::Running);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_still_until_the_first_that_stopped_it_is_gone() {
        let until_later = |time: UnixMs| {
            let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while read_clock() <= time {
                assert!(std::time::Instant::now() < end, "the clock does not go on");
            }
        };
        let outer = StoppedClock::stop();
        let stopped_at = now_ms();
        until_later(stopped_at);
        let inner = StoppedClock::stop();
        assert_eq!(now_ms(), stopped_at);
        drop(inner);
        assert_eq!(now_ms(), stopped_at);
        drop(outer);
        assert!(now_ms() > stopped_at);
    }
}
