//! A row of the table of commands, written as one chain of calls: a constructor for the access class, then what differs from the
//! defaults.
//!
//! In: what each family of commands writes above its handlers. Out: a [`Command`] and its handler.

use std::ops::RangeInclusive;

use super::call::Handler;
use super::key_events::{Event, KeyEvents};
use super::spec::{
    ANY, Access, Arguments, Clustered, Command, Dialects, Flag, FlagSet, Group, KeySpec,
    NativeReply, Scope, Subcommand,
};
use crate::protocol::ErrorCode;

/// A command and its handler.
pub(super) struct Row {
    pub command: Command,
    pub handler: Handler,
}

type Arity = RangeInclusive<usize>;
type Text = &'static str;

impl Row {
    /// Begins the row of a command that reads pairs, of group `Generic`.
    pub const fn read(name: Text, usage: Text, arity: Arity, handler: Handler) -> Self {
        let class = (Access::Read, Group::Generic);
        Self::new(class, name, usage, arity, handler)
    }

    /// Begins the row of a command that changes pairs, of group `Generic`.
    pub const fn write(name: Text, usage: Text, arity: Arity, handler: Handler) -> Self {
        let class = (Access::Write, Group::Generic);
        Self::new(class, name, usage, arity, handler)
    }

    /// Begins the row of a command that reads values, of group `String`.
    pub const fn read_string(name: Text, usage: Text, arity: Arity, handler: Handler) -> Self {
        let class = (Access::Read, Group::String);
        Self::new(class, name, usage, arity, handler)
    }

    /// Begins the row of a command that changes values, of group `String`.
    pub const fn write_string(name: Text, usage: Text, arity: Arity, handler: Handler) -> Self {
        let class = (Access::Write, Group::String);
        Self::new(class, name, usage, arity, handler)
    }

    /// Begins the row of a command that controls the server, of group `Server`.
    pub const fn admin(name: Text, usage: Text, arity: Arity, handler: Handler) -> Self {
        let class = (Access::Admin, Group::Server);
        Self::new(class, name, usage, arity, handler)
    }

    /// Begins the row of a command that touches no pair, of group `Connection`.
    pub const fn connection(name: Text, usage: Text, arity: Arity, handler: Handler) -> Self {
        let class = (Access::Connection, Group::Connection);
        Self::new(class, name, usage, arity, handler)
    }

    /// Begins the row of a command that executes a script, of group `Scripting`.
    pub const fn script(access: Access, name: Text, usage: Text, handler: Handler) -> Self {
        let arity = 2..=ANY;
        Self::new((access, Group::Scripting), name, usage, arity, handler)
    }

    /// Begins the row of a command for channels, of group `PubSub`.
    pub const fn pubsub(name: Text, usage: Text, arity: Arity, handler: Handler) -> Self {
        let class = (Access::PubSub, Group::PubSub);
        Self::new(class, name, usage, arity, handler)
    }

    const fn new(
        (access, group): (Access, Group),
        name: Text,
        usage: Text,
        arity: Arity,
        handler: Handler,
    ) -> Self {
        let command = Command {
            name,
            usage,
            summary: "",
            example: "",
            arity,
            rest_at: None,
            access,
            group,
            scope: Scope::Nothing,
            batchable: None,
            dialects: Dialects::All,
            events: KeyEvents::DEFAULT,
            clustered: Clustered::Here,
            subcommands: &[],
            flags: FlagSet::of(&[]),
            first_key: 0,
            keys_end: 0,
            key_step: 1,
            keys_counted_at: None,
        };
        Self { command, handler }
    }

    /// Adds what the command does, in a sentence.
    pub const fn summary(mut self, summary: Text) -> Self {
        self.command.summary = summary;
        self
    }

    /// Adds a line that calls the command.
    pub const fn example(mut self, line: Text) -> Self {
        self.command.example = line;
        self
    }

    /// Moves the command to another group.
    pub const fn group(mut self, group: Group) -> Self {
        self.command.group = group;
        self
    }

    /// Adds the specs of its keys. Together they must be one range with one step, which a test checks.
    pub const fn on_keys(mut self, specs: &'static [KeySpec]) -> Self {
        let (first, last) = (specs[0], specs[specs.len() - 1]);
        self.command.first_key = first.first;
        self.command.key_step = first.step;
        self.command.keys_counted_at = first.counted_at;
        self.command.keys_end = match last.last {
            Some(last) => last + 1,
            None => usize::MAX,
        };
        self.command.clustered = Clustered::Emulated;
        self.on(Scope::Keys(specs))
    }

    /// Adds what the command acts on.
    pub const fn on(mut self, scope: Scope) -> Self {
        self.command.scope = scope;
        if matches!(
            scope,
            Scope::Keyspace | Scope::Prefix(_) | Scope::Pattern(_)
        ) {
            return self.whole();
        }
        self
    }

    /// Lets the command ask all primaries of a cluster, as one does that accesses any key.
    pub const fn whole(mut self) -> Self {
        self.command.clustered = Clustered::Whole;
        self
    }

    /// Sets the event of the pairs that the command stores; without it, it is `set`.
    pub const fn stores_as(mut self, event: Event) -> Self {
        self.command.events.stores = event;
        self
    }

    /// Sets the event of the pairs that the command deletes; without it, it is `del`.
    pub const fn deletes_as(mut self, event: Event) -> Self {
        self.command.events.deletes = event;
        self
    }

    /// Sets flags.
    pub const fn flags(mut self, flags: &[Flag]) -> Self {
        self.command.flags = FlagSet::of(flags);
        self
    }

    /// Lets a request with so many arguments share the locks of a batch: it only reads its key, or stores a value under it.
    pub const fn batchable(mut self, arguments: usize) -> Self {
        self.command.batchable = Some(arguments);
        self
    }

    /// Gives the rest of a line to the argument at this place.
    pub const fn rest_at(mut self, place: usize) -> Self {
        self.command.rest_at = Some(place);
        self
    }

    /// Lets a cluster execute the command by its own one of the same name. To be called after [`Self::on_keys`].
    pub const fn native(self, reply: NativeReply) -> Self {
        let name = self.command.name;
        self.native_as(name, reply)
    }

    /// Lets a cluster execute the command by its own one, which has another name. To be called after [`Self::on_keys`].
    pub const fn native_as(self, name: Text, reply: NativeReply) -> Self {
        const fn always(_: &Arguments<'_>) -> bool {
            true
        }
        self.forwarded(name, reply, always)
    }

    /// Lets a cluster execute requests of a form by its own command of the same name. To be called after [`Self::on_keys`].
    pub const fn native_if(self, reply: NativeReply, is_alike: fn(&Arguments<'_>) -> bool) -> Self {
        let name = self.command.name;
        self.forwarded(name, reply, is_alike)
    }

    const fn forwarded(
        mut self,
        name: Text,
        reply: NativeReply,
        is_alike: fn(&Arguments<'_>) -> bool,
    ) -> Self {
        self.command.clustered = Clustered::Native {
            name,
            reply,
            is_alike,
        };
        self
    }

    /// Refuses the command with this error where a cluster has the data.
    pub const fn refused_in_cluster(mut self, code: ErrorCode, message: Text) -> Self {
        self.command.clustered = Clustered::Refused(code, message);
        self
    }

    /// Adds the subcommands.
    pub const fn subcommands(mut self, subcommands: &'static [Subcommand]) -> Self {
        self.command.subcommands = subcommands;
        self
    }

    /// Limits the command to some dialects.
    pub const fn only(mut self, dialects: Dialects) -> Self {
        self.command.dialects = dialects;
        self
    }
}
