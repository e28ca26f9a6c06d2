//! The prefixes that a client follows, and their changes; or the feed of a replica.
//!
//! In: prefixes, and their changes in the journal. Out: pushes. Promise: a client that does not read its changes delays no other;
//! if it falls too far behind, following ends with an error.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Interval, interval};

use super::acl::KeyFilter;
use super::refusals::bad_argument;
use super::stream::{Pull, Pulled, Source, Stream};
use crate::codec::key_text::key_text;
use crate::engine::{Changes, Engine, FollowError, Follower, OwnedChange, RecordFeed};
use crate::model::Database;
use crate::protocol::{Changed, Dialect, ErrorCode, ErrorReply, Reply};
use crate::replication::{Heartbeat, Replication};

/// Maximum number of prefixes that one connection follows, as the journal is read for each.
pub const FOLLOWED_MAX: usize = 16;

/// Interval at which a replica is told how far this server is.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Prefixes that one client follows.
#[derive(Default)]
pub struct Following {
    /// One for each of `prefixes`, in the same order.
    followers: Vec<Follower>,
    prefixes: Vec<FollowedPrefix>,
    feed: Option<ReplicaFeed>,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Following").field(&self.prefixes).finish()
    }
}

/// A prefix that is followed.
#[derive(Debug)]
struct FollowedPrefix {
    /// The prefix of stored keys.
    prefix: Vec<u8>,
    /// The database of the client when it began, by which it knows the keys.
    database: Database,
    /// The dialect of the changes.
    dialect: Dialect,
}

impl FollowedPrefix {
    fn name(&self) -> &[u8] {
        self.database.name_of(&self.prefix)
    }
}

/// What has come for a client.
pub enum Followed {
    /// Changes of the prefix at a place, or the error that ends following it.
    Changes(usize, Result<Changes, FollowError>),
    /// A piece of the feed of a replica, or the error that ends it.
    Feed(Result<Bytes, FollowError>),
}

/// The feed of a replica, with a heartbeat at its beginning and once a second.
struct ReplicaFeed {
    feed: RecordFeed,
    engine: Arc<Engine>,
    replication: Arc<Replication>,
    /// Number of the connection.
    id: u64,
    /// The newest timeline that the replica has been told of; `None` before the first heartbeat.
    told: Option<String>,
    /// Lines that a heartbeat goes before.
    held: Option<Bytes>,
    heartbeats: Interval,
}

impl ReplicaFeed {
    async fn next(&mut self) -> Result<Bytes, FollowError> {
        if self.told.is_none() {
            let files = self.feed.files();
            return Ok(self.heartbeat(files));
        }
        if self.feed.has_files() {
            // Nothing may stand between the bytes of files.
            return self.feed.next().await;
        }
        if let Some(piece) = self.held.take() {
            return Ok(piece);
        }
        tokio::select! {
            biased;
            _ = self.heartbeats.tick() => Ok(self.heartbeat(Vec::new())),
            piece = self.feed.next() => {
                let piece = piece?;
                let newest = self.engine.newest_timeline();
                if newest.is_none_or(|newest| self.told.as_ref() == Some(&newest)) {
                    return Ok(piece);
                }
                // By the timelines the replica tells whether the lines are of the history that it has.
                self.held = Some(piece);
                Ok(self.heartbeat(Vec::new()))
            }
        }
    }

    fn heartbeat(&mut self, files: Vec<(String, u64)>) -> Bytes {
        let timelines: Vec<_> = self.engine.timelines();
        let newest = timelines.last().map(|timeline| timeline.id.clone());
        self.told = Some(newest.unwrap_or_default());
        let heartbeat = Heartbeat {
            newest: self.feed.newest(),
            timelines: timelines
                .into_iter()
                .map(|one| (one.id, one.from))
                .collect(),
            files,
        };
        let mut line = serde_json::to_vec(&heartbeat).expect("plain fields are always JSON");
        line.push(b'\n');
        line.into()
    }
}

impl Drop for ReplicaFeed {
    fn drop(&mut self) {
        self.replication.remove_replica(self.id);
    }
}

impl Following {
    /// Returns true if nothing is followed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.feed.is_none()
    }

    /// Begins to send the feed of a replica, which is client `id`.
    pub(super) fn replicate(
        &mut self,
        (id, address): (u64, String),
        feed: RecordFeed,
        (engine, replication): (Arc<Engine>, Arc<Replication>),
    ) {
        replication.add_replica(id, address);
        self.feed = Some(ReplicaFeed {
            feed,
            engine,
            replication,
            id,
            told: None,
            held: None,
            heartbeats: interval(HEARTBEAT_INTERVAL),
        });
    }

    /// Checks that one more prefix may be followed.
    ///
    /// # Errors
    /// `ARGS` if the prefix is followed already, `TOO_LARGE` if [`FOLLOWED_MAX`] are.
    pub(super) fn admit(&self, prefix: &[u8]) -> Result<(), ErrorReply> {
        if let Some(followed) = self.prefixes.iter().find(|one| one.prefix == prefix) {
            let prefix = followed.name();
            return Err(bad_argument(format!(
                "'{}' is followed already; UNFOLLOW it first",
                key_text(prefix)
            )));
        }
        if self.prefixes.len() == FOLLOWED_MAX {
            let message = format!("one connection may follow {FOLLOWED_MAX} prefixes");
            return Err(ErrorReply::new(ErrorCode::TooLarge, message));
        }
        Ok(())
    }

    /// Adds a prefix of stored keys, which the client knows by a database, and whose changes are encoded in a dialect.
    pub(super) fn add(
        &mut self,
        (prefix, database, dialect): (&[u8], Database, Dialect),
        follower: Follower,
    ) {
        self.followers.push(follower);
        self.prefixes.push(FollowedPrefix {
            prefix: prefix.to_owned(),
            database,
            dialect,
        });
    }

    /// Removes a prefix of stored keys, or all. Returns the removed ones, as the client knows them.
    pub(super) fn remove(&mut self, prefix: Option<&[u8]>) -> Vec<Vec<u8>> {
        let is_meant = |one: &FollowedPrefix| prefix.is_none_or(|prefix| one.prefix == prefix);
        let mut removed = Vec::new();
        while let Some(place) = self.prefixes.iter().position(is_meant) {
            removed.push(self.remove_at(place).name().to_owned());
        }
        removed
    }

    fn remove_at(&mut self, place: usize) -> FollowedPrefix {
        drop(self.followers.remove(place));
        self.prefixes.remove(place)
    }

    /// Waits for changes of any prefix. Cancel safe: dropping the future loses no change.
    pub async fn next(&mut self) -> Followed {
        let feed = async {
            match &mut self.feed {
                Some(feed) => feed.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (place, changes) = Follower::next_of(&mut self.followers) => Followed::Changes(place, changes),
            piece = feed => Followed::Feed(piece),
        }
    }

    /// Converts the changes that a user may see to a stream of pushes, and returns its dialect. An error ends following the prefix.
    pub(super) fn pushes(
        &mut self,
        followed: Followed,
        filter: Option<KeyFilter>,
    ) -> (Stream, Dialect) {
        let (place, changes) = match followed {
            Followed::Changes(place, changes) => (place, changes),
            Followed::Feed(piece) => {
                let piece = piece.map_err(|error| {
                    self.feed = None;
                    refusal_of(&error)
                });
                return (Stream::new(FeedPiece(Some(piece))), Dialect::Line);
            }
        };
        match changes {
            Ok(changes) => {
                let changes = Box::new(changes.into_iter());
                let followed = &self.prefixes[place];
                let pushes = Pushes {
                    changes,
                    filter,
                    database: followed.database,
                };
                (Stream::new(pushes), followed.dialect)
            }
            Err(error) => {
                let followed = self.remove_at(place);
                let end = End {
                    prefix: followed.name().to_owned(),
                    error: refusal_of(&error),
                };
                (Stream::new(end), followed.dialect)
            }
        }
    }
}

/// A piece of the feed of a replica, or the error that ends it.
struct FeedPiece(Option<Result<Bytes, ErrorReply>>);

impl Source for FeedPiece {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        if let Some(piece) = self.0.take() {
            pull.replies.reply(Reply::Raw(&piece?));
        }
        Ok(Pulled::End)
    }
}

/// Changes that have not been sent.
struct Pushes {
    changes: Box<dyn Iterator<Item = (u64, OwnedChange)> + Send>,
    /// Filter of the keys that the user may see.
    filter: Option<KeyFilter>,
    database: Database,
}

impl Pushes {
    fn may_see(&self, change: &OwnedChange) -> bool {
        let key = match change {
            OwnedChange::Put(entry) => entry.key_bytes(),
            OwnedChange::Delete(key) | OwnedChange::Evict(key) => key,
            OwnedChange::Clear => return true,
        };
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.permits(key))
    }
}

impl Source for Pushes {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        while !pull.replies.is_full() {
            let Some((revision, change)) = self.changes.next() else {
                return Ok(Pulled::End);
            };
            if !self.may_see(&change) {
                continue;
            }
            let changed = match &change {
                OwnedChange::Put(entry) => Changed::Put(
                    self.database.name_of(entry.key_bytes()),
                    entry.value_bytes(),
                    entry.expires_at(),
                ),
                OwnedChange::Delete(key) => Changed::Delete(self.database.name_of(key)),
                OwnedChange::Evict(key) => Changed::Evict(self.database.name_of(key)),
                OwnedChange::Clear => Changed::Clear,
            };
            pull.replies.reply(Reply::Change(revision, changed));
        }
        Ok(Pulled::More)
    }
}

/// The end of following a prefix.
struct End {
    prefix: Vec<u8>,
    error: ErrorReply,
}

impl Source for End {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        pull.replies.reply(Reply::Error(&self.error));
        pull.replies.reply(Reply::Unfollowed(&self.prefix));
        Ok(Pulled::End)
    }
}

/// Converts the error of a prefix that cannot be followed to a reply.
pub(super) fn refusal_of(error: &FollowError) -> ErrorReply {
    let code = match error {
        FollowError::Off => ErrorCode::Denied,
        FollowError::Ahead { .. } | FollowError::Gone { .. } => ErrorCode::Args,
        FollowError::Unreadable(_) => ErrorCode::Disk,
        FollowError::NotYet { .. } | FollowError::Stopping => ErrorCode::Busy,
    };
    ErrorReply::new(code, crate::error::error_chain(error)).with_prefix("ERR")
}
