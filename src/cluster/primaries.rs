//! Requests to all primaries of a cluster.
//!
//! In: what the whole is asked. Out: the replies of all primaries, or their sum. Promise: all slots are covered, or an error says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{ClusterError, parsed};
use super::link::Answer;
use super::node::Node;
use super::reply::NodeReply;
use super::request::{Requests, request_of};
use super::routing::{Cluster, RETRY_PAUSE};
use super::slot::{SLOTS, slot_of};

impl Cluster {
    /// Returns the number of keys of each primary.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`], if one does not tell it.
    pub async fn count_keys(&self) -> Result<u64, ClusterError> {
        let replies = self.ask_primaries(&[b"DBSIZE"], false).await?;
        let counts = replies
            .iter()
            .map(|(_, reply)| match NodeReply::parse(reply) {
                Ok(NodeReply::Number(keys)) => u64::try_from(keys).unwrap_or(0),
                _ => 0,
            });
        Ok(counts.sum())
    }

    /// Deletes keys. Returns the number of those that were there.
    ///
    /// # Errors
    /// [`ClusterError`]: some may have been deleted.
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
        for result in self.execute(&requests).await {
            if let NodeReply::Number(number) = parsed(&result?)? {
                deleted += u64::try_from(number).unwrap_or(0);
            }
        }
        Ok(deleted)
    }

    /// Deletes every key.
    ///
    /// # Errors
    /// [`ClusterError`]: the keys of some primaries may have been deleted.
    pub async fn flush(&self) -> Result<(), ClusterError> {
        for (_, reply) in self.ask_primaries(&[b"FLUSHALL", b"ASYNC"], true).await? {
            parsed(&reply)?;
        }
        Ok(())
    }

    /// Returns a random key; `None` if there are none.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn random_key(&self) -> Result<Option<Bytes>, ClusterError> {
        let replies = self.ask_primaries(&[b"DBSIZE"], false).await?;
        let mut sizes: Vec<(Arc<Node>, u64)> = Vec::new();
        for (node, reply) in replies {
            if let NodeReply::Number(keys) = parsed(&reply)? {
                sizes.push((node, u64::try_from(keys).unwrap_or(0)));
            }
        }
        let all: u64 = sizes.iter().map(|(_, keys)| keys).sum();
        if all == 0 {
            return Ok(None);
        }
        let mut chosen = fastrand::u64(..all);
        let mut sizes = sizes.into_iter();
        let node = sizes.find_map(|(node, keys)| {
            if chosen < keys {
                return Some(node);
            }
            chosen -= keys;
            None
        });
        let Some(node) = node else { return Ok(None) };
        let deadline = Instant::now() + self.options.timeout;
        let request = request_of(&[b"RANDOMKEY"]);
        let answer = node.link(false).send(std::iter::once(&*request), 1, false);
        let unavailable = |reason: &str| ClusterError::Unavailable(reason.to_owned());
        let answer = timeout_at(deadline, answer).await.ok().and_then(Result::ok);
        let answer = answer.ok_or_else(|| unavailable("a node does not answer"))?;
        let answer = answer.map_err(|lost| unavailable(&lost.reason))?;
        match parsed(&answer.replies)? {
            NodeReply::Bytes(key) => Ok(Some(answer.replies.slice_ref(key))),
            _ => Ok(None),
        }
    }

    /// Sends a request to each primary that owns slots. Returns their replies.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`], if a slot has no primary, or one does not answer in time.
    pub async fn ask_primaries(
        &self,
        words: &[&[u8]],
        is_write: bool,
    ) -> Result<Vec<(Arc<Node>, Bytes)>, ClusterError> {
        let deadline = Instant::now() + self.options.timeout;
        loop {
            match self.ask_primaries_once(words, is_write, deadline).await {
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
        is_write: bool,
        deadline: Instant,
    ) -> Result<Vec<(Arc<Node>, Bytes)>, String> {
        let state = self.state();
        if state.topology.owned_slots() < usize::from(SLOTS) {
            return Err("some slots have no primary".to_owned());
        }
        let request = request_of(words);
        let primaries = state.topology.primaries.iter().zip(&state.nodes);
        let asked: Vec<_> = primaries
            .filter(|(primary, _)| primary.slots > 0)
            .map(|(_, node)| {
                let link = node.link(is_write);
                let answer = link.send(std::iter::once(&*request), 1, is_write);
                (Arc::clone(node), link, answer)
            })
            .collect();
        let mut replies = Vec::new();
        for (node, link, answer) in asked {
            match timeout_at(deadline, answer).await {
                Ok(Ok(Ok(Answer {
                    too_few: Some(_), ..
                }))) => {
                    return Err(format!("{} has too few replicas", node.address));
                }
                Ok(Ok(Ok(answer))) => replies.push((node, answer.replies)),
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
            }
        }
        Ok(replies)
    }
}
