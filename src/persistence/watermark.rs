//! How far something has come, and those who wait for it.
//!
//! In: numbers that grow. Out: a wake-up for everybody who waits, once there is news. Promises: nobody who waits for what has
//! been reached sleeps on; and whoever tells of it wakes one sleeper alone, who wakes the others. (To wake a task from
//! outside the runtime costs a system call, and the thread that syncs has the next sync to begin.) Asks: whoever waits is polled
//! once it is woken, or dropped; held and not polled, it would keep the others asleep.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// A number that grows, and that can be waited for.
#[derive(Debug)]
pub struct Watermark {
    reached: AtomicU64,
    /// Whether there is something to tell that the sleepers have not been woken for.
    is_news: AtomicBool,
    sleepers: Notify,
}

impl Watermark {
    /// At this number.
    #[must_use]
    pub fn new(reached: u64) -> Self {
        Self {
            reached: AtomicU64::new(reached),
            is_news: AtomicBool::new(false),
            sleepers: Notify::new(),
        }
    }

    /// How far it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// It has come to this number, unless it is past it.
    pub fn raise(&self, reached: u64) {
        self.reached.fetch_max(reached, Ordering::Release);
        self.wake();
    }

    /// Lets everybody who waits look again.
    pub fn wake(&self) {
        // Not a mere store: whoever sees this news must see what was told before it, too.
        self.is_news.swap(true, Ordering::AcqRel);
        self.sleepers.notify_one();
    }

    /// Waits until this is so; it is looked at after each piece of news.
    pub async fn wait_until(&self, is_so: impl Fn() -> bool) {
        loop {
            let mut woken = pin!(self.sleepers.notified());
            // Before the look: what comes between the two must wake it.
            woken.as_mut().enable();
            if is_so() {
                return;
            }
            woken.await;
            if self.is_news.swap(false, Ordering::AcqRel) {
                self.sleepers.notify_waiters();
            }
        }
    }
}
