//! Slots of threads: a thread that has one is the only writer of the counters that belong to it.
//!
//! In: nothing. Out: the slot of the calling thread. Promises: no two living threads have the same slot; who takes a slot over sees
//! all that its last thread wrote.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed, Release},
};

/// Number of slots: the bits of [`TAKEN`].
pub const SLOTS: usize = 64;

/// One bit for each slot, set while a thread has it.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Slot of one thread; `None` if there were too many threads.
struct ThreadSlot(Option<usize>);

thread_local! {
    static SLOT: ThreadSlot = ThreadSlot::take();
}

/// Returns the slot of this thread; `None` if it has none, as there are more threads than slots or it is ending.
#[must_use]
#[inline(always)]
pub fn current() -> Option<usize> {
    SLOT.try_with(|slot| slot.0).ok().flatten()
}

impl ThreadSlot {
    fn take() -> Self {
        let first_free = |taken: u64| {
            let free = !taken & taken.wrapping_add(1);
            (free != 0).then_some(taken | free)
        };
        let before = TAKEN.fetch_update(AcqRel, Relaxed, first_free);
        Self(before.ok().map(|taken| taken.trailing_ones() as usize))
    }
}

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            TAKEN.fetch_and(!(1 << slot), Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn living_threads_have_different_slots_and_more_threads_than_slots_have_none() {
        // Other tests run in threads of their own, which may have slots, too.
        const THREADS: usize = 2 * SLOTS;
        let all_live = Barrier::new(THREADS);
        let slots: Vec<Option<usize>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let slot = current();
                        all_live.wait();
                        assert_eq!(current(), slot, "it stays the same");
                        slot
                    })
                })
                .collect();
            let slots = threads.into_iter().map(|it| it.join().expect("a slot"));
            slots.collect()
        });
        let taken: Vec<usize> = slots.iter().copied().flatten().collect();
        let different: HashSet<usize> = taken.iter().copied().collect();
        assert_eq!(different.len(), taken.len());
        assert!(taken.iter().all(|slot| *slot < SLOTS));
        assert!((1..=SLOTS).contains(&taken.len()), "{}", taken.len());
        // The slots of ended threads are taken again.
        let again = thread::spawn(current).join().expect("a slot");
        assert!(again.is_some());
    }
}
