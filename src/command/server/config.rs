//! CONFIG: the settings under Redis's names.
//!
//! In: names and patterns. Out: values. Promise: a value takes effect at once; a setting that cannot be set is refused.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::glob::Pattern;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::{ANY, Access, Flag, Subcommand};
use crate::command::subcommands::other_subcommand;
use crate::config::{SETTINGS, Setting, Shown, Values};
use crate::protocol::resp::whole_number;
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[Row::admin(
    "CONFIG",
    "GET <pattern> [<pattern> ...] | SET <name> <value> [<name> <value> ...] | \
     RESETSTAT | REWRITE",
    1..=ANY,
    config,
)
.subcommands(&Subcommand::all(
    Access::Admin,
    ["GET", "SET", "RESETSTAT", "REWRITE"],
))
.flags(&[Flag::LoadingOk])
.example("CONFIG SET slowlog-max-len 128")
.summary("Show settings under Redis's names, and change some.")];

fn config(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"GET", patterns @ [_, ..]) => get(call, patterns),
        (b"SET", pairs @ [_, _, ..]) if pairs.len() % 2 == 0 => set(call, pairs),
        (b"RESETSTAT", []) => Err(bad_argument(
            "the counters cannot be reset; they begin when the server starts",
        )),
        (b"REWRITE", []) => Err(rewrite(call)),
        (b"SET", [_, _, ..]) => Err(call.syntax_error()),
        _ => other_subcommand(call, words),
    }
}

/// Returns the refusal of REWRITE: a person writes the configuration file, with comments.
fn rewrite(call: &Call<'_, '_>) -> ErrorReply {
    let config = &call.service.setup.config;
    match config.file() {
        Some(path) => bad_argument(format!(
            "the server does not write {}: edit it",
            path.display()
        )),
        None => bad_argument("The server is running without a config file"),
    }
}

/// Returns every name of CONFIG, with its setting and its value, in alphabetical order.
fn names() -> Vec<(&'static str, &'static Setting, &'static Shown)> {
    let names = SETTINGS.iter().flat_map(|setting| {
        let names = setting.config.iter();
        names.map(move |(name, shown)| (*name, setting, shown))
    });
    let mut names: Vec<_> = names.collect();
    names.sort_unstable_by_key(|(name, ..)| *name);
    names
}

fn get(call: &mut Call<'_, '_>, patterns: &Arguments<'_>) -> Answer {
    let lower = patterns.iter().map(|pattern| pattern.to_ascii_lowercase());
    let patterns = lower.map(|pattern| Pattern::parse(&pattern));
    let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>()?;
    let mut found = names();
    found.retain(|(name, ..)| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(name.as_bytes()))
    });
    call.replies.reply(Reply::Map(found.len()));
    for (name, setting, shown) in found {
        let value = shown.text(setting, &call.service.setup);
        call.replies.reply(Reply::Value(name.as_bytes()));
        call.replies.reply(Reply::Value(value.as_bytes()));
    }
    Ok(Outcome::Done)
}

fn set(call: &mut Call<'_, '_>, pairs: &Arguments<'_>) -> Answer {
    let known = names();
    let mut changes = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let asked = String::from_utf8_lossy(&pair[0]);
        let name = asked.to_lowercase();
        let Some((_, setting, shown)) = known.iter().find(|(known, ..)| *known == name) else {
            return Err(bad_argument(format!(
                "Unknown option or number of arguments for CONFIG SET - '{asked}'"
            )));
        };
        let (Shown::Settable(at), Values::Number(limits)) = (shown, &setting.values) else {
            return Err(failed(&name, "can't set immutable config"));
        };
        let value = whole_number(&pair[1]).filter(|value| limits.contains(value));
        let value =
            value.ok_or_else(|| failed(&name, "argument couldn't be parsed into an integer"))?;
        changes.push((at(&call.service.setup), value));
    }
    // Only after all have been checked, so that all take effect or none.
    for (place, value) in changes {
        place.store(value, Relaxed);
    }
    let names: Vec<_> = pairs
        .chunks_exact(2)
        .map(|pair| String::from_utf8_lossy(&pair[0]))
        .collect();
    audit::called(call, &format!("SET {}", names.join(" ")));
    call.done(Reply::Ok)
}

fn failed(name: &str, reason: &str) -> ErrorReply {
    bad_argument(format!(
        "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    ))
}
