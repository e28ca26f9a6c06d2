//! Completion and hints at the prompt, from the table of commands.
//!
//! In: what has been typed so far. Out: the names that it may become, and the arguments that are still to come.

use std::borrow::Cow;

use pykv::command::{COMMANDS, Dialects};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::{Context, Helper, Validator};

/// What the prompt knows by itself, beside the server's commands, and its arguments.
pub const LOCAL: [(&str, &str); 3] = [("import", "<file>"), ("export", "<file>"), ("exit", "")];

/// Helps whoever types.
#[derive(Helper, Validator)]
pub struct Helping {
    files: FilenameCompleter,
}

impl Helping {
    /// It completes the names of files as a shell does.
    pub fn new() -> Self {
        Self {
            files: FilenameCompleter::new(),
        }
    }
}

impl Completer for Helping {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, candidates) = match word_at(line, pos) {
            (start, Expected::Command) => (
                start,
                starting_with(&line[start..pos], commands().chain(LOCAL)),
            ),
            (start, Expected::Topic) => (
                start,
                starting_with(&line[start..pos], commands().map(|(name, _)| (name, ""))),
            ),
            (_, Expected::File) => return self.files.complete(line, pos, ctx),
            (start, Expected::Data) => (start, Vec::new()),
        };
        Ok((start, candidates))
    }
}

/// What a word may be.
enum Expected {
    Command,
    /// A command to be explained.
    Topic,
    File,
    /// Keys and values are the user's own.
    Data,
}

/// Where the word before the cursor begins, and what it may be.
fn word_at(line: &str, pos: usize) -> (usize, Expected) {
    let typed = &line[..pos];
    let start = typed.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
    let mut before = typed[..start]
        .split_ascii_whitespace()
        .map(str::to_ascii_lowercase);
    let expected = match (before.next().as_deref(), before.next()) {
        (None, _) => Expected::Command,
        (Some("help"), None) => Expected::Topic,
        (Some("import" | "export"), _) => Expected::File,
        _ => Expected::Data,
    };
    (start, expected)
}

fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    COMMANDS
        .iter()
        .filter(|command| command.dialects != Dialects::Resp)
        .map(|command| (command.name, command.usage))
}

/// The names that begin with what was typed, in any case, each with a blank behind it if arguments may follow.
fn starting_with(
    typed: &str,
    names: impl Iterator<Item = (&'static str, &'static str)>,
) -> Vec<Pair> {
    let begins = |name: &str| {
        name.get(..typed.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(typed))
    };
    names
        .filter(|(name, _)| begins(name))
        .map(|(name, usage)| {
            let blank = if usage.is_empty() { "" } else { " " };
            Pair {
                display: name.to_owned(),
                replacement: format!("{name}{blank}"),
            }
        })
        .collect()
}

/// The arguments to come. They are shown and never inserted: they are names, not data.
pub struct Arguments(String);

impl Hint for Arguments {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Helping {
    type Hint = Arguments;

    fn hint(&self, line: &str, pos: usize, _ctx: &Context<'_>) -> Option<Arguments> {
        if pos < line.len() {
            None
        } else {
            arguments_to_come(line).map(Arguments)
        }
    }
}

impl Highlighter for Helping {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

/// What is still to be typed, as the table has it.
fn arguments_to_come(line: &str) -> Option<String> {
    let typed = line.trim_start();
    let (verb, arguments) = typed.split_at(typed.find([' ', '\t']).unwrap_or(typed.len()));
    let (_, usage) = commands()
        .chain(LOCAL)
        .find(|(name, _)| name.eq_ignore_ascii_case(verb))?;
    let usage = usage_parts(usage);
    let begun = words_begun(arguments)?;
    let to_come = match usage.last() {
        // `[<key> ...]` may be repeated for ever.
        Some(last) if begun >= usage.len() && last.ends_with("...]") => &usage[usage.len() - 1..],
        _ => usage.get(begun..).filter(|to_come| !to_come.is_empty())?,
    };
    let blank = if line.ends_with([' ', '\t']) { "" } else { " " };
    Some(format!("{blank}{}", to_come.join(" ")))
}

/// `<key> [<key> ...]` in its two parts.
fn usage_parts(usage: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (at, byte) in usage.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b' ' if depth == 0 => {
                parts.push(&usage[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&usage[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// How many words there are, a JSON string being one; `None` inside a string, where anything may follow.
fn words_begun(mut arguments: &str) -> Option<usize> {
    let mut count = 0;
    loop {
        arguments = arguments.trim_start_matches([' ', '\t']);
        if arguments.is_empty() {
            return Some(count);
        }
        count += 1;
        let end = if arguments.starts_with('"') {
            string_end(arguments)?
        } else {
            0
        };
        let rest = &arguments[end..];
        arguments = &rest[rest.find([' ', '\t']).unwrap_or(rest.len())..];
    }
}

/// The byte behind the JSON string that text begins with.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_still_to_come_are_hinted() {
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
            assert_eq!(arguments_to_come(line).as_deref(), hint, "{line:?}");
        }
    }

    #[test]
    fn names_are_completed_in_any_case() {
        let completed = |line: &str| -> Vec<String> {
            let history = rustyline::history::DefaultHistory::new();
            let completed = Helping::new().complete(line, line.len(), &Context::new(&history));
            let (start, candidates) = completed.expect("no file is looked for");
            candidates
                .iter()
                .map(|candidate| format!("{}{}", &line[..start], candidate.replacement))
                .collect()
        };
        assert_eq!(
            completed("pu"),
            ["PUT ", "PUNSUBSCRIBE ", "PUBLISH ", "PUBSUB "]
        );
        assert_eq!(
            completed("E"),
            [
                "EXISTS ",
                "EXPIRE ",
                "EXPIREAT ",
                "EXPIRETIME ",
                "EXEC",
                "ECHO ",
                "export ",
                "exit"
            ]
        );
        assert_eq!(completed("help sta"), ["help STATS"]);
        assert_eq!(completed("GET st"), Vec::<String>::new());
        assert_eq!(completed("é"), Vec::<String>::new());
    }
}
