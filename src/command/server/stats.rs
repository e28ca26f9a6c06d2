//! The commands on the server itself: each reads the counters, the engine's figures or the table.

use std::collections::BTreeMap;

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::spec::{ANY, Command, Dialects, Flag, Group};
use crate::command::table::{COMMANDS, place_of};
use crate::engine::Engine;
use crate::metrics::counters::Stats;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Figure, Reply};

pub(in crate::command) const ROWS: &[Command] = &[
    Command::connection("STATS", "", 0..=0, stats)
        .group(Group::Server)
        .flags(&[Flag::NotInMulti])
        .only(Dialects::Line)
        .example("STATS")
        .summary("Show the server's figures."),
    Command::connection("PING", "[<message>]", 0..=1, ping)
        .flags(&[Flag::SubscribedOk])
        .example("PING")
        .summary("Check that the server is there; answers with the message, if one is given."),
    Command::connection("ECHO", "<message>", 1..=1, echo)
        .example("ECHO \"hello there\"")
        .summary("Return the message."),
    Command::connection("HELP", "[<command>]", 0..=1, help)
        .group(Group::Server)
        .flags(&[Flag::NotInMulti])
        .only(Dialects::Line)
        .example("HELP")
        .summary("List the commands, or explain one."),
    Command::connection("QUIT", "", 0..=ANY, quit)
        .flags(&[Flag::LoadingOk, Flag::ImmediateInMulti, Flag::SubscribedOk])
        .example("QUIT")
        .summary("Answer, then close this connection."),
];

fn ping(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if call.dialect == Dialect::Resp2 && call.session.subscriptions() > 0 {
        // Among messages, an answer looks like one.
        let message = words.first().map_or(&b""[..], |message| message);
        call.replies.reply(Reply::Array(2));
        call.replies.reply(Reply::Value(b"pong"));
        return call.done(Reply::Value(message));
    }
    if words.is_empty() {
        return call.done(Reply::Pong);
    }
    echo(call, words)
}

fn echo(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    call.replies.reply(Reply::Value(&words[0]));
    Ok(Outcome::Done)
}

fn quit(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    call.replies.reply(Reply::Ok);
    Ok(Outcome::Close)
}

fn help(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let spoken: Vec<&Command> = COMMANDS
        .iter()
        .copied()
        .filter(|command| command.dialects != Dialects::Resp)
        .collect();
    let Some(asked) = words.first() else {
        return explain(call, &spoken);
    };
    let asked = String::from_utf8_lossy(asked);
    let Some(place) = place_of(asked.as_bytes(), Dialect::Line) else {
        let asked: String = asked.chars().take(40).collect();
        return Err(ErrorReply::new(
            ErrorCode::Unknown,
            format!("there is no command '{asked}'; HELP lists them"),
        ));
    };
    explain(call, &[COMMANDS[place]])
}

fn explain(call: &mut Call<'_, '_>, commands: &[&Command]) -> Answer {
    for command in commands {
        call.replies
            .reply(Reply::Help(&command.synopsis(), command.summary));
    }
    call.done(Reply::End(commands.len() as u64))
}

fn stats(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    // What this batch has counted so far belongs to the truth, this request included.
    call.service.stats.add(call.tally);
    let figures = figures(call.engine()?, &call.service.stats);
    for (name, figure) in &figures {
        call.replies.reply(Reply::Stat(name, figure));
    }
    call.done(Reply::End(figures.len() as u64))
}

/// Every figure of STATS, by name, in the order in which it is shown.
fn figures(engine: &Engine, stats: &Stats) -> Vec<(String, Figure)> {
    let disk = engine.disk();
    let save = disk.last_save;
    let memory = crate::metrics::process::resident_bytes();
    let named = [
        (
            "version",
            Figure::Text(env!("CARGO_PKG_VERSION").to_owned()),
        ),
        ("pid", Figure::Count(u64::from(std::process::id()))),
        ("uptime_seconds", Figure::Count(stats.uptime_seconds())),
        ("keys", Figure::Count(engine.keys())),
        ("data_bytes", Figure::Count(engine.data_bytes())),
        ("memory_bytes", memory.map_or(Figure::Absent, Figure::Count)),
        ("connections", Figure::Count(stats.connections())),
        (
            "connections_total",
            Figure::Count(stats.connections_total()),
        ),
        ("requests_total", Figure::Count(stats.requests())),
        (
            "requests_per_second",
            Figure::Real(stats.requests_per_second()),
        ),
        ("hits", Figure::Count(stats.hits())),
        ("misses", Figure::Count(stats.misses())),
        ("errors", Figure::Count(stats.errors())),
        ("durability", Figure::Text(disk.durability.to_string())),
        (
            "disk",
            Figure::Text(disk.fault.unwrap_or_else(|| "ok".to_owned())),
        ),
        (
            "unsynced_seconds",
            Figure::Real(disk.unsynced.as_secs_f64()),
        ),
        (
            "unsynced_seconds_max",
            Figure::Real(disk.unsynced_longest.as_secs_f64()),
        ),
        ("journal_bytes", Figure::Count(disk.journal_bytes)),
        ("journal_segments", Figure::Count(disk.journal_segments)),
        (
            "last_save_time",
            save.as_ref().map_or(Figure::Absent, |save| {
                Figure::Text(crate::codec::json::time(save.ended_at))
            }),
        ),
        (
            "last_save_seconds",
            save.as_ref()
                .map_or(Figure::Absent, |save| Figure::Real(save.seconds)),
        ),
        (
            "last_save_result",
            Figure::Text(save.map_or_else(|| "none yet".to_owned(), |save| save.result)),
        ),
    ];
    let mut counts: Vec<(String, Figure)> = Vec::new();
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for (place, command) in COMMANDS.iter().enumerate() {
        *by_name.entry(command.name).or_default() += stats.of_command(place);
    }
    for command in COMMANDS.iter() {
        // A word that means one thing on a line and another to Redis is counted as one.
        if let Some(count) = by_name.remove(command.name) {
            let name = format!("command_{}", command.name.to_lowercase());
            counts.push((name, Figure::Count(count)));
        }
    }
    named
        .into_iter()
        .map(|(name, figure)| (name.to_owned(), figure))
        .chain(counts)
        .collect()
}
