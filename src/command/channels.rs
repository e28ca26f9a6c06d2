//! Channels and patterns, and the clients that subscribe to them.
//!
//! In: subscriptions, and messages. Out: messages in the outboxes of clients. Promises: each subscriber gets the messages of a
//! channel in their order; nothing is kept for later subscribers.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use super::client_memory::ClientMemory;
use super::clients::{Client, OutboxMessage, Published};
use super::glob::Pattern;
use crate::model::KEY_BYTES_MAX;

/// Maximum length of a channel's name in bytes: that of a key.
pub const CHANNEL_BYTES_MAX: usize = KEY_BYTES_MAX;
/// Maximum number of subscriptions of one client, to bound their memory.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// Subscribers of one channel or pattern, by client number.
pub(super) type Subscribers = BTreeMap<u64, Arc<Client>>;

/// Subscribers of all channels and patterns.
#[derive(Debug, Default)]
pub struct Channels {
    pub(super) channels: RwLock<HashMap<Box<[u8]>, Subscribers>>,
    pub(super) patterns: RwLock<HashMap<Pattern, Subscribers>>,
}

/// Adds a subscriber to a channel or pattern.
pub(super) fn add_subscriber<N: Hash + Eq>(
    all: &RwLock<HashMap<N, Subscribers>>,
    name: N,
    client: &Arc<Client>,
) {
    let mut all = all.write().unwrap_or_else(PoisonError::into_inner);
    let subscribers = all.entry(name).or_default();
    subscribers.insert(client.id, Arc::clone(client));
}

/// Removes a subscriber from a channel or pattern.
pub(super) fn remove_subscriber<N: Hash + Eq>(
    all: &RwLock<HashMap<N, Subscribers>>,
    name: &N,
    client: &Client,
) {
    let mut all = all.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(subscribers) = all.get_mut(name) {
        subscribers.remove(&client.id);
        if subscribers.is_empty() {
            all.remove(name);
        }
    }
}

impl Channels {
    /// Posts a message to all subscribers of a channel. Returns the number of receivers.
    pub(super) fn publish(
        &self,
        memory: &Arc<ClientMemory>,
        channel: &[u8],
        payload: &[u8],
    ) -> u64 {
        let message = Arc::new(Published {
            channel: channel.into(),
            payload: payload.into(),
            _charge: memory.share(channel.len() + payload.len()),
        });
        let mut receivers = 0;
        let mut post = |client: &Client, pattern| {
            receivers += 1;
            client.post(OutboxMessage::Published(pattern, Arc::clone(&message)));
        };
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        let subscribers = channels.get(channel);
        for client in subscribers.into_iter().flat_map(BTreeMap::values) {
            post(client, None);
        }
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        for (pattern, subscribers) in &*patterns {
            if pattern.matches(channel) {
                for client in subscribers.values() {
                    post(client, Some(pattern.as_bytes().into()));
                }
            }
        }
        receivers
    }

    /// Returns the number of channels and of patterns that have subscribers.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        (channels.len(), patterns.len())
    }
}
