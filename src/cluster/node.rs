//! A node of a cluster, and the connections to it.
//!
//! In: requests. Out: the connection that takes them. Promises: under `replicated`, requests that only read are not held up by those that
//! wait for replicas; a connection that has ended is replaced by the next request.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::link::{Link, Lost, Required, Sent};
use super::open::Access;
use super::request::request_of;

/// A node.
pub struct Node {
    /// `HOST:PORT`.
    pub address: String,
    /// Replicas that a change on it waits for.
    pub required: Arc<Required>,
    access: Arc<Access>,
    /// True if changes wait for replicas.
    is_replicated: bool,
    reads: Mutex<Option<Arc<Link>>>,
    writes: Mutex<Option<Arc<Link>>>,
}

impl Node {
    /// Makes a node, to which nothing is connected yet. Changes wait for so many replicas at least, if they wait for any.
    #[must_use]
    pub fn new(address: &str, access: &Arc<Access>, least_replicas: Option<u32>) -> Self {
        let required = Required::default();
        // Until more is known of it.
        required
            .replicas
            .store(least_replicas.unwrap_or(0), Relaxed);
        required.live.store(least_replicas.unwrap_or(0), Relaxed);
        Self {
            address: address.to_owned(),
            required: Arc::new(required),
            access: Arc::clone(access),
            is_replicated: least_replicas.is_some(),
            reads: Mutex::default(),
            writes: Mutex::default(),
        }
    }

    /// Returns the connection for requests, of which one may be a change.
    #[must_use]
    pub fn link(&self, has_write: bool) -> Arc<Link> {
        let (place, required) = if self.is_replicated && has_write {
            (&self.writes, Some(&self.required))
        } else {
            (&self.reads, None)
        };
        let mut link = place.lock().unwrap_or_else(PoisonError::into_inner);
        let open = link.as_ref().filter(|link| !link.has_ended());
        if let Some(open) = open {
            return Arc::clone(open);
        }
        let opened = Link::open(&self.address, &self.access, required.cloned());
        *link = Some(Arc::clone(&opened));
        opened
    }

    /// Waits until the changes that have been sent are answered.
    ///
    /// # Errors
    /// [`Lost`], if they are in doubt: what was read meanwhile may be lost with them.
    pub async fn wait_for_changes(&self, deadline: Instant) -> Result<(), Lost> {
        let sent = Self::ask_on(&self.link(true), &[b"PING"], false);
        sent.answer(deadline).await.map(drop)
    }

    /// Sends a request, which may be a change that is not on keys.
    pub fn ask(&self, words: &[&[u8]], is_write: bool) -> Sent {
        Self::ask_on(&self.link(is_write), words, is_write)
    }

    fn ask_on(link: &Arc<Link>, words: &[&[u8]], is_write: bool) -> Sent {
        let request = request_of(words);
        link.send(std::iter::once(&*request), 1, is_write, None)
    }

    /// Ends the connections.
    pub fn end(&self, reason: &str) {
        for place in [&self.reads, &self.writes] {
            let link = place.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(link) = &*link {
                link.end(reason);
            }
        }
    }
}
