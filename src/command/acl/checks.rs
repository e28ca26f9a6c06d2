//! What a user may do and see.
//!
//! In: a request, a key, a channel. Out: permission, or the reason of a refusal. Promise: of the selectors of a user, one permits the whole
//! request, or none does.

use std::sync::Arc;

use super::catalog::Catalog;
use super::permissions::{Denial, KeyUse};
use super::user::User;
use crate::command::spec::{Command, Scope};

impl User {
    /// Checks a request.
    ///
    /// # Errors
    /// The reason of the refusal that came furthest.
    pub(in crate::command) fn check<W: AsRef<[u8]>>(
        &self,
        catalog: &Catalog,
        row: (usize, &Command),
        arguments: &[W],
    ) -> Result<(), Denial> {
        let mut last = None;
        for selector in &self.selectors {
            match selector.check(catalog, row, arguments) {
                Ok(()) => return Ok(()),
                Err(denial) => last = last.max(Some(denial)),
            }
        }
        Err(last.expect("a user has a selector"))
    }

    /// Returns true if the user may subscribe to these channels and patterns.
    pub(in crate::command) fn permits_subscriptions<'n>(
        &self,
        mut channels: impl Iterator<Item = &'n [u8]>,
        mut patterns: impl Iterator<Item = &'n [u8]>,
    ) -> bool {
        let permits_pattern = |text| {
            let mut selectors = self.selectors.iter();
            selectors.any(|selector| selector.permits_channel_pattern(text))
        };
        channels.all(|name| self.permits_channel(name)) && patterns.all(permits_pattern)
    }

    /// Returns true if it may read every key.
    pub(in crate::command) fn sees_all_keys(&self) -> bool {
        self.selectors.iter().any(|selector| selector.has_all_keys)
    }

    /// Returns true if it may read a key, by any command.
    #[must_use]
    pub fn may_read(&self, key: &[u8]) -> bool {
        let mut selectors = self.selectors.iter();
        selectors.any(|selector| selector.permits_key(key, KeyUse::READ))
    }

    /// Returns true if the user may see a channel.
    pub(in crate::command) fn permits_channel(&self, name: &[u8]) -> bool {
        self.selectors
            .iter()
            .any(|selector| selector.permits_channel(name))
    }

    /// Returns true if the user may see a request of anybody in MONITOR and SLOWLOG: its keys and channels are permitted, whatever
    /// the command. A request on keys that it does not name is shown only to users of all keys.
    pub(in crate::command) fn permits_view<W: AsRef<[u8]>>(
        &self,
        command: &Command,
        arguments: &[W],
    ) -> bool {
        self.selectors.iter().any(|selector| match command.scope {
            Scope::Nothing | Scope::Queued => true,
            Scope::Keys(specs) => specs.iter().all(|spec| {
                let mut keys = spec.keys(arguments);
                keys.all(|key| selector.permits_key(key, KeyUse::READ))
            }),
            Scope::Keyspace | Scope::Prefix(_) | Scope::Pattern(_) => selector.has_all_keys,
            Scope::Channels(channel_use) => selector.check_channels(channel_use, arguments).is_ok(),
        })
    }
}

/// The keys that a user may read by a command, which a listing shows.
#[derive(Debug, Clone)]
pub(in crate::command) struct KeyFilter {
    user: Arc<User>,
    /// Places of the selectors that permit the command.
    selectors: Vec<usize>,
}

impl KeyFilter {
    /// Makes the filter of a user for a permitted command; `None` if every key may be read.
    pub(in crate::command) fn of(
        user: &Arc<User>,
        catalog: &Catalog,
        place: usize,
    ) -> Option<Self> {
        let selectors = user.selectors.iter().enumerate();
        let selectors =
            selectors.filter(|(_, one)| one.commands.permits::<&[u8]>(catalog, place, &[]));
        let selectors: Vec<usize> = selectors.map(|(at, _)| at).collect();
        let has_all = |at: &usize| user.selectors[*at].has_all_keys;
        (!selectors.iter().any(has_all)).then(|| Self {
            user: Arc::clone(user),
            selectors,
        })
    }

    /// Returns true if the key may be read.
    pub(in crate::command) fn permits(&self, key: &[u8]) -> bool {
        self.selectors
            .iter()
            .any(|at| self.user.selectors[*at].permits_key(key, KeyUse::READ))
    }
}
