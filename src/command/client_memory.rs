//! Memory that is held for clients and is not data, and the one budget for all of it (`--client-memory`).
//!
//! In: charges of buffers, bodies, queues, watched keys and messages; entries that clients hold while they are sent. Out: the total,
//! and the end of the largest accounts once it is over the budget. Promises: whoever asks for more is granted it if another account
//! is larger, which is ended for it, and else refused; so a small request is served whatever the others hold. An entry counts only
//! once it has been replaced or deleted, as until then it is data, and once for all who hold it; a message counts once for all its
//! receivers.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::signals::{Signal, Signals};
use crate::model::entry::Entry;
use crate::protocol::{ErrorCode, ErrorReply};

/// Time for which a request waits until the memory of ended clients is free. Their tasks are woken at once; the rest is a reserve
/// for a busy machine.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// Minimum pause between two counts of the held entries while they may exceed the budget.
const RECOUNT_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Ratio of the pause to the time of the count before it: it may take a tenth of a core.
const RECOUNT_PAUSE_RATIO: u32 = 9;
/// Marks, in the number of occurrences of an entry, that it has been counted.
const COUNTED: usize = 1 << (usize::BITS - 1);

/// Memory held for all clients.
pub struct ClientMemory {
    limit_bytes: usize,
    /// Sum of all charges.
    charged_bytes: AtomicUsize,
    /// Size of all held entries, data or not: an upper bound of `replaced_bytes`.
    entry_bytes: AtomicUsize,
    /// Size of the held entries that are no longer data, at the last count.
    replaced_bytes: AtomicUsize,
    /// Number of accounts that were ended.
    ended: AtomicU64,
    registry: Mutex<Registry>,
    /// Notified when the total is back below the budget.
    freed: Notify,
    /// Notified when the held entries may exceed the budget.
    recount: Notify,
}

#[derive(Default)]
struct Registry {
    last_id: u64,
    accounts: BTreeMap<u64, Weak<Account>>,
    held: BTreeMap<u64, Weak<Held>>,
}

/// What is held for one client.
pub struct Account {
    memory: Arc<ClientMemory>,
    id: u64,
    /// Sum of its charges.
    charged_bytes: AtomicUsize,
    /// Size of the messages that it shares with others.
    shared_bytes: AtomicUsize,
    /// Size of the replaced entries that it holds, at the last count.
    replaced_bytes: AtomicUsize,
    /// True if it is not ended for the memory that it holds: CLIENT NO-EVICT.
    is_protected: AtomicBool,
    /// Notified when it is ended, for tasks beside the one that serves the client.
    ended: Notify,
    /// Signals to the task that serves the client.
    pub signals: Signals,
}

/// Memory charged to an account, until it is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

/// Memory that several accounts share, until it is dropped.
#[derive(Debug)]
pub struct SharedCharge {
    memory: Arc<ClientMemory>,
    bytes: usize,
}

/// Entries that a client holds while it is sent them, or watches them.
pub struct Held {
    account: Arc<Account>,
    id: u64,
    entries: Vec<Entry>,
    bytes: usize,
}

/// Value that a client holds while it is sent.
#[derive(Debug)]
pub struct HeldValue(Arc<Held>);

impl AsRef<[u8]> for HeldValue {
    fn as_ref(&self) -> &[u8] {
        self.0.entries[0].value_bytes()
    }
}

/// The budget does not allow a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server holds too much for its clients (--client-memory is {limit_bytes} bytes), and most of it for this one; \
     nothing was done for this request. Send less at a time, or read the replies"
)]
pub struct OverBudget {
    limit_bytes: usize,
}

impl From<OverBudget> for ErrorReply {
    fn from(error: OverBudget) -> Self {
        Self::new(ErrorCode::Full, error.to_string())
    }
}

impl ClientMemory {
    /// Makes a budget.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            charged_bytes: AtomicUsize::default(),
            entry_bytes: AtomicUsize::default(),
            replaced_bytes: AtomicUsize::default(),
            ended: AtomicU64::default(),
            registry: Mutex::default(),
            freed: Notify::new(),
            recount: Notify::new(),
        }
    }

    /// Opens the account of a client.
    #[must_use]
    pub fn account(self: &Arc<Self>) -> Arc<Account> {
        let mut registry = self.registry();
        registry.last_id += 1;
        let account = Arc::new(Account {
            memory: Arc::clone(self),
            id: registry.last_id,
            charged_bytes: AtomicUsize::default(),
            shared_bytes: AtomicUsize::default(),
            replaced_bytes: AtomicUsize::default(),
            is_protected: AtomicBool::default(),
            ended: Notify::new(),
            signals: Signals::default(),
        });
        registry
            .accounts
            .insert(account.id, Arc::downgrade(&account));
        account
    }

    /// Charges memory that several clients share. It may exceed the budget until those that hold most are ended.
    #[must_use]
    pub fn share(self: &Arc<Self>, bytes: usize) -> SharedCharge {
        self.charged_bytes.fetch_add(bytes, Relaxed);
        if self.is_over() {
            self.make_room(None);
        }
        SharedCharge {
            memory: Arc::clone(self),
            bytes,
        }
    }

    /// Returns the memory held for clients, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.charged_bytes.load(Relaxed) + self.replaced_bytes.load(Relaxed)
    }

    /// Returns the budget in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Returns the number of clients that were ended as they held too much.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Relaxed)
    }

    /// Returns true if more is held than the budget allows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.bytes() > self.limit_bytes
    }

    /// Counts the held entries that are no longer data whenever they may exceed the budget. Never returns.
    pub async fn recount_when_needed(&self) {
        loop {
            self.recount.notified().await;
            while self.charged_bytes.load(Relaxed) + self.entry_bytes.load(Relaxed)
                > self.limit_bytes
            {
                let started = Instant::now();
                self.count_replaced();
                if self.is_over() {
                    self.make_room(None);
                }
                let pause = started.elapsed() * RECOUNT_PAUSE_RATIO;
                tokio::time::sleep(pause.max(RECOUNT_PAUSE_MIN)).await;
            }
            self.count_replaced();
        }
    }

    /// Counts the held entries that are no longer data.
    pub fn count_replaced(&self) {
        if self.entry_bytes.load(Relaxed) == 0 && self.replaced_bytes.load(Relaxed) == 0 {
            return;
        }
        let held: Vec<Arc<Held>> = {
            // As with the accounts, the lock is not held while they are used.
            let registry = self.registry();
            registry.held.values().filter_map(Weak::upgrade).collect()
        };
        // An entry that only clients hold has as many holders as it occurs here.
        let mut occurrences: HashMap<usize, usize> = HashMap::new();
        for entry in held.iter().flat_map(|held| &held.entries) {
            *occurrences.entry(entry.address()).or_default() += 1;
        }
        let mut replaced_bytes = 0;
        let mut of_accounts: HashMap<u64, usize> = HashMap::new();
        for held in &held {
            for entry in &held.entries {
                let Some(times) = occurrences.get_mut(&entry.address()) else {
                    continue;
                };
                // Each of the holders may let go meanwhile.
                if entry.holders() <= *times & !COUNTED {
                    *of_accounts.entry(held.account.id).or_default() += entry.memory_bytes();
                    if *times & COUNTED == 0 {
                        *times |= COUNTED;
                        replaced_bytes += entry.memory_bytes();
                    }
                }
            }
        }
        for account in self.accounts() {
            let bytes = of_accounts.get(&account.id).copied().unwrap_or(0);
            account.replaced_bytes.store(bytes, Relaxed);
        }
        self.replaced_bytes.store(replaced_bytes, Relaxed);
    }

    /// Ends the largest accounts until what the others hold is within the budget. Returns false if the largest is `asking`, which is
    /// not ended.
    fn make_room(&self, asking: Option<&Account>) -> bool {
        let is_asking = |account: &Account| asking.is_some_and(|asking| asking.id == account.id);
        let mut living: Vec<(usize, Arc<Account>)> = Vec::new();
        // The memory of ended accounts is about to be free.
        let mut total = self.bytes();
        for account in self.accounts() {
            if account.is_ended() {
                total = total.saturating_sub(account.bytes());
            } else if is_asking(&account) || !account.is_protected() {
                living.push((account.bytes(), account));
            }
        }
        // Of accounts of the same size, the one that asks is the last.
        living.sort_unstable_by_key(|(bytes, account)| (*bytes, !is_asking(account)));
        while total > self.limit_bytes {
            let Some((bytes, account)) = living.pop() else {
                return true;
            };
            if is_asking(&account) {
                return false;
            }
            if bytes == 0 {
                return true;
            }
            total = total.saturating_sub(bytes);
            account.end();
        }
        true
    }

    fn release(&self, bytes: usize) {
        let was = self.charged_bytes.fetch_sub(bytes, Relaxed);
        if was > self.limit_bytes {
            self.freed.notify_waiters();
        }
    }

    /// Returns all accounts. The lock is not held while they are used: to drop the last reference to one takes it.
    fn accounts(&self) -> Vec<Arc<Account>> {
        let registry = self.registry();
        let accounts = registry.accounts.values().filter_map(Weak::upgrade);
        accounts.collect()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Returns the memory held for the client, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.charged_bytes.load(Relaxed)
            + self.shared_bytes.load(Relaxed)
            + self.replaced_bytes.load(Relaxed)
    }

    /// Protects the account from being ended for the memory that it holds, or no longer. What it asks for itself may still be refused.
    pub fn protect(&self, is_protected: bool) {
        self.is_protected.store(is_protected, Relaxed);
    }

    /// Returns true if it is protected.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.is_protected.load(Relaxed)
    }

    /// Returns the budget that it is part of.
    #[must_use]
    pub fn memory(&self) -> &Arc<ClientMemory> {
        &self.memory
    }

    /// Waits until the total is within the budget again, for at most a second, or until the client itself is to be disconnected.
    pub async fn room(&self) {
        let memory = &self.memory;
        let within = async {
            loop {
                let freed = memory.freed.notified();
                if !memory.is_over() {
                    return;
                }
                freed.await;
            }
        };
        let mut within = pin!(tokio::time::timeout(ROOM_WAIT, within));
        poll_fn(|context| {
            if self.is_ended() {
                return Poll::Ready(());
            }
            within.as_mut().poll(context).map(drop)
        })
        .await;
    }

    /// Makes an empty charge.
    #[must_use]
    pub fn charge(self: &Arc<Self>) -> Charge {
        Charge {
            account: Arc::clone(self),
            bytes: 0,
        }
    }

    /// Registers entries that the client holds from now on.
    #[must_use]
    pub fn hold(self: &Arc<Self>, entries: Vec<Entry>) -> Arc<Held> {
        let bytes = entries.iter().map(Entry::memory_bytes).sum();
        let memory = &self.memory;
        let total = memory.entry_bytes.fetch_add(bytes, Relaxed) + bytes;
        let mut registry = memory.registry();
        registry.last_id += 1;
        let held = Arc::new(Held {
            account: Arc::clone(self),
            id: registry.last_id,
            entries,
            bytes,
        });
        registry.held.insert(held.id, Arc::downgrade(&held));
        drop(registry);
        if memory.charged_bytes.load(Relaxed) + total > memory.limit_bytes {
            memory.recount.notify_one();
        }
        held
    }

    /// Registers an entry whose value the client holds from now on.
    #[must_use]
    pub fn hold_value(self: &Arc<Self>, entry: Entry) -> HeldValue {
        HeldValue(self.hold(vec![entry]))
    }

    /// Adds to the messages that it shares with others.
    pub(super) fn add_shared(&self, bytes: usize) {
        self.shared_bytes.fetch_add(bytes, Relaxed);
    }

    /// Subtracts from the messages that it shares with others.
    pub(super) fn subtract_shared(&self, bytes: usize) {
        self.shared_bytes.fetch_sub(bytes, Relaxed);
    }

    /// Returns true if the client is to be disconnected, as it holds too much.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.signals.has(Signal::OverBudget)
    }

    /// Returns the error for a client that is disconnected as it holds too much.
    #[must_use]
    pub fn over_budget(&self) -> OverBudget {
        OverBudget {
            limit_bytes: self.memory.limit_bytes,
        }
    }

    /// Waits until the client is to be disconnected.
    pub async fn ended(self: Arc<Self>) {
        loop {
            let ended = self.ended.notified();
            if self.is_ended() {
                return;
            }
            ended.await;
        }
    }

    fn end(&self) {
        self.memory.ended.fetch_add(1, Relaxed);
        self.signals.raise(Signal::OverBudget);
        self.ended.notify_waiters();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.memory.registry().accounts.remove(&self.id);
    }
}

impl Charge {
    /// Returns the charged memory in bytes.
    #[must_use]
    #[inline(always)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the account.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Changes the charge. Other accounts may be ended for it.
    ///
    /// # Errors
    /// [`OverBudget`] if the budget is exceeded and no other account is larger, or the client is to be disconnected; the charge stays
    /// as it was.
    pub fn set(&mut self, bytes: usize) -> Result<(), OverBudget> {
        if bytes <= self.bytes {
            self.shrink(bytes);
            return Ok(());
        }
        if self.account.is_ended() {
            return Err(self.account.over_budget());
        }
        let more = bytes - self.bytes;
        self.grow(more);
        let memory = &self.account.memory;
        if memory.is_over() && !memory.make_room(Some(&self.account)) {
            self.shrink(self.bytes - more);
            return Err(self.account.over_budget());
        }
        Ok(())
    }

    /// Changes the charge for memory that is held already. The account may be ended for it.
    pub fn set_held(&mut self, bytes: usize) {
        if bytes <= self.bytes {
            return self.shrink(bytes);
        }
        self.grow(bytes - self.bytes);
        let memory = &self.account.memory;
        if memory.is_over() {
            memory.make_room(None);
        }
    }

    fn grow(&mut self, more: usize) {
        self.bytes += more;
        self.account.charged_bytes.fetch_add(more, Relaxed);
        self.account.memory.charged_bytes.fetch_add(more, Relaxed);
    }

    fn shrink(&mut self, bytes: usize) {
        let fewer = self.bytes - bytes;
        if fewer > 0 {
            self.bytes = bytes;
            self.account.charged_bytes.fetch_sub(fewer, Relaxed);
            self.account.memory.release(fewer);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

impl Drop for SharedCharge {
    fn drop(&mut self) {
        self.memory.release(self.bytes);
    }
}

impl Held {
    /// Returns the entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let memory = &self.account.memory;
        memory.entry_bytes.fetch_sub(self.bytes, Relaxed);
        memory.registry().held.remove(&self.id);
    }
}

impl fmt::Debug for ClientMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ClientMemory({} of {} bytes)",
            self.bytes(),
            self.limit_bytes
        )
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({}, {} bytes)", self.id, self.bytes())
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Held({} entries, {} bytes)",
            self.entries.len(),
            self.bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Value};

    fn budget(limit_bytes: usize) -> Arc<ClientMemory> {
        Arc::new(ClientMemory::new(limit_bytes))
    }

    #[test]
    fn a_budget_grants_its_last_byte_and_no_more() {
        let memory = budget(100);
        let account = memory.account();
        let mut charge = account.charge();
        assert_eq!(charge.set(100), Ok(()));
        assert_eq!(charge.set(101), Err(OverBudget { limit_bytes: 100 }));
        assert_eq!((memory.bytes(), account.is_ended()), (100, false));
        drop(charge);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn the_largest_account_is_ended_for_a_smaller_one() {
        let memory = budget(100);
        let accounts = [memory.account(), memory.account(), memory.account()];
        let mut charges = accounts.each_ref().map(Account::charge);
        for (charge, bytes) in charges.iter_mut().zip([30, 60, 0]) {
            assert_eq!(charge.set(bytes), Ok(()));
        }
        assert_eq!(charges[2].set(20), Ok(()));
        let ended = accounts.each_ref().map(|account| account.is_ended());
        assert_eq!((ended, memory.ended()), ([false, true, false], 1));
        // What an ended account still holds counts until it lets go, but ends nobody else.
        assert_eq!(charges[2].set(40), Ok(()));
        assert_eq!((memory.bytes(), memory.ended()), (130, 1));
    }

    #[test]
    fn a_shared_message_counts_once() {
        let memory = budget(100);
        let accounts = [memory.account(), memory.account()];
        let message = memory.share(80);
        for account in &accounts {
            account.add_shared(80);
        }
        assert_eq!((memory.bytes(), memory.ended()), (80, 0));
        let second = memory.share(30);
        assert_eq!(memory.ended(), 1, "one of both is ended for it");
        drop((message, second));
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn a_held_entry_counts_once_it_is_no_longer_data() {
        let memory = budget(100);
        let accounts = [memory.account(), memory.account()];
        let key = Key::parse(b"k").expect("a key");
        let data = Entry::new(key, Value::parse(&[7; 500]).expect("a value"));
        let held = accounts
            .each_ref()
            .map(|account| account.hold(vec![data.clone()]));
        memory.count_replaced();
        assert_eq!(memory.bytes(), 0, "it is data");
        let bytes = data.memory_bytes();
        drop(data);
        memory.count_replaced();
        assert_eq!(memory.bytes(), bytes, "once for both");
        assert_eq!(
            accounts.each_ref().map(|account| account.bytes()),
            [bytes; 2]
        );
        drop(held);
        memory.count_replaced();
        assert_eq!(memory.bytes(), 0);
    }
}
