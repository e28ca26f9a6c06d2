//! STATS, PING, ECHO, HELP, QUIT.
//!
//! In: words. Out: figures, the table of commands, or the words.

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::row::Row;
use crate::command::server::figures::{FigureValue, Sample};
use crate::command::spec::{ANY, Command, Dialects, Flag, Group};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Figure, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::connection("STATS", "", 0..=0, stats)
        .group(Group::Server)
        .flags(&[Flag::NotInMulti, Flag::Slow])
        .only(Dialects::Line)
        .example("STATS")
        .summary("Show the server's figures."),
    Row::connection("PING", "[<message>]", 0..=1, ping)
        .flags(&[Flag::SubscribedOk])
        .example("PING")
        .summary("Check that the server is there; answers with the message, if one is given."),
    Row::connection("ECHO", "<message>", 1..=1, echo)
        .flags(&[Flag::LoadingOk])
        .example("ECHO \"hello there\"")
        .summary("Return the message."),
    Row::connection("HELP", "[<command>]", 0..=1, help)
        .group(Group::Server)
        .flags(&[Flag::NotInMulti, Flag::NoAuth, Flag::Slow])
        .only(Dialects::Line)
        .example("HELP")
        .summary("List the commands, or explain one."),
    Row::connection("QUIT", "", 0..=ANY, quit)
        .flags(&[
            Flag::LoadingOk,
            Flag::ImmediateInMulti,
            Flag::SubscribedOk,
            Flag::NoAuth,
        ])
        .example("QUIT")
        .summary("Answer, then close this connection."),
];

fn ping(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if call.dialect == Dialect::Resp2 && call.session.subscriptions() > 0 {
        // In RESP2 the reply to a subscriber has the form of a message, as in Redis.
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
    call.done(Reply::Value(&words[0]))
}

fn quit(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    call.replies.reply(Reply::Ok);
    Ok(Outcome::Close)
}

fn help(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let commands = call.service.commands;
    let Some(asked) = words.first() else {
        let mut all = commands.to_vec();
        all.retain(|command| command.dialects != Dialects::Resp);
        return explain(call, &all);
    };
    let asked = String::from_utf8_lossy(asked);
    let Some(command) = commands.find(asked.as_bytes(), Dialect::Line) else {
        let asked: String = asked.chars().take(40).collect();
        return Err(ErrorReply::new(
            ErrorCode::Unknown,
            format!("there is no command '{asked}'; HELP lists them"),
        ));
    };
    explain(call, &[command])
}

fn explain(call: &mut Call<'_, '_>, commands: &[&Command]) -> Answer {
    for command in commands {
        call.replies
            .reply(Reply::Help(&command.synopsis(), command.summary));
    }
    call.done(Reply::End(commands.len() as u64))
}

fn stats(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    // Add the counters of this batch first, this request included, so that the figures are current.
    call.service.stats.add(call.tally);
    // Refused while the data is being loaded, as every read of the data is; not while it is being replaced: the figures tell why.
    if !call.service.replication.is_closed() {
        call.service.check_ready()?;
    }
    let mut shown = 0;
    for (spec, value) in Sample::since_reset(call.service).rows() {
        if !spec.in_stats {
            continue;
        }
        if let Some(FigureValue::Commands(commands)) = value {
            for usage in commands.iter() {
                let name = spec.name.replace('*', &usage.name);
                let figure = Figure::Count(usage.requests);
                call.replies.reply(Reply::Stat(&name, &figure));
            }
            shown += commands.len() as u64;
        } else {
            let figure = value.map_or(Figure::Absent, FigureValue::figure);
            call.replies.reply(Reply::Stat(spec.name, &figure));
            shown += 1;
        }
    }
    call.done(Reply::End(shown))
}
