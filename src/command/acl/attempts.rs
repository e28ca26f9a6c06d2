//! Attempts to sign in, slowed down for each address that sends wrong passwords.
//!
//! In: attempts from an address. Out: permission to compare a password. Promises: the answer to a wrong password is delayed, longer for
//! each one, and few attempts of an address are compared meanwhile, whether or not their connections still exist; no other address
//! waits for them, as slow hashes leave processors free; the memory of all addresses is bounded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of attempts of one address that are compared, or whose refusal is delayed, at the same time; others wait.
pub const ATTEMPTS_AT_ONCE_MAX: usize = 8;
/// Delay of the first refusal; each following one takes twice as long.
const DELAY: Duration = Duration::from_millis(100);
/// Number of doublings: a refusal takes 3.2 seconds at most, which is 2.5 passwords per second and address.
const DOUBLINGS_MAX: u32 = 5;
/// Time after which the wrong passwords of an address are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// Number of wrong passwords of an address that may be compared by a fast hash without waiting: clients with a password that is known to
/// be right need not wait behind wrong ones.
const FAST_MAX: f64 = 1000.0;
/// Number of those added per second, up to [`FAST_MAX`].
const FAST_PER_SECOND: f64 = 10.0;
/// Maximum number of addresses that are told apart; further ones count as one.
const ADDRESSES_MAX: usize = 10_000;

/// Where an attempt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An address; of IPv6 the first half, which one customer has as a whole (RFC 6177).
    Address(IpAddr),
    /// This machine, without an address: a Unix socket.
    Machine,
    /// Any of the addresses that are not told apart.
    Others,
}

impl Origin {
    /// Returns the origin of a client with this address.
    #[must_use]
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Machine,
            Some(IpAddr::V6(address)) => {
                let network = u128::from(address) >> 64 << 64;
                Self::Address(Ipv6Addr::from(network).into())
            }
            Some(address) => Self::Address(address),
        }
    }
}

/// Wrong passwords of one origin.
#[derive(Debug)]
struct Record {
    slots: Arc<Semaphore>,
    failures: u32,
    /// Number of attempts that may be compared by a fast hash, and the time of that number.
    fast: (f64, Instant),
    last_failure: Instant,
}

impl Record {
    fn new(now: Instant) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(ATTEMPTS_AT_ONCE_MAX)),
            failures: 0,
            fast: (FAST_MAX, now),
            last_failure: now,
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let is_unused = self.slots.available_permits() == ATTEMPTS_AT_ONCE_MAX;
        is_unused && now.duration_since(self.last_failure) > FORGET_AFTER
    }

    fn fast_left(&self, now: Instant) -> f64 {
        let (left, at) = self.fast;
        (left + now.duration_since(at).as_secs_f64() * FAST_PER_SECOND).min(FAST_MAX)
    }
}

/// Attempts of all origins.
#[derive(Debug)]
pub(super) struct Attempts {
    records: Mutex<HashMap<Origin, Record>>,
    /// Slow hashes that are computed at the same time: half of the processors stay free.
    hashing: Arc<Semaphore>,
    refused: AtomicU64,
}

/// Attempt that may be compared.
#[derive(Debug)]
pub(super) struct Attempt {
    origin: Origin,
    slot: OwnedSemaphorePermit,
}

impl Attempts {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            records: Mutex::default(),
            hashing: Arc::new(Semaphore::new((processors / 2).max(1))),
            refused: AtomicU64::new(0),
        }
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Origin, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of refused attempts.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Compares by a fast hash at once, unless the origin has sent too many wrong passwords. Returns what `compare` returns: `None` for
    /// a wrong password.
    pub(super) fn compare_fast<R>(
        &self,
        origin: Origin,
        compare: impl FnOnce() -> Option<R>,
    ) -> Option<R> {
        let now = Instant::now();
        let mut records = self.records();
        let Some(record) = records.get_mut(&origin) else {
            drop(records);
            return compare();
        };
        let left = record.fast_left(now);
        record.fast = (left, now);
        if left < 1.0 {
            return None;
        }
        // Taken before the comparison, as others compare meanwhile.
        record.fast.0 -= 1.0;
        drop(records);
        let right = compare();
        if right.is_some()
            && let Some(record) = self.records().get_mut(&origin)
        {
            record.fast.0 += 1.0;
        }
        right
    }

    /// Waits until one more attempt of the origin may be compared.
    pub(super) async fn begin(&self, origin: Origin) -> Attempt {
        let (origin, slots) = {
            let now = Instant::now();
            let mut records = self.records();
            if records.len() >= ADDRESSES_MAX && !records.contains_key(&origin) {
                records.retain(|_, record| !record.is_idle(now));
            }
            let origin = if records.len() >= ADDRESSES_MAX && !records.contains_key(&origin) {
                Origin::Others
            } else {
                origin
            };
            let record = records.entry(origin).or_insert_with(|| Record::new(now));
            (origin, Arc::clone(&record.slots))
        };
        let slot = slots.acquire_owned().await;
        Attempt {
            origin,
            slot: slot.expect("nobody closes the semaphore"),
        }
    }

    /// Computes slow hashes on a thread of its own, as few at a time as leave processors free.
    pub(super) async fn hash<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        let permit = Arc::clone(&self.hashing).acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        let hashing = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        hashing.await.expect("hashing does not panic")
    }

    /// Counts a wrong password, and waits as long as its refusal is delayed. The slot stays taken, also if the client goes away.
    pub(super) async fn refuse(&self, attempt: Attempt) {
        self.refused.fetch_add(1, Relaxed);
        let delay = {
            let now = Instant::now();
            let mut records = self.records();
            let record = records
                .entry(attempt.origin)
                .or_insert_with(|| Record::new(now));
            if now.duration_since(record.last_failure) > FORGET_AFTER {
                record.failures = 0;
            }
            let delay = DELAY * (1 << record.failures.min(DOUBLINGS_MAX));
            record.failures = record.failures.saturating_add(1);
            record.last_failure = now;
            delay
        };
        let waiting = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            drop(attempt.slot);
        });
        let _ = waiting.await;
    }
}
