//! The client's view of the command table: the commands of the line dialect, HELP without a server, and the nearest name of a typo.
//!
//! In: the name of a command, or nothing. Out: its row of the table, or the lines of a HELP reply.

use pykv::command::{COMMANDS, Command, Dialects};
use pykv::protocol::Dialect;

use crate::reply::Line;

/// The edits by which a typo may differ from the name that was meant: of short words, and of long ones.
const DISTANCES_MAX: [usize; 2] = [1, 2];
/// The characters from which on a word is long.
const LONG: usize = 8;

/// Returns the commands of the line dialect.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    let all = COMMANDS.iter().copied();
    all.filter(|command| command.dialects != Dialects::Resp)
}

/// Returns the command of a name, in any case.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.find(name.as_bytes(), Dialect::Line)
}

/// Returns the reply to HELP for all commands, or for one.
pub fn lines(topic: Option<&str>) -> Vec<Line> {
    let line = |command: &Command| Line::Help(command.synopsis(), command.summary.to_owned());
    let mut lines: Vec<Line> = match topic {
        None => commands().map(line).collect(),
        Some(topic) => command(topic).map(line).into_iter().collect(),
    };
    lines.push(match topic {
        Some(topic) if lines.is_empty() => {
            let message = format!("there is no command '{topic}'; HELP lists them");
            Line::Error("UNKNOWN".to_owned(), message)
        }
        _ => Line::End(lines.len() as u64),
    });
    lines
}

/// Returns the name of a command that a typo may stand for.
pub fn nearest(typed: &str) -> Option<&'static str> {
    let typed = typed.to_ascii_uppercase();
    let names = commands().map(|command| command.name);
    let (distance, name) = names
        .map(|name| (strsim::damerau_levenshtein(&typed, name), name))
        .min_by_key(|(distance, _)| *distance)?;
    let is_long = typed.chars().count() >= LONG;
    (1..=DISTANCES_MAX[usize::from(is_long)])
        .contains(&distance)
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_nearest_name_and_nonsense_finds_none() {
        for (typed, name) in [
            ("GTE", Some("GET")),
            ("ge", Some("GET")),
            ("delprefx", Some("DELPREFIX")),
            ("EXPIER", Some("EXPIRE")),
            ("NOSUCH", None),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed), name, "{typed}");
        }
    }

    #[test]
    fn every_command_has_an_example_that_begins_with_its_name() {
        for command in commands() {
            let verb = command.example.split(' ').next();
            assert_eq!(verb, Some(command.name));
        }
    }
}
