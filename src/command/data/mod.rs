//! Commands on keys and values, transactions, channels and changes.
//!
//! One file for each family: its rows of the table above its handlers.

pub mod bitfield;
pub mod bits;
pub mod dump;
pub mod expiry;
pub mod follow;
pub mod keys;
pub mod lcs;
pub mod listings;
pub mod namespace_count;
pub mod native_forms;
pub mod numbers;
pub mod options;
pub mod page;
pub mod pairs;
pub mod pubsub;
pub mod scan;
pub mod script;
mod script_host;
pub mod strings;
pub mod transaction;
