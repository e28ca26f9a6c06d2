//! Colours of the line while it is typed: the command, and mistakes in red before it is sent.

use std::ops::Range;

use pykv::command::Command;

use super::names::{all, begins_with, local};
use super::words::{Word, words};
use crate::help;
use crate::style::{Kind, paint};

/// Returns a line in colours.
pub fn highlight(line: &str) -> String {
    let (mut out, mut end) = (String::new(), 0);
    for (part, kind) in coloured(line) {
        out += &line[end..part.start];
        out += &paint(&line[part.clone()], kind);
        end = part.end;
    }
    out + &line[end..]
}

/// Returns the parts of a line that have a colour, in their order, each with its kind.
fn coloured(line: &str) -> Vec<(Range<usize>, Kind)> {
    let mut typed = words(line);
    let Some(verb) = typed.next() else {
        return Vec::new();
    };
    let command = help::command(verb.text);
    let is_local = || local().any(|(name, _)| name.eq_ignore_ascii_case(verb.text));
    let is_begun =
        || verb.range.end == line.len() && all().any(|(name, _)| begins_with(name, verb.text));
    let is_known = command.is_some() || is_local() || is_begun();
    let kind = if is_known { Kind::Key } else { Kind::Error };
    let wrong = command.map_or_else(Vec::new, |command| mistakes(command, line, typed));
    let wrong = wrong.into_iter().map(|part| (part, Kind::Error));
    [(verb.range, kind)].into_iter().chain(wrong).collect()
}

/// Returns the parts of a line that are wrong: arguments that must be numbers and are not, and all that the command does not take.
fn mistakes<'l>(
    command: &Command,
    line: &str,
    arguments: impl Iterator<Item = Word<'l>>,
) -> Vec<Range<usize>> {
    let mut mistakes = Vec::new();
    for (place, word) in arguments.enumerate() {
        if command.rest_at == Some(place) {
            break;
        }
        if place == *command.arity.end() {
            mistakes.push(word.range.start..line.len());
            break;
        }
        // A sign may become a number while it is typed.
        let is_begun = word.range.end == line.len() && matches!(word.text, "-" | "+");
        let is_number = word.text.trim_matches('"').parse::<f64>().is_ok();
        if !word.is_open && !is_number && !is_begun && command.takes_number_at(place) {
            mistakes.push(word.range);
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_red_before_the_line_is_sent() {
        for (line, red) in [
            ("GET a", ""),
            ("ge", ""),
            ("GTE a", "GTE"),
            ("GET a b c", "b c"),
            ("GET \"a b\" c", "c"),
            ("PUT a b c d", ""),
            ("DEL a b c", ""),
            ("EXPIRE a soon", "soon"),
            ("EXPIRE a 5", ""),
            ("EXPIREAT a \"x y\"", "\"x y\""),
            ("INCRBY a -", ""),
            ("INCRBYFLOAT a 1.5e3", ""),
            ("GETRANGE a 0 end", "end"),
            ("CLIENT LIST", ""),
            ("export x", ""),
        ] {
            let mut parts = coloured(line).into_iter();
            let wrong = parts.find(|(_, kind)| *kind == Kind::Error);
            assert_eq!(wrong.map_or("", |(part, _)| &line[part]), red, "{line}");
            assert_eq!(console::strip_ansi_codes(&highlight(line)), line);
        }
    }
}
