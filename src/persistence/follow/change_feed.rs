//! Followers: tasks that are given the changes after a revision as they become safe.
//!
//! In: a prefix, and a revision. Out: the changes of keys with this prefix, in order; those of one record share its revision,
//! and are never divided. Promises:
//! - no change is shown that is not as safe as the durability says, nor while that is in doubt, nor a part of a record;
//! - no revision is skipped: one that the journals do not hold any more, or never had, is an error;
//! - no writer waits for a follower, and no follower holds up a worker of the runtime: files are read by the threads that it
//!   has for that, a few at a time.
//!
//! A save removes the journals before it. While there are followers, the last few of them are kept open, so that a follower is
//! not left behind by saves in quick succession; and the one that it is reading is open anyway.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::error::FollowError;
use super::journal_reader::{Changes, JournalReader, Page};
use super::record_feed::{RecordFeed, SharedLines};
use crate::model::Key;
use crate::persistence::backup::Original;
use crate::persistence::durability::Durability;
use crate::persistence::journal::Writer;

/// The most followers that read at one time: each takes a thread meanwhile, and they are soon done.
const READING_MAX: usize = 4;

/// The followers of one journal.
pub struct Followers {
    writer: Arc<Writer>,
    reading: Arc<Semaphore>,
    shared: Arc<SharedLines>,
}

impl Followers {
    /// Creates the feed of a journal, without followers.
    #[must_use]
    pub fn new(writer: Arc<Writer>) -> Self {
        Self {
            writer,
            reading: Arc::new(Semaphore::new(READING_MAX)),
            shared: Arc::default(),
        }
    }

    /// Returns the feed of a replica that has all records up to one of a timeline: those after it.
    ///
    /// # Errors
    /// [`FollowError::Off`] without a journal, [`FollowError::Ahead`] if the replica has records that are not of this history,
    /// [`FollowError::NotYet`] if it has some that are not here yet, and [`FollowError::Gone`] if the journals do not hold the records after it any more.
    pub fn resume(&self, timeline: &str, after: u64) -> Result<RecordFeed, FollowError> {
        self.check_on()?;
        let newest = self.writer.appended();
        let timelines = self.writer.timelines();
        let place = timelines.iter().position(|known| known.id == timeline);
        let end = place.map(|place| {
            timelines
                .get(place + 1)
                .map_or(newest, |next| next.from - 1)
        });
        if after > newest && place.is_some_and(|place| place + 1 == timelines.len()) {
            return Err(FollowError::NotYet { after, newest });
        }
        if end.is_none_or(|end| after > end) {
            return Err(FollowError::Ahead { after, newest });
        }
        // Those that saves have removed included.
        let (found, from) = self.writer.find(after + 1)?;
        if found.is_none() {
            return Err(FollowError::Gone { after, from });
        }
        Ok(self.feed(after, Vec::new()))
    }

    /// Returns the feed of a replica that has nothing: the files, which were opened by `open`, and the records after them.
    ///
    /// # Errors
    /// [`FollowError::Off`] without a journal; the error of `open`; [`FollowError::Unreadable`] if the journal does not take a timeline.
    pub fn copy(
        &self,
        open: impl FnOnce() -> Result<Vec<Original>, FollowError>,
    ) -> Result<RecordFeed, FollowError> {
        self.check_on()?;
        if self.writer.timelines().is_empty() {
            let begun = self.writer.begin_timeline();
            begun.map_err(|fault| FollowError::Unreadable(io::Error::other(fault)))?;
        }
        // Before the files: a record between comes twice, and is passed over.
        let after = self.writer.visible_seq();
        let feed = self.feed(after, Vec::new());
        let files = open()?;
        Ok(self.feed(feed.revision(), files))
    }

    fn feed(&self, after: u64, files: Vec<Original>) -> RecordFeed {
        let (writer, shared) = (Arc::clone(&self.writer), Arc::clone(&self.shared));
        RecordFeed::new(writer, shared, after, files)
    }

    /// Ends all feeds, as the journals are of another history now. Not to be called by a task.
    pub fn end_feeds(&self) {
        self.shared.restart();
    }

    fn check_on(&self) -> Result<(), FollowError> {
        if self.writer.durability() == Durability::Off {
            return Err(FollowError::Off);
        }
        Ok(())
    }

    /// Follows the changes of keys with a prefix, after a revision or from now on.
    ///
    /// # Errors
    /// [`FollowError::Off`] without a journal, [`FollowError::Ahead`] if there is no such revision yet, and
    /// [`FollowError::Gone`] if the journals do not hold the changes after it any more.
    pub fn follow(&self, prefix: Key<'_>, after: Option<u64>) -> Result<Follower, FollowError> {
        let writer = &self.writer;
        self.check_on()?;
        let newest = writer.appended();
        let after = after.unwrap_or(newest);
        // Another member of the cluster may have it: the numbers are the same.
        if after > newest && writer.durability() == Durability::Replicated {
            return Err(FollowError::NotYet { after, newest });
        }
        if after > newest {
            return Err(FollowError::Ahead { after, newest });
        }
        let from = writer.extent().first_seq - 1;
        if after < from {
            return Err(FollowError::Gone { after, from });
        }
        writer.retained().add_follower();
        let reader = JournalReader::new(Arc::clone(writer), prefix, after);
        Ok(Follower {
            history: self.shared.history(),
            shared: Arc::clone(&self.shared),
            writer: Arc::clone(writer),
            reading: Arc::clone(&self.reading),
            reader: Arc::new(Mutex::new(reader)),
            page: None,
            revision: after,
        })
    }
}

/// A follower of the changes of keys with one prefix.
pub struct Follower {
    writer: Arc<Writer>,
    shared: Arc<SharedLines>,
    /// The history of which it has been given changes.
    history: u64,
    reading: Arc<Semaphore>,
    reader: Arc<Mutex<JournalReader>>,
    /// The page that is being read. It outlives the task that waits for it, so that nothing is lost when that one ends.
    page: Option<JoinHandle<Result<Page, FollowError>>>,
    revision: u64,
}

impl Follower {
    /// Returns the revision up to which all changes have been given.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the next changes, a page at a time, each with its revision; waits until there are any. Cancelling the wait loses
    /// none. A waiting task must be polled once it is woken, or the other followers sleep on.
    ///
    /// # Errors
    /// [`FollowError::Gone`] if the next changes are not kept any more, [`FollowError::Unreadable`] if the journal cannot be
    /// read, and [`FollowError::Stopping`] once the runtime is being shut down.
    pub async fn next(&mut self) -> Result<Changes, FollowError> {
        loop {
            let page = self.read().await?;
            self.revision = page.revision;
            if !page.changes.is_empty() {
                return Ok(page.changes);
            }
        }
    }

    /// Returns the next changes of the first of these followers that has any, and its index. With no followers it never does.
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

    async fn read(&mut self) -> Result<Page, FollowError> {
        if self.page.is_none() {
            self.writer.wait_for_visible(self.revision).await;
            let permit = Arc::clone(&self.reading).acquire_owned().await;
            if self.history != self.shared.history() {
                return Err(FollowError::Ahead {
                    after: self.revision,
                    newest: self.writer.visible_seq(),
                });
            }
            let (reader, safe) = (Arc::clone(&self.reader), self.writer.visible_seq());
            self.page = Some(tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.read(safe)
            }));
        }
        let page = self.page.as_mut().expect("it has just been put there");
        let read = page.await;
        self.page = None;
        match read {
            Ok(page) => page,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(FollowError::Stopping),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.writer.retained().remove_follower();
    }
}
