//! The commands on the server itself: each reads the counters, the engine's figures or the table.

use super::{COMMANDS, Call, Command, Next, place_of};
use crate::engine::Engine;
use crate::protocol::{ErrorCode, ErrorReply, Figure, Reply};
use crate::stats::Stats;

pub(super) fn save(_call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    Ok(Next::Save)
}

pub(super) fn ping(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    if call.arguments.is_empty() {
        return call.done(Reply::Pong);
    }
    echo(call)
}

pub(super) fn echo(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    call.replies.reply(Reply::Value(&call.arguments[0]));
    Ok(Next::Done)
}

pub(super) fn quit(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    call.replies.reply(Reply::Ok);
    Ok(Next::Close)
}

pub(super) fn help(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let Some(asked) = call.arguments.first() else {
        return explain(call, COMMANDS);
    };
    let asked = String::from_utf8_lossy(asked);
    let Some(place) = place_of(&asked) else {
        let asked: String = asked.chars().take(40).collect();
        return Err(ErrorReply::new(
            ErrorCode::Unknown,
            format!("there is no command '{asked}'; HELP lists them"),
        ));
    };
    explain(call, &COMMANDS[place..=place])
}

fn explain(call: &mut Call<'_>, commands: &[Command]) -> Result<Next, ErrorReply> {
    for command in commands {
        call.replies
            .reply(Reply::Help(&command.synopsis(), command.summary));
    }
    call.done(Reply::End(commands.len() as u64))
}

pub(super) fn stats(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
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
    let memory = memory_stats::memory_stats().map(|memory| memory.physical_mem as u64);
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
                Figure::Text(crate::json::time(save.ended_at))
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
    let counts = COMMANDS.iter().enumerate().map(|(place, command)| {
        (
            format!("command_{}", command.name.to_lowercase()),
            Figure::Count(stats.of_command(place)),
        )
    });
    named
        .into_iter()
        .map(|(name, figure)| (name.to_owned(), figure))
        .chain(counts)
        .collect()
}
