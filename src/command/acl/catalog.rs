//! The commands and subcommands that rules name, each with a number.
//!
//! In: the table of commands; names such as `get`, `config|set`, `@read`. Out: numbers, for sets of commands.

use crate::command::category::Category;
use crate::command::lookup::{CommandId, CommandList};
use crate::command::spec::Command;

/// The commands and subcommands that rules name.
#[derive(Debug)]
pub(in crate::command) struct Catalog {
    commands: &'static CommandList,
}

impl Catalog {
    pub(in crate::command) fn new(commands: &'static CommandList) -> Self {
        Self { commands }
    }

    /// Returns the number of commands and subcommands.
    pub(super) fn len(&self) -> usize {
        self.commands.id_count()
    }

    /// Returns the number of what a request executes: of its subcommand, if it names one.
    pub(super) fn id_of<W: AsRef<[u8]>>(&self, place: usize, arguments: &[W]) -> CommandId {
        self.commands.id_of(place, arguments)
    }

    /// Returns the numbers that a name stands for, in any case: those of a command include its subcommands.
    pub(super) fn ids_of_name(&self, name: &str) -> Vec<CommandId> {
        let (name, subcommand) = match name.split_once('|') {
            Some((name, subcommand)) => (name, Some(subcommand)),
            None => (name, None),
        };
        let mut found = Vec::new();
        // A name with one meaning on a line and another in RESP has two rows.
        for (place, command) in self.rows_of(name) {
            match subcommand {
                Some(word) => {
                    found.extend(
                        command
                            .subcommand_of(&[word])
                            .map(|_| self.id_of(place, &[word])),
                    );
                }
                None => found.extend(self.commands.ids_of(place)),
            }
        }
        found
    }

    /// Returns the rows of a command, each with its place.
    pub(super) fn rows_of(&self, name: &str) -> impl Iterator<Item = (usize, &'static Command)> {
        let rows = self.commands.iter().copied().enumerate();
        rows.filter(move |(_, command)| command.name.eq_ignore_ascii_case(name))
    }

    /// Returns the numbers of a category.
    pub(super) fn ids_of_category(&self, category: Category) -> Vec<CommandId> {
        let ids = 0..self.len();
        ids.filter(|id| self.commands.described(*id).categories().has(category))
            .collect()
    }

    /// Returns the name of a command, or of a subcommand as `config|set`.
    pub(in crate::command) fn name(&self, id: CommandId) -> String {
        self.commands.described(id).name()
    }

    /// Returns the names of a category; none if there is no such category.
    pub(in crate::command) fn names_of_category(&self, name: &[u8]) -> Option<Vec<String>> {
        let Some(category) = Category::find(name) else {
            let mut empty = Category::EMPTY.iter();
            return empty
                .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
                .then(Vec::new);
        };
        let ids = self.ids_of_category(category);
        let mut names: Vec<String> = ids.into_iter().map(|id| self.name(id)).collect();
        names.dedup();
        Some(names)
    }
}
