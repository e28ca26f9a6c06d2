//! Hints behind the cursor: the arguments that are still missing, or the rest of an earlier line.

use rustyline::Context;
use rustyline::hint::{Hint, Hinter as _, HistoryHinter};

use super::names::{all, arguments_of};
use super::words::words;

/// A hint.
pub enum Suggestion {
    /// The missing arguments. They are never inserted: they are names, not data.
    Arguments(String),
    /// The rest of an earlier line, which the right arrow key inserts.
    Line(String),
}

impl Hint for Suggestion {
    fn display(&self) -> &str {
        match self {
            Self::Arguments(text) | Self::Line(text) => text,
        }
    }

    fn completion(&self) -> Option<&str> {
        match self {
            Self::Arguments(_) => None,
            Self::Line(text) => Some(text),
        }
    }
}

/// Returns the hint for a line with the cursor at its end.
pub fn hint(line: &str, history: &HistoryHinter, context: &Context<'_>) -> Option<Suggestion> {
    let arguments = missing_arguments(line);
    // In the middle of an argument, an earlier line is more useful.
    let is_between_words = line.ends_with([' ', '\t']) || !line.contains([' ', '\t']);
    let earlier = if is_between_words && arguments.is_some() || line.trim().is_empty() {
        None
    } else {
        history.hint(line, line.len(), context)
    };
    let arguments = arguments.map(Suggestion::Arguments);
    earlier.map(Suggestion::Line).or(arguments)
}

/// Returns the missing arguments, as the usage of the command has them.
fn missing_arguments(line: &str) -> Option<String> {
    let typed: Vec<_> = words(line).collect();
    let (verb, given) = typed.split_first()?;
    if typed.iter().any(|word| word.is_open) {
        return None;
    }
    let mut names = all();
    let (_, usage) = names.find(|(name, _)| name.eq_ignore_ascii_case(verb.text))?;
    let arguments = arguments_of(usage);
    let missing = match arguments.split_last() {
        // `[<key> ...]` may be repeated.
        Some((last, before)) if last.ends_with("...]") => {
            &arguments[given.len().min(before.len())..]
        }
        _ => arguments.get(given.len()..)?,
    };
    let blank = if line.ends_with([' ', '\t']) { "" } else { " " };
    (!missing.is_empty()).then(|| format!("{blank}{}", missing.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_arguments_are_hinted() {
        for (line, hint) in [
            ("PUT", Some(" <key> <value>")),
            ("put ", Some("<key> <value>")),
            ("PUT a", Some(" <value>")),
            ("PUT \"a b\" ", Some("<value>")),
            ("PUT \"a b", None),
            ("PUT a b", None),
            ("PUT a b c", None),
            ("DEL ", Some("<key> [<key> ...]")),
            ("DEL a ", Some("[<key> ...]")),
            ("DEL a b c ", Some("[<key> ...]")),
            ("STATS ", None),
            ("import ", Some("<file>")),
            ("PU", None),
            ("", None),
        ] {
            assert_eq!(missing_arguments(line).as_deref(), hint, "{line:?}");
        }
    }
}
