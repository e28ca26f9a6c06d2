//! Completion with Tab: commands, options, keys and file names.
//!
//! In: a line and the place of the cursor. Out: the words that may stand there. Promise: values are never completed.

use std::sync::Arc;

use pykv::codec::key_text::key_bytes;
use pykv::command::Command;
use pykv::protocol::line::quote_key;
use rustyline::Context;
use rustyline::completion::{Completer as _, FilenameCompleter, Pair as Candidate};

use super::names::{all, begins_with, commands};
use super::words::words;
use crate::address::Address;
use crate::help;
use crate::known_keys::KnownKeys;
use crate::terminal::visible;

/// Completes the words of a line.
pub struct LineCompleter {
    files: FilenameCompleter,
    keys: Arc<KnownKeys>,
    address: Address,
}

impl LineCompleter {
    /// Returns a completer that knows these keys, and asks this server for more.
    pub fn new(address: Address, keys: Arc<KnownKeys>) -> Self {
        Self {
            files: FilenameCompleter::new(),
            keys,
            address,
        }
    }

    /// Returns the start of the word before the cursor, and its candidates.
    ///
    /// # Errors
    /// The folder of a file name cannot be read.
    pub fn complete(
        &self,
        line: &str,
        cursor: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Candidate>)> {
        let before: Vec<_> = words(&line[..cursor]).collect();
        let (typed, before) = match before.split_last() {
            Some((last, before)) if last.range.end == cursor => (last.text, before),
            _ => ("", &*before),
        };
        let verb = before.first().map(|word| word.text.to_ascii_lowercase());
        let candidates = match (verb.as_deref(), before.len()) {
            (None, _) => names(typed, all()),
            (Some("help"), 1) => names(typed, commands().map(|(name, _)| (name, ""))),
            (Some("import" | "export" | "diff"), _) => {
                return self.files.complete(line, cursor, context);
            }
            (Some(verb), place) => match help::command(verb) {
                Some(command) if command.completes_key_at(place - 1) => self.keys(typed),
                command => options(typed, command),
            },
        };
        Ok((cursor - typed.len(), candidates))
    }

    /// Returns keys as words of a line.
    fn keys(&self, typed: &str) -> Vec<Candidate> {
        // The closing quote is not typed yet.
        let prefix = match typed.strip_prefix('"') {
            Some(inside) => serde_json::from_str(&format!("\"{inside}\"")).unwrap_or_default(),
            None => typed.to_owned(),
        };
        let keys = self.keys.with_prefix(&prefix, &self.address).into_iter();
        keys.map(|key| Candidate {
            replacement: format!("{} ", safe_word(&key)),
            display: visible(&key, &[]).into_owned(),
        })
        .collect()
    }
}

/// Returns the options of a command: the words in capitals of its usage.
fn options(typed: &str, command: Option<&'static Command>) -> Vec<Candidate> {
    // With nothing typed, the next word is more likely a value.
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
    names(typed, options.into_iter().map(|option| (option, " ")))
}

/// Returns the names that begin with what was typed, with a blank behind those that have a usage.
fn names(typed: &str, names: impl Iterator<Item = (&'static str, &'static str)>) -> Vec<Candidate> {
    let names = names.filter(|(name, _)| begins_with(name, typed));
    names
        .map(|(name, usage)| Candidate {
            display: name.to_owned(),
            replacement: format!("{name}{}", if usage.is_empty() { "" } else { " " }),
        })
        .collect()
}

/// Returns a key, of which the text is given, as words of a line without control characters.
fn safe_word(key: &str) -> String {
    let key = key_bytes(key.into());
    let key = match std::str::from_utf8(&key) {
        Ok(text) if visible(text, &[]) != text => text,
        _ => return quote_key(&key).into_owned(),
    };
    let units = key.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_in_any_case() {
        let completed = |line: &str| -> Vec<String> {
            let history = rustyline::history::DefaultHistory::new();
            let nobody = "127.0.0.1:1".parse().expect("an address");
            let keys = Arc::new(KnownKeys::default());
            for key in ["store", "stock", "a b"] {
                keys.note(key);
            }
            let completer = LineCompleter::new(nobody, keys);
            let found = completer.complete(line, line.len(), &Context::new(&history));
            let (start, candidates) = found.expect("no file is looked for");
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
                "EVAL ",
                "EVALSHA ",
                "EVAL_RO ",
                "EVALSHA_RO ",
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
