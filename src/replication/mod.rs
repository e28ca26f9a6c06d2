//! Replicas: copies of a server's data on other machines, which follow its changes.
//!
//! In: the address of a primary. Out: the same pairs, and the same records under the same numbers, a moment later. Promises: a replica
//! has no change that its primary has not; it goes on after a break where it was, and copies all anew where it cannot. It is asynchronous:
//! a change is acknowledged before a replica has it.
//!
//! Members of a cluster share a log that etcd keeps, and one of them leads: `membership` is what a server knows of that, `member` its work.
//!
//! `status` is what a server knows of its role, and of its replicas; `link` a connection to the primary; `replica` the work of a replica.

mod copying;
mod link;
#[cfg(feature = "etcd")]
mod member;
#[cfg_attr(
    not(feature = "etcd"),
    allow(dead_code, reason = "the task of a member changes it")
)]
mod membership;
mod options;
mod replica;
mod status;

pub use link::Heartbeat;
#[cfg(feature = "etcd")]
pub use member::{JoinError, Member, share_secret};
pub use membership::{ClusterView, MEMBER_USER, MemberInfo, MemberState, Membership};
pub use options::{MemberOptions, ReplicaOptions};
pub use replica::{StartError, check_folder, run};
pub use status::{LinkState, Overview, ReplicaProgress, Replication, host_and_port};
