//! The names that can be typed at the prompt: the commands of the table, the tools, and those of the prompt itself.

use crate::help::{self, TOOLS};

/// The prompt's own commands, with their usage.
const LOCAL: [(&str, &str); 3] = [("pykv-cli", "<tool>"), ("timing", ""), ("exit", "")];

/// Returns the commands of the table, with their usage.
pub fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    help::commands().map(|command| (command.name, command.usage))
}

/// Returns the names that no command of the table has: those of the tools, and those of the prompt.
pub fn local() -> impl Iterator<Item = (&'static str, &'static str)> {
    let tools = TOOLS
        .into_iter()
        .filter(|(name, _)| help::is_only_tool(name));
    tools.chain(LOCAL)
}

/// Returns all names, with their usage.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    commands().chain(local())
}

/// Returns whether a name begins with what was typed, in any case.
pub fn begins_with(name: &str, typed: &str) -> bool {
    let head = name.get(..typed.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(typed))
}

/// Splits a usage into its arguments: `<key> [<key> ...]` has two.
pub fn arguments_of(usage: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = usage.split(|character| {
        match character {
            '[' | '<' => depth += 1,
            ']' | '>' => depth -= 1,
            _ => {}
        }
        character == ' ' && depth == 0
    });
    parts.filter(|part| !part.is_empty()).collect()
}
