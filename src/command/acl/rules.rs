//! The language of ACL rules.
//!
//! In: rules, such as `on`, `>secret`, `~shop:*`, `+@read`, `(%R~log:* +get)`. Out: a changed user. Promise: a rule that is not valid
//! changes nothing.
//! Source: <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/#acl-rules>.

use std::borrow::Cow;
use std::sync::Arc;

use super::catalog::Catalog;
use super::passwords::{PASSWORD_BYTES_MAX, Password};
use super::permissions::{CommandSet, KeyRule, Selector};
use super::user::{PASSWORDS_MAX, USER_RULES_BYTES_MAX, User};
use crate::command::category::Category;
use crate::command::glob::Pattern;

/// A rule is not valid. The texts are Redis's, except for the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::command) enum RuleError {
    #[error("Syntax error")]
    Syntax,
    #[error("Unknown command or category name in ACL")]
    Unknown,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try \
         'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters, or be an Argon2 \
         hash in the PHC string format"
    )]
    Hash,
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgument,
    #[error("a password may have {PASSWORD_BYTES_MAX} bytes")]
    LongPassword,
    #[error("a user may have {PASSWORDS_MAX} passwords")]
    ManyPasswords,
    #[error("the rules of a user may have {USER_RULES_BYTES_MAX} bytes")]
    LongRules,
    #[error("a pattern may have {} bytes", crate::command::glob::PATTERN_BYTES_MAX)]
    LongPattern,
}

/// Joins the words of each selector in parentheses to one rule.
///
/// # Errors
/// The first words of a selector that is not closed.
pub(in crate::command) fn merge_selectors<'a>(
    rules: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Cow<'a, [u8]>>, String> {
    let mut merged = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for rule in rules {
        let Some(selector) = &mut open else {
            if rule.starts_with(b"(") && !rule.ends_with(b")") {
                open = Some(rule.to_vec());
            } else {
                merged.push(Cow::Borrowed(rule));
            }
            continue;
        };
        selector.push(b' ');
        selector.extend_from_slice(rule);
        if rule.ends_with(b")") {
            merged.extend(open.take().map(Cow::Owned));
        }
    }
    match open {
        Some(selector) => Err(String::from_utf8_lossy(&selector).into_owned()),
        None => Ok(merged),
    }
}

impl User {
    /// Applies a rule; slow for one with a password.
    ///
    /// # Errors
    /// [`RuleError`]; the user may have changed in part.
    pub(in crate::command) fn apply(
        &mut self,
        rule: &[u8],
        catalog: &Catalog,
    ) -> Result<(), RuleError> {
        match &*rule.to_ascii_lowercase() {
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => {
                self.has_no_password = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.has_no_password = false;
                self.passwords.clear();
            }
            // Known to Redis; no command here restores a payload.
            b"sanitize-payload" | b"skip-sanitize-payload" => {}
            b"reset" => *self = Self::new(&self.name.clone(), catalog),
            b"clearselectors" => self.selectors.truncate(1),
            _ => return self.apply_other(rule, catalog),
        }
        Ok(())
    }

    fn apply_other(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => {
                check_length(password)?;
                // Adding a password twice changes nothing.
                if !self.passwords.iter().any(|one| one.is_right(password)) {
                    self.add(Password::typed(password))?;
                }
                self.has_no_password = false;
            }
            [b'#', hash @ ..] => {
                let password = Password::parse(hash).ok_or(RuleError::Hash)?;
                if !self.passwords.iter().any(|one| one.is_same(&password)) {
                    self.add(password)?;
                }
                self.has_no_password = false;
            }
            [b'<', password @ ..] => {
                check_length(password)?;
                self.remove(|one| one.is_right(password))?;
            }
            [b'!', hash @ ..] => {
                let password = Password::parse(hash).ok_or(RuleError::Hash)?;
                self.remove(|one| one.is_same(&password))?;
            }
            [b'(', inside @ .., b')'] => {
                let mut selector = Selector::new(catalog);
                let words = inside.split(u8::is_ascii_whitespace);
                for word in words.filter(|word| !word.is_empty()) {
                    selector.apply(word, catalog)?;
                }
                self.selectors.push(selector);
            }
            _ => self.selectors[0].apply(rule, catalog)?,
        }
        if self.rules().len() > USER_RULES_BYTES_MAX {
            return Err(RuleError::LongRules);
        }
        Ok(())
    }

    fn add(&mut self, password: Password) -> Result<(), RuleError> {
        if self.passwords.len() == PASSWORDS_MAX {
            return Err(RuleError::ManyPasswords);
        }
        self.passwords.push(Arc::new(password));
        Ok(())
    }

    fn remove(&mut self, is_meant: impl Fn(&Password) -> bool) -> Result<(), RuleError> {
        let mut all = self.passwords.iter();
        let place = all.position(|one| is_meant(one));
        self.passwords
            .remove(place.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }
}

fn check_length(password: &[u8]) -> Result<(), RuleError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(RuleError::LongPassword);
    }
    Ok(())
}

impl Selector {
    fn apply(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        match &*rule.to_ascii_lowercase() {
            b"allkeys" | b"~*" | b"%rw~*" => {
                self.has_all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.has_all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.has_all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.has_all_channels = false;
                self.channels.clear();
            }
            b"allcommands" | b"+@all" => self.commands = CommandSet::of_all(catalog, true),
            b"nocommands" | b"-@all" => self.commands = CommandSet::of_all(catalog, false),
            _ => return self.apply_other(rule, catalog),
        }
        Ok(())
    }

    fn apply_other(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        match rule {
            [b'~', pattern @ ..] => self.add_keys(pattern, true, true),
            [b'%', rest @ ..] => {
                let tilde = rest.iter().position(|byte| *byte == b'~');
                let (kinds, pattern) = rest.split_at(tilde.ok_or(RuleError::Syntax)?);
                let kinds = kinds.to_ascii_uppercase();
                let is_known = |kind: &u8| matches!(kind, b'R' | b'W');
                if kinds.is_empty() || !kinds.iter().all(is_known) {
                    return Err(RuleError::Syntax);
                }
                self.add_keys(&pattern[1..], kinds.contains(&b'R'), kinds.contains(&b'W'))
            }
            [b'&', pattern @ ..] => {
                if self.has_all_channels {
                    return Err(RuleError::AfterAllChannels);
                }
                let pattern = pattern_of(pattern)?;
                if !self.channels.contains(&pattern) {
                    self.channels.push(pattern);
                }
                Ok(())
            }
            [sign @ (b'+' | b'-'), name @ ..] => self.set_commands(*sign == b'+', name, catalog),
            _ => Err(RuleError::Syntax),
        }
    }

    fn add_keys(&mut self, pattern: &[u8], reads: bool, writes: bool) -> Result<(), RuleError> {
        if self.has_all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let pattern = pattern_of(pattern)?;
        let mut rules = self.keys.iter_mut();
        match rules.find(|rule| rule.pattern == pattern) {
            Some(known) => {
                known.reads |= reads;
                known.writes |= writes;
            }
            None => self.keys.push(KeyRule {
                pattern,
                reads,
                writes,
            }),
        }
        Ok(())
    }

    fn set_commands(
        &mut self,
        is_permitted: bool,
        name: &[u8],
        catalog: &Catalog,
    ) -> Result<(), RuleError> {
        let name = std::str::from_utf8(name).map_err(|_| RuleError::Unknown)?;
        let name = name.to_lowercase();
        self.set_named(is_permitted, &name, catalog)?;
        // A rule takes the place of earlier ones for the same commands, and is left out where it changes nothing.
        let inside = format!("{name}|");
        let mut rules = self.commands.rules.clone();
        rules.retain(|rule| rule[1..] != name && !rule[1..].starts_with(&inside));
        let mut without = Self::new(catalog);
        without.commands = CommandSet::of_all(catalog, self.commands.has_all);
        for rule in &rules {
            without.set_named(rule.starts_with('+'), &rule[1..], catalog)?;
        }
        if !without.commands.is_same(&self.commands) {
            let sign = if is_permitted { '+' } else { '-' };
            rules.push(format!("{sign}{name}"));
        }
        self.commands.rules = rules;
        Ok(())
    }

    /// Permits or forbids what a name stands for.
    fn set_named(
        &mut self,
        is_permitted: bool,
        name: &str,
        catalog: &Catalog,
    ) -> Result<(), RuleError> {
        if let Some(category) = name.strip_prefix('@') {
            let ids = match Category::find(category.as_bytes()) {
                Some(category) => catalog.ids_of_category(category),
                None if Category::EMPTY.contains(&category) => Vec::new(),
                None => return Err(RuleError::Unknown),
            };
            self.commands.set(&ids, is_permitted);
            return Ok(());
        }
        let ids = catalog.ids_of_name(name);
        if ids.is_empty() {
            if !is_permitted {
                return Err(RuleError::Unknown);
            }
            return self.permit_first_argument(name, catalog);
        }
        self.commands.set(&ids, is_permitted);
        Ok(())
    }

    /// Permits requests of a command with this first argument, by a name such as `select|0`.
    fn permit_first_argument(&mut self, name: &str, catalog: &Catalog) -> Result<(), RuleError> {
        let (command, argument) = name.split_once('|').ok_or(RuleError::Unknown)?;
        let is_one_word = !argument.contains('|');
        let mut rows = catalog.rows_of(command).peekable();
        let (_, row) = rows.peek().ok_or(RuleError::Unknown)?;
        if !row.subcommands.is_empty() {
            let is_subcommand = argument
                .split_once('|')
                .is_some_and(|(word, _)| row.subcommand_of(&[word]).is_some());
            return Err(if is_subcommand {
                RuleError::FirstArgument
            } else {
                RuleError::Unknown
            });
        }
        if !is_one_word {
            return Err(RuleError::Unknown);
        }
        for (place, _) in rows {
            let first = argument.as_bytes().into();
            self.commands.first_arguments.push((place, first));
        }
        Ok(())
    }
}

fn pattern_of(text: &[u8]) -> Result<Pattern, RuleError> {
    // Rules are words of a line.
    let is_unfit = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    if text.iter().any(is_unfit) || std::str::from_utf8(text).is_err() {
        return Err(RuleError::Syntax);
    }
    Pattern::parse(text).map_err(|_| RuleError::LongPattern)
}
