//! Clients at work while something is done to the cluster.
//!
//! In: the clients, and what is done meanwhile. Out: what each has seen, and what was done. They work until that is done, or has
//! failed.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

/// Says to the clients when to stop.
pub struct Stop(AtomicBool);

impl Stop {
    /// Whether a client goes on.
    pub fn goes_on(&self) -> bool {
        !self.0.load(Relaxed)
    }
}

/// Stops the clients when it is dropped, be it by a panic.
struct StopWhenDropped<'a>(&'a Stop);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Relaxed);
    }
}

/// Runs the clients, each in a thread, while something else is done.
pub fn at_work<C: Send, S: Send, R>(
    clients: Vec<C>,
    work: impl Fn(C, &Stop) -> S + Sync,
    meanwhile: impl FnOnce() -> R,
) -> (Vec<S>, R) {
    let stop = Stop(AtomicBool::new(false));
    let (stop, work) = (&stop, &work);
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(move || work(client, stop)))
            .collect();
        let stopping = StopWhenDropped(stop);
        let done = meanwhile();
        drop(stopping);
        let seen = threads.into_iter();
        let seen = seen.map(|thread| thread.join().expect("a client does not panic"));
        (seen.collect(), done)
    })
}
