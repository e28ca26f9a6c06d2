//! The audit log: who signed in, who failed to, who changed users or settings, who deleted everything or stopped the server.
//!
//! In: events. Out: a line of the log for each, with user and address. Promise: no line has a
//! password, a token, a key or a value.

use std::fmt::Display;

use super::acl::DEFAULT_USER;
use super::call::Call;

/// Maximum length of the name of a user that does not exist, in characters: anybody may send one.
const NAME_CHARS_MAX: usize = 64;

/// Logs that a client has signed in.
pub fn signed_in(user: &str, address: &dyn Display, way: &str) {
    tracing::info!(user, %address, way, "signed in");
}

/// Logs that a client has signed out.
pub fn signed_out(user: &str, address: &dyn Display) {
    tracing::info!(user, %address, "signed out");
}

/// Logs that a client has failed to sign in.
pub fn not_signed_in(user: &str, address: &dyn Display, way: &str) {
    let user: String = user.chars().take(NAME_CHARS_MAX).collect();
    tracing::warn!(user, %address, way, "sign-in refused: wrong user or password");
}

/// Logs an action of a client; `details` are the names that it concerns.
pub(super) fn called(call: &Call<'_, '_>, details: &str) {
    let name = call.session.identity.name();
    let user = name.map_or(DEFAULT_USER, |name| name);
    let client = call.session.client.as_ref();
    let address = client.map_or("http".to_owned(), |client| client.address.to_string());
    let action = format!("{} {details}", call.command.name);
    tracing::info!(user, address, "{}", action.trim_end());
}
