//! How other servers are accessed: the primary of a replica, and the etcd that keeps the log of a cluster.
//!
//! In: settings. Out: the same, in one place.

use std::path::PathBuf;
use std::time::Duration;

/// How the primary of a replica is accessed.
#[derive(Clone)]
pub struct ReplicaOptions {
    /// Addresses, `HOST:PORT`, of which one is the primary's.
    pub primaries: Vec<String>,
    /// True for TLS.
    pub is_encrypted: bool,
    /// User, if the primary wants one.
    pub user: Option<String>,
    /// Password, if the primary wants one.
    pub password: Option<String>,
}

/// How a server is a member of a cluster whose log etcd keeps.
#[derive(Clone)]
pub struct MemberOptions {
    /// URLs of etcd's members, `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoints: Vec<String>,
    /// User and password, if etcd wants them.
    pub sign_in: Option<(String, String)>,
    /// Files of a certificate and its key, if etcd wants them of its clients.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Name of the cluster.
    pub cluster: String,
    /// Duration of the leader's lease.
    pub lease: Duration,
    /// True if each read is confirmed by etcd.
    pub confirms_reads: bool,
}
