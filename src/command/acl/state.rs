//! Users and tokens by their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::Catalog;
use super::passwords::Password;
use super::tokens::Tokens;
use super::user::User;

/// Name of the user of clients that have not signed in, as in Redis.
pub const DEFAULT_USER: &str = "default";
/// Maximum number of users: they are kept, and written at each change.
pub const USERS_MAX: usize = 10_000;

/// Rules of the default user before anybody changes it, as in Redis.
const DEFAULT_RULES: [&[u8]; 5] = [b"on", b"nopass", b"~*", b"&*", b"+@all"];

/// Users and tokens by their names.
#[derive(Debug, Clone)]
pub(in crate::command) struct State {
    pub(in crate::command) users: BTreeMap<Arc<str>, Arc<User>>,
    pub(in crate::command) tokens: Tokens,
}

impl State {
    /// Makes the state of a server without a file: the default user may do everything, without a password.
    pub(super) fn initial(catalog: &Catalog) -> Self {
        let mut default = User::new(DEFAULT_USER, catalog);
        for rule in DEFAULT_RULES {
            default.apply(rule, catalog).expect("a valid rule");
        }
        Self {
            users: [(default.name.clone(), Arc::new(default))].into(),
            tokens: Tokens::new(),
        }
    }

    /// Gives the default user the password of the settings.
    pub(super) fn add_password(&mut self, password: Option<&Arc<Password>>) {
        if let Some(password) = password
            && let Some(default) = self.users.get_mut(DEFAULT_USER)
        {
            let default = Arc::make_mut(default);
            default.has_no_password = false;
            default.passwords.push(Arc::clone(password));
        }
    }
}
