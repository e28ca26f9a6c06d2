//! A user: how it signs in, and what it may do.
//!
//! In: a name, and rules. Out: the same as text, in the language of ACL LIST.

use std::sync::Arc;

use super::catalog::Catalog;
use super::passwords::Password;
use super::permissions::Selector;

/// Maximum number of passwords of a user: an attempt may be compared with each, which takes some tens of milliseconds.
pub const PASSWORDS_MAX: usize = 16;
/// Maximum length of the rules of a user in bytes: they are kept, and each request of the user is compared with each.
pub const USER_RULES_BYTES_MAX: usize = 64 << 10;

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// Name.
    pub name: Arc<str>,
    /// True if it may sign in.
    pub(super) is_on: bool,
    /// True if any password is right, and for the default user, that clients need not sign in.
    pub(super) has_no_password: bool,
    /// Shared by the versions of a user, so that what is remembered of them survives a change of the rules.
    pub(super) passwords: Vec<Arc<Password>>,
    /// Permissions; a request needs those of one selector. There is at least one.
    pub(super) selectors: Vec<Selector>,
}

impl User {
    /// Makes a user that may not sign in and has no permission.
    pub(in crate::command) fn new(name: &str, catalog: &Catalog) -> Self {
        Self {
            name: name.into(),
            is_on: false,
            has_no_password: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(catalog)],
        }
    }

    /// Returns true if it may do everything.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_everything)
    }

    /// Returns true if clients may use it without a password.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_on && self.has_no_password
    }

    /// Returns true if it can sign in, with a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.is_on && !self.has_no_password && !self.passwords.is_empty()
    }

    /// Returns true if it may sign in.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Returns true if both versions of a user have the same passwords.
    #[must_use]
    pub fn has_same_passwords(&self, other: &Self) -> bool {
        let pairs = self.passwords.iter().zip(&other.passwords);
        self.has_no_password == other.has_no_password
            && self.passwords.len() == other.passwords.len()
            && pairs
                .into_iter()
                .all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// Returns the user as it would be without the password of the settings.
    pub(super) fn without_settings(&self) -> Self {
        let mut user = self.clone();
        user.passwords.retain(|one| one.text().is_some());
        let was_open = user.passwords.is_empty() && !self.passwords.is_empty();
        user.has_no_password |= was_open;
        user
    }

    /// Takes over the passwords of an earlier version of the user that are the same, as those are remembered.
    pub(super) fn keep_known_passwords(&mut self, earlier: &Self) {
        for password in &mut self.passwords {
            let mut known = earlier.passwords.iter();
            if let Some(known) = known.find(|known| known.is_same(password)) {
                *password = Arc::clone(known);
            }
        }
    }

    /// Returns the flags, as ACL GETUSER shows them.
    pub(in crate::command) fn flags(&self) -> Vec<&'static str> {
        let flags = [
            (self.is_on, "on"),
            (!self.is_on, "off"),
            (self.has_no_password, "nopass"),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
        flags.map(|(_, name)| name).collect()
    }

    /// Returns the stored hashes of the passwords; that of the settings is not among them.
    pub(in crate::command) fn password_hashes(&self) -> Vec<String> {
        self.passwords.iter().filter_map(|one| one.text()).collect()
    }

    /// Returns the user as one line of rules, without its passwords.
    pub(super) fn rules(&self) -> String {
        let flags = self.flags().join(" ");
        let selectors: Vec<String> = self.selectors.iter().map(Selector::text).collect();
        let mut text = format!("{flags} {}", selectors[0]);
        for selector in &selectors[1..] {
            text += &format!(" ({selector})");
        }
        text
    }

    /// Returns the line of ACL LIST.
    pub(in crate::command) fn line(&self) -> String {
        let mut words = vec!["user".to_owned(), self.name.to_string()];
        words.extend(self.flags().into_iter().map(str::to_owned));
        words.extend(self.password_hashes().iter().map(|hash| format!("#{hash}")));
        let selectors = self.selectors.iter().enumerate();
        words.extend(selectors.map(|(place, selector)| match place {
            0 => selector.text(),
            _ => format!("({})", selector.text()),
        }));
        words.join(" ")
    }

    /// Returns commands, keys and channels of each selector, as ACL GETUSER shows them.
    pub(in crate::command) fn permissions(&self) -> Vec<[String; 3]> {
        let all = self.selectors.iter();
        all.map(|one| [one.commands_text(), one.keys_text(), one.channels_text()])
            .collect()
    }
}

impl Selector {
    pub(super) fn commands_text(&self) -> String {
        let base = if self.commands.has_all {
            "+@all"
        } else {
            "-@all"
        };
        let rules = self.commands.rules.iter().map(String::as_str);
        std::iter::once(base)
            .chain(rules)
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(super) fn keys_text(&self) -> String {
        if self.has_all_keys {
            return "~*".to_owned();
        }
        let rules = self.keys.iter().map(|rule| {
            let kind = match (rule.reads, rule.writes) {
                (true, true) => "~",
                (true, false) => "%R~",
                _ => "%W~",
            };
            format!("{kind}{}", String::from_utf8_lossy(rule.pattern.as_bytes()))
        });
        rules.collect::<Vec<_>>().join(" ")
    }

    pub(super) fn channels_text(&self) -> String {
        if self.has_all_channels {
            return "&*".to_owned();
        }
        let rules = self.channels.iter();
        let rules = rules.map(|one| format!("&{}", String::from_utf8_lossy(one.as_bytes())));
        rules.collect::<Vec<_>>().join(" ")
    }

    /// Returns the rules that make this selector.
    fn text(&self) -> String {
        let (keys, channels) = (self.keys_text(), self.channels_text());
        let reset = if self.has_all_channels {
            ""
        } else {
            "resetchannels"
        };
        let parts = [&*keys, reset, &channels, &self.commands_text()];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(" ")
    }
}
