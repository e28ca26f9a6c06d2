//! The change feed: the changes after a revision, read back from the journals, and then those that come.
//!
//! In: a prefix, and a revision: the number of a record. Out: the changes of keys with this prefix, in order.

mod change_feed;
mod error;
mod journal_reader;
mod record_feed;

pub use change_feed::{Follower, Followers};
pub use error::FollowError;
pub use journal_reader::{Changes, OwnedChange};
pub use record_feed::RecordFeed;
