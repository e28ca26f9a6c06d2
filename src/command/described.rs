//! A command or a subcommand, as clients are told of it.
//!
//! In: a row of the table, and one of its subcommands. Out: name, number of words, flags, categories, keys and arguments, in Redis's
//! terms. Promise: all of it follows from the row, and nothing is written twice.
//! Source: <https://redis.io/docs/latest/commands/command/>.

use super::category::{Categories, categories};
use super::spec::{Access, ChannelUse, Command, Flag, Group, KeySpec, Scope, Subcommand};
use super::usage::{self, Argument};

/// A command, or one of its subcommands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Described {
    pub(super) command: &'static Command,
    pub(super) subcommand: Option<&'static Subcommand>,
}

impl Described {
    pub(super) fn command(command: &'static Command) -> Self {
        Self {
            command,
            subcommand: None,
        }
    }

    pub(super) fn subcommand(command: &'static Command, subcommand: &'static Subcommand) -> Self {
        Self {
            command,
            subcommand: Some(subcommand),
        }
    }

    /// Returns the subcommands of a command.
    pub(super) fn subcommands(self) -> Vec<Self> {
        let all = match self.subcommand {
            Some(_) => &[],
            None => self.command.subcommands,
        };
        let all = all.iter();
        all.map(|one| Self::subcommand(self.command, one)).collect()
    }

    /// Returns the name in lower case, of a subcommand as `config|set`.
    pub(super) fn name(self) -> String {
        let name = self.command.name.to_lowercase();
        match self.subcommand {
            Some(subcommand) => format!("{name}|{}", subcommand.name.to_lowercase()),
            None => name,
        }
    }

    pub(super) fn access(self) -> Access {
        let access = self.subcommand.map(|subcommand| subcommand.access);
        access.unwrap_or(self.command.access)
    }

    pub(super) fn summary(self) -> &'static str {
        let summary = self.subcommand.map(|subcommand| subcommand.summary);
        summary.unwrap_or(self.command.summary)
    }

    /// Returns the usages of its arguments. A subcommand may have several, and HELP has none.
    fn usages(self) -> Vec<&'static str> {
        let Some(subcommand) = self.subcommand else {
            return vec![self.command.usage];
        };
        let all = usage::alternatives_of(self.command.usage).into_iter();
        let of_name = |usage: &'static str| {
            let arguments = usage.strip_prefix(subcommand.name)?;
            let is_end = arguments.is_empty() || arguments.starts_with(' ');
            is_end.then(|| arguments.trim_start())
        };
        all.filter_map(of_name).collect()
    }

    /// Returns name and arguments, as HELP shows them.
    pub(super) fn syntax(self) -> String {
        let Some(subcommand) = self.subcommand else {
            return self.command.synopsis();
        };
        let name = format!("{} {}", self.command.name, subcommand.name);
        let usages = self.usages();
        let usages = usages.iter().map(|usage| format!("{name} {usage}"));
        let usages = usages.collect::<Vec<_>>().join(" | ");
        let syntax = if usages.is_empty() { name } else { usages };
        syntax.trim_end().to_owned()
    }

    /// Returns the arguments; none for a command with subcommands, whose arguments are theirs.
    pub(super) fn arguments(self) -> Vec<Argument> {
        if self.subcommands().is_empty() {
            usage::arguments_of_any(&self.usages())
        } else {
            Vec::new()
        }
    }

    /// Returns the number of words of a request, with the name; the negative minimum if the number varies.
    pub(super) fn arity(self) -> i64 {
        let (least, varies) = match self.subcommand {
            Some(_) => {
                let (least, varies) = usage::word_count(&self.arguments());
                (least + 2, varies)
            }
            None => {
                let arity = &self.command.arity;
                (arity.start() + 1, arity.start() != arity.end())
            }
        };
        let least = i64::try_from(least).unwrap_or(i64::MAX);
        if varies { -least } else { least }
    }

    /// Returns the specs of its keys; none for a command with subcommands, some of which have keys.
    pub(super) fn key_specs(self) -> &'static [KeySpec] {
        let has_keys = match self.subcommand {
            Some(_) => self.usages().iter().any(|usage| usage.contains("<key>")),
            None => self.command.subcommands.is_empty(),
        };
        if has_keys {
            self.command.key_specs()
        } else {
            &[]
        }
    }

    /// Returns the categories; of a command with subcommands, those that all of them have.
    pub(super) fn categories(self) -> Categories {
        categories(self.command, self.access(), self.is_fast())
    }

    /// Returns true if its time depends neither on the data nor on its arguments, in Redis's judgement.
    pub(super) fn is_fast(self) -> bool {
        let command = self.command;
        let is_of_one = match command.scope {
            Scope::Nothing | Scope::Keys(_) | Scope::Channels(ChannelUse::Publish) => true,
            Scope::Keyspace
            | Scope::Prefix(_)
            | Scope::Pattern(_)
            | Scope::Queued
            | Scope::Channels(_) => false,
        };
        is_of_one
            && self.subcommand.is_none()
            && command.subcommands.is_empty()
            && !command.has(Flag::Slow)
    }

    /// Returns the flags under Redis's names, as far as they have a meaning here.
    pub(super) fn flags(self) -> Vec<&'static str> {
        let (command, access) = (self.command, self.access());
        let flags = [
            (
                access == Access::Write && command.group != Group::Scripting,
                "write",
            ),
            (access == Access::Read, "readonly"),
            (command.has(Flag::GrowsMemory), "denyoom"),
            (access == Access::Admin, "admin"),
            (access == Access::PubSub, "pubsub"),
            (command.has(Flag::Blocks), "blocking"),
            (command.has(Flag::LoadingOk), "loading"),
            (command.has(Flag::NoMonitor), "skip_monitor"),
            (command.has(Flag::Receives), "skip_slowlog"),
            (self.is_fast(), "fast"),
            (command.has(Flag::NoAuth), "no_auth"),
            (command.has(Flag::NotInMulti), "no_multi"),
            (command.has(Flag::NotInScripts), "noscript"),
            (command.has_counted_keys(), "movablekeys"),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
        flags.map(|(_, name)| name).collect()
    }

    /// Returns how its time grows.
    pub(super) fn complexity(self) -> &'static str {
        const OF_REPLY: &str = "O(N) where N is the length of the reply.";
        let command = self.command;
        match command.scope {
            Scope::Keys(_) if command.is_script() => "Depends on the script.",
            Scope::Keys(_) if self.key_specs().is_empty() => OF_REPLY,
            Scope::Keys(_) if command.keys_end == usize::MAX => {
                "O(N) where N is the number of keys."
            }
            Scope::Keys(_) if matches!(command.group, Group::String | Group::Bitmap) => {
                "O(N) where N is the length of the value."
            }
            Scope::Keys(_) => "O(1)",
            Scope::Keyspace | Scope::Prefix(_) | Scope::Pattern(_) => {
                "O(N) where N is the number of keys that it visits."
            }
            Scope::Queued => "Depends on the queued requests.",
            Scope::Channels(ChannelUse::Publish) => {
                "O(N+M) where N is the number of subscribers of the channel, and M that of all patterns."
            }
            Scope::Channels(_) => "O(N) where N is the number of names.",
            Scope::Nothing => OF_REPLY,
        }
    }
}
