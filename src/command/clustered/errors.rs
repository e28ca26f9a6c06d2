//! Errors of the cluster as replies.
//!
//! In: errors of nodes, and of the way to them. Out: our codes.

use crate::cluster::ClusterError;
use crate::protocol::{ErrorCode, ErrorReply};

impl From<ClusterError> for ErrorReply {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::InDoubt(message) => Self::new(ErrorCode::InDoubt, message),
            error @ ClusterError::Unavailable(_) => {
                Self::new(ErrorCode::Busy, error.to_string()).with_prefix("CLUSTERDOWN")
            }
            ClusterError::Refused(error) => error_of(&error),
        }
    }
}

/// Converts an error of a node: its first word is its code.
fn error_of(text: &str) -> ErrorReply {
    let (prefix, message) = text.split_once(' ').unwrap_or((text, ""));
    match prefix {
        "ERR" => ErrorReply::new(ErrorCode::Args, message),
        "WRONGTYPE" => ErrorReply::new(ErrorCode::Args, message).with_prefix("WRONGTYPE"),
        "OOM" | "FULL" => ErrorReply::new(ErrorCode::Full, message),
        "MISCONF" => ErrorReply::new(ErrorCode::Disk, message),
        "CROSSSLOT" => ErrorReply::new(ErrorCode::CrossSlot, message),
        "NOAUTH" | "NOPERM" | "WRONGPASS" => {
            let message = format!("the cluster does not let this server do it: {text}");
            ErrorReply::new(ErrorCode::Internal, message)
        }
        _ => ErrorReply::new(
            ErrorCode::Internal,
            format!("the cluster has refused it: {text}"),
        ),
    }
}
