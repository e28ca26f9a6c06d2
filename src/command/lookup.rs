//! The list of all commands, and the look-up of a command by its name.
//!
//! In: names. Out: a command, or its place in the list, which counters use as an index.

use std::collections::HashMap;
use std::ops::Deref;

use super::spec::Command;
use crate::protocol::Dialect;

/// Length of the longest name that is looked up, in bytes.
pub(super) const VERB_BYTES_MAX: usize = 16;

type Places = HashMap<&'static [u8], usize, ahash::RandomState>;

/// The list of all commands.
#[derive(Debug)]
pub struct CommandList {
    commands: Vec<&'static Command>,
    /// Places by name: of the commands of the line dialect, and of those of RESP.
    places: [Places; 2],
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
        Self { commands, places }
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
