//! Channels and patterns, and the clients that subscribe to them.
//!
//! In: subscriptions, and messages. Out: messages in the outboxes of clients. Promises: each subscriber gets the messages of a
//! publisher in their order; nothing is kept for later subscribers; no lock is held while patterns are compared, and a bounded number
//! of bytes is compared at a time.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::acl::User;
use super::client_memory::ClientMemory;
use super::clients::{Client, OutboxMessage, Published};
use super::glob::Pattern;
use crate::model::KEY_BYTES_MAX;

/// Maximum length of a channel's name in bytes: that of a key.
pub const CHANNEL_BYTES_MAX: usize = KEY_BYTES_MAX;
/// Maximum number of subscriptions of one client, to bound their memory.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;
/// Maximum total length of the channels and patterns to which one client subscribes, in bytes: they are kept, and each message is
/// compared with each pattern.
pub const SUBSCRIBED_BYTES_MAX: usize = 1 << 20;

/// Maximum number of names that are taken from a list under its lock.
const NAMES_AT_A_TIME: usize = 256;
/// Maximum number of bytes that are compared with patterns before other tasks run: some milliseconds for the longest patterns.
const COMPARED_BYTES_AT_A_TIME: usize = 256 << 10;

/// Space of names of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The channels of SUBSCRIBE and PUBLISH, which patterns match, too.
    Channels,
    /// The shard channels of SSUBSCRIBE and SPUBLISH, which no pattern matches.
    Shards,
}

/// The subscribers of each name, which is that of a channel or the text of a pattern; `N` is what is made of the name.
#[derive(Debug)]
pub(super) struct SubscriberList<N>(RwLock<ByName<N>>);

type ByName<N> = BTreeMap<Arc<[u8]>, (N, Subscribers)>;

/// Subscribers of one channel or pattern, by client number.
type Subscribers = BTreeMap<u64, Arc<Client>>;

impl<N> Default for SubscriberList<N> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<N: Clone> SubscriberList<N> {
    fn read(&self) -> RwLockReadGuard<'_, ByName<N>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ByName<N>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscriber.
    pub(super) fn add(&self, name: &[u8], made: impl FnOnce() -> N, client: &Arc<Client>) {
        let mut all = self.write();
        let (_, subscribers) = match all.get_mut(name) {
            Some(known) => known,
            None => all
                .entry(name.into())
                .or_insert_with(|| (made(), Subscribers::new())),
        };
        subscribers.insert(client.id, Arc::clone(client));
    }

    /// Removes a subscriber.
    pub(super) fn remove(&self, name: &[u8], client: &Client) {
        let mut all = self.write();
        if let Some((_, subscribers)) = all.get_mut(name) {
            subscribers.remove(&client.id);
            if subscribers.is_empty() {
                all.remove(name);
            }
        }
    }

    /// Returns the number of names.
    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    /// Returns the number of subscribers of a name.
    pub(super) fn count(&self, name: &[u8]) -> usize {
        self.read().get(name).map_or(0, |(_, all)| all.len())
    }

    fn subscribers(&self, name: &[u8]) -> Vec<Arc<Client>> {
        let all = self.read();
        let subscribers = all.get(name).map(|(_, subscribers)| subscribers);
        subscribers
            .into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// Returns some names, in their order, from the first one on or behind one.
    fn names_after(&self, name: Option<&[u8]>, count: usize) -> Vec<(Arc<[u8]>, N)> {
        let all = self.read();
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        all.range::<[u8], _>((start, Bound::Unbounded))
            .take(count)
            .map(|(name, (made, _))| (Arc::clone(name), made.clone()))
            .collect()
    }
}

/// Subscribers of all channels and patterns.
#[derive(Debug, Default)]
pub struct Channels {
    plain: SubscriberList<()>,
    pub(super) patterns: SubscriberList<Arc<Pattern>>,
    shards: SubscriberList<()>,
}

impl Channels {
    /// Returns the subscribers of the channels of a space.
    pub(super) fn of(&self, space: Space) -> &SubscriberList<()> {
        match space {
            Space::Channels => &self.plain,
            Space::Shards => &self.shards,
        }
    }

    /// Posts a message to all subscribers of a channel by its name. The subscribers of patterns follow.
    pub(super) fn publish(
        &self,
        memory: &Arc<ClientMemory>,
        space: Space,
        channel: &[u8],
        payload: &[u8],
    ) -> Delivery {
        let message = Published {
            channel: channel.into(),
            payload: payload.into(),
            _charge: memory.share(channel.len() + payload.len()),
        };
        let mut delivery = Delivery {
            message: Arc::new(message),
            space,
            last: None,
            receivers: 0,
        };
        for client in self.of(space).subscribers(channel) {
            delivery.post(&client, None);
        }
        delivery
    }

    /// Posts a message to all subscribers, also of patterns.
    pub(super) fn deliver_all(
        &self,
        memory: &Arc<ClientMemory>,
        space: Space,
        channel: &[u8],
        payload: &[u8],
    ) {
        let mut delivery = self.publish(memory, space, channel, payload);
        while delivery.proceed(self) {}
    }

    /// Returns the number of receivers that a message would have now.
    pub(super) fn receivers(&self, space: Space, channel: &[u8]) -> u64 {
        if space == Space::Shards {
            return self.shards.count(channel) as u64;
        }
        let patterns = self.patterns.names_after(None, usize::MAX);
        let matching = patterns
            .iter()
            .filter(|(_, pattern)| pattern.matches(channel));
        let by_pattern: usize = matching.map(|(text, _)| self.patterns.count(text)).sum();
        (self.plain.count(channel) + by_pattern) as u64
    }

    /// Begins a walk over the channels of a space that match a pattern and that a user may see.
    pub(super) fn matching(space: Space, pattern: Pattern, user: Option<Arc<User>>) -> ChannelWalk {
        ChannelWalk {
            space,
            pattern,
            user,
            last: None,
            found: Vec::new(),
        }
    }

    /// Returns the number of channels and of patterns that have subscribers.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.plain.len(), self.patterns.len())
    }
}

/// A message on its way to the subscribers of patterns.
#[derive(Debug)]
pub(super) struct Delivery {
    message: Arc<Published>,
    space: Space,
    /// The last pattern that it was compared with.
    last: Option<Arc<[u8]>>,
    /// Number of receivers so far.
    pub(super) receivers: u64,
}

impl Delivery {
    /// Posts the message to the subscribers of some more patterns. Returns false after the last pattern.
    pub(super) fn proceed(&mut self, channels: &Channels) -> bool {
        if self.space == Space::Shards {
            return false;
        }
        let count = COMPARED_BYTES_AT_A_TIME / self.message.channel.len().max(1);
        let count = count.clamp(1, NAMES_AT_A_TIME);
        let patterns = channels.patterns.names_after(self.last.as_deref(), count);
        for (text, pattern) in &patterns {
            if pattern.matches(&self.message.channel) {
                for client in channels.patterns.subscribers(text) {
                    self.post(&client, Some(text));
                }
            }
        }
        let is_end = patterns.len() < count;
        self.last = patterns.into_iter().next_back().map(|(text, _)| text);
        !is_end
    }

    fn post(&mut self, client: &Client, pattern: Option<&Arc<[u8]>>) {
        self.receivers += 1;
        let message = Arc::clone(&self.message);
        client.post(match self.space {
            Space::Channels => {
                OutboxMessage::Published(pattern.map(|text| (**text).into()), message)
            }
            Space::Shards => OutboxMessage::ShardPublished(message),
        });
    }
}

/// A walk over the channels that match a pattern.
#[derive(Debug)]
pub(super) struct ChannelWalk {
    space: Space,
    pattern: Pattern,
    /// User whose channels are shown.
    user: Option<Arc<User>>,
    /// The last channel that was compared.
    last: Option<Arc<[u8]>>,
    /// The matching channels so far.
    pub(super) found: Vec<Arc<[u8]>>,
}

impl ChannelWalk {
    /// Compares some more channels. Returns false after the last.
    pub(super) fn proceed(&mut self, channels: &Channels) -> bool {
        let mut bytes = 0;
        while bytes < COMPARED_BYTES_AT_A_TIME {
            let names = channels
                .of(self.space)
                .names_after(self.last.as_deref(), NAMES_AT_A_TIME);
            let is_end = names.len() < NAMES_AT_A_TIME;
            for (name, ()) in names {
                bytes += name.len();
                self.last = Some(Arc::clone(&name));
                let user = self.user.as_ref();
                if self.pattern.matches(&name)
                    && user.is_some_and(|user| user.permits_channel(&name))
                {
                    self.found.push(name);
                }
            }
            if is_end {
                return false;
            }
        }
        true
    }
}
