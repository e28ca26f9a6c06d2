//! CONFIG: the settings under Redis's names.
//!
//! In: names and patterns. Out: values. Promise: a value takes effect at once; a setting that cannot be set is refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{MutexGuard, PoisonError};

use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::glob::Pattern;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::{ANY, Access, Flag, Subcommand};
use crate::command::subcommands::other_subcommand;
use crate::config::{
    Parameter, SETTINGS, Setting, Setup, Shown, Values, WITHOUT_EFFECT, byte_count,
};
use crate::protocol::resp::whole_number;
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[Row::admin(
    "CONFIG",
    "GET <pattern> [<pattern> ...] | SET <name> <value> [<name> <value> ...] | \
     RESETSTAT | REWRITE",
    1..=ANY,
    config,
)
.subcommands(&SUBCOMMANDS)
.flags(&[Flag::LoadingOk])
.example("CONFIG SET slowlog-max-len 128")
.summary("Show settings under Redis's names, and change some.")];

const SUBCOMMANDS: [Subcommand; 5] = [
    Subcommand::new(
        "GET",
        Access::Admin,
        "Show the settings whose names match a pattern.",
    ),
    Subcommand::new(
        "SET",
        Access::Admin,
        "Change settings, all or none of them.",
    ),
    Subcommand::new(
        "RESETSTAT",
        Access::Admin,
        "Let the counters of INFO and STATS begin at 0.",
    ),
    Subcommand::new(
        "REWRITE",
        Access::Admin,
        "Known to Redis clients; refused, as a person writes the configuration file.",
    ),
    Subcommand::HELP,
];

fn config(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"GET", patterns @ [_, ..]) => get(call, patterns),
        (b"SET", pairs @ [_, _, ..]) if pairs.len() % 2 == 0 => set(call, pairs),
        (b"RESETSTAT", []) => {
            // Add the counters of this batch first, so that this request is not counted after the reset.
            call.service.stats.add(call.tally);
            call.service.reset_counts();
            call.done(Reply::Ok)
        }
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

/// What CONFIG knows under a name.
enum Known {
    Setting(&'static Setting, &'static Shown),
    WithoutEffect(&'static Parameter),
}

/// A checked change of CONFIG SET.
enum Change<'a> {
    Number(&'a AtomicI64, i64),
    Written(fn(&Setup, u64), u64),
    WithoutEffect(&'static str, String),
    /// The value is in force, or ignored.
    None,
}

impl Known {
    fn text(&self, setup: &Setup) -> String {
        match self {
            Self::Setting(setting, shown) => shown.text(setting, setup),
            Self::WithoutEffect(parameter) => {
                let set = without_effect(setup);
                let value = set.get(parameter.name).cloned();
                value.unwrap_or_else(|| parameter.default.to_owned())
            }
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// The reason for which it cannot be set.
    fn check<'a>(&self, setup: &'a Setup, value: &[u8]) -> Result<Change<'a>, String> {
        let text = String::from_utf8_lossy(value);
        let (setting, shown) = match self {
            Self::WithoutEffect(parameter) => {
                let value = parameter.parse(&text)?;
                return Ok(Change::WithoutEffect(parameter.name, value));
            }
            Self::Setting(setting, shown) => (setting, shown),
        };
        match (shown, &setting.values) {
            (Shown::Settable(at), Values::Number(limits)) => {
                let value = whole_number(value).filter(|value| limits.contains(value));
                let value = value.ok_or("argument couldn't be parsed into an integer")?;
                Ok(Change::Number(at(setup), value))
            }
            (Shown::Written { parse, store, .. }, _) => {
                Ok(Change::Written(*store, parse(setup, &text)?))
            }
            (Shown::Ignored(_), _) if is_list_of_pairs(&text) => Ok(Change::None),
            (Shown::Ignored(_), _) => Err("Invalid save parameters".to_owned()),
            _ if is_same(&shown.text(setting, setup), &text) => Ok(Change::None),
            _ => Err(match (&setting.flag, &setting.values) {
                (Some(_), _) => format!(
                    "can't set immutable config; --{} sets it when the server starts",
                    setting.name
                ),
                (None, _) => format!(
                    "can't set immutable config; here it is always '{}'",
                    shown.text(setting, setup)
                ),
            }),
        }
    }
}

fn without_effect(setup: &Setup) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
    let set = setup.without_effect.lock();
    set.unwrap_or_else(PoisonError::into_inner)
}

/// Returns true for numbers in pairs, as `save` has them, or none.
fn is_list_of_pairs(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.len().is_multiple_of(2) && words.iter().all(|word| word.parse::<u32>().is_ok())
}

/// Returns true if both are the same text, in any case, or the same number of bytes.
fn is_same(one: &str, other: &str) -> bool {
    let bytes = byte_count(one);
    one.eq_ignore_ascii_case(other) || (bytes.is_some() && bytes == byte_count(other))
}

/// Returns every name of CONFIG, in alphabetical order.
fn names() -> BTreeMap<&'static str, Known> {
    let settings = SETTINGS.iter().flat_map(|setting| {
        let names = setting.config.iter();
        names.map(move |(name, shown)| (*name, Known::Setting(setting, shown)))
    });
    let others = WITHOUT_EFFECT.iter();
    let others = others.map(|parameter| (parameter.name, Known::WithoutEffect(parameter)));
    settings.chain(others).collect()
}

fn get(call: &mut Call<'_, '_>, patterns: &Arguments<'_>) -> Answer {
    let lower = patterns.iter().map(|pattern| pattern.to_ascii_lowercase());
    let patterns = lower.map(|pattern| Pattern::parse(&pattern));
    let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>()?;
    let mut found = names();
    found.retain(|name, _| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(name.as_bytes()))
    });
    call.replies.reply(Reply::Map(found.len()));
    for (name, known) in found {
        let value = known.text(&call.service.setup);
        call.replies.reply(Reply::Value(name.as_bytes()));
        call.replies.reply(Reply::Value(value.as_bytes()));
    }
    Ok(Outcome::Done)
}

fn set(call: &mut Call<'_, '_>, pairs: &Arguments<'_>) -> Answer {
    let (known, setup) = (names(), &call.service.setup);
    let mut changes = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let asked = String::from_utf8_lossy(&pair[0]);
        let name = asked.to_lowercase();
        let mut earlier = pairs.chunks_exact(2).take(changes.len());
        if earlier.any(|pair| pair[0].eq_ignore_ascii_case(name.as_bytes())) {
            return Err(failed(&name, "duplicate parameter"));
        }
        let Some(known) = known.get(&*name) else {
            return Err(bad_argument(format!(
                "Unknown option or number of arguments for CONFIG SET - '{asked}'"
            )));
        };
        let change = known.check(setup, &pair[1]);
        changes.push(change.map_err(|reason| failed(&name, &reason))?);
    }
    // Only after all have been checked, so that all take effect or none.
    for change in changes {
        match change {
            Change::Number(place, value) => place.store(value, Relaxed),
            Change::Written(store, value) => store(setup, value),
            Change::WithoutEffect(name, value) => {
                without_effect(setup).insert(name, value);
            }
            Change::None => {}
        }
    }
    call.service.notices.tracking.drop_excess();
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
