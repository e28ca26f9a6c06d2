//! The reasons why changes cannot be followed.
//!
//! In: revisions. Out: an error that says from where on they can be.

use std::io;

/// Changes cannot be followed, or not any further.
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
    /// This server lags behind the one from which the revision is known.
    #[error(
        "revision {after} is not here yet: the newest of this server is {newest}; try again in a moment"
    )]
    NotYet {
        /// The revision that was asked for.
        after: u64,
        /// The newest one.
        newest: u64,
    },
    /// The journals do not hold these changes any more.
    #[error(
        "the changes after revision {after} are not kept any more, only those after {from}; read the pairs anew, and follow \
         from now on"
    )]
    Gone {
        /// The last revision that was seen.
        after: u64,
        /// The first one after which no change is missing.
        from: u64,
    },
    /// The operating system refuses to read a journal.
    #[error("cannot read the journal")]
    Unreadable(#[from] io::Error),
    /// The server stops, and its threads read no more.
    #[error("the server is stopping")]
    Stopping,
}
