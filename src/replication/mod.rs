//! Replicas: copies of a server's data on other machines, which follow its changes.
//!
//! In: the address of a primary. Out: the same pairs, and the same records under the same numbers, a moment later. Promises: a replica
//! has no change that its primary has not; it goes on after a break where it was, and copies all anew where it cannot. It is asynchronous:
//! a change is acknowledged before a replica has it.
//!
//! `status` is what a server knows of its role, and of its replicas; `link` a connection to the primary; `replica` the work of a replica.

mod link;
mod options;
mod replica;
mod status;

pub use options::ReplicaOptions;
pub use replica::{Heartbeat, StartError, check_folder, run};
pub use status::{LinkState, Overview, ReplicaProgress, Replication, host_and_port};
