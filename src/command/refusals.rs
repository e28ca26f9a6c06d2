//! Conversion of errors to replies: those of the layers below, and of arguments.

use crate::engine::EngineError;
use crate::persistence::DiskFault;
use crate::protocol::{ErrorCode, ErrorReply};

/// Returns the error `ARGS`, for an argument that is not valid.
pub(super) fn bad_argument(message: impl Into<String>) -> ErrorReply {
    ErrorReply::new(ErrorCode::Args, message)
}

impl From<EngineError> for ErrorReply {
    fn from(error: EngineError) -> Self {
        let code = match error {
            EngineError::Disk(_) => ErrorCode::Disk,
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
