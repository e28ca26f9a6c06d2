//! Notices of changes: what others are told of the pairs that a command, or the server itself, has changed.
//!
//! In: the changes of a transaction before its locks are released, and those that no command makes. Out: keyspace notifications,
//! invalidations, and the messages of a transaction. Promises: nothing is told before it is made; where nobody listens and nobody
//! tracks, a change costs a look at two counters.

use std::sync::Arc;

use super::channels::Channels;
use super::channels::Space;
use super::client_memory::ClientMemory;
use super::key_events::{Event, KeyEvents};
use super::keyspace_events::KeyspaceEvents;
use super::tracking::Tracking;
use crate::config::Setup;
use crate::engine::{Cause, Changed, Listener, Savepoint, WriteTransaction};

/// What waits for the commit of a transaction, in the order in which it was caused.
#[derive(Debug)]
pub(super) enum Deferred {
    /// An event of a key.
    Event(Event, Box<[u8]>),
    /// A message that was published: channel and payload.
    Message(Space, Box<[u8]>, Box<[u8]>),
}

/// Where notices go.
#[derive(Debug)]
pub struct Notices {
    events: KeyspaceEvents,
    pub(super) tracking: Arc<Tracking>,
}

impl Notices {
    pub(super) fn new(setup: &Setup, channels: &Arc<Channels>, memory: &Arc<ClientMemory>) -> Self {
        Self {
            events: KeyspaceEvents {
                classes: Arc::clone(&setup.event_classes),
                databases: setup.databases,
                channels: Arc::clone(channels),
                memory: Arc::clone(memory),
            },
            tracking: Arc::new(Tracking::new(Arc::clone(&setup.tracked_keys_max))),
        }
    }

    /// Returns true if anybody wants to know of changes.
    #[inline(always)]
    pub(super) fn are_wanted(&self) -> bool {
        self.events.are_wanted() || self.tracking.is_used()
    }

    /// Publishes an event of a key.
    pub(super) fn publish(&self, event: Event, key: &[u8]) {
        self.events.publish(event, key);
    }

    /// Publishes the events of all changes of a transaction, and tells of them those who may hold copies.
    pub(super) fn tell(
        &self,
        events: KeyEvents,
        transaction: &WriteTransaction<'_>,
        by: Option<u64>,
    ) {
        self.invalidate(transaction, by);
        if !self.events.are_wanted() {
            return;
        }
        for change in transaction.changes_since(Savepoint::default()) {
            if let Some((key, events)) = events.of(&change) {
                for event in events {
                    self.events.publish(event, key);
                }
            }
        }
    }

    /// Tells those who may hold copies of the changes of a transaction. Whether there are any is only known under its locks: who begins to
    /// track later sees the changes.
    pub(super) fn invalidate(&self, transaction: &WriteTransaction<'_>, by: Option<u64>) {
        if !self.tracking.is_used() {
            return;
        }
        for change in transaction.changes_since(Savepoint::default()) {
            match change {
                Changed::Put(entry, _) | Changed::Deleted(entry) => {
                    self.tracking.invalidate(entry.key_bytes(), by);
                }
                Changed::Cleared => self.tracking.invalidate_all(),
            }
        }
    }

    /// Tells all who may hold copies that every pair may have changed.
    pub(super) fn invalidate_all(&self) {
        if self.tracking.is_used() {
            self.tracking.invalidate_all();
        }
    }

    /// Collects the events of the changes of a transaction since a savepoint, which wait for its commit.
    pub(super) fn collect(
        &self,
        events: KeyEvents,
        (transaction, since): (&WriteTransaction<'_>, Savepoint),
        deferred: &mut Vec<Deferred>,
    ) {
        if !self.events.are_wanted() {
            return;
        }
        for change in transaction.changes_since(since) {
            if let Some((key, events)) = events.of(&change) {
                deferred.extend(events.map(|event| Deferred::Event(event, key.into())));
            }
        }
    }

    /// Sends what has waited for a commit.
    pub(super) fn send(&self, deferred: Vec<Deferred>) {
        for one in deferred {
            match one {
                Deferred::Event(event, key) => self.events.publish(event, &key),
                Deferred::Message(space, channel, payload) => {
                    let KeyspaceEvents {
                        channels, memory, ..
                    } = &self.events;
                    channels.deliver_all(memory, space, &channel, &payload);
                }
            }
        }
    }
}

impl Listener for Notices {
    fn note(&self, key: &[u8], cause: Cause) {
        if self.tracking.is_used() {
            self.tracking.invalidate(key, None);
        }
        if self.events.are_wanted() {
            let event = match cause {
                Cause::Expired => Event::EXPIRED,
                Cause::Evicted => Event::EVICTED,
                Cause::Copied => Event::SET,
                Cause::DeletedThere => Event::DEL,
            };
            self.events.publish(event, key);
        }
    }

    fn note_all(&self) {
        self.invalidate_all();
    }
}
