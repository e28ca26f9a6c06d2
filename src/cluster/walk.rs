//! Walks over all pairs of a cluster, slot by slot.
//!
//! In: a cursor, which is a slot and a place among its keys. Out: keys or pairs from there on, and the next cursor. Promises: a pair that
//! exists from the start of a walk to its end is seen exactly once, also while slots move and primaries fail; keys that PyKV cannot have
//! (they are too long) and values of other types are left out.
//!
//! A slot is listed as a whole by CLUSTER GETKEYSINSLOT. Its node is asked before and after whether the slot is its own; if it has begun
//! to move, its keys are on two nodes, and since keys move in one direction only, the source is listed first and the target after it.

use std::collections::BTreeSet;

use tokio::time::{Instant, sleep};

use super::error::{ClusterError, parsed};
use super::node::Node;
use super::reply::NodeReply;
use super::request::{Requests, write_request};
use super::routing::{Cluster, RETRY_PAUSE};
use super::scripts::FETCH;
use super::slot::{SLOTS, slot_of};
use super::topology::{Endpoints, Topology};
use crate::model::entry::Entry;
use crate::model::{Key, Value};

/// Position in a walk: the slot, then 32 bits of a hash of the key.
pub type Position = u64;

/// Slots that are listed together at first, and at most.
const SLOTS_AT_FIRST: u16 = 16;
const SLOTS_AT_MOST: u16 = 1024;
/// Keys of the slots that are listed together, from which on fewer slots are, and below which more are.
const LISTED_KEYS_MOST: usize = 4000;
const LISTED_KEYS_FEW: usize = 1000;
/// Keys of which is asked together whether they exist.
const KEYS_AT_ONCE: usize = 1000;
/// Keys whose values are read together.
const VALUES_AT_ONCE: usize = 100;
/// Length in bytes of a value up to which it is read together with others.
const SHORT_BYTES: usize = 64 << 10;
/// Bytes of pairs from which on a page has no more.
const PAGE_BYTES: usize = 4 << 20;

/// Returns the position of a key in a walk.
#[must_use]
pub fn position_of(key: &[u8]) -> Position {
    u64::from(slot_of(key)) << 32 | u64::from(crc32fast::hash(key))
}

/// Part of the pairs that a walk reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkPart {
    /// Keys alone: entries have empty values.
    Keys,
    /// Keys and values.
    Pairs,
}

/// Keys of a slot, or where to look for them.
enum Listed {
    Keys(Vec<Vec<u8>>),
    /// The node has begun to give the slot to another one, whose identity this is.
    Moving(String),
    /// The node does not own the slot.
    Elsewhere,
}

impl Cluster {
    /// Returns entries from a position on, whose keys begin with a prefix, and the next position: of at least so many keys that nodes
    /// list, if there are as many. There are fewer entries if pairs have expired, or are of other types.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`], if a slot cannot be listed.
    pub async fn page(
        &self,
        from: Position,
        least: usize,
        prefix: &[u8],
        part: WalkPart,
    ) -> Result<(Vec<Entry>, Option<Position>), ClusterError> {
        let mut slot = u16::try_from(from >> 32).unwrap_or(SLOTS);
        let mut count = SLOTS_AT_FIRST;
        let mut found: Vec<(Position, Vec<u8>)> = Vec::new();
        while slot < SLOTS && found.len() < least {
            let end = (slot + count).min(SLOTS);
            let mut listed = 0;
            for keys in self.keys_of_slots(slot, end).await? {
                listed += keys.len();
                let keys = keys.into_iter().map(|key| (position_of(&key), key));
                let mut keys: Vec<_> = keys
                    .filter(|(position, key)| *position >= from && key.starts_with(prefix))
                    .collect();
                keys.sort();
                found.append(&mut keys);
            }
            slot = end;
            count = if listed > LISTED_KEYS_MOST {
                count.div_ceil(4)
            } else if listed < LISTED_KEYS_FEW {
                (count * 2).min(SLOTS_AT_MOST)
            } else {
                count
            };
        }
        let mut next = (slot < SLOTS).then_some(u64::from(slot) << 32);
        // Keys of one position stay together.
        let most = least.max(1) * 2;
        if let Some((end, _)) = found.get(most) {
            let end = *end;
            let before = found.partition_point(|(position, _)| *position < end);
            let cut = if before > 0 {
                before
            } else {
                found.partition_point(|(position, _)| *position <= end)
            };
            next = found.get(cut).map_or(next, |(position, _)| Some(*position));
            found.truncate(cut);
        }
        let mut entries = Vec::with_capacity(found.len());
        let (mut read, mut bytes) = (0, 0);
        let at_once = match part {
            WalkPart::Keys => KEYS_AT_ONCE,
            WalkPart::Pairs => VALUES_AT_ONCE,
        };
        while read < found.len() && bytes < PAGE_BYTES {
            let mut end = (read + at_once).min(found.len());
            while end < found.len() && found[end].0 == found[end - 1].0 {
                end += 1;
            }
            let keys: Vec<&[u8]> = found[read..end].iter().map(|(_, key)| &**key).collect();
            let mut some = match part {
                WalkPart::Keys => self.existing(&keys).await?,
                WalkPart::Pairs => self.entries_of(&keys).await?,
            };
            bytes += some.iter().map(Entry::data_bytes).sum::<usize>();
            entries.append(&mut some);
            read = end;
        }
        next = found
            .get(read)
            .map_or(next, |(position, _)| Some(*position));
        Ok((entries, next))
    }

    /// Returns those keys, with empty values, whose pairs exist: a node lists a pair that has expired until it deletes it.
    pub(super) async fn existing(&self, keys: &[&[u8]]) -> Result<Vec<Entry>, ClusterError> {
        let mut requests = Requests::default();
        for key in keys {
            requests.push([&b"TYPE"[..], key].into_iter(), slot_of(key), false);
        }
        let mut entries = Vec::with_capacity(keys.len());
        for (key, result) in keys.iter().zip(self.execute(&requests).await) {
            let reply = result?;
            if parsed(&reply)? == NodeReply::Status("string") {
                entries.extend(entry(key, b"", None));
            }
        }
        Ok(entries)
    }

    /// Reads the pairs of keys. Those that are gone meanwhile, or of another type, are left out.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn entries_of(&self, keys: &[&[u8]]) -> Result<Vec<Entry>, ClusterError> {
        let mut entries = Vec::with_capacity(keys.len());
        let most = SHORT_BYTES.to_string();
        let mut requests = Requests::default();
        for key in keys {
            let words = [
                &b"EVALSHA_RO"[..],
                FETCH.sha1.as_bytes(),
                b"1",
                key,
                most.as_bytes(),
            ];
            requests.push(words.into_iter(), slot_of(key), false);
        }
        for (key, result) in keys.iter().zip(self.execute(&requests).await) {
            let reply = result?;
            let found = match parsed(&reply) {
                Err(ClusterError::Refused(error)) if error.contains("WRONGTYPE") => continue,
                found => found?,
            };
            let NodeReply::Array(found) = found else {
                return Err(ClusterError::strange(&reply));
            };
            match &*found {
                [NodeReply::Bytes(value), NodeReply::Number(expiry)] => {
                    entries.extend(entry(key, value, u64::try_from(*expiry).ok()));
                }
                // A long value: each comes by itself.
                [NodeReply::Number(_), _] => {
                    let pairs = self.fetch(&[key]).await?;
                    let pair = pairs.into_iter().flatten().next();
                    entries.extend(pair.and_then(|pair| entry(key, &pair.value, pair.expires_at)));
                }
                _ => {}
            }
        }
        Ok(entries)
    }

    /// Returns the keys of slots, each slot by itself.
    async fn keys_of_slots(&self, start: u16, end: u16) -> Result<Vec<Vec<Vec<u8>>>, ClusterError> {
        let deadline = self.deadline();
        let mut keys: Vec<Option<Vec<Vec<u8>>>> = (start..end).map(|_| None).collect();
        let mut reason;
        loop {
            reason = None;
            let state = self.state();
            let missing = (start..end).filter(|slot| keys[usize::from(slot - start)].is_none());
            let missing: Vec<u16> = missing.collect();
            if missing.is_empty() {
                return Ok(keys.into_iter().flatten().collect());
            }
            for (owner, node) in state.nodes.iter().enumerate() {
                let slots = missing.iter().copied();
                let slots: Vec<u16> = slots
                    .filter(|slot| state.topology.owner(*slot) == Some(owner))
                    .collect();
                if slots.is_empty() {
                    continue;
                }
                let listed = match self.list(node, &slots, deadline).await {
                    Ok(listed) => listed,
                    Err(error) => {
                        reason = Some(error);
                        continue;
                    }
                };
                for (slot, listed) in slots.into_iter().zip(listed) {
                    let place = usize::from(slot - start);
                    match listed {
                        Listed::Keys(found) => keys[place] = Some(found),
                        Listed::Elsewhere => reason = Some(format!("slot {slot} is moving")),
                        Listed::Moving(target) => {
                            match self.list_moving(node, &target, slot, deadline).await {
                                Ok(found) => keys[place] = Some(found),
                                Err(error) => reason = Some(error),
                            }
                        }
                    }
                }
            }
            if keys.iter().all(Option::is_some) {
                continue;
            }
            if Instant::now() >= deadline {
                let reason = reason.unwrap_or_else(|| "some slots have no primary".to_owned());
                return Err(ClusterError::Unavailable(reason));
            }
            self.doubt.notify_one();
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Lists slots of a node.
    async fn list(
        &self,
        node: &Node,
        slots: &[u16],
        deadline: Instant,
    ) -> Result<Vec<Listed>, String> {
        let replies = self.ask_for_keys(node, slots, deadline).await?;
        let [before, .., after] = &*replies else {
            return Err(format!("{} has not answered", node.address));
        };
        let views = [before, after].map(|view| match NodeReply::parse(view) {
            Ok(NodeReply::Bytes(view)) => own_slots(&node.address, &String::from_utf8_lossy(view)),
            _ => None,
        });
        let listed = slots.iter().zip(&replies[1..]).map(|(slot, keys)| {
            let [Some(before), Some(after)] = &views else {
                return Listed::Elsewhere;
            };
            if let Some(target) = after.moving_to(*slot).or_else(|| before.moving_to(*slot)) {
                return Listed::Moving(target.to_owned());
            }
            if before.owns(*slot) && after.owns(*slot) {
                keys_of(keys).map_or(Listed::Elsewhere, Listed::Keys)
            } else {
                Listed::Elsewhere
            }
        });
        Ok(listed.collect())
    }

    /// Lists a slot that moves from a node to another one.
    async fn list_moving(
        &self,
        from: &Node,
        target: &str,
        slot: u16,
        deadline: Instant,
    ) -> Result<Vec<Vec<u8>>, String> {
        let state = self.state();
        let mut primaries = state.topology.primaries.iter();
        let target = primaries.find(|primary| primary.node.id == target);
        let target =
            target.ok_or_else(|| format!("slot {slot} moves to a node that nobody knows"))?;
        let target = self.node(&target.node.address);
        let mut keys = BTreeSet::new();
        for node in [from, &*target] {
            let replies = self.ask_for_keys(node, &[slot], deadline).await?;
            let found = replies.get(1).and_then(|reply| keys_of(reply));
            keys.extend(
                found.ok_or_else(|| format!("{} has not listed slot {slot}", node.address))?,
            );
        }
        Ok(keys.into_iter().collect())
    }

    /// Asks a node for its view of the cluster, the keys of slots, and its view again.
    async fn ask_for_keys(
        &self,
        node: &Node,
        slots: &[u16],
        deadline: Instant,
    ) -> Result<Vec<bytes::Bytes>, String> {
        let mut bytes = Vec::new();
        let view =
            |bytes: &mut Vec<u8>| write_request(bytes, [&b"CLUSTER"[..], b"NODES"].into_iter());
        view(&mut bytes);
        for slot in slots {
            let slot = slot.to_string();
            let words = [
                &b"CLUSTER"[..],
                b"GETKEYSINSLOT",
                slot.as_bytes(),
                b"2147483647",
            ];
            write_request(&mut bytes, words.into_iter());
        }
        view(&mut bytes);
        let count = slots.len() + 2;
        let link = node.link(false);
        let sent = link.send(std::iter::once(&*bytes), count, false, None);
        let answer = sent.answer(deadline).await;
        let answer = answer.map_err(|lost| lost.reason.to_string())?;
        Ok(answer.each().collect())
    }
}

/// The slots of a node, as it tells itself.
struct OwnSlots {
    topology: Topology,
    /// Its place among the primaries.
    place: usize,
}

impl OwnSlots {
    fn owns(&self, slot: u16) -> bool {
        self.topology.owner(slot) == Some(self.place)
    }

    fn moving_to(&self, slot: u16) -> Option<&str> {
        let leaving = &self.topology.primaries[self.place].leaving;
        let found = leaving.iter().find(|(moving, _)| *moving == slot);
        found.map(|(_, target)| &**target)
    }
}

fn own_slots(address: &str, view: &str) -> Option<OwnSlots> {
    // Nodes are told apart by their identities here.
    let view_of_it = [(address.to_owned(), view.to_owned())];
    let topology = Topology::of(&view_of_it, Endpoints::Addresses);
    let is_own = |line: &&str| {
        let flags = line.split(' ').nth(2).unwrap_or_default();
        flags.split(',').any(|flag| flag == "myself")
    };
    let id = view.lines().find(is_own)?.split(' ').next()?;
    let place = topology
        .primaries
        .iter()
        .position(|primary| primary.node.id == id)?;
    Some(OwnSlots { topology, place })
}

fn keys_of(reply: &[u8]) -> Option<Vec<Vec<u8>>> {
    let Ok(NodeReply::Array(keys)) = NodeReply::parse(reply) else {
        return None;
    };
    let keys = keys.into_iter().filter_map(|key| match key {
        NodeReply::Bytes(key) => Some(key.to_vec()),
        _ => None,
    });
    Some(keys.collect())
}

/// Makes an entry, if the key and the value are within the limits.
fn entry(key: &[u8], value: &[u8], expires_at: Option<u64>) -> Option<Entry> {
    let value = Value::with_expiry(value, expires_at).ok()?;
    Some(Entry::new(Key::parse(key).ok()?, value))
}
