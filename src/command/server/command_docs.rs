//! COMMAND: the table of commands, as Redis's clients read it.
//!
//! In: the table. Out: rows of it. Promise: nothing is told that the table does not hold.
//! Source: <https://redis.io/docs/latest/commands/command/>.

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::glob::Pattern;
use crate::command::refusals::bad_argument;
use crate::command::replies::Replies;
use crate::command::subcommands::other_subcommand;
use crate::command::table::{ANY, Access, COMMANDS, Command, Dialects, Keys, place_of};
use crate::protocol::{Dialect, Reply};

pub(in crate::command) const ROWS: &[Command] = &[
    Command::free(
        "COMMAND",
        "[COUNT | LIST [FILTERBY PATTERN <pattern>] | INFO [<name> ...] | DOCS [<name> ...] | GETKEYS <name> <argument> ...]",
        0..=ANY,
        command,
    )
    .example("COMMAND GETKEYS MSET a 1 b 2")
        .summary("Tell of the commands, as Redis's clients read it."),
];

/// Those that Redis's clients can call.
fn known() -> Vec<&'static Command> {
    let all = COMMANDS.iter().copied();
    all.filter(|command| command.dialects != Dialects::Line)
        .collect()
}

fn named(words: &Arguments<'_>) -> Vec<Option<&'static Command>> {
    let find = |word: &[u8]| {
        let place = place_of(word, Dialect::Resp2)?;
        Some(COMMANDS[place])
    };
    words.iter().map(|word| find(word)).collect()
}

fn command(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let Some((subcommand, arguments)) = words.split_first() else {
        return describe(call, &known().into_iter().map(Some).collect::<Vec<_>>());
    };
    match (&*subcommand.to_ascii_uppercase(), arguments) {
        (b"COUNT", []) => call.done(Reply::Count(known().len() as u64)),
        (b"LIST", []) => list(call, &Pattern::new(b"*")),
        (b"LIST", [filter, kind, pattern])
            if filter.eq_ignore_ascii_case(b"FILTERBY")
                && kind.eq_ignore_ascii_case(b"PATTERN") =>
        {
            list(call, &Pattern::parse(pattern)?)
        }
        (b"LIST", _) => Err(call.syntax_error()),
        (b"INFO", []) => describe(call, &known().into_iter().map(Some).collect::<Vec<_>>()),
        (b"INFO", names) => describe(call, &named(names)),
        (b"DOCS", []) => document(call, &known()),
        (b"DOCS", names) => document(
            call,
            &named(names).into_iter().flatten().collect::<Vec<_>>(),
        ),
        (b"GETKEYS", [_, _, ..]) => keys_of(call, arguments),
        _ => other_subcommand(call, words, &["COUNT", "GETKEYS"]),
    }
}

fn list(call: &mut Call<'_, '_>, pattern: &Pattern) -> Answer {
    let names = known()
        .into_iter()
        .map(|command| command.name.to_lowercase());
    let names: Vec<String> = names
        .filter(|name| pattern.matches(name.as_bytes()))
        .collect();
    call.replies.reply(Reply::Array(names.len()));
    for name in names {
        call.replies.reply(Reply::Value(name.as_bytes()));
    }
    Ok(Outcome::Done)
}

/// First key, last key and step, counted with the name.
fn key_places(keys: Keys) -> [i64; 3] {
    match keys {
        Keys::None | Keys::Keyspace => [0, 0, 0],
        Keys::First => [1, 1, 1],
        Keys::Second => [2, 2, 1],
        Keys::FirstTwo => [1, 2, 1],
        Keys::All => [1, -1, 1],
        Keys::Pairs => [1, -1, 2],
    }
}

/// The number of words with the name; below nought it is the least.
fn arity(command: &Command) -> i64 {
    let least = i64::try_from(*command.arity.start() + 1).unwrap_or(i64::MAX);
    if command.arity.start() == command.arity.end() {
        least
    } else {
        -least
    }
}

fn describe(call: &mut Call<'_, '_>, commands: &[Option<&'static Command>]) -> Answer {
    call.replies.reply(Reply::Array(commands.len()));
    for command in commands {
        match command {
            Some(command) => describe_one(call.replies, command),
            None => call.replies.reply(Reply::NoArray),
        }
    }
    Ok(Outcome::Done)
}

fn describe_one(replies: &mut dyn Replies, command: &Command) {
    let (flag, category) = match command.access {
        Access::Read => ("readonly", "@read"),
        Access::Write => ("write", "@write"),
        Access::Free => ("loading", "@connection"),
    };
    let mut flags = vec![flag];
    if !command.is_transactional {
        flags.push("no_multi");
    }
    replies.reply(Reply::Array(10));
    replies.reply(Reply::Value(command.name.to_lowercase().as_bytes()));
    replies.reply(Reply::Signed(arity(command)));
    replies.reply(Reply::Array(flags.len()));
    for flag in flags {
        replies.reply(Reply::Status(flag));
    }
    for place in key_places(command.keys) {
        replies.reply(Reply::Signed(place));
    }
    replies.reply(Reply::Array(1));
    replies.reply(Reply::Status(category));
    // No tips, no further specification of keys, no subcommands of their own.
    for _ in 0..3 {
        replies.reply(Reply::Array(0));
    }
}

fn document(call: &mut Call<'_, '_>, commands: &[&'static Command]) -> Answer {
    call.replies.reply(Reply::Map(commands.len()));
    for command in commands {
        let name = command.name.to_lowercase();
        call.replies.reply(Reply::Value(name.as_bytes()));
        call.replies.reply(Reply::Map(2));
        for text in ["summary", command.summary, "syntax", &command.synopsis()] {
            call.replies.reply(Reply::Value(text.as_bytes()));
        }
    }
    Ok(Outcome::Done)
}

fn keys_of(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let Some(command) = named(&words[..1])[0] else {
        return Err(bad_argument("Invalid command specified"));
    };
    let arguments = &words[1..];
    if !command.arity.contains(&arguments.len()) {
        return Err(bad_argument(
            "Invalid number of arguments specified for command",
        ));
    }
    let keys: Vec<&[u8]> = command.keys.of(arguments).collect();
    if keys.is_empty() {
        return Err(bad_argument("The command has no key arguments"));
    }
    call.replies.reply(Reply::Array(keys.len()));
    for key in keys {
        call.replies.reply(Reply::Value(key));
    }
    Ok(Outcome::Done)
}
