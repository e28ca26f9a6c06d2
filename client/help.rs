//! HELP: the commands, from the client's own table, so that no server is needed; and what somebody may have meant.
//!
//! In: the name of a command, or nothing. Out: the lines that a server answers, and an example. Promise: what is told is the table's.

use pykv::command::{COMMANDS, Command, Dialects};

use crate::reply::Line;

/// Short words that are further apart than this are not meant for each other, and long ones.
const DISTANCES_MAX: [usize; 2] = [1, 2];
/// A word is long from so many characters on.
const LONG: usize = 8;

/// Those that can be typed.
fn commands() -> impl Iterator<Item = &'static Command> {
    let all = COMMANDS.iter().copied();
    all.filter(|command| command.dialects != Dialects::Resp)
}

/// The command of this name, in any case.
pub fn command(name: &str) -> Option<&'static Command> {
    commands().find(|command| command.name.eq_ignore_ascii_case(name))
}

/// What HELP answers, of all commands or of one.
pub fn lines(topic: Option<&str>) -> Vec<Line> {
    let of = |command: &Command| Line::Help(command.synopsis(), command.summary.to_owned());
    let lines: Vec<Line> = match topic {
        None => commands().map(of).collect(),
        Some(topic) => command(topic).map(of).into_iter().collect(),
    };
    let count = lines.len() as u64;
    let all = lines.into_iter();
    match topic {
        Some(topic) if count == 0 => vec![unknown(topic)],
        _ => all.chain([Line::End(count)]).collect(),
    }
}

fn unknown(topic: &str) -> Line {
    let message = format!("there is no command '{topic}'; HELP lists them");
    Line::Error("UNKNOWN".to_owned(), message)
}

/// The command that somebody may have meant who typed this.
pub fn meant(typed: &str) -> Option<&'static str> {
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
    fn a_slip_is_told_what_it_may_have_meant_and_nonsense_is_not() {
        for (typed, name) in [
            ("GTE", Some("GET")),
            ("ge", Some("GET")),
            ("delprefx", Some("DELPREFIX")),
            ("EXPIER", Some("EXPIRE")),
            ("NOSUCH", None),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(meant(typed), name, "{typed}");
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
