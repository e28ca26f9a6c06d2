//! A Redis or Valkey Cluster, which holds the data in place of the engine.
//!
//! In: requests, each for one slot. Out: the replies of the nodes. Promises:
//! - requests of one caller for one slot are executed in their order, and those for different nodes do not wait for each other;
//! - a request is sent again only if the node has refused it without doing it, or if it only reads; one that may have been done is
//!   answered with [`ClusterError::InDoubt`];
//! - under `replicated` the reply to a change comes once the replicas have it, and so does the reply to a read that shows it, if this
//!   server has made the change.

mod error;
mod link;
mod messages;
mod node;
mod open;
mod options;
mod overview;
mod primaries;
mod publications;
mod reply;
mod request;
mod routing;
mod scripts;
mod slot;
mod survey;
mod swap;
mod topology;
mod unanswered;
mod walk;

pub use error::{ClusterError, parsed};
pub use messages::Receiver;
pub use options::{ClusterOptions, Replication};
pub use overview::Overview;
pub use reply::NodeReply;
pub use request::Requests;
pub use routing::{Cluster, NodeResult};
pub use slot::{SLOTS, slot_of};
pub use swap::{Fetched, Held, Swap};
pub use walk::{Position, WalkPart, position_of};
