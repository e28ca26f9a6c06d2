//! The identity of a session: the user whose permissions its requests have.
//!
//! In: a user that has signed in, or none. Out: the user as it is now. Promise: where the user may do everything, a request costs one
//! comparison of a number.

use std::sync::Arc;

use super::checks::KeyFilter;
use super::state::DEFAULT_USER;
use super::user::User;
use super::users::Users;

/// Identity of a session.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user, as of `generation`; `None` if the client has to sign in.
    user: Option<Arc<User>>,
    generation: u64,
    /// The generation in which the user may do everything, or one that never comes.
    free_in: u64,
    /// True if clients need not sign in here.
    allows_anonymous: bool,
}

impl Identity {
    /// Makes the identity of a client that has not signed in.
    #[must_use]
    pub fn anonymous(users: &Users, allows_anonymous: bool) -> Self {
        let open = users.get(DEFAULT_USER);
        let open = open.filter(|user| allows_anonymous && user.is_open());
        Self::new(users, open, allows_anonymous)
    }

    /// Makes the identity of a client that has signed in as this user.
    #[must_use]
    pub fn of(users: &Users, user: Arc<User>, allows_anonymous: bool) -> Self {
        Self::new(users, Some(user), allows_anonymous)
    }

    fn new(users: &Users, user: Option<Arc<User>>, allows_anonymous: bool) -> Self {
        let mut identity = Self {
            user,
            generation: users.generation(),
            free_in: u64::MAX,
            allows_anonymous,
        };
        identity.note_freedom();
        identity
    }

    fn note_freedom(&mut self) {
        let is_free = self
            .user
            .as_ref()
            .is_some_and(|user| user.is_unrestricted());
        self.free_in = if is_free { self.generation } else { u64::MAX };
    }

    /// Returns true if the user may do everything.
    #[inline(always)]
    pub(in crate::command) fn is_free(&self, users: &Users) -> bool {
        self.free_in == users.generation()
    }

    /// Returns true if clients need not sign in here.
    #[must_use]
    pub fn allows_anonymous(&self) -> bool {
        self.allows_anonymous
    }

    /// Returns the user as it is now; `None` if the client has to sign in, or the user has been deleted.
    pub fn user(&mut self, users: &Users) -> Option<&Arc<User>> {
        let generation = users.generation();
        if self.generation != generation {
            self.generation = generation;
            self.user = self.user.as_ref().and_then(|user| users.get(&user.name));
            self.note_freedom();
        }
        self.user.as_ref()
    }

    /// Returns the name of the user; `None` if the client has to sign in.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.user.as_ref().map(|user| &user.name)
    }

    /// Returns the filter of the keys that a permitted listing, the command at this place of the table, shows; `None` if it shows all.
    pub(in crate::command) fn key_filter(
        &mut self,
        users: &Users,
        place: usize,
    ) -> Option<KeyFilter> {
        if self.is_free(users) {
            return None;
        }
        KeyFilter::of(self.user(users)?, users.catalog(), place)
    }

    /// Returns true if the user may read every key by one of its selectors.
    pub fn sees_all_keys(&mut self, users: &Users) -> bool {
        self.user(users).is_some_and(|user| user.sees_all_keys())
    }
}
