//! Permission to execute a request: checked here only, for every interface, in transactions and batches too.

use super::session::Session;
use super::spec::{Access, Arguments, Command};
use crate::protocol::ErrorReply;

/// Checks that the session may execute a command with these arguments. As there are no users yet, everything is permitted, except on
/// a reserved connection.
///
/// # Errors
/// `BUSY` on a reserved connection, for a command that touches pairs or channels.
#[inline(always)]
pub(super) fn check(
    session: &mut Session,
    command: &Command,
    _arguments: &Arguments<'_>,
) -> Result<(), ErrorReply> {
    let Some(reserved) = &mut session.reserved else {
        return Ok(());
    };
    if matches!(command.access, Access::Admin | Access::Connection) {
        reserved.is_used = true;
        return Ok(());
    }
    reserved.is_refused = true;
    Err(reserved.refusal())
}
