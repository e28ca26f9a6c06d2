//! Errors of the layers below, and of arguments, as replies.

use crate::protocol::{ErrorCode, ErrorReply};

/// Returns the error for an argument that is not valid.
pub(super) fn bad_argument(message: impl Into<String>) -> ErrorReply {
    ErrorReply::new(ErrorCode::Args, message)
}
