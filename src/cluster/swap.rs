//! Pairs of one slot, read together, and changed together if they are still what was read.
//!
//! In: keys; then changes. Out: values with their expiry; whether the changes were made. Promise: both are atomic, as each is one script
//! on the slot's primary; all changes are made, or none.

use bytes::Bytes;
use tokio::time::Instant;

use super::error::{ClusterError, parsed};
use super::reply::NodeReply;
use super::request::Requests;
use super::routing::Cluster;
use super::scripts::{FETCH, SWAP};
use super::slot::slot_of;
use crate::model::UnixMs;

/// A value and its expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The value.
    pub value: Bytes,
    /// Its expiry.
    pub expires_at: Option<UnixMs>,
}

/// A value and its expiry, borrowed.
pub type Held<'a> = (&'a [u8], Option<UnixMs>);

/// A change of a key on a condition.
#[derive(Debug, Clone, Copy)]
pub struct Swap<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What it must be: this pair, or missing.
    pub before: Option<Held<'a>>,
    /// What it becomes; `None` to leave it as it is.
    pub after: Option<Option<Held<'a>>>,
}

impl Cluster {
    /// Reads the pairs of keys, which are of one slot.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn fetch(&self, keys: &[&[u8]]) -> Result<Vec<Option<Fetched>>, ClusterError> {
        self.fetch_until(self.deadline(), keys).await
    }

    /// As [`Self::fetch`], by a deadline.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn fetch_until(
        &self,
        deadline: Instant,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Fetched>>, ClusterError> {
        let Some(first) = keys.first() else {
            return Ok(Vec::new());
        };
        let count = keys.len().to_string();
        let head = [&b"EVALSHA_RO"[..], FETCH.sha1.as_bytes(), count.as_bytes()];
        let reply = self
            .execute_one(
                deadline,
                head.into_iter().chain(keys.iter().copied()),
                slot_of(first),
                false,
            )
            .await?;
        let NodeReply::Array(found) = parsed(&reply)? else {
            return Err(ClusterError::strange(&reply));
        };
        let pairs = found.chunks_exact(2).map(|pair| match pair {
            [NodeReply::Bytes(value), NodeReply::Number(expiry)] => Some(Fetched {
                value: reply.slice_ref(value),
                expires_at: u64::try_from(*expiry).ok(),
            }),
            _ => None,
        });
        Ok(pairs.collect())
    }

    /// Changes the pairs of keys, which are of one slot and each named once, if all are what they must be, by a deadline. Returns whether
    /// they are.
    ///
    /// # Errors
    /// [`ClusterError`]; [`ClusterError::InDoubt`] if the change may have been made.
    pub async fn swap(&self, deadline: Instant, swaps: &[Swap<'_>]) -> Result<bool, ClusterError> {
        let Some(first) = swaps.first() else {
            return Ok(true);
        };
        let time_of = |expires_at: Option<UnixMs>| {
            expires_at.map_or_else(|| "-1".to_owned(), |at| at.to_string())
        };
        let times: Vec<(String, String)> = swaps
            .iter()
            .map(|swap| {
                let before = swap
                    .before
                    .map_or_else(|| "-".to_owned(), |(_, at)| time_of(at));
                let after = match swap.after {
                    None => String::new(),
                    Some(None) => "d".to_owned(),
                    Some(Some((_, at))) => time_of(at),
                };
                (before, after)
            })
            .collect();
        let count = swaps.len().to_string();
        let mut words: Vec<&[u8]> = vec![b"EVALSHA", SWAP.sha1.as_bytes(), count.as_bytes()];
        words.extend(swaps.iter().map(|swap| swap.key));
        for (swap, (before, after)) in swaps.iter().zip(&times) {
            words.extend([
                before.as_bytes(),
                swap.before.map_or(&b""[..], |(value, _)| value),
                after.as_bytes(),
                swap.after.flatten().map_or(&b""[..], |(value, _)| value),
            ]);
        }
        let reply = self
            .execute_one(deadline, words.into_iter(), slot_of(first.key), true)
            .await?;
        match parsed(&reply)? {
            NodeReply::Number(number) => Ok(number == 1),
            _ => Err(ClusterError::strange(&reply)),
        }
    }

    /// Executes one request.
    async fn execute_one<'w>(
        &self,
        deadline: Instant,
        words: impl Iterator<Item = &'w [u8]> + Clone,
        slot: u16,
        is_write: bool,
    ) -> Result<Bytes, ClusterError> {
        let mut requests = Requests::default();
        requests.push(words, slot, is_write);
        let mut results = self.execute_until(deadline, &requests).await;
        results.pop().expect("a request has a result")
    }
}
