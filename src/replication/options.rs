//! How a primary is accessed.
//!
//! In: settings. Out: the same, in one place.

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
