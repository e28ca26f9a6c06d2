//! CONFIG: what the server was started with, under Redis's names; and the little that can be set while it runs.
//!
//! In: names and patterns. Out: values. Promise: what is set holds from then on; what cannot be set is refused, not ignored.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::glob::Pattern;
use crate::command::refusals::bad_argument;
use crate::command::service::Service;
use crate::command::spec::{ANY, Command, Flag};
use crate::command::subcommands::other_subcommand;
use crate::model::VALUE_BYTES_MAX;
use crate::persistence::Durability;
use crate::protocol::Reply;
use crate::protocol::resp::whole_number;

pub(in crate::command) const ROWS: &[Command] = &[Command::admin(
    "CONFIG",
    "GET <pattern> [<pattern> ...] | SET <name> <value> [<name> <value> ...] | RESETSTAT | REWRITE",
    1..=ANY,
    config,
)
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
        (b"REWRITE", []) => Err(bad_argument("The server is running without a config file")),
        (b"SET", [_, _, ..]) => Err(call.syntax_error()),
        _ => other_subcommand(call, words, &["GET", "SET", "RESETSTAT", "REWRITE"]),
    }
}

/// All settings, by Redis's names.
fn settings(service: &Service) -> Vec<(&'static str, String)> {
    let setup = &service.setup;
    let (sync, is_kept) = match setup.durability {
        Durability::EverySecond => ("everysec", true),
        Durability::Always => ("always", true),
        Durability::Off => ("no", false),
    };
    let slowlog = &service.slowlog;
    vec![
        ("appendfsync", sync.to_owned()),
        ("appendonly", if is_kept { "yes" } else { "no" }.to_owned()),
        ("bind", setup.address.ip().to_string()),
        ("databases", "1".to_owned()),
        ("dir", setup.data.display().to_string()),
        ("maxclients", setup.connections_max.to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("port", setup.address.port().to_string()),
        ("proto-max-bulk-len", VALUE_BYTES_MAX.to_string()),
        ("save", format!("{} 1", setup.save_interval_seconds)),
        (
            "slowlog-log-slower-than",
            slowlog.threshold_us.load(Relaxed).to_string(),
        ),
        ("slowlog-max-len", slowlog.len_max.load(Relaxed).to_string()),
        ("timeout", "0".to_owned()),
    ]
}

fn get(call: &mut Call<'_, '_>, patterns: &Arguments<'_>) -> Answer {
    let lower = patterns.iter().map(|pattern| pattern.to_ascii_lowercase());
    let patterns = lower.map(|pattern| Pattern::parse(&pattern));
    let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>()?;
    let mut found = settings(call.service);
    found.retain(|(name, _)| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(name.as_bytes()))
    });
    call.replies.reply(Reply::Map(found.len()));
    for (name, value) in found {
        call.replies.reply(Reply::Value(name.as_bytes()));
        call.replies.reply(Reply::Value(value.as_bytes()));
    }
    Ok(Outcome::Done)
}

fn set(call: &mut Call<'_, '_>, pairs: &Arguments<'_>) -> Answer {
    let known = settings(call.service);
    let slowlog = &call.service.slowlog;
    let mut changes = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let name = String::from_utf8_lossy(&pair[0]).to_lowercase();
        let place = match &*name {
            "slowlog-log-slower-than" => &slowlog.threshold_us,
            "slowlog-max-len" => &slowlog.len_max,
            _ if known.iter().any(|(known, _)| *known == name) => {
                return Err(failed(&name, "can't set immutable config"));
            }
            _ => {
                let name = String::from_utf8_lossy(&pair[0]);
                return Err(bad_argument(format!(
                    "Unknown option or number of arguments for CONFIG SET - '{name}'"
                )));
            }
        };
        let least = if name == "slowlog-max-len" { 0 } else { -1 };
        let value = whole_number(&pair[1]).filter(|value| (least..=1 << 40).contains(value));
        let value =
            value.ok_or_else(|| failed(&name, "argument couldn't be parsed into an integer"))?;
        changes.push((place, value));
    }
    // All of them, or none.
    for (place, value) in changes {
        place.store(value, Relaxed);
    }
    call.done(Reply::Ok)
}

fn failed(name: &str, reason: &str) -> crate::protocol::ErrorReply {
    bad_argument(format!(
        "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    ))
}
