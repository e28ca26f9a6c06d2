//! A number that grows, and tasks that wait for it.
//!
//! In: numbers that grow. Out: a wake-up for every task that waits, once there is an update. Promises: no task that waits for
//! what has been reached sleeps on; an update wakes one waiter alone, which wakes the others. (To wake a task from outside the
//! runtime costs a system call, and the thread that syncs has the next sync to begin.) A waiter must be polled once it is
//! woken, or dropped; held and not polled, it would keep the others asleep.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// A number that grows, and that tasks can wait for.
#[derive(Debug)]
pub struct Watermark {
    reached: AtomicU64,
    /// True if there is an update that the waiters have not been woken for.
    has_update: AtomicBool,
    waiters: Notify,
}

impl Watermark {
    /// Creates a watermark at a number.
    #[must_use]
    pub fn new(reached: u64) -> Self {
        Self {
            reached: AtomicU64::new(reached),
            has_update: AtomicBool::new(false),
            waiters: Notify::new(),
        }
    }

    /// Returns the number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// Raises it to a number, unless it is higher already, and wakes the waiters.
    pub fn raise(&self, reached: u64) {
        self.reached.fetch_max(reached, Ordering::Release);
        self.wake();
    }

    /// Sets it to a number, which may be lower, and wakes the waiters.
    pub fn restart_at(&self, reached: u64) {
        self.reached.store(reached, Ordering::Release);
        self.wake();
    }

    /// Wakes the waiters, which check their conditions again.
    pub fn wake(&self) {
        // Not a mere store: a task that sees this update must see what was written before it, too.
        self.has_update.swap(true, Ordering::AcqRel);
        self.waiters.notify_one();
    }

    /// Waits until a condition holds; it is checked after each update.
    pub async fn wait_until(&self, holds: impl Fn() -> bool) {
        while !holds() {
            let mut woken = pin!(self.waiters.notified());
            // Before the check: an update between the two must wake it.
            woken.as_mut().enable();
            if holds() {
                return;
            }
            woken.await;
            if self.has_update.swap(false, Ordering::AcqRel) {
                self.waiters.notify_waiters();
            }
        }
    }
}
