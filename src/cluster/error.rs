//! Why a request was not executed, or may have been.
//!
//! In: replies of nodes, lost connections. Out: errors, whose texts are fit for clients.

use bytes::Bytes;

use super::reply::NodeReply;

/// A request was not executed, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// A change may have been made, and may be lost.
    #[error("{0}")]
    InDoubt(String),
    /// No node was ready for the request in time; nothing was changed.
    #[error("{0}; nothing was changed")]
    Unavailable(String),
    /// A node has refused the request: its error.
    #[error("{0}")]
    Refused(String),
}

impl ClusterError {
    /// Returns the replies to requests that are parts of one change.
    ///
    /// # Errors
    /// The first error; [`ClusterError::InDoubt`], if another part was done.
    pub fn all(results: Vec<Result<Bytes, Self>>) -> Result<Vec<Bytes>, Self> {
        let is_done_in_part = results.iter().any(Result::is_ok);
        let replies = results.into_iter().collect::<Result<_, _>>();
        replies.map_err(|error| match error {
            Self::Unavailable(reason) if is_done_in_part => {
                Self::InDoubt(format!("a part was done, and a part was not: {reason}"))
            }
            error => error,
        })
    }

    /// Returns the error for a reply that no request has.
    pub(super) fn strange(reply: &[u8]) -> Self {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(64)]).into_owned();
        Self::Refused(format!("ERR a node has answered {shown:?}"))
    }
}

/// Parses a reply.
///
/// # Errors
/// [`ClusterError::Refused`] if it is an error.
pub fn parsed(reply: &[u8]) -> Result<NodeReply<'_>, ClusterError> {
    match NodeReply::parse(reply) {
        Ok(NodeReply::Error(error)) => Err(ClusterError::Refused(error.into_owned())),
        Ok(reply) => Ok(reply),
        Err(_) => Err(ClusterError::strange(reply)),
    }
}
