//! The error of a change or a save that the disk did not take.
//!
//! In: a reason. Out: the error that clients and health checks are shown.

/// The disk does not take changes; the reason as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DiskFault(String);

impl DiskFault {
    pub(crate) fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}
