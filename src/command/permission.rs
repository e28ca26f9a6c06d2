//! Permission to execute a request: checked here only, for every interface, in transactions and batches too.

use super::session::Session;
use super::spec::{Arguments, Command};
use crate::protocol::ErrorReply;

/// Checks that the session may execute a command with these arguments. As there are no users yet, everything is permitted.
///
/// # Errors
/// None, until there are users.
pub(super) fn check(
    _session: &Session,
    _command: &Command,
    _arguments: &Arguments<'_>,
) -> Result<(), ErrorReply> {
    Ok(())
}
