//! Messages that wait to be published.
//!
//! In: messages. Out: the same, in their order.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

/// A message that is to be published, and who wants to know.
pub struct Publication {
    /// Its channel.
    pub channel: Bytes,
    /// Its payload.
    pub payload: Bytes,
    /// Gets the number of receivers.
    pub published: oneshot::Sender<u64>,
}

/// Messages that are to be published.
#[derive(Default)]
pub struct Publications {
    queue: Mutex<VecDeque<Publication>>,
    /// Tells that one has been added.
    pub added: Notify,
}

impl Publications {
    /// Returns the messages.
    pub fn queue(&self) -> MutexGuard<'_, VecDeque<Publication>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
