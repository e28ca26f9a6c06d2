//! The specification of a command: everything but its handler.
//!
//! In: a row of the table. Out: the properties by which requests are parsed, checked, locked, timed, documented and completed.
//! Promise: a property of a command stands in its row, and no other file lists commands by name.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::key_events::KeyEvents;
use super::usage;
use crate::model::entry::allocated_bytes;
use crate::protocol::{Dialect, ErrorCode};

/// Class of a command, by which it is permitted or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads pairs and changes none.
    Read,
    /// Changes pairs; refused while the disk refuses changes.
    Write,
    /// Controls the server, or shows what other clients do.
    Admin,
    /// Acts on the client's own connection, or describes the server; touches no pair.
    Connection,
    /// Sends or receives messages of channels.
    PubSub,
}

/// Chapter of Redis's documentation, by which `redis-cli` sorts its help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Commands on a cluster, which there is none of.
    Cluster,
    /// Commands on the bits of values.
    Bitmap,
    /// Commands on the connection of the client.
    Connection,
    /// Commands on keys of any type.
    Generic,
    /// Commands on channels and their messages.
    PubSub,
    /// Commands on the server.
    Server,
    /// Scripts.
    Scripting,
    /// Commands on values.
    String,
    /// Transactions.
    Transactions,
}

impl Group {
    /// Returns the name in COMMAND DOCS.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Bitmap => "bitmap",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::PubSub => "pubsub",
            Self::Server => "server",
            Self::Scripting => "scripting",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}

/// Property that a command either has or lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Executes before the data is loaded. All other commands are refused until then.
    LoadingOk,
    /// Refused between MULTI and EXEC.
    NotInMulti,
    /// Executes at once between MULTI and EXEC, instead of being queued.
    ImmediateInMulti,
    /// Allowed while a RESP2 client is subscribed: its reply can be told from a message.
    SubscribedOk,
    /// Turns the connection into a receiver: messages follow the reply until the client ends them. Never in the slow log.
    Receives,
    /// Visits the data part by part and sends its reply meanwhile: neither its length nor its duration is bounded.
    Streams,
    /// May add pairs or lengthen a value: makes room first if there is a cap on memory.
    GrowsMemory,
    /// Looks at pairs without a use of them, by which evictions go.
    Looks,
    /// Uses pairs even for a client that has said CLIENT NO-TOUCH.
    Touches,
    /// Deletes many keys or stops the server: an interactive client asks for confirmation.
    Dangerous,
    /// May have a password among its arguments, which no history and no log may keep.
    Secret,
    /// Not shown by MONITOR.
    NoMonitor,
    /// Executes for clients that have not authenticated.
    NoAuth,
    /// Takes a time that depends on its arguments or the data, in Redis's judgement, which ACLs know as `@slow`.
    Slow,
    /// May wait before it answers.
    Blocks,
    /// Not to be had in a script.
    NotInScripts,
    /// Changes the database of the client: the keys that the requests behind it name are others.
    SelectsDatabase,
    /// May access a key of another database, which its arguments do not name.
    OtherDatabase,
    /// Shows or occupies the whole server, or takes a pair as others have written it: counted among `@dangerous` as in Redis, although no
    /// confirmation is asked for.
    WholeServer,
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

/// Effect of a command on the keys of a spec, in Redis's terms.
/// Source: <https://redis.io/docs/latest/develop/reference/key-specs/#logical-operation-flags>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFlag {
    /// Reads the value or its metadata.
    ReadOnly,
    /// Changes a part of the pair.
    ReadWrite,
    /// Stores a value whatever the previous one was.
    Overwrite,
    /// Deletes the pair.
    Remove,
    /// Returns or copies the value, or uses it to decide.
    Access,
    /// Changes the value of an existing key.
    Update,
    /// Adds data without changing any.
    Insert,
    /// Deletes data.
    Delete,
    /// Has fewer effects than the other flags say, depending on the arguments.
    Variable,
}

impl KeyFlag {
    /// Returns the name in COMMAND INFO and COMMAND GETKEYSANDFLAGS.
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

/// Positions of keys among the arguments, and the effect of the command on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// Place of the first key among the arguments.
    pub first: usize,
    /// Place of the last; `None` for the last argument.
    pub last: Option<usize>,
    /// Distance from one key to the next.
    pub step: usize,
    /// Place of the argument that says how many they are, if one does.
    pub counted_at: Option<usize>,
    /// Effect on the keys.
    pub flags: &'static [KeyFlag],
}

impl KeySpec {
    /// Returns the spec of one key, at this place among the arguments.
    pub(super) const fn at(place: usize, flags: &'static [KeyFlag]) -> Self {
        Self::range(place, Some(place), flags)
    }

    /// Returns the spec of keys from one place among the arguments to another, or to the last argument.
    pub(super) const fn range(
        first: usize,
        last: Option<usize>,
        flags: &'static [KeyFlag],
    ) -> Self {
        Self {
            first,
            last,
            step: 1,
            counted_at: None,
            flags,
        }
    }

    /// Returns the spec of keys behind an argument that says how many they are.
    pub(super) const fn counted(place: usize, flags: &'static [KeyFlag]) -> Self {
        Self {
            first: place + 1,
            last: None,
            step: 1,
            counted_at: Some(place),
            flags,
        }
    }

    /// Returns the spec of arguments that are all keys.
    pub(super) const fn all(flags: &'static [KeyFlag]) -> Self {
        Self::range(0, None, flags)
    }

    /// Returns the spec of arguments that are keys and values in turn.
    pub(super) const fn pairs(flags: &'static [KeyFlag]) -> Self {
        let (first, last, step) = (0, None, 2);
        Self {
            first,
            last,
            step,
            counted_at: None,
            flags,
        }
    }

    /// Returns the spec of keys and values in turn, behind an argument that says how many keys there are.
    pub(super) const fn counted_pairs(place: usize, flags: &'static [KeyFlag]) -> Self {
        Self {
            step: 2,
            ..Self::counted(place, flags)
        }
    }

    /// Returns the arguments that are its keys.
    pub fn keys<'a, W: AsRef<[u8]>>(
        &self,
        arguments: &'a [W],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, W> {
        let end = self.last.map_or(usize::MAX, |last| last + 1);
        let end = self
            .counted_at
            .map_or(end, |place| counted_end(arguments, place, self.step));
        every(self.step, arguments, self.first, end)
    }
}

/// Returns the place behind the keys that follow their number, with this distance from one to the next; behind the number, if it is
/// none.
fn counted_end<W: AsRef<[u8]>>(arguments: &[W], place: usize, step: usize) -> usize {
    let number = arguments.get(place).map(AsRef::as_ref);
    let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let words = number.unwrap_or(0_usize).saturating_mul(step);
    words.saturating_add(place + 1)
}

/// Returns every `step`th argument from `first` on, before `end`.
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

/// Effect of a command on the channels that it names.
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

/// Keys or channels that a command acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// No pair and no channel.
    Nothing,
    /// The keys among its arguments.
    Keys(&'static [KeySpec]),
    /// Every key.
    Keyspace,
    /// The keys that begin with the argument at this place; without it, every key.
    Prefix(usize),
    /// The keys that match the pattern at this place.
    Pattern(usize),
    /// The keys of the queued requests: EXEC.
    Queued,
    /// Channels.
    Channels(ChannelUse),
}

/// Dialects that have a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialects {
    /// Every dialect.
    All,
    /// The line dialect.
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

/// Execution of a command where a cluster has the data.
#[derive(Debug, Clone, Copy)]
pub enum Clustered {
    /// By its handler, which touches no pair.
    Here,
    /// By its handler, which asks all primaries.
    Whole,
    /// By its handler on copies of the pairs, which are changed in the cluster if they are still what was copied.
    Emulated,
    /// By the cluster's own command, if the request has this form; else as `Emulated`.
    Native {
        /// Name of the cluster's command, which takes the same arguments.
        name: &'static str,
        /// What its reply means.
        reply: NativeReply,
        /// Returns true if the cluster's command does the same with these arguments.
        is_alike: fn(&Arguments<'_>) -> bool,
    },
    /// Not at all: the error.
    Refused(ErrorCode, &'static str),
}

impl Clustered {
    /// Returns true for a command of the cluster's that answers with a count.
    pub(super) fn has_count(self) -> bool {
        matches!(
            self,
            Self::Native {
                reply: NativeReply::Count,
                ..
            }
        )
    }
}

/// Meaning of the reply of a cluster's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NativeReply {
    /// `OK`: success.
    Ok,
    /// `OK`: a value was stored; or nothing: a condition did not hold.
    Stored,
    /// The value of a key, or nothing.
    Found,
    /// Bytes.
    Value,
    /// The values of keys.
    Values,
    /// A count; 0 if no key was there.
    Deleted,
    /// A count.
    Count,
    /// A number that is the value of a key.
    Number,
    /// A number that may be negative.
    Signed,
    /// A word.
    Status,
}

/// A subcommand, which its first argument names and which has permissions and counters of its own. Its arguments stand in the usage
/// of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subcommand {
    /// Name, in upper case.
    pub name: &'static str,
    /// Class by which it is permitted or refused.
    pub access: Access,
    /// Effect, in a sentence.
    pub summary: &'static str,
    /// True if it deletes or closes what it names, so that a page asks for confirmation.
    pub is_destructive: bool,
}

impl Subcommand {
    /// The subcommand that every command with subcommands has.
    pub(super) const HELP: Self = Self::new("HELP", Access::Connection, "List the subcommands.");

    pub(super) const fn new(name: &'static str, access: Access, summary: &'static str) -> Self {
        Self {
            name,
            access,
            summary,
            is_destructive: false,
        }
    }

    /// Marks it as one that deletes or closes what it names.
    pub(super) const fn destructive(mut self) -> Self {
        self.is_destructive = true;
        self
    }
}

/// The arguments of a request, decoded.
pub(super) type Arguments<'a> = [Cow<'a, [u8]>];

/// The upper limit of the arity of a command that checks its options itself.
pub(super) const ANY: usize = usize::MAX;

/// Specification of a command.
#[derive(Debug)]
pub struct Command {
    /// Name, in upper case.
    pub name: &'static str,
    /// Arguments as HELP shows them; COMMAND DOCS parses its arguments from them. Empty if there are none.
    pub usage: &'static str,
    /// Effect, in a sentence.
    pub summary: &'static str,
    /// Request line that protocol.md shows together with its reply.
    pub example: &'static str,
    /// Number of arguments; checked once, before the handler is called, so that no handler needs to.
    pub arity: RangeInclusive<usize>,
    /// Place of the argument that takes the rest of a line, if any.
    pub rest_at: Option<usize>,
    /// Class by which it is permitted or refused.
    pub access: Access,
    /// Chapter of Redis's documentation.
    pub group: Group,
    /// Keys or channels that it acts on.
    pub scope: Scope,
    /// Number of arguments with which it only reads its key or stores a value under it, so that it can share the locks of a
    /// batch.
    pub batchable: Option<usize>,
    /// Dialects that have it: all, except where the same name means something else in Redis.
    pub dialects: Dialects,
    /// Events of the pairs that it changes.
    pub events: KeyEvents,
    /// Subcommands, if its first argument names one.
    pub subcommands: &'static [Subcommand],
    /// Execution where a cluster has the data.
    pub clustered: Clustered,
    pub(super) flags: FlagSet,
    /// First place, end and step of all key specs together: the keys of every request are looked up before it is executed, and
    /// one range is faster to visit than a list of specs.
    pub(super) first_key: usize,
    pub(super) keys_end: usize,
    pub(super) key_step: usize,
    /// Place of the argument that says how many keys there are, if one does.
    pub(super) keys_counted_at: Option<usize>,
}

impl Command {
    /// Returns true if the command has a flag.
    #[must_use]
    pub const fn has(&self, flag: Flag) -> bool {
        self.flags.has(flag)
    }

    /// Returns true if the command changes pairs.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.access == Access::Write
    }

    /// Returns true if only the leader of a cluster whose log etcd keeps answers the command: all that reads or changes pairs, but for
    /// feeds, which show what the log has.
    #[must_use]
    #[inline(always)]
    pub fn is_answered_by_leader(&self) -> bool {
        matches!(self.access, Access::Read | Access::Write) && !self.has(Flag::Receives)
    }

    /// Returns the place of the subcommand that the first argument names, if there is one.
    #[must_use]
    pub fn subcommand_of<W: AsRef<[u8]>>(&self, arguments: &[W]) -> Option<usize> {
        let name = arguments.first()?.as_ref();
        let mut subcommands = self.subcommands.iter();
        subcommands.position(|one| name.eq_ignore_ascii_case(one.name.as_bytes()))
    }

    /// Returns the bytes of memory that a request may need for what it stores, as far as its arguments tell.
    pub(super) fn room_bytes<W: AsRef<[u8]>>(&self, arguments: &[W]) -> u64 {
        /// Head, record of use, expiry and its place in the index, and the place in the hash table.
        const PAIR_BYTES: usize = 64;
        if !self.has(Flag::GrowsMemory) {
            return 0;
        }
        let bytes: usize = arguments.iter().map(|word| word.as_ref().len()).sum();
        let room = if self.key_step == 2 {
            // The allocator rounds up to a quarter at most.
            bytes + bytes / 4 + PAIR_BYTES * arguments.len() / 2
        } else {
            allocated_bytes(bytes + PAIR_BYTES)
        };
        room as u64
    }

    /// Returns true if the command is refused until the data is loaded.
    #[must_use]
    pub fn needs_data(&self) -> bool {
        !self.has(Flag::LoadingOk)
    }

    /// Returns the specs of its keys.
    #[must_use]
    pub fn key_specs(&self) -> &'static [KeySpec] {
        match self.scope {
            Scope::Keys(specs) => specs,
            _ => &[],
        }
    }

    /// Returns the arguments that are keys.
    pub fn keys<'a, W: AsRef<[u8]>>(
        &self,
        arguments: &'a [W],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, W> {
        let end = self.keys_end(arguments);
        every(self.key_step, arguments, self.first_key, end)
    }

    /// Returns the place behind the last key.
    fn keys_end<W: AsRef<[u8]>>(&self, arguments: &[W]) -> usize {
        match self.keys_counted_at {
            None => self.keys_end,
            Some(place) => counted_end(arguments, place, self.key_step),
        }
    }

    /// Returns the places of the arguments that are keys.
    pub(super) fn key_places<W: AsRef<[u8]>>(
        &self,
        arguments: &[W],
    ) -> impl Iterator<Item = usize> + use<W> {
        let end = self.keys_end(arguments).min(arguments.len());
        (self.first_key..end).step_by(self.key_step)
    }

    /// Returns true if the command may access keys that its arguments do not name.
    #[must_use]
    pub fn accesses_any_key(&self) -> bool {
        self.is_on_keyspace() || self.is_script() || self.has(Flag::OtherDatabase)
    }

    /// Returns true if the command begins or ends subscriptions.
    #[must_use]
    pub fn is_subscription(&self) -> bool {
        matches!(self.scope, Scope::Channels(channel_use) if channel_use != ChannelUse::Publish)
    }

    /// Returns true if the command is a script, whose commands are checked by themselves.
    #[must_use]
    pub fn is_script(&self) -> bool {
        self.has_counted_keys() && self.group == Group::Scripting
    }

    /// Returns true if an argument says how many keys there are.
    #[must_use]
    pub fn has_counted_keys(&self) -> bool {
        self.keys_counted_at.is_some()
    }

    /// Returns true if the arguments are keys and values in turn, and nothing else.
    #[must_use]
    pub fn takes_pairs(&self) -> bool {
        self.key_step == 2 && !self.has_counted_keys()
    }

    /// Returns true if the command may access any key.
    #[must_use]
    pub fn is_on_keyspace(&self) -> bool {
        matches!(
            self.scope,
            Scope::Keyspace | Scope::Prefix(_) | Scope::Pattern(_)
        )
    }

    /// Returns true if the argument at this place is a key or a prefix of keys, which a prompt can complete.
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

    /// Returns true if the argument at this place must be a number, so that a prompt can mark one that is not.
    #[must_use]
    pub fn takes_number_at(&self, place: usize) -> bool {
        usage::is_number_at(self.usage, place)
    }

    /// Returns true if the command acts on any number of keys, so that each of its requests is timed by itself. Requests on one key are
    /// timed together with those of their batch, as reading the clock twice costs a GET a tenth of its speed.
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

    /// Returns name and arguments, as HELP shows them.
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
        assert_eq!(
            keys("MSETEX", &["2", "a", "1", "b", "2", "EX", "3"]),
            ["a", "b"]
        );
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
                "MSETEX",
                "BITOP",
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
                "EVAL",
                "EVALSHA",
                "EVAL_RO",
                "EVALSHA_RO",
                "BACKUP",
                "SAVE",
                "BGSAVE",
                "BGREWRITEAOF",
            ]
        );
    }

    #[test]
    fn what_streams_is_not_allowed_in_a_transaction_but_for_two() {
        let streaming = names(|command| command.has(Flag::Streams));
        assert!(streaming.contains(&"ALL") && streaming.contains(&"DELPREFIX"));
        let allowed =
            |command: &Command| command.has(Flag::Streams) && !command.has(Flag::NotInMulti);
        assert_eq!(names(allowed), ["KEYS", "SCAN"]);
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
