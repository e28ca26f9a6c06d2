//! Requests to all primaries of a cluster.
//!
//! In: what the whole is asked. Out: the replies of all primaries, or their sum. Promises: all slots are covered, or an error says so; a
//! change is sent to each primary once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::error::{ClusterError, parsed};
use super::link::Sent;
use super::node::Node;
use super::reply::NodeReply;
use super::request::Requests;
use super::routing::{Cluster, RETRY_PAUSE};
use super::slot::{SLOTS, slot_of};
use super::walk::WalkPart;

/// Keys of nodes that are tried for a random one, before those of pairs are looked for from a random slot on.
const RANDOM_KEYS_TRIED: usize = 10;
/// Keys that are then looked at together.
const LOOKED_AT_ONCE: usize = 1000;

impl Cluster {
    /// Returns the number of keys.
    ///
    /// # Errors
    /// [`ClusterError`], if a primary does not tell it.
    pub async fn count_keys(&self) -> Result<u64, ClusterError> {
        let sizes = self.sizes().await?;
        Ok(sizes.into_iter().map(|(_, keys)| keys).sum())
    }

    /// Returns the number of keys of each primary.
    async fn sizes(&self) -> Result<Vec<(Arc<Node>, u64)>, ClusterError> {
        let replies = self.ask_primaries(&[b"DBSIZE"]).await?;
        let sizes = replies.into_iter().map(|(node, reply)| {
            let NodeReply::Number(keys) = parsed(&reply)? else {
                return Err(ClusterError::strange(&reply));
            };
            Ok((node, u64::try_from(keys).unwrap_or(0)))
        });
        sizes.collect()
    }

    /// Deletes keys. Returns the number of those that were there.
    ///
    /// # Errors
    /// [`ClusterError`]; [`ClusterError::InDoubt`], if some may have been deleted.
    pub async fn delete<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<u64, ClusterError> {
        let mut by_slot: BTreeMap<u16, Vec<&[u8]>> = BTreeMap::new();
        for key in keys {
            by_slot.entry(slot_of(key)).or_default().push(key);
        }
        let mut requests = Requests::default();
        for (slot, keys) in &by_slot {
            let words = std::iter::once(&b"UNLINK"[..]).chain(keys.iter().copied());
            requests.push(words, *slot, true);
        }
        let mut deleted = 0;
        for reply in ClusterError::all(self.execute(&requests).await)? {
            if let NodeReply::Number(number) = parsed(&reply)? {
                deleted += u64::try_from(number).unwrap_or(0);
            }
        }
        Ok(deleted)
    }

    /// Deletes every key.
    ///
    /// # Errors
    /// [`ClusterError::InDoubt`]: some keys may have been deleted, or all; else nothing was done.
    pub async fn flush(&self) -> Result<(), ClusterError> {
        // Once all can be reached, each is asked once.
        let nodes = self.ask_primaries(&[b"PING"]).await?;
        let deadline = self.deadline();
        let sent = nodes.into_iter();
        let sent = sent.map(|(node, _)| node.ask(&[b"FLUSHALL", b"ASYNC"], true));
        for sent in sent.collect::<Vec<Sent>>() {
            let answer = sent.answer(deadline).await.map_err(|lost| {
                let reason = format!("some keys may have been deleted, or all: {}", lost.reason);
                ClusterError::InDoubt(reason)
            })?;
            parsed(&answer.replies)?;
            if let Some(few) = answer.too_few {
                return Err(ClusterError::InDoubt(format!(
                    "all keys were deleted, which {} of {} replicas of a primary know",
                    few.replicas, few.required
                )));
            }
        }
        Ok(())
    }

    /// Returns the key of a random pair; `None` if there are none.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn random_key(&self) -> Result<Option<Bytes>, ClusterError> {
        for _ in 0..RANDOM_KEYS_TRIED {
            // There is none if that of a node has just expired.
            if let Some(key) = self.any_key().await?
                && !self.existing(&[&key]).await?.is_empty()
            {
                return Ok(Some(key));
            }
        }
        // Most keys, or all, are of other types.
        let deadline = self.deadline();
        let start = u64::from(fastrand::u16(..SLOTS)) << 32;
        for (mut from, end) in [(start, None), (0, Some(start))] {
            loop {
                let page = self.page(from, LOOKED_AT_ONCE, b"", WalkPart::Keys);
                let (entries, next) = page.await?;
                if let Some(entry) = fastrand::choice(&entries) {
                    return Ok(Some(Bytes::copy_from_slice(entry.key_bytes())));
                }
                match next {
                    Some(next) if end.is_none_or(|end| next < end) => from = next,
                    _ => break,
                }
                if Instant::now() >= deadline {
                    let reason = "no pair was found in time among keys of other types";
                    return Err(ClusterError::Unavailable(reason.to_owned()));
                }
            }
        }
        Ok(None)
    }

    /// Returns a random key, of a primary that is chosen by its number of keys: of a pair or of something else.
    async fn any_key(&self) -> Result<Option<Bytes>, ClusterError> {
        let sizes = self.sizes().await?;
        let all: u64 = sizes.iter().map(|(_, keys)| keys).sum();
        if all == 0 {
            return Ok(None);
        }
        let mut chosen = fastrand::u64(..all);
        let node = sizes.into_iter().find_map(|(node, keys)| {
            if chosen < keys {
                return Some(node);
            }
            chosen -= keys;
            None
        });
        let Some(node) = node else { return Ok(None) };
        let deadline = self.deadline();
        let answer = node.ask(&[b"RANDOMKEY"], false).answer(deadline).await;
        let answer = answer.map_err(|lost| ClusterError::Unavailable(lost.reason.to_string()))?;
        match parsed(&answer.replies)? {
            NodeReply::Bytes(key) => Ok(Some(answer.replies.slice_ref(key))),
            _ => Ok(None),
        }
    }

    /// Sends a request that only reads to each primary that owns slots. Returns their replies.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`], if a slot has no primary, or one does not answer in time.
    pub async fn ask_primaries(
        &self,
        words: &[&[u8]],
    ) -> Result<Vec<(Arc<Node>, Bytes)>, ClusterError> {
        let deadline = self.deadline();
        loop {
            match self.ask_primaries_once(words, deadline).await {
                Ok(replies) => return Ok(replies),
                Err(reason) if Instant::now() >= deadline => {
                    return Err(ClusterError::Unavailable(reason));
                }
                Err(_) => {
                    self.doubt.notify_one();
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// As [`Self::ask_primaries`], without another try.
    pub(super) async fn ask_primaries_once(
        &self,
        words: &[&[u8]],
        deadline: Instant,
    ) -> Result<Vec<(Arc<Node>, Bytes)>, String> {
        let state = self.state();
        if state.topology.owned_slots() < usize::from(SLOTS) {
            return Err("some slots have no primary".to_owned());
        }
        let primaries = state.topology.primaries.iter().zip(&state.nodes);
        let owners = primaries.filter(|(primary, _)| primary.slots > 0);
        let asked = owners.map(|(_, node)| (Arc::clone(node), node.ask(words, false)));
        let mut replies = Vec::new();
        for (node, sent) in asked.collect::<Vec<(Arc<Node>, Sent)>>() {
            let answer = sent.answer(deadline).await;
            let answer = answer.map_err(|lost| lost.reason.to_string())?;
            replies.push((node, answer.replies));
        }
        Ok(replies)
    }
}
