//! COMMAND: the table of commands, for Redis clients.
//!
//! In: the table. Out: its rows, as COMMAND INFO and COMMAND DOCS of Redis 7 send them. Promise: all that is sent comes from the
//! rows.
//! Source: <https://redis.io/docs/latest/commands/command/>.

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::category::{Category, categories_of};
use crate::command::glob::Pattern;
use crate::command::lookup::CommandList;
use crate::command::refusals::bad_argument;
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::spec::{ANY, Access, Command, Dialects, Flag, Group, KeySpec, Subcommand};
use crate::command::subcommands::other_subcommand;
use crate::command::usage::{self, Argument, ArgumentType};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[Row::connection(
    "COMMAND",
    "[COUNT | LIST [FILTERBY ACLCAT <category> | FILTERBY PATTERN <pattern>] | INFO \
     [<name> ...] | DOCS [<name> ...] | GETKEYS <name> <argument> ... | \
     GETKEYSANDFLAGS <name> <argument> ...]",
    0..=ANY,
    command,
)
.group(Group::Server)
.subcommands(&Subcommand::all(
    Access::Connection,
    [
        "COUNT",
        "LIST",
        "INFO",
        "DOCS",
        "GETKEYS",
        "GETKEYSANDFLAGS",
        "HELP",
    ],
))
.flags(&[Flag::LoadingOk])
.example("COMMAND GETKEYS MSET a 1 b 2")
.summary("Describe the commands; for Redis clients.")];

/// Maximum number of names of COMMAND INFO and COMMAND DOCS: what is said of a command is some hundred times longer than its name.
pub const COMMAND_NAMES_MAX: usize = 1_000;

/// First version of PyKV with these commands.
const SINCE: &str = "0.1.0";

/// Returns the commands that RESP has.
fn known(commands: &CommandList) -> Vec<&'static Command> {
    let all = commands.iter().copied();
    all.filter(|command| command.dialects != Dialects::Line)
        .collect()
}

fn named(commands: &CommandList, name: &[u8]) -> Option<&'static Command> {
    commands.find(name, Dialect::Resp2)
}

fn command(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let commands = call.service.commands;
    let Some((subcommand, arguments)) = words.split_first() else {
        return describe(call, known(commands).into_iter().map(Some));
    };
    match (&*subcommand.to_ascii_uppercase(), arguments) {
        (b"COUNT", []) => call.done(Reply::Count(known(commands).len() as u64)),
        (b"LIST", []) => list(call, |_| true),
        (b"LIST", [filter, kind, wanted]) if filter.eq_ignore_ascii_case(b"FILTERBY") => {
            list_by(call, kind, wanted)
        }
        (b"LIST", _) => Err(call.syntax_error()),
        (b"INFO" | b"DOCS", names) if names.len() > COMMAND_NAMES_MAX => Err(ErrorReply::new(
            ErrorCode::TooLarge,
            format!(
                "COMMAND describes {COMMAND_NAMES_MAX} commands at a time, not {}; without names it describes all",
                names.len()
            ),
        )),
        (b"INFO", []) => describe(call, known(commands).into_iter().map(Some)),
        (b"INFO", names) => describe(call, names.iter().map(|name| named(commands, name))),
        (b"DOCS", []) => document(call, &known(commands)),
        (b"DOCS", names) => {
            let found: Vec<_> = names
                .iter()
                .filter_map(|name| named(commands, name))
                .collect();
            document(call, &found)
        }
        (b"GETKEYS", [_, _, ..]) => keys_of(call, arguments, |replies, key, _| {
            replies.reply(Reply::Value(key));
        }),
        (b"GETKEYSANDFLAGS", [_, _, ..]) => keys_of(call, arguments, |replies, key, spec| {
            replies.reply(Reply::Array(2));
            replies.reply(Reply::Value(key));
            statuses(replies, spec.flags.iter().map(|flag| flag.as_str()));
        }),
        _ => other_subcommand(call, words),
    }
}

fn list_by(call: &mut Call<'_, '_>, kind: &[u8], wanted: &[u8]) -> Answer {
    match &*kind.to_ascii_uppercase() {
        b"PATTERN" => {
            let pattern = Pattern::parse(wanted)?;
            list(call, |command| {
                pattern.matches(command.name.to_lowercase().as_bytes())
            })
        }
        b"ACLCAT" => {
            let wanted = Category::find(wanted);
            list(call, |command| {
                wanted.is_some_and(|wanted| categories_of(command).has(wanted))
            })
        }
        _ => Err(call.syntax_error()),
    }
}

fn list(call: &mut Call<'_, '_>, is_wanted: impl Fn(&Command) -> bool) -> Answer {
    let mut found = known(call.service.commands);
    found.retain(|command| is_wanted(command));
    call.replies.reply(Reply::Array(found.len()));
    for command in found {
        text(call.replies, &command.name.to_lowercase());
    }
    Ok(Outcome::Done)
}

fn text(replies: &mut dyn Replies, text: &str) {
    replies.reply(Reply::Value(text.as_bytes()));
}

fn statuses(replies: &mut dyn Replies, words: impl ExactSizeIterator<Item = &'static str>) {
    replies.reply(Reply::Array(words.len()));
    for word in words {
        replies.reply(Reply::Status(word));
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the number of words of a request, with the name; the negative minimum if the number varies.
fn arity(command: &Command) -> i64 {
    let least = signed(*command.arity.start() + 1);
    if command.arity.start() == command.arity.end() {
        least
    } else {
        -least
    }
}

/// Returns the flags under Redis's names, as far as they have a meaning here.
fn flags(command: &Command) -> Vec<&'static str> {
    let flags = [
        (command.access == Access::Read, "readonly"),
        (command.access == Access::Write, "write"),
        (command.has(Flag::GrowsMemory), "denyoom"),
        (command.access == Access::Admin, "admin"),
        (command.access == Access::PubSub, "pubsub"),
        (command.has(Flag::LoadingOk), "loading"),
        (command.has(Flag::NoMonitor), "skip_monitor"),
        (!command.is_timed(), "fast"),
        (command.has(Flag::NotInMulti), "no_multi"),
    ];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
    flags.map(|(_, name)| name).collect()
}

fn describe(
    call: &mut Call<'_, '_>,
    commands: impl ExactSizeIterator<Item = Option<&'static Command>>,
) -> Answer {
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
    replies.reply(Reply::Array(10));
    text(replies, &command.name.to_lowercase());
    replies.reply(Reply::Signed(arity(command)));
    statuses(replies, flags(command).into_iter());
    for place in key_places(command.key_specs()) {
        replies.reply(Reply::Signed(place));
    }
    let categories = categories_of(command).iter();
    let categories: Vec<&str> = categories.map(Category::as_str).collect();
    statuses(replies, categories.into_iter());
    // No tips.
    replies.reply(Reply::Array(0));
    replies.reply(Reply::Array(command.key_specs().len()));
    for spec in command.key_specs() {
        describe_keys(replies, spec);
    }
    // No subcommands: they have no rows of their own.
    replies.reply(Reply::Array(0));
}

/// Returns first key, last key and step, counted with the name; a negative last key counts from the end.
fn key_places(specs: &[KeySpec]) -> [i64; 3] {
    match (specs.first(), specs.last()) {
        (Some(first), Some(last)) => [
            signed(first.first + 1),
            last.last.map_or(-1, |last| signed(last + 1)),
            signed(first.step),
        ],
        _ => [0; 3],
    }
}

/// Writes a key spec of Redis 7: where the keys begin, and their range from there on.
/// Source: <https://redis.io/docs/latest/develop/reference/key-specs/>.
fn describe_keys(replies: &mut dyn Replies, spec: &KeySpec) {
    let last = spec.last.map_or(-1, |last| signed(last - spec.first));
    let find: [(&str, &[(&str, i64)]); 2] = [
        ("index", &[("index", signed(spec.first + 1))]),
        (
            "range",
            &[
                ("lastkey", last),
                ("keystep", signed(spec.step)),
                ("limit", 0),
            ],
        ),
    ];
    replies.reply(Reply::Map(3));
    text(replies, "flags");
    statuses(replies, spec.flags.iter().map(|flag| flag.as_str()));
    for (step, (kind, fields)) in ["begin_search", "find_keys"].iter().zip(find) {
        text(replies, step);
        replies.reply(Reply::Map(2));
        text(replies, "type");
        text(replies, kind);
        text(replies, "spec");
        replies.reply(Reply::Map(fields.len()));
        for (name, number) in fields {
            text(replies, name);
            replies.reply(Reply::Signed(*number));
        }
    }
}

fn document(call: &mut Call<'_, '_>, commands: &[&'static Command]) -> Answer {
    call.replies.reply(Reply::Map(commands.len()));
    for command in commands {
        document_one(call.replies, command);
    }
    Ok(Outcome::Done)
}

fn document_one(replies: &mut dyn Replies, command: &Command) {
    text(replies, &command.name.to_lowercase());
    replies.reply(Reply::Map(5));
    for (field, value) in [
        ("summary", command.summary),
        ("since", SINCE),
        ("group", command.group.as_str()),
        ("syntax", &command.synopsis()),
    ] {
        text(replies, field);
        text(replies, value);
    }
    // Also without arguments: redis-cli would show "(null)" without the field.
    text(replies, "arguments");
    document_arguments(replies, command, &usage::arguments(command.usage));
}

fn document_arguments(replies: &mut dyn Replies, command: &Command, arguments: &[Argument]) {
    replies.reply(Reply::Array(arguments.len()));
    for argument in arguments {
        document_argument(replies, command, argument);
    }
}

/// Writes an argument. Source: <https://redis.io/docs/latest/develop/reference/command-arguments/>.
fn document_argument(replies: &mut dyn Replies, command: &Command, argument: &Argument) {
    let marks = [
        (argument.is_optional, "optional"),
        (argument.is_multiple, "multiple"),
    ];
    let marks: Vec<&str> = marks
        .into_iter()
        .filter_map(|(is_set, mark)| is_set.then_some(mark))
        .collect();
    let is_key = argument.kind == ArgumentType::Key;
    let fields = [
        is_key,
        argument.token.is_some(),
        !marks.is_empty(),
        !argument.parts.is_empty(),
    ];
    let fields = fields.iter().filter(|is_there| **is_there).count();
    replies.reply(Reply::Map(2 + fields));
    for (field, value) in [("name", &*argument.name), ("type", argument.kind.as_str())] {
        text(replies, field);
        text(replies, value);
    }
    if is_key {
        // All keys of a spec have the same name; the keys of a second spec have another.
        let is_second = command.key_specs().len() > 1 && argument.name != "key";
        text(replies, "key_spec_index");
        replies.reply(Reply::Count(u64::from(is_second)));
    }
    if let Some(token) = argument.token {
        text(replies, "token");
        text(replies, token);
    }
    if !marks.is_empty() {
        text(replies, "flags");
        statuses(replies, marks.into_iter());
    }
    if !argument.parts.is_empty() {
        text(replies, "arguments");
        document_arguments(replies, command, &argument.parts);
    }
}

/// Replies with each key of a request, written by `write_key` together with its spec.
fn keys_of(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    write_key: impl Fn(&mut dyn Replies, &[u8], &KeySpec),
) -> Answer {
    let Some(command) = named(call.service.commands, &words[0]) else {
        return Err(bad_argument("Invalid command specified"));
    };
    let arguments = &words[1..];
    if !command.arity.contains(&arguments.len()) {
        return Err(bad_argument(
            "Invalid number of arguments specified for command",
        ));
    }
    let specs = command.key_specs().iter();
    let keys: Vec<(&[u8], &KeySpec)> = specs
        .flat_map(|spec| spec.keys(arguments).map(move |key| (key, spec)))
        .collect();
    if keys.is_empty() {
        return Err(bad_argument("The command has no key arguments"));
    }
    call.replies.reply(Reply::Array(keys.len()));
    for (key, spec) in keys {
        write_key(call.replies, key, spec);
    }
    Ok(Outcome::Done)
}
