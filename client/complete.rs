//! Completion and hints at the prompt, from the table of commands.
//!
//! In: what has been typed so far. Out: the names that it may become, and the arguments that are still to come.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use pykv::command::{COMMANDS, Command, Dialects};
use pykv::protocol::line::quote;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use crate::connection::Address;
use crate::help;
use crate::known_keys::KnownKeys;
use crate::render::visible;
use crate::style::{Kind, paint};

/// What the prompt knows by itself, beside the server's commands, and its arguments.
pub const LOCAL: [(&str, &str); 4] = [
    ("import", "<file>"),
    ("export", "<file>"),
    ("timing", ""),
    ("exit", ""),
];

/// Arguments that are numbers.
const NUMBERS: [&str; 12] = [
    "<seconds>",
    "<ms>",
    "<unix seconds>",
    "<unix ms>",
    "<number>",
    "<decimal>",
    "<first>",
    "<last>",
    "<place>",
    "<cursor>",
    "<revision>",
    "<replicas>",
];

/// Helps whoever types.
#[derive(Helper)]
pub struct Helping {
    files: FilenameCompleter,
    history: HistoryHinter,
    keys: Arc<KnownKeys>,
    address: Address,
}

impl Helping {
    /// It completes keys of this server, and the names of files as a shell does.
    pub fn new(address: Address, keys: Arc<KnownKeys>) -> Self {
        Self {
            files: FilenameCompleter::new(),
            history: HistoryHinter::new(),
            keys,
            address,
        }
    }

    /// The keys that what was typed of one may become, as words of a line.
    fn keys_beginning(&self, typed: &str) -> Vec<Pair> {
        // A word in quotes that are not closed yet.
        let prefix = match typed.strip_prefix('"') {
            Some(inside) => serde_json::from_str(&format!("\"{inside}\"")).unwrap_or_default(),
            None => typed.to_owned(),
        };
        let found = self.keys.beginning(&prefix, &self.address);
        found
            .into_iter()
            .map(|key| Pair {
                replacement: format!("{} ", harmless(&key)),
                display: visible(&key, &[]).unwrap_or_default(),
            })
            .collect()
    }
}

impl Validator for Helping {
    /// JSON goes on over as many lines as it takes.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_unfinished(context.input()) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

/// A JSON object or array that is the value of a request: where it begins, and where it ends if it is closed.
pub struct JsonValue {
    pub start: usize,
    pub end: Option<usize>,
}

/// Whether a request ends in a JSON object or array that is not closed yet.
pub fn is_unfinished(request: &str) -> bool {
    json_value(request).is_some_and(|value| value.end.is_none())
}

/// The value of a request, if it is one that takes a value, and that begins as a JSON object or array does.
pub fn json_value(request: &str) -> Option<JsonValue> {
    let verb = request.split_whitespace().next()?;
    let usage = usage_parts(help::command(verb)?.usage);
    let place = usage.iter().position(|part| *part == "<value>")?;
    let mut at = request.find(verb)? + verb.len();
    for _ in 0..place {
        let rest = request[at..].trim_start_matches([' ', '\t']);
        let end = if rest.starts_with('"') {
            string_end(rest)?
        } else {
            0
        };
        at = request.len() - rest.len() + end + rest[end..].find([' ', '\t'])?;
    }
    let rest = request[at..].trim_start_matches([' ', '\t']);
    let start = request.len() - rest.len();
    if !rest.starts_with(['{', '[']) {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0_i32, false, false);
    for (place, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let end = Some(start + place + 1);
            return Some(JsonValue { start, end });
        }
    }
    Some(JsonValue { start, end: None })
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
            (start, Expected::Key) => (start, self.keys_beginning(&line[start..pos])),
            (start, Expected::Data(command)) => {
                (start, options_beginning(&line[start..pos], command))
            }
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
    /// A key, or a prefix of some.
    Key,
    /// Values are the user's own; options are the command's.
    Data(Option<&'static Command>),
}

/// Where the word before the cursor begins, and what it may be.
fn word_at(line: &str, pos: usize) -> (usize, Expected) {
    let typed = &line[..pos];
    let start = typed.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
    let mut before = typed[..start].split_ascii_whitespace();
    let verb = before.next().map(str::to_ascii_lowercase);
    let place = before.count();
    let expected = match verb.as_deref() {
        None => Expected::Command,
        Some("help") if place == 0 => Expected::Topic,
        Some("import" | "export") => Expected::File,
        Some(verb) if takes_key(verb, place) => Expected::Key,
        Some(verb) => Expected::Data(help::command(verb)),
    };
    (start, expected)
}

/// The options of a command that begin with what was typed, in any case: the words of its usage that stand in capitals.
fn options_beginning(typed: &str, command: Option<&'static Command>) -> Vec<Pair> {
    // With nothing typed, whatever comes next is more likely to be a value.
    if typed.is_empty() {
        return Vec::new();
    }
    let usage = command.map_or("", |command| command.usage);
    let words = usage.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    let mut options: Vec<&'static str> = words
        .filter(|word| word.len() > 1 && word.chars().any(|letter| letter.is_ascii_uppercase()))
        .filter(|word| !word.chars().any(|letter| letter.is_ascii_lowercase()))
        .collect();
    options.dedup();
    starting_with(typed, options.into_iter().map(|option| (option, "")))
        .into_iter()
        .map(|pair| Pair {
            replacement: format!("{} ", pair.replacement),
            ..pair
        })
        .collect()
}

/// A key as a word of a line that does a terminal no harm.
fn harmless(key: &str) -> String {
    if visible(key, &[]).is_ok_and(|shown| shown == key) {
        return quote(key).into_owned();
    }
    let units = key.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

/// Whether a command's argument at this place is a key, or what keys begin with.
fn takes_key(verb: &str, place: usize) -> bool {
    help::command(verb).is_some_and(|command| command.completes_key_at(place))
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

/// What may come next.
pub enum Suggestion {
    /// The arguments to come. They are shown and never inserted: they are names, not data.
    Arguments(String),
    /// The rest of a line that was typed before; the arrow to the right takes it.
    Typed(String),
}

impl Hint for Suggestion {
    fn display(&self) -> &str {
        match self {
            Self::Arguments(text) | Self::Typed(text) => text,
        }
    }

    fn completion(&self) -> Option<&str> {
        match self {
            Self::Arguments(_) => None,
            Self::Typed(text) => Some(text),
        }
    }
}

impl Hinter for Helping {
    type Hint = Suggestion;

    fn hint(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Option<Suggestion> {
        if pos < line.len() {
            return None;
        }
        let arguments = arguments_to_come(line);
        // Somebody who has begun to say which key is more likely to want what was typed before.
        let is_fresh = line.ends_with([' ', '\t']) || !line.contains([' ', '\t']);
        let before = if is_fresh && arguments.is_some() || line.trim().is_empty() {
            None
        } else {
            self.history.hint(line, pos, ctx)
        };
        match before {
            Some(typed) => Some(Suggestion::Typed(typed)),
            None => arguments.map(Suggestion::Arguments),
        }
    }
}

impl Highlighter for Helping {
    fn highlight<'l>(&self, line: &'l str, _pos: usize) -> Cow<'l, str> {
        highlighted(line).into()
    }

    fn highlight_char(&self, _line: &str, _pos: usize, _kind: CmdKind) -> bool {
        true
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        paint(hint, Kind::Quiet).into()
    }
}

/// A line in colours: its command, red if there is none of that name, and red from the first argument that it does not take.
fn highlighted(line: &str) -> String {
    let start = line.len() - line.trim_start().len();
    let end = line[start..]
        .find([' ', '\t'])
        .map_or(line.len(), |blank| start + blank);
    let (verb, arguments) = (&line[start..end], &line[end..]);
    let is_local = LOCAL
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(verb));
    let command = help::command(verb);
    let is_begun = end == line.len()
        && commands().chain(LOCAL).any(|(name, _)| {
            name.get(..verb.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(verb))
        });
    let kind = if command.is_some() || is_local || is_begun {
        Kind::Key
    } else {
        Kind::Fault
    };
    let shown = format!("{}{}", &line[..start], paint(verb, kind));
    let mut end = 0;
    let mut shown = shown;
    for wrong in command.map_or_else(Vec::new, |command| wrong_in(command, arguments)) {
        shown += &arguments[end..wrong.start];
        shown += &paint(&arguments[wrong.clone()], Kind::Fault);
        end = wrong.end;
    }
    shown + &arguments[end..]
}

/// Where the arguments of a command are wrong: one that has to be a number and is none, and all that it does not take.
fn wrong_in(command: &Command, arguments: &str) -> Vec<Range<usize>> {
    let mut wrong = Vec::new();
    let parts = usage_parts(command.usage);
    let has_subcommands = parts.contains(&"|");
    let (mut at, mut count) = (0, 0);
    loop {
        let rest = arguments[at..].trim_start_matches([' ', '\t']);
        let begin = arguments.len() - rest.len();
        if rest.is_empty() || command.rest_at == Some(count) {
            return wrong;
        }
        if count == *command.arity.end() {
            wrong.push(begin..arguments.len());
            return wrong;
        }
        let end = if rest.starts_with('"') {
            let Some(end) = string_end(rest) else {
                return wrong;
            };
            end
        } else {
            0
        };
        at = begin + end + rest[end..].find([' ', '\t']).unwrap_or(rest.len() - end);
        let is_number =
            !has_subcommands && parts.get(count).is_some_and(|part| NUMBERS.contains(part));
        // What is still being typed may become one.
        let word = &arguments[begin..at];
        let is_begun = at == arguments.len() && matches!(word, "-" | "+");
        if is_number && !is_begun && word.trim_matches('"').parse::<f64>().is_err() {
            wrong.push(begin..at);
        }
        count += 1;
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
            b'[' | b'<' => depth += 1,
            b']' | b'>' => depth -= 1,
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
    fn what_is_wrong_is_red_before_it_is_sent() {
        console::set_colors_enabled(true);
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
            let shown = highlighted(line);
            let found = shown.split("\x1b[31m").nth(1).unwrap_or_default();
            let found = found.split("\x1b[0m").next().unwrap_or_default();
            assert_eq!(found, red, "{line}");
            assert_eq!(console::strip_ansi_codes(&shown), line);
        }
        console::set_colors_enabled(false);
    }

    #[test]
    fn json_goes_on_over_lines_until_it_is_closed() {
        for (request, unfinished) in [
            ("PUT a {", true),
            ("PUT a {\n\"b\": [1,\n2]", true),
            ("PUT a {\n\"b\": \"}\"\n}", false),
            ("SET a [1, 2", true),
            ("PUT a b", false),
            ("PUT a{ b", false),
            ("GET {", false),
            ("PUT a \"{\"", false),
            ("PUT [a b", false),
            ("PUT note see {this", false),
            ("PUT user:{1} {", true),
            ("PUT \"a {\" [", true),
            ("SET a {\n} EX 5", false),
        ] {
            assert_eq!(is_unfinished(request), unfinished, "{request}");
        }
    }

    #[test]
    fn names_are_completed_in_any_case() {
        let completed = |line: &str| -> Vec<String> {
            let history = rustyline::history::DefaultHistory::new();
            let nobody = "127.0.0.1:1".parse().expect("an address");
            let keys = Arc::new(KnownKeys::default());
            for key in ["store", "stock", "a b"] {
                keys.note(key);
            }
            let helping = Helping::new(nobody, keys);
            let completed = helping.complete(line, line.len(), &Context::new(&history));
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
        assert_eq!(completed("GET st"), ["GET stock ", "GET store "]);
        assert_eq!(
            completed("MSET a 1 sto"),
            ["MSET a 1 stock ", "MSET a 1 store "]
        );
        assert_eq!(completed("DEL \"a"), ["DEL \"a b\" "]);
        assert_eq!(completed("PUT a st"), Vec::<String>::new());
        assert_eq!(completed("SET a 1 k"), ["SET a 1 KEEPTTL "]);
        assert_eq!(completed("SET a 1 EX 5 n"), ["SET a 1 EX 5 NX "]);
        assert_eq!(completed("DELPREFIX a d"), ["DELPREFIX a DRYRUN "]);
        assert_eq!(completed("é"), Vec::<String>::new());
    }
}
