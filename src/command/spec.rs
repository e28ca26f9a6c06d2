//! The row of the table of commands: everything that is to be known of a command but its code.
//!
//! In: what each family of commands writes above its handlers. Out: answers to whoever parses, checks, locks, times, documents
//! or completes a request. Promise: a property of a command stands in its row, and no other file lists commands by name.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::usage;
use crate::protocol::Dialect;

/// Class of a command, by which it is permitted or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads pairs, and changes none.
    Read,
    /// Changes pairs; refused while the disk takes no changes.
    Write,
    /// Controls the server, or shows what other clients do.
    Admin,
    /// Concerns the client's own connection, or tells facts about the server; touches no pair.
    Connection,
    /// Sends or receives messages of channels.
    PubSub,
}

/// Chapter of Redis's documentation, by which `redis-cli` sorts its help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The connection of the client.
    Connection,
    /// Keys, whatever their values are.
    Generic,
    /// Channels and their messages.
    PubSub,
    /// The server.
    Server,
    /// Values.
    String,
    /// Transactions.
    Transactions,
}

impl Group {
    /// Name in COMMAND DOCS.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::PubSub => "pubsub",
            Self::Server => "server",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}

/// Property of a command that a row has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Runs before the data is loaded, too. All other commands are refused until then.
    LoadingOk,
    /// Refused between MULTI and EXEC.
    NotInMulti,
    /// Runs at once between MULTI and EXEC, and is not queued.
    ImmediateInMulti,
    /// Allowed while a RESP2 client is subscribed: its reply can be told from a message.
    SubscribedOk,
    /// Turns the connection into a receiver: messages follow the reply until the client ends them. Never slow-logged.
    Receives,
    /// Looks at one part of the data after the other, and sends its reply meanwhile: it has no bounded length or duration.
    Streams,
    /// May add pairs, or lengthen a value.
    GrowsMemory,
    /// Deletes many keys or stops the server: a client for people asks before it sends it.
    Dangerous,
    /// May have a password among its arguments: they are kept in no history, and shown to nobody.
    Secret,
    /// Not shown by MONITOR.
    NoMonitor,
}

/// Set of flags, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlagSet(u32);

impl FlagSet {
    pub(super) const fn of(flags: &[Flag]) -> Self {
        let (mut bits, mut place) = (0, 0);
        // An iterator cannot be used in a constant.
        while place < flags.len() {
            bits |= 1 << flags[place] as u32;
            place += 1;
        }
        Self(bits)
    }

    const fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }
}

/// What a command does with the keys of a spec, in Redis's terms.
/// Source: <https://redis.io/docs/latest/develop/reference/key-specs/#logical-operation-flags>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFlag {
    /// Reads the value, or what is known of it.
    ReadOnly,
    /// Changes a part of the pair.
    ReadWrite,
    /// Stores a value without regard to the one before.
    Overwrite,
    /// Deletes the pair.
    Remove,
    /// Returns or copies the value, or uses it to decide.
    Access,
    /// Changes what an existing key holds.
    Update,
    /// Adds data, and changes none that is there.
    Insert,
    /// Deletes data.
    Delete,
    /// Does less than the other flags say with some arguments.
    Variable,
}

impl KeyFlag {
    /// Name in COMMAND INFO and COMMAND GETKEYSANDFLAGS.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "RO",
            Self::ReadWrite => "RW",
            Self::Overwrite => "OW",
            Self::Remove => "RM",
            Self::Access => "access",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::Variable => "variable_flags",
        }
    }
}

/// Arguments that are keys, and what happens to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// Place of the first key among the arguments.
    pub first: usize,
    /// Place of the last; `None` for the last argument.
    pub last: Option<usize>,
    /// Distance from one key to the next.
    pub step: usize,
    /// What happens to them.
    pub flags: &'static [KeyFlag],
}

impl KeySpec {
    /// One key, at this place among the arguments.
    pub(super) const fn at(place: usize, flags: &'static [KeyFlag]) -> Self {
        Self {
            first: place,
            last: Some(place),
            step: 1,
            flags,
        }
    }

    /// Every argument.
    pub(super) const fn all(flags: &'static [KeyFlag]) -> Self {
        Self {
            first: 0,
            last: None,
            step: 1,
            flags,
        }
    }

    /// Every other argument, from the first on; a value follows each.
    pub(super) const fn pairs(flags: &'static [KeyFlag]) -> Self {
        Self {
            first: 0,
            last: None,
            step: 2,
            flags,
        }
    }

    /// The arguments that are its keys.
    pub fn keys<'a, W: AsRef<[u8]>>(
        &self,
        arguments: &'a [W],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, W> {
        let end = self.last.map_or(usize::MAX, |last| last + 1);
        every(self.step, arguments, self.first, end)
    }
}

/// Every `step`th argument from `first` on, before `end`.
fn every<W: AsRef<[u8]>>(
    step: usize,
    arguments: &[W],
    first: usize,
    end: usize,
) -> impl Iterator<Item = &[u8]> + use<'_, W> {
    let range = arguments.get(first..end.min(arguments.len()));
    let found = range.unwrap_or_default().iter().step_by(step);
    found.map(AsRef::as_ref)
}

/// What a command does with the channels that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelUse {
    /// Publishes to the channel that is the first argument.
    Publish,
    /// Subscribes to the channels that are its arguments.
    Subscribe,
    /// Subscribes to the channels that match the patterns that are its arguments.
    SubscribePatterns,
    /// Unsubscribes from the channels or patterns that are its arguments.
    Unsubscribe,
}

/// What of the data, or which channels, a command acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// No pair and no channel.
    Nothing,
    /// The keys that its arguments name.
    Keys(&'static [KeySpec]),
    /// Every key.
    Keyspace,
    /// The keys that begin with the argument at this place; without it, every key.
    Prefix(usize),
    /// The keys that match the pattern at this place.
    Pattern(usize),
    /// The keys of the requests that wait for it: EXEC.
    Queued,
    /// Channels.
    Channels(ChannelUse),
}

/// Dialects that have a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialects {
    /// All.
    All,
    /// Lines.
    Line,
    /// RESP2 and RESP3.
    Resp,
}

impl Dialects {
    pub(super) fn has(self, dialect: Dialect) -> bool {
        match self {
            Self::All => true,
            Self::Line => !dialect.is_resp(),
            Self::Resp => dialect.is_resp(),
        }
    }
}

/// The arguments of a request, decoded.
pub(super) type Arguments<'a> = [Cow<'a, [u8]>];

/// No upper limit to the number of arguments: the command checks its options itself.
pub(super) const ANY: usize = usize::MAX;

/// One row of the table.
#[derive(Debug)]
pub struct Command {
    /// The verb.
    pub name: &'static str,
    /// Its arguments, as people are shown them, and from which those of COMMAND DOCS are parsed; empty if it has none.
    pub usage: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// A line that asks for it, as protocol.md shows it with its answer.
    pub example: &'static str,
    /// Number of arguments; checked once, before the handler runs, so that no handler needs to.
    pub arity: RangeInclusive<usize>,
    /// Place of the argument that takes the rest of a line, if one does.
    pub rest_at: Option<usize>,
    /// Class by which it is permitted or refused.
    pub access: Access,
    /// Chapter of Redis's documentation.
    pub group: Group,
    /// What it acts on.
    pub scope: Scope,
    /// Number of arguments with which it does no more than read its key, or store a value under it: it can share the locks of
    /// a batch then.
    pub batchable: Option<usize>,
    /// The dialects that have it: all, but where Redis means something else by the verb.
    pub dialects: Dialects,
    pub(super) flags: FlagSet,
    /// Place of its first key, the place after its last one, and the distance between two: its key specs in one range, as the
    /// keys of every request are asked for before it runs.
    pub(super) first_key: usize,
    pub(super) keys_end: usize,
    pub(super) key_step: usize,
}

impl Command {
    /// Whether the row has a flag.
    #[must_use]
    pub const fn has(&self, flag: Flag) -> bool {
        self.flags.has(flag)
    }

    /// Whether the command changes pairs.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.access == Access::Write
    }

    /// Whether the command is refused until the data is loaded.
    #[must_use]
    pub fn needs_data(&self) -> bool {
        !self.has(Flag::LoadingOk)
    }

    /// The specs of the keys that the command names.
    #[must_use]
    pub fn key_specs(&self) -> &'static [KeySpec] {
        match self.scope {
            Scope::Keys(specs) => specs,
            _ => &[],
        }
    }

    /// The arguments that are keys.
    pub fn keys<'a, W: AsRef<[u8]>>(
        &self,
        arguments: &'a [W],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, W> {
        every(self.key_step, arguments, self.first_key, self.keys_end)
    }

    /// Whether the arguments are pairs of a key and a value.
    #[must_use]
    pub fn takes_pairs(&self) -> bool {
        self.key_step == 2
    }

    /// Whether the command may look at any key there is.
    #[must_use]
    pub fn is_on_keyspace(&self) -> bool {
        matches!(
            self.scope,
            Scope::Keyspace | Scope::Prefix(_) | Scope::Pattern(_)
        )
    }

    /// Whether the argument at this place is a key, or a prefix of keys: a prompt can complete it.
    #[must_use]
    pub fn completes_key_at(&self, place: usize) -> bool {
        match self.scope {
            Scope::Prefix(prefix) => place == prefix,
            _ => {
                (self.first_key..self.keys_end).contains(&place)
                    && (place - self.first_key).is_multiple_of(self.key_step)
            }
        }
    }

    /// Whether the argument at this place must be a number: a prompt can mark one that is not.
    #[must_use]
    pub fn takes_number_at(&self, place: usize) -> bool {
        usage::is_number_at(self.usage, place)
    }

    /// Whether the command may take long, as it acts on any number of keys: SLOWLOG measures it then. A command of one key is
    /// not measured, as reading the clock twice costs a GET a tenth of its speed.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        match self.scope {
            Scope::Keys(_) => self.keys_end == usize::MAX,
            Scope::Nothing | Scope::Channels(_) => false,
            Scope::Keyspace | Scope::Prefix(_) | Scope::Pattern(_) | Scope::Queued => {
                !self.has(Flag::Receives)
            }
        }
    }

    /// Name and arguments, as HELP shows them.
    #[must_use]
    pub fn synopsis(&self) -> String {
        if self.usage.is_empty() {
            self.name.to_owned()
        } else {
            format!("{} {}", self.name, self.usage)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::COMMANDS;

    fn row(name: &str) -> &'static Command {
        let mut all = COMMANDS.iter().copied();
        all.find(|command| command.name == name)
            .expect("a command of the table")
    }

    fn names(is_wanted: impl Fn(&Command) -> bool) -> Vec<&'static str> {
        let found = COMMANDS.iter().filter(|command| is_wanted(command));
        found.map(|command| command.name).collect()
    }

    #[test]
    fn the_range_of_a_row_holds_the_keys_of_its_specs() {
        let arguments: Vec<String> = (0..6).map(|place| place.to_string()).collect();
        for command in COMMANDS.iter() {
            for given in 0..=arguments.len() {
                let arguments = &arguments[..given];
                let specs = command.key_specs().iter();
                let expected: Vec<&[u8]> = specs.flat_map(|spec| spec.keys(arguments)).collect();
                let keys: Vec<&[u8]> = command.keys(arguments).collect();
                assert_eq!(keys, expected, "{} with {given}", command.name);
            }
        }
    }

    #[test]
    fn keys_stand_where_the_commands_have_them() {
        let keys = |name: &str, words: &[&'static str]| -> Vec<String> {
            let keys = row(name).keys(words);
            keys.map(|key| String::from_utf8_lossy(key).into_owned())
                .collect()
        };
        assert_eq!(keys("GET", &["a"]), ["a"]);
        assert_eq!(keys("SET", &["a", "1", "NX"]), ["a"]);
        assert_eq!(keys("MSET", &["a", "1", "b", "2"]), ["a", "b"]);
        assert_eq!(keys("DEL", &["a", "b", "c"]), ["a", "b", "c"]);
        assert_eq!(keys("COPY", &["a", "b", "REPLACE"]), ["a", "b"]);
        assert_eq!(keys("MEMORY", &["USAGE", "a", "SAMPLES", "1"]), ["a"]);
        assert_eq!(keys("OBJECT", &["HELP"]), [""; 0]);
        assert_eq!(keys("COUNT", &["user:"]), [""; 0]);
        assert_eq!(keys("PING", &["a"]), [""; 0]);
    }

    #[test]
    fn a_prompt_completes_keys_and_prefixes_and_nothing_else() {
        let places = |name: &str| -> Vec<usize> {
            let row = row(name);
            (0..4)
                .filter(|place| row.completes_key_at(*place))
                .collect()
        };
        assert_eq!(places("GET"), [0]);
        assert_eq!(places("OBJECT"), [1]);
        assert_eq!(places("RENAME"), [0, 1]);
        assert_eq!(places("DEL"), [0, 1, 2, 3]);
        assert_eq!(places("MSET"), [0, 2]);
        assert_eq!(places("DELPREFIX"), [0]);
        assert_eq!(places("FOLLOW"), [0]);
        assert_eq!(places("SCAN"), [0; 0]);
        assert_eq!(places("SUBSCRIBE"), [0; 0]);
    }

    #[test]
    fn what_acts_on_any_number_of_keys_is_timed_and_nothing_else() {
        assert_eq!(
            names(Command::is_timed),
            [
                "MGET",
                "MSET",
                "MSETNX",
                "DEL",
                "UNLINK",
                "DELPREFIX",
                "EXISTS",
                "TOUCH",
                "CLEAR",
                "FLUSHDB",
                "FLUSHALL",
                "RANDOMKEY",
                "ALL",
                "KEYS",
                "KEYS",
                "SCAN",
                "COUNT",
                "NAMESPACES",
                "PAGE",
                "EXEC",
                "WATCH",
                "SAVE",
                "BGSAVE",
            ]
        );
    }

    #[test]
    fn only_commands_that_name_keys_can_be_part_of_a_batch() {
        for command in COMMANDS
            .iter()
            .filter(|command| command.batchable.is_some())
        {
            assert!(
                matches!(
                    command.scope,
                    Scope::Keys(&[KeySpec {
                        first: 0,
                        last: Some(0),
                        ..
                    }])
                ),
                "{}",
                command.name
            );
        }
    }
}
