//! The change feed: the changes after a revision, read back from the journals, and then those that come.
//!
//! In: a prefix, and a revision: the number of a record. Out: the changes of keys with this prefix, in order; those of one
//! record share its revision, and are never divided. Promises:
//! - nothing is shown that is not as safe as the durability says, nor while it is in doubt, nor a part of a record;
//! - no revision is passed over: one that the journals do not hold any more, or never had, is told of;
//! - nobody who writes waits for who follows, and who follows holds up no worker of the runtime: files are read by its
//!   threads for that, some at a time.
//!
//! A save removes the journals before it. While anybody follows, the last few of them are kept open, so that whoever reads
//! along is not left behind by saves in a quick row; and whoever is reading one has it open anyway.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use tokio::task::JoinHandle;

use super::Durability;
use super::reread::{Batch, Changes, Journal, Reader};
use super::writer::{Writer, locked};
use crate::model::Key;

/// The most followers that read at one time: each takes a thread meanwhile, and they are soon done.
pub(super) const READING_MAX: usize = 4;

/// The most journals that are kept for followers after a save has removed them: enough for whoever is a few saves behind.
const KEPT_MAX: usize = 16;

/// The most bytes of such journals: room on the disk that nobody sees.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// Why changes cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no journal.
    #[error(
        "there is no journal to follow: the server runs with --durability off; everysec and always keep one"
    )]
    Off,
    /// There is no such revision yet.
    #[error(
        "revision {after} is of another history: the newest is {newest}; read the pairs anew, and follow from now on"
    )]
    Ahead {
        /// The revision that was asked for.
        after: u64,
        /// The newest one.
        newest: u64,
    },
    /// The journals do not hold these changes.
    #[error(
        "the changes after revision {after} are not kept any more, only those after {from}; read the pairs anew, and follow \
         from now on"
    )]
    Gone {
        /// The last revision that was seen.
        after: u64,
        /// The first one after which all changes are there.
        from: u64,
    },
    /// The system refuses.
    #[error("cannot read the journal")]
    Unreadable(#[from] io::Error),
    /// Nothing is read any more.
    #[error("the server is stopping")]
    Stopping,
}

/// Somebody who follows the changes of keys with one prefix.
pub struct Follower {
    writer: Arc<Writer>,
    reader: Arc<Mutex<Reader>>,
    /// What is being read. It outlives whoever waits for it, so that nothing is lost when that ends.
    reading: Option<JoinHandle<Result<Batch, FollowError>>>,
    revision: u64,
}

impl Writer {
    /// Follows the changes of keys with a prefix, after a revision or from now on.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn follow(
        self: &Arc<Self>,
        prefix: Key<'_>,
        after: Option<u64>,
    ) -> Result<Follower, FollowError> {
        if self.durability == Durability::Off {
            return Err(FollowError::Off);
        }
        let newest = self.appended();
        let after = after.unwrap_or(newest);
        if after > newest {
            return Err(FollowError::Ahead { after, newest });
        }
        let from = self.first_seq.load(Ordering::Relaxed) - 1;
        if after < from {
            return Err(FollowError::Gone { after, from });
        }
        self.followers.fetch_add(1, Ordering::Relaxed);
        let reader = Reader::new(Arc::clone(self), prefix, after);
        Ok(Follower {
            writer: Arc::clone(self),
            reader: Arc::new(Mutex::new(reader)),
            reading: None,
            revision: after,
        })
    }

    /// Lets followers see what is as safe as promised by now.
    pub(super) fn feed(&self) {
        let Some(reached) = self.reached() else {
            return;
        };
        // In this order, as for who waits for a commit.
        let seq = reached.get();
        if seq > self.fed.get() && !self.faults.is_set() {
            self.fed.raise(seq);
        }
    }

    /// Whether a journal is to be kept for followers. Where the disk takes no changes, its room is needed more.
    pub(super) fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0 && !self.faults.is_set()
    }
}

impl Follower {
    /// All changes up to this revision have been given.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The next changes, some at a time, and the revision of each; waits until there are any. Who ceases to wait loses none;
    /// who waits must be polled once it is woken, or the other followers are not.
    ///
    /// # Errors
    /// [`FollowError`]: it cannot be followed on.
    pub async fn next(&mut self) -> Result<Changes, FollowError> {
        loop {
            let batch = self.read().await?;
            self.revision = batch.revision;
            if !batch.changes.is_empty() {
                return Ok(batch.changes);
            }
        }
    }

    /// The next changes of the first of these that has any, and its place; of none there never are any.
    pub async fn next_of(followers: &mut [Self]) -> (usize, Result<Changes, FollowError>) {
        let mut waits: Vec<_> = followers
            .iter_mut()
            .map(|follower| Box::pin(follower.next()))
            .collect();
        poll_fn(|context| {
            let mut polled = waits.iter_mut().enumerate();
            let ready = polled.find_map(|(place, wait)| match wait.as_mut().poll(context) {
                Poll::Ready(changes) => Some((place, changes)),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    async fn read(&mut self) -> Result<Batch, FollowError> {
        if self.reading.is_none() {
            let (fed, revision) = (&self.writer.fed, self.revision);
            fed.wait_until(|| fed.get() > revision).await;
            let turn = Arc::clone(&self.writer.reading).acquire_owned().await;
            let (reader, safe) = (Arc::clone(&self.reader), fed.get());
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let _turn = turn;
                locked(&reader).read(safe)
            }));
        }
        let reading = self.reading.as_mut().expect("it has just been put there");
        let read = reading.await;
        self.reading = None;
        match read {
            Ok(batch) => batch,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(FollowError::Stopping),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.writer.followers.fetch_sub(1, Ordering::Relaxed) == 1 {
            locked(&self.writer.kept).clear();
        }
    }
}

/// The last journals that saves have removed, oldest first, each with its length.
#[derive(Default)]
pub(super) struct Kept(VecDeque<(Journal, u64)>);

impl Kept {
    /// Keeps one more, and as many of the oldest less as the limits ask for.
    pub(super) fn push(&mut self, journal: Journal, bytes: u64) {
        self.0.push_back((journal, bytes));
        while self.0.len() > KEPT_MAX || self.bytes() > KEPT_BYTES_MAX {
            self.0.pop_front();
        }
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Keeps none any longer.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The journal in which the record with this number stands, if it is in any of these.
    pub(super) fn journal_of(&self, seq: u64) -> Option<Journal> {
        let mut journals = self.0.iter().rev().map(|(journal, _)| journal);
        journals.find(|journal| journal.first_seq <= seq).cloned()
    }
}
