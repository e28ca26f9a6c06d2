//! The commands and subcommands that rules name, each with a number.
//!
//! In: the table of commands; names such as `get`, `config|set`, `@read`. Out: numbers, for sets of commands.

use crate::command::category::{Category, categories_of, categories_of_subcommand};
use crate::command::lookup::CommandList;
use crate::command::spec::Command;

/// Number of a command or a subcommand.
pub(in crate::command) type CommandId = usize;

/// The commands and subcommands that rules name: first all rows of the table, then all subcommands.
#[derive(Debug)]
pub(in crate::command) struct Catalog {
    commands: &'static CommandList,
    /// For each row, the number of its first subcommand.
    first_subcommands: Vec<CommandId>,
    /// For each subcommand, the place of its row, and its place there.
    subcommands: Vec<(usize, usize)>,
}

impl Catalog {
    pub(in crate::command) fn new(commands: &'static CommandList) -> Self {
        let (mut first_subcommands, mut subcommands) = (Vec::new(), Vec::new());
        for (place, command) in commands.iter().enumerate() {
            first_subcommands.push(commands.len() + subcommands.len());
            subcommands.extend((0..command.subcommands.len()).map(|one| (place, one)));
        }
        Self {
            commands,
            first_subcommands,
            subcommands,
        }
    }

    /// Returns the number of commands and subcommands.
    pub(super) fn len(&self) -> usize {
        self.commands.len() + self.subcommands.len()
    }

    /// Returns the number of what a request executes: of its subcommand, if it names one.
    pub(super) fn id_of<W: AsRef<[u8]>>(&self, place: usize, arguments: &[W]) -> CommandId {
        let subcommand = self.commands[place].subcommand_of(arguments);
        subcommand.map_or(place, |one| self.first_subcommands[place] + one)
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
                None => {
                    let first = self.first_subcommands[place];
                    found.push(place);
                    found.extend(first..first + command.subcommands.len());
                }
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
        let rows = self.commands.iter().enumerate();
        let rows = rows
            .filter(|(_, command)| categories_of(command).has(category))
            .map(|(place, _)| place);
        let first = self.commands.len();
        let subcommands = self.subcommands.iter().enumerate();
        let subcommands = subcommands.filter(|(_, (place, one))| {
            let command = self.commands[*place];
            categories_of_subcommand(command, &command.subcommands[*one]).has(category)
        });
        rows.chain(subcommands.map(|(number, _)| first + number))
            .collect()
    }

    /// Returns the name of a command, or of a subcommand as `config|set`.
    pub(in crate::command) fn name(&self, id: CommandId) -> String {
        match id.checked_sub(self.commands.len()) {
            None => self.commands[id].name.to_lowercase(),
            Some(number) => {
                let (place, one) = self.subcommands[number];
                let command = self.commands[place];
                format!("{}|{}", command.name, command.subcommands[one].name).to_lowercase()
            }
        }
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
