//! The list of all commands, the look-up of a command by its name, and the numbers of commands and subcommands.
//!
//! In: names, requests. Out: a command, its place in the list, or the number of what a request executes, which counters and permissions
//! use as an index.

use std::collections::HashMap;
use std::ops::Deref;

use super::described::Described;
use super::spec::Command;
use crate::protocol::Dialect;

/// Number of a command or a subcommand: first all commands in the order of the list, then all subcommands.
pub type CommandId = usize;

/// Length of the longest name that is looked up, in bytes.
pub(super) const VERB_BYTES_MAX: usize = 16;

type Places = HashMap<&'static [u8], usize, ahash::RandomState>;

/// The list of all commands.
#[derive(Debug)]
pub struct CommandList {
    commands: Vec<&'static Command>,
    /// Places by name: of the commands of the line dialect, and of those of RESP.
    places: [Places; 2],
    /// For each command, the number of its first subcommand.
    first_subcommands: Vec<CommandId>,
    /// For each subcommand, the place of its command, and its place there.
    subcommands: Vec<(usize, usize)>,
}

impl CommandList {
    /// Makes the list of these commands.
    pub(super) fn new(commands: Vec<&'static Command>) -> Self {
        let places = [Dialect::Line, Dialect::Resp2].map(|dialect| {
            let known = commands.iter().enumerate();
            known
                .filter(|(_, command)| command.dialects.has(dialect))
                .map(|(place, command)| (command.name.as_bytes(), place))
                .collect()
        });
        let (mut first_subcommands, mut subcommands) = (Vec::new(), Vec::new());
        for (place, command) in commands.iter().enumerate() {
            first_subcommands.push(commands.len() + subcommands.len());
            subcommands.extend((0..command.subcommands.len()).map(|one| (place, one)));
        }
        Self {
            commands,
            places,
            first_subcommands,
            subcommands,
        }
    }

    /// Returns the number of commands and subcommands.
    #[must_use]
    pub fn id_count(&self) -> usize {
        self.commands.len() + self.subcommands.len()
    }

    /// Returns the number of what a request executes: of its subcommand, if it names one.
    #[inline(always)]
    pub(super) fn id_of<W: AsRef<[u8]>>(&self, place: usize, arguments: &[W]) -> CommandId {
        let command = self.commands[place];
        if command.subcommands.is_empty() {
            return place;
        }
        let subcommand = command.subcommand_of(arguments);
        subcommand.map_or(place, |one| self.first_subcommands[place] + one)
    }

    /// Returns the numbers of a command and of its subcommands.
    pub(super) fn ids_of(&self, place: usize) -> impl Iterator<Item = CommandId> + use<> {
        let first = self.first_subcommands[place];
        std::iter::once(place).chain(first..first + self.commands[place].subcommands.len())
    }

    /// Returns what RESP has under a name in any case, such as `get` or `config|set`.
    pub(super) fn named(&self, name: &[u8]) -> Option<Described> {
        let mut words = name.splitn(2, |byte| *byte == b'|');
        let command = self.find(words.next()?, Dialect::Resp2)?;
        let Some(word) = words.next() else {
            return Some(Described::command(command));
        };
        let place = command.subcommand_of(&[word])?;
        Some(Described::subcommand(command, &command.subcommands[place]))
    }

    /// Returns the command or subcommand with a number.
    pub(super) fn described(&self, id: CommandId) -> Described {
        match id.checked_sub(self.commands.len()) {
            None => Described::command(self.commands[id]),
            Some(number) => {
                let (place, one) = self.subcommands[number];
                let command = self.commands[place];
                Described::subcommand(command, &command.subcommands[one])
            }
        }
    }

    /// Returns the place in the list of a command by its name in any case, if the dialect has it.
    #[must_use]
    pub fn place_of(&self, verb: &[u8], dialect: Dialect) -> Option<usize> {
        let mut upper = [0; VERB_BYTES_MAX];
        let upper = upper.get_mut(..verb.len())?;
        upper.copy_from_slice(verb);
        upper.make_ascii_uppercase();
        self.places[usize::from(dialect.is_resp())]
            .get(&*upper)
            .copied()
    }

    /// Returns a command by its name in any case, if the dialect has it.
    #[must_use]
    pub fn find(&self, verb: &[u8], dialect: Dialect) -> Option<&'static Command> {
        Some(self.commands[self.place_of(verb, dialect)?])
    }
}

impl Deref for CommandList {
    type Target = [&'static Command];

    fn deref(&self) -> &Self::Target {
        &self.commands
    }
}
