//! Permission to execute a request: checked here only, for every interface, in transactions and batches too.

use super::acl::{Denial, DenialReason, User};
use super::clients::describe_origin;
use super::service::Service;
use super::session::Session;
use super::spec::{Access, Arguments, Command, Flag};
use crate::protocol::{ErrorCode, ErrorReply};

/// Checks that the session may execute a command, the one at this place of the table, with these arguments.
///
/// # Errors
/// `NOAUTH` for a client that has to sign in, `DENIED` for a command, a key or a channel that its user may not use; `BUSY` on a
/// reserved connection, for a command that touches pairs or channels.
#[inline(always)]
pub(super) fn check(
    service: &Service,
    session: &mut Session,
    row: (usize, &Command),
    arguments: &Arguments<'_>,
) -> Result<(), ErrorReply> {
    if session.identity.is_free(&service.users) && session.reserved.is_none() {
        return Ok(());
    }
    check_restricted(service, session, row, arguments)
}

// Apart, so that the check above is inlined.
#[cold]
fn check_restricted(
    service: &Service,
    session: &mut Session,
    row: (usize, &Command),
    arguments: &Arguments<'_>,
) -> Result<(), ErrorReply> {
    let (_, command) = row;
    check_reserved(session, command)?;
    if command.has(Flag::NoAuth) {
        return Ok(());
    }
    let users = &service.users;
    let Some(user) = session.identity.user(users).cloned() else {
        return Err(ErrorReply::new(
            ErrorCode::NoAuth,
            "Authentication required.",
        ));
    };
    let checked = user.check(users.catalog(), row, arguments);
    checked.map_err(|denial| refuse(service, session, &user, denial))
}

/// Returns true if the user of a session may execute a command with these arguments. A refusal is not noted.
pub(super) fn permits(
    service: &Service,
    session: &mut Session,
    row: (usize, &Command),
    arguments: &Arguments<'_>,
) -> bool {
    let users = &service.users;
    let user = session.identity.user(users);
    user.is_some_and(|user| user.check(users.catalog(), row, arguments).is_ok())
}

/// Checks a command on a reserved connection.
fn check_reserved(session: &mut Session, command: &Command) -> Result<(), ErrorReply> {
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

/// Notes a refusal in ACL LOG. Returns it in Redis's words.
fn refuse(service: &Service, session: &Session, user: &User, denial: Denial) -> ErrorReply {
    let is_in_multi = session.is_in_transaction();
    let (reason, object) = match &denial {
        Denial::Command(name) => (DenialReason::Command, name.as_bytes()),
        Denial::Key(key) => (DenialReason::Key, &**key),
        Denial::Channel(name) => (DenialReason::Channel, &**name),
    };
    let client = describe_origin(session.client.as_deref());
    let denials = service.users.denials();
    denials.add((reason, is_in_multi), object, &user.name, client);
    let message = match denial {
        Denial::Command(name) => {
            format!("this user has no permissions to run the '{name}' command")
        }
        Denial::Key(_) => {
            "this user has no permissions to access one of the keys used as arguments".to_owned()
        }
        Denial::Channel(_) => {
            "this user has no permissions to access one of the channels used as arguments"
                .to_owned()
        }
    };
    ErrorReply::new(ErrorCode::Denied, message).with_prefix("NOPERM")
}
