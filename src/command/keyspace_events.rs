//! Keyspace notifications: the events of keys, as messages.
//!
//! In: events of keys. Out: messages on Redis's channels, `__keyspace@<database>__:<key>` and
//! `__keyevent@<database>__:<event>`. Promise: what is not of a chosen class costs one look at the setting.
//!
//! Source: <https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/>.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use super::channels::{Channels, Space};
use super::client_memory::ClientMemory;
use super::key_events::Event;
use crate::model::{Database, EventClasses};

/// Publishes the events of keys.
#[derive(Debug)]
pub(super) struct KeyspaceEvents {
    /// Classes that are published, of the setting.
    pub classes: Arc<AtomicU16>,
    /// Number of databases: a key with the prefix of one behind the last belongs to database 0.
    pub databases: usize,
    pub channels: Arc<Channels>,
    pub memory: Arc<ClientMemory>,
}

impl KeyspaceEvents {
    /// Returns true if any events are published.
    #[inline(always)]
    pub fn are_wanted(&self) -> bool {
        self.classes.load(Relaxed) != 0
    }

    /// Publishes an event of a key, if its class is published.
    pub fn publish(&self, event: Event, key: &[u8]) {
        let classes = EventClasses::of_bits(self.classes.load(Relaxed));
        if !classes.has(event.class) {
            return;
        }
        let mut database = Database::of_key(key);
        if database.number() >= self.databases {
            database = Database::default();
        }
        let number = database.number();
        let name = database.name_of(key);
        if classes.has(EventClasses::KEYSPACE) {
            let mut channel = format!("__keyspace@{number}__:").into_bytes();
            channel.extend_from_slice(name);
            let payload = event.name.as_bytes();
            self.channels
                .deliver_all(&self.memory, Space::Channels, &channel, payload);
        }
        if classes.has(EventClasses::KEYEVENT) {
            let channel = format!("__keyevent@{number}__:{}", event.name);
            self.channels
                .deliver_all(&self.memory, Space::Channels, channel.as_bytes(), name);
        }
    }
}
