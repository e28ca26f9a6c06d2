//! Permissions that belong together: which commands on which keys and channels.
//!
//! In: a request. Out: permission, or the reason of a refusal. Promise: a selector permits the whole request or nothing of it.
//! Source: <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/#selectors>.

use super::catalog::Catalog;
use crate::command::glob::Pattern;
use crate::command::lookup::CommandId;
use crate::command::spec::{ChannelUse, Command, KeyFlag, KeySpec, Scope};

/// Reason of a refusal; a later one has come further.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::command) enum Denial {
    /// The command is not permitted.
    Command(String),
    /// A key is not permitted.
    Key(Box<[u8]>),
    /// A channel is not permitted.
    Channel(Box<[u8]>),
}

/// Set of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandSet {
    permitted: Vec<bool>,
    /// Requests of a command that is not permitted, by their first argument in lower case: `+select|0`.
    pub(super) first_arguments: Vec<(usize, Box<[u8]>)>,
    /// True if `+@all` came last: commands of later versions are permitted.
    pub(super) has_all: bool,
    /// Rules after the last one on all commands, such as `+@read` and `-keys`, in order.
    pub(super) rules: Vec<String>,
}

impl CommandSet {
    /// Returns the set of all commands, or of none.
    pub(super) fn of_all(catalog: &Catalog, has_all: bool) -> Self {
        Self {
            permitted: vec![has_all; catalog.len()],
            first_arguments: Vec::new(),
            has_all,
            rules: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, ids: &[CommandId], is_permitted: bool) {
        for id in ids {
            self.permitted[*id] = is_permitted;
            self.first_arguments.retain(|(place, _)| place != id);
        }
    }

    /// Returns true if both permit the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.permitted == other.permitted && self.first_arguments == other.first_arguments
    }

    fn is_everything(&self) -> bool {
        self.has_all && self.permitted.iter().all(|one| *one)
    }

    pub(super) fn permits<W: AsRef<[u8]>>(
        &self,
        catalog: &Catalog,
        place: usize,
        arguments: &[W],
    ) -> bool {
        let is_named = |word: &[u8]| {
            let mut known = self.first_arguments.iter();
            known.any(|(row, first)| *row == place && first.eq_ignore_ascii_case(word))
        };
        self.permitted[catalog.id_of(place, arguments)]
            || arguments
                .first()
                .is_some_and(|word| is_named(word.as_ref()))
    }
}

/// Pattern of keys, and what is permitted on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRule {
    pub(super) pattern: Pattern,
    pub(super) reads: bool,
    pub(super) writes: bool,
}

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyUse {
    reads: bool,
    writes: bool,
}

impl KeyUse {
    pub(super) const READ: Self = Self {
        reads: true,
        writes: false,
    };

    /// Returns the use of the keys of a spec, as Redis derives it.
    fn of<W: AsRef<[u8]>>(spec: &KeySpec, arguments: &[W]) -> Self {
        let has = |flag| spec.flags.contains(&flag);
        // SET reads its key if it has the option GET.
        let is_get = |word: &W| word.as_ref().eq_ignore_ascii_case(b"GET");
        let reads = has(KeyFlag::Access)
            && (!has(KeyFlag::Variable) || arguments.iter().skip(2).any(is_get));
        let writes = [KeyFlag::Insert, KeyFlag::Delete, KeyFlag::Update];
        Self {
            reads,
            writes: writes.into_iter().any(has),
        }
    }
}

/// Permissions that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) commands: CommandSet,
    pub(super) has_all_keys: bool,
    pub(super) keys: Vec<KeyRule>,
    pub(super) has_all_channels: bool,
    pub(super) channels: Vec<Pattern>,
}

impl Selector {
    /// Makes a selector that permits nothing.
    pub(super) fn new(catalog: &Catalog) -> Self {
        Self {
            commands: CommandSet::of_all(catalog, false),
            has_all_keys: false,
            keys: Vec::new(),
            has_all_channels: false,
            channels: Vec::new(),
        }
    }

    /// Returns true if it permits everything.
    pub(super) fn is_everything(&self) -> bool {
        self.has_all_keys && self.has_all_channels && self.commands.is_everything()
    }

    pub(super) fn permits_key(&self, key: &[u8], needed: KeyUse) -> bool {
        let is_enough = |rule: &KeyRule| rule.reads >= needed.reads && rule.writes >= needed.writes;
        let mut rules = self.keys.iter();
        self.has_all_keys || rules.any(|rule| is_enough(rule) && rule.pattern.matches(key))
    }

    /// Returns true if every key with this prefix may be written.
    fn permits_writing_below(&self, prefix: &[u8]) -> bool {
        let covers = |rule: &KeyRule| {
            let literal = rule.pattern.prefix();
            let is_rest_free = rule.pattern.as_bytes() == [literal, b"*"].concat();
            rule.writes && is_rest_free && prefix.starts_with(literal)
        };
        self.has_all_keys || self.keys.iter().any(covers)
    }

    pub(super) fn permits_channel(&self, name: &[u8]) -> bool {
        self.has_all_channels || self.channels.iter().any(|one| one.matches(name))
    }

    /// A pattern is permitted if a rule has the same text.
    pub(super) fn permits_channel_pattern(&self, pattern: &[u8]) -> bool {
        self.has_all_channels || self.channels.iter().any(|one| one.as_bytes() == pattern)
    }

    /// Checks a request. Commands on many keys that only read are permitted whatever the keys, as a filter hides the others.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub(super) fn check<W: AsRef<[u8]>>(
        &self,
        catalog: &Catalog,
        (place, command): (usize, &Command),
        arguments: &[W],
    ) -> Result<(), Denial> {
        if !self.commands.permits(catalog, place, arguments) {
            let id = catalog.id_of(place, arguments);
            return Err(Denial::Command(catalog.name(id)));
        }
        let key_denied = |key: &[u8]| Err(Denial::Key(key.into()));
        match command.scope {
            Scope::Keys(specs) => {
                for spec in specs {
                    let needed = KeyUse::of(spec, arguments);
                    let mut keys = spec.keys(arguments);
                    if let Some(key) = keys.find(|key| !self.permits_key(key, needed)) {
                        return key_denied(key);
                    }
                }
            }
            Scope::Keyspace if command.is_write() && !self.permits_writing_below(b"") => {
                return key_denied(b"*");
            }
            Scope::Prefix(at) if command.is_write() => {
                let prefix = arguments.get(at).map_or(&b""[..], AsRef::as_ref);
                if !self.permits_writing_below(prefix) {
                    return key_denied(&[prefix, b"*"].concat());
                }
            }
            Scope::Channels(channel_use) => return self.check_channels(channel_use, arguments),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn check_channels<W: AsRef<[u8]>>(
        &self,
        channel_use: ChannelUse,
        arguments: &[W],
    ) -> Result<(), Denial> {
        let names = match channel_use {
            ChannelUse::Publish => &arguments[..1],
            ChannelUse::Subscribe | ChannelUse::SubscribePatterns => arguments,
            ChannelUse::Unsubscribe => &[],
        };
        let is_permitted = |name: &[u8]| match channel_use {
            ChannelUse::SubscribePatterns => self.permits_channel_pattern(name),
            _ => self.permits_channel(name),
        };
        let mut names = names.iter().map(AsRef::as_ref);
        match names.find(|name| !is_permitted(name)) {
            Some(name) => Err(Denial::Channel(name.into())),
            None => Ok(()),
        }
    }
}
