//! How a cluster is accessed, and what is promised of a change.
//!
//! In: settings. Out: the same, in one place.

use std::time::Duration;

/// How a cluster is accessed.
#[derive(Clone)]
pub struct ClusterOptions {
    /// Addresses of some of its nodes, `HOST:PORT`.
    pub nodes: Vec<String>,
    /// True for TLS.
    pub is_encrypted: bool,
    /// User, if the nodes want one.
    pub user: Option<String>,
    /// Password, if the nodes want one.
    pub password: Option<String>,
    /// Time within which a request is answered, if only with an error.
    pub timeout: Duration,
    /// Replicas that must have a change before its reply; `None` for none.
    pub replication: Option<Replication>,
}

/// Number of replicas that must have a change before its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// All replicas that have not failed, and at least one.
    All,
    /// This many.
    AtLeast(u32),
}

impl Replication {
    /// Returns the least number of replicas that a change waits for.
    #[must_use]
    pub fn least(self) -> u32 {
        match self {
            Self::All => 1,
            Self::AtLeast(replicas) => replicas,
        }
    }
}
