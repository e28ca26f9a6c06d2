//! Walks over all pairs of a cluster, slot by slot.
//!
//! In: a cursor, which is a slot and a place among its keys. Out: keys or pairs from there on, and the next cursor. Promises: a pair that
//! exists from the start of a walk to its end is seen exactly once, also while slots move and primaries fail; keys that PyKV cannot have
//! (they are not UTF-8, or too long) and values of other types are left out.
//!
//! A slot is listed as a whole by CLUSTER GETKEYSINSLOT. Its node is asked before and after whether the slot is its own; if it has begun
//! to move, its keys are on two nodes, and since keys move in one direction only, the source is listed first and the target after it.

use std::collections::BTreeSet;

use tokio::time::{Instant, sleep, timeout_at};

use super::error::{ClusterError, parsed};
use super::link::Answer;
use super::node::Node;
use super::reply::{NodeReply, Scanner};
use super::request::{Requests, write_request};
use super::routing::{Cluster, RETRY_PAUSE};
use super::scripts::FETCH;
use super::slot::{SLOTS, slot_of};
use super::topology::Topology;
use crate::model::entry::Entry;
use crate::model::{Key, Value};

/// Position in a walk: the slot, then 32 bits of a hash of the key.
pub type Position = u64;

/// Slots that are listed together at first, and at most.
const SLOTS_AT_FIRST: u16 = 16;
const SLOTS_AT_MOST: u16 = 1024;
/// Keys whose values are read together.
const VALUES_AT_ONCE: usize = 500;

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
    /// Returns at least so many entries from a position on, if there are as many, whose keys begin with a prefix, and the next position.
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
            for keys in self.keys_of_slots(slot, end).await? {
                let keys = keys.into_iter().map(|key| (position_of(&key), key));
                let mut keys: Vec<_> = keys
                    .filter(|(position, key)| *position >= from && key.starts_with(prefix))
                    .collect();
                keys.sort();
                found.append(&mut keys);
            }
            slot = end;
            count = (count * 2).min(SLOTS_AT_MOST);
        }
        let mut next = (slot < SLOTS).then_some(u64::from(slot) << 32);
        // Keys of one position stay together.
        if let Some((end, _)) = found.get(least.max(1) * 2) {
            let end = *end;
            found.retain(|(position, _)| *position < end);
            next = Some(end);
        }
        let keys: Vec<Vec<u8>> = found.into_iter().map(|(_, key)| key).collect();
        let entries = match part {
            WalkPart::Keys => keys
                .iter()
                .filter_map(|key| entry(key, b"", None))
                .collect(),
            WalkPart::Pairs => self.entries_of(&keys).await?,
        };
        Ok((entries, next))
    }

    /// Reads the pairs of keys. Those that are gone meanwhile, or of another type, are left out.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn entries_of(&self, keys: &[Vec<u8>]) -> Result<Vec<Entry>, ClusterError> {
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(VALUES_AT_ONCE) {
            let mut requests = Requests::default();
            for key in keys {
                let words = [&b"EVALSHA_RO"[..], FETCH.sha1.as_bytes(), b"1", key];
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
                if let [NodeReply::Bytes(value), NodeReply::Number(expiry)] = &*found {
                    entries.extend(entry(key, value, u64::try_from(*expiry).ok()));
                }
            }
        }
        Ok(entries)
    }

    /// Returns the keys of slots, each slot by itself.
    async fn keys_of_slots(&self, start: u16, end: u16) -> Result<Vec<Vec<Vec<u8>>>, ClusterError> {
        let deadline = Instant::now() + self.options.timeout;
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
        let answer = link.send(std::iter::once(&*bytes), count, false);
        let Answer { replies, .. } = match timeout_at(deadline, answer).await {
            Ok(Ok(Ok(answer))) => answer,
            Ok(Ok(Err(lost))) => return Err(lost.reason.to_string()),
            Ok(Err(_)) => return Err(format!("the connection to {} failed", node.address)),
            Err(_) => {
                let reason = format!(
                    "{} did not answer in {:?}",
                    node.address, self.options.timeout
                );
                link.end(&reason);
                return Err(reason);
            }
        };
        let mut found = Vec::with_capacity(count);
        let (mut scanner, mut start) = (Scanner::default(), 0);
        while let Ok(Some(length)) = scanner.end(&replies[start..]) {
            found.push(replies.slice(start..start + length));
            start += length;
            if start == replies.len() {
                break;
            }
        }
        Ok(found)
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
    let topology = Topology::of(&[(address.to_owned(), view.to_owned())]);
    let id = view.lines().find(|line| line.contains("myself"))?;
    let id = id.split(' ').next()?;
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
