//! The error of a change or a save that was not taken: by the disk, or by the log that several servers share.
//!
//! In: a reason. Out: the error that clients and health checks are shown.

/// What refuses a change, or leaves it in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The disk does not take it.
    Disk,
    /// Another server takes changes; this one has not made it.
    NotLeader,
    /// The log may have taken it.
    InDoubt,
    /// The pairs are being replaced: it can be done in a moment.
    Replacing,
}

/// A change or a save was not taken; the reason as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DiskFault {
    reason: String,
    /// What refuses it.
    pub kind: FaultKind,
}

impl DiskFault {
    pub(crate) fn new(reason: &str) -> Self {
        Self::of(FaultKind::Disk, reason)
    }

    /// Makes the fault of a change that another server takes.
    pub(crate) fn not_leader() -> Self {
        Self::of(FaultKind::NotLeader, "another server leads")
    }

    /// Makes the fault of a change that the log may have.
    pub(crate) fn in_doubt(reason: &str) -> Self {
        Self::of(FaultKind::InDoubt, reason)
    }

    /// Makes the fault of a save of pairs that are being replaced.
    pub(crate) fn replacing() -> Self {
        Self::of(
            FaultKind::Replacing,
            "the pairs are being replaced by those of another server; try again in a moment",
        )
    }

    fn of(kind: FaultKind, reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            kind,
        }
    }
}
