//! Conversion of errors to replies: those of the layers below, and of arguments.

use super::spec::Command;
use crate::engine::EngineError;
use crate::persistence::{DiskFault, FaultKind};
use crate::protocol::{Dialect, ErrorCode, ErrorReply};

/// Returns the error `ARGS`, for an argument that is not valid.
pub(super) fn bad_argument(message: impl Into<String>) -> ErrorReply {
    ErrorReply::new(ErrorCode::Args, message)
}

impl From<EngineError> for ErrorReply {
    fn from(error: EngineError) -> Self {
        let code = match error {
            EngineError::Disk(ref fault) => match fault.kind {
                FaultKind::Disk => ErrorCode::Disk,
                FaultKind::NotLeader => ErrorCode::NotLeader,
                FaultKind::InDoubt => ErrorCode::InDoubt,
                FaultKind::Replacing => ErrorCode::Busy,
            },
            EngineError::Full { .. } => ErrorCode::Full,
            EngineError::TooLarge { .. } => ErrorCode::TooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<DiskFault> for ErrorReply {
    fn from(fault: DiskFault) -> Self {
        EngineError::from(fault).into()
    }
}

/// Returns the error for a change that needs memory beyond the cap, in Redis's words.
pub(super) fn full_for_redis() -> ErrorReply {
    let message = "command not allowed when used memory > 'maxmemory'.";
    ErrorReply::new(ErrorCode::Full, message)
}

/// Returns the error for a wrong number of arguments, `given`.
pub(super) fn wrong_arity(command: &Command, given: usize, dialect: Dialect) -> ErrorReply {
    let name = command.name;
    if dialect.is_resp() {
        let name = name.to_lowercase();
        return bad_argument(format!("wrong number of arguments for '{name}' command"));
    }
    let takes = match (*command.arity.start(), *command.arity.end()) {
        (0, 0) => "no argument".to_owned(),
        (1, 1) => "1 argument".to_owned(),
        (0, 1) => "at most 1 argument".to_owned(),
        (1, usize::MAX) => "at least 1 argument".to_owned(),
        (least, usize::MAX) => format!("at least {least} arguments"),
        (least, most) if least == most => format!("{least} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    };
    let takes = if command.takes_pairs() {
        format!("{takes}, a key and a value each")
    } else {
        takes
    };
    bad_argument(format!(
        "{name} takes {takes}, not {given}: {}",
        command.synopsis()
    ))
}
