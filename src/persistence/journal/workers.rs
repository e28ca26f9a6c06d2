//! The threads of the journal.
//!
//! In: work, and an interval. Out: the work is done whenever its thread is woken, and once per interval. Promise: the threads
//! end once the object that they work for is dropped.

use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The work of one thread, and its name.
pub type Job<T> = (&'static str, fn(&T));

/// The threads that work for one object.
#[derive(Debug, Default)]
pub struct Workers(OnceLock<Vec<Thread>>);

impl Workers {
    /// Starts a thread for each piece of work; each also runs `check` once per interval.
    ///
    /// # Errors
    /// Any error of the operating system while starting a thread.
    pub fn start<T: Send + Sync + 'static>(
        &self,
        owner: &Arc<T>,
        works: &[Job<T>],
        check: fn(&T),
        interval: Duration,
    ) -> io::Result<()> {
        let threads = works.iter().map(|(name, work)| {
            let (owner, work) = (Arc::downgrade(owner), *work);
            let thread = std::thread::Builder::new()
                .name((*name).to_owned())
                .spawn(move || run(&owner, work, check, interval))?;
            Ok(thread.thread().clone())
        });
        let threads = threads.collect::<io::Result<_>>()?;
        self.0.get_or_init(|| threads);
        Ok(())
    }

    fn threads(&self) -> &[Thread] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    /// Wakes the first thread.
    pub fn wake_first(&self) {
        self.threads().first().inspect(|thread| thread.unpark());
    }

    /// Wakes the last thread.
    pub fn wake_last(&self) {
        self.threads().last().inspect(|thread| thread.unpark());
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // They find that their owner is gone, and end.
        for thread in self.threads() {
            thread.unpark();
        }
    }
}

fn run<T>(owner: &Weak<T>, work: fn(&T), check: fn(&T), interval: Duration) {
    let mut checked = Instant::now();
    loop {
        let Some(owner) = owner.upgrade() else {
            return;
        };
        let started = Instant::now();
        work(&owner);
        if checked.elapsed() >= interval {
            check(&owner);
            checked = Instant::now();
        }
        drop(owner);
        // After a slow sync the next one begins at once: what was appended meanwhile has waited long enough.
        std::thread::park_timeout(interval.saturating_sub(started.elapsed()));
    }
}
