//! The prefixes that a client follows, and their changes.
//!
//! In: prefixes, and what the journal tells of them. Out: changes, as pushes. Promise: a client that does not read its changes
//! holds nobody up; what it misses is told by an error.

use std::fmt;

use futures_util::future::BoxFuture;

use super::refusals::bad_argument;
use super::stream::{Pull, Pulled, Source, Stream};
use crate::engine::{Changes, FollowError, Follower, OwnedChange};
use crate::protocol::{Changed, Dialect, ErrorCode, ErrorReply, Reply};

/// The most prefixes that one connection follows: for each the journal is read.
pub const FOLLOWED_MAX: usize = 16;

/// The prefixes that one client follows.
#[derive(Default)]
pub struct Following {
    /// One for each of `told`, in the same order.
    followers: Vec<Follower>,
    /// The prefix, and the dialect of its changes.
    told: Vec<(String, Dialect)>,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Following").field(&self.told).finish()
    }
}

/// Changes of the prefix at a place, or the error that ends following it.
pub type Followed = (usize, Result<Changes, FollowError>);

impl Following {
    /// Returns true if nothing is followed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Checks that one more prefix may be followed.
    ///
    /// # Errors
    /// `ARGS`: it is followed already. `TOO_LARGE`: [`FOLLOWED_MAX`] are.
    pub(super) fn admit(&self, prefix: &str) -> Result<(), ErrorReply> {
        if self.told.iter().any(|(followed, _)| followed == prefix) {
            return Err(bad_argument(format!(
                "'{prefix}' is followed already; UNFOLLOW it first"
            )));
        }
        if self.told.len() == FOLLOWED_MAX {
            let message = format!("one connection may follow {FOLLOWED_MAX} prefixes");
            return Err(ErrorReply::new(ErrorCode::TooLarge, message));
        }
        Ok(())
    }

    /// Adds a prefix; its changes are written in `dialect`.
    pub(super) fn add(&mut self, prefix: &str, dialect: Dialect, follower: Follower) {
        self.followers.push(follower);
        self.told.push((prefix.to_owned(), dialect));
    }

    /// Removes a prefix, or all; returns those that were followed.
    pub(super) fn remove(&mut self, prefix: Option<&str>) -> Vec<String> {
        let mut removed = Vec::new();
        let mut place = 0;
        while place < self.told.len() {
            if prefix.is_none_or(|prefix| self.told[place].0 == prefix) {
                removed.push(self.remove_at(place).0);
            } else {
                place += 1;
            }
        }
        removed
    }

    fn remove_at(&mut self, place: usize) -> (String, Dialect) {
        drop(self.followers.remove(place));
        self.told.remove(place)
    }

    /// Waits for changes of any prefix. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Followed {
        Follower::next_of(&mut self.followers).await
    }

    /// Returns the changes as a stream of pushes, and its dialect. An error ends following the prefix.
    pub fn pushes(&mut self, (place, changes): Followed) -> (Stream, Dialect) {
        match changes {
            Ok(changes) => {
                let pushes = Pushes(Box::new(changes.into_iter()));
                (Stream::new(pushes), self.told[place].1)
            }
            Err(error) => {
                let (prefix, dialect) = self.remove_at(place);
                let end = End {
                    prefix,
                    error: refusal_of(&error),
                };
                (Stream::new(end), dialect)
            }
        }
    }
}

/// Changes that are still to be written.
struct Pushes(Box<dyn Iterator<Item = (u64, OwnedChange)> + Send>);

impl Source for Pushes {
    fn pull<'a>(&'a mut self, pull: &'a mut Pull<'_>) -> BoxFuture<'a, Result<Pulled, ErrorReply>> {
        Box::pin(async move {
            while !pull.replies.is_full() {
                let Some((revision, change)) = self.0.next() else {
                    return Ok(Pulled::End);
                };
                let changed = match &change {
                    OwnedChange::Put(entry) => Changed::Put(
                        entry.key().as_str(),
                        entry.value_bytes(),
                        entry.expires_at(),
                    ),
                    OwnedChange::Delete(key) => Changed::Delete(key),
                    OwnedChange::Clear => Changed::Clear,
                };
                pull.replies.reply(Reply::Change(revision, changed));
            }
            Ok(Pulled::More)
        })
    }
}

/// The end of following a prefix.
struct End {
    prefix: String,
    error: ErrorReply,
}

impl Source for End {
    fn pull<'a>(&'a mut self, pull: &'a mut Pull<'_>) -> BoxFuture<'a, Result<Pulled, ErrorReply>> {
        Box::pin(async move {
            pull.replies.reply(Reply::Error(&self.error));
            pull.replies.reply(Reply::Unfollowed(&self.prefix));
            Ok(Pulled::End)
        })
    }
}

/// Returns the reply for a prefix that cannot be followed.
pub(super) fn refusal_of(error: &FollowError) -> ErrorReply {
    let code = match error {
        FollowError::Off => ErrorCode::Denied,
        FollowError::Ahead { .. } | FollowError::Gone { .. } => ErrorCode::Args,
        FollowError::Unreadable(_) => ErrorCode::Disk,
        FollowError::Stopping => ErrorCode::Busy,
    };
    ErrorReply::new(code, crate::error::error_chain(error)).with_prefix("ERR")
}
