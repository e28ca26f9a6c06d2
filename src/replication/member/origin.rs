//! What the members of a cluster share: a secret, and what their log continues.
//!
//! In: etcd. Out: the secret, and what follows from it. Promise: all members have the same.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::etcd::{Etcd, EtcdError, RETRY_PAUSE};
use crate::engine::Timeline;
use crate::persistence::DiskFault;
use crate::replication::membership::Membership;
use crate::replication::options::MemberOptions;

/// What the log of a cluster continues.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Origin {
    /// The timeline of its records.
    pub timeline: String,
    /// The first of them.
    pub from: u64,
}

impl Origin {
    /// Returns its timeline.
    pub fn timeline(&self) -> Timeline {
        Timeline {
            id: self.timeline.clone(),
            from: self.from,
            is_own: false,
        }
    }
}

/// A server cannot be a member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Its folder has other data.
    #[error(
        "data folder {path} has data that is not of cluster {cluster}: the cluster's would replace it. Give an empty folder (--data), or another \
         name (--cluster) to begin a cluster with this data"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The name of the cluster.
        cluster: String,
    },
    /// The folder does not take the cluster's timeline.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// etcd refuses to be asked.
    #[error("{0}: the URLs, the user and the certificates of --etcd are to be checked")]
    Refused(String),
}

/// Waits for etcd, and returns what the members of the cluster share: from it follow their password, and the order of store.json.
///
/// # Errors
/// [`JoinError::Refused`].
pub async fn share_secret(
    options: &MemberOptions,
    membership: &Membership,
) -> Result<[u64; 4], JoinError> {
    let mut etcd = Etcd::new(options, 0);
    let proposal: String = random_bytes()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let secret = loop {
        match etcd.secret(&proposal).await {
            Ok(secret) => break secret,
            Err(EtcdError::Refused(reason)) => return Err(JoinError::Refused(reason)),
            Err(error) => membership.note_reason(Some(error.to_string())),
        }
        sleep(RETRY_PAUSE).await;
    };
    membership.note_reason(None);
    membership.set_secret(&secret);
    let hash = blake3::derive_key("pykv 2026 order of store.json", secret.as_bytes());
    let mut order = [0; 4];
    for (number, bytes) in order.iter_mut().zip(hash.chunks(8)) {
        *number = bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
    }
    Ok(order)
}

fn random_bytes() -> Result<[u8; 32], JoinError> {
    let mut bytes = [0; 32];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| JoinError::Random(error.to_string()))?;
    Ok(bytes)
}
