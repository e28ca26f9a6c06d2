//! COMMAND: the table of commands, for Redis clients.
//!
//! In: the table. Out: its rows, as COMMAND INFO and COMMAND DOCS of Redis 7 send them. Promise: all that is sent comes from the
//! rows.
//! Source: <https://redis.io/docs/latest/commands/command/>.

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::category::Category;
use crate::command::described::Described;
use crate::command::glob::Pattern;
use crate::command::lookup::CommandList;
use crate::command::refusals::bad_argument;
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::spec::{ANY, Access, Dialects, Flag, Group, KeySpec, Subcommand};
use crate::command::subcommands::other_subcommand;
use crate::command::tips;
use crate::command::usage::{Argument, ArgumentType};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[Row::connection(
    "COMMAND",
    "[COUNT | LIST [FILTERBY ACLCAT <category> | FILTERBY PATTERN <pattern> | FILTERBY MODULE <module>] | INFO \
     [<name> ...] | DOCS [<name> ...] | GETKEYS <name> <argument> ... | \
     GETKEYSANDFLAGS <name> <argument> ...]",
    0..=ANY,
    command,
)
.group(Group::Server)
.subcommands(&SUBCOMMANDS)
.flags(&[Flag::LoadingOk])
.example("COMMAND GETKEYS MSET a 1 b 2")
.summary("Describe the commands; for Redis clients.")];

const SUBCOMMANDS: [Subcommand; 7] = {
    use Access::Connection;
    [
        Subcommand::new("COUNT", Connection, "Count the commands."),
        Subcommand::new(
            "LIST",
            Connection,
            "List the names of commands, of all or of some.",
        ),
        Subcommand::new(
            "INFO",
            Connection,
            "Describe commands for programs: words, flags, keys, categories.",
        ),
        Subcommand::new(
            "DOCS",
            Connection,
            "Describe commands for people: summary, arguments.",
        ),
        Subcommand::new("GETKEYS", Connection, "List the keys of a request."),
        Subcommand::new(
            "GETKEYSANDFLAGS",
            Connection,
            "List the keys of a request, and its effect on each.",
        ),
        Subcommand::HELP,
    ]
};

/// Maximum number of names of COMMAND INFO and COMMAND DOCS: what is said of a command is some hundred times longer than its name.
pub const COMMAND_NAMES_MAX: usize = 1_000;

/// First version of PyKV with these commands.
const SINCE: &str = "0.1.0";

/// Returns the commands that RESP has.
fn known(commands: &CommandList) -> Vec<Described> {
    let all = commands.iter().copied();
    all.filter(|command| command.dialects != Dialects::Line)
        .map(Described::command)
        .collect()
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
        (b"INFO", names) => describe(call, names.iter().map(|name| commands.named(name))),
        (b"DOCS", []) => document(call, &known(commands)),
        (b"DOCS", names) => {
            let found = names.iter().filter_map(|name| commands.named(name));
            let found: Vec<_> = found.collect();
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
            // Names are shown in lower case, and match in any.
            let wanted = wanted.to_ascii_lowercase();
            let pattern = Pattern::parse(&wanted)?;
            list(call, |described| {
                pattern.matches(described.name().as_bytes())
            })
        }
        b"ACLCAT" => {
            let wanted = Category::find(wanted);
            list(call, |described| {
                wanted.is_some_and(|wanted| described.categories().has(wanted))
            })
        }
        // There are no modules.
        b"MODULE" => list(call, |_| false),
        _ => Err(call.syntax_error()),
    }
}

fn list(call: &mut Call<'_, '_>, is_wanted: impl Fn(Described) -> bool) -> Answer {
    let known = known(call.service.commands).into_iter();
    let all = known.flat_map(|one| std::iter::once(one).chain(one.subcommands()));
    let found: Vec<Described> = all.filter(|one| is_wanted(*one)).collect();
    call.replies.reply(Reply::Array(found.len()));
    for described in found {
        text(call.replies, &described.name());
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

fn describe(
    call: &mut Call<'_, '_>,
    described: impl ExactSizeIterator<Item = Option<Described>>,
) -> Answer {
    call.replies.reply(Reply::Array(described.len()));
    for one in described {
        match one {
            Some(one) => describe_one(call.replies, one),
            None => call.replies.reply(Reply::NotFound),
        }
    }
    Ok(Outcome::Done)
}

fn describe_one(replies: &mut dyn Replies, described: Described) {
    replies.reply(Reply::Array(10));
    let name = described.name();
    text(replies, &name);
    replies.reply(Reply::Signed(described.arity()));
    statuses(replies, described.flags().into_iter());
    for place in key_places(described.key_specs()) {
        replies.reply(Reply::Signed(place));
    }
    let categories = described.categories().iter();
    let categories: Vec<&str> = categories.map(Category::as_str).collect();
    statuses(replies, categories.into_iter());
    statuses(replies, tips::of(&name).iter().copied());
    replies.reply(Reply::Array(described.key_specs().len()));
    for spec in described.key_specs() {
        describe_keys(replies, spec);
    }
    let subcommands = described.subcommands();
    replies.reply(Reply::Array(subcommands.len()));
    for subcommand in subcommands {
        describe_one(replies, subcommand);
    }
}

/// Returns first key, last key and step, counted with the name; a negative last key counts from the end.
fn key_places(specs: &[KeySpec]) -> [i64; 3] {
    match (specs.first(), specs.last()) {
        // They have no fixed places.
        (Some(first), _) if first.counted_at.is_some() => [0; 3],
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
    let begin = signed(spec.counted_at.unwrap_or(spec.first) + 1);
    let find: [(&str, &[(&str, i64)]); 2] = [
        ("index", &[("index", begin)]),
        match spec.counted_at {
            None => (
                "range",
                &[
                    ("lastkey", last),
                    ("keystep", signed(spec.step)),
                    ("limit", 0),
                ],
            ),
            Some(_) => (
                "keynum",
                &[
                    ("keynumidx", 0),
                    ("firstkey", 1),
                    ("keystep", signed(spec.step)),
                ],
            ),
        },
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

fn document(call: &mut Call<'_, '_>, described: &[Described]) -> Answer {
    call.replies.reply(Reply::Map(described.len()));
    for one in described {
        document_one(call.replies, *one);
    }
    Ok(Outcome::Done)
}

fn document_one(replies: &mut dyn Replies, described: Described) {
    let subcommands = described.subcommands();
    text(replies, &described.name());
    replies.reply(Reply::Map(if subcommands.is_empty() { 6 } else { 7 }));
    for (field, value) in [
        ("summary", described.summary()),
        ("since", SINCE),
        ("group", described.command.group.as_str()),
        ("complexity", described.complexity()),
        ("syntax", &described.syntax()),
    ] {
        text(replies, field);
        text(replies, value);
    }
    // Also without arguments: redis-cli would show "(null)" without the field.
    text(replies, "arguments");
    document_arguments(replies, described, &described.arguments());
    if !subcommands.is_empty() {
        text(replies, "subcommands");
        replies.reply(Reply::Map(subcommands.len()));
        for subcommand in subcommands {
            document_one(replies, subcommand);
        }
    }
}

fn document_arguments(replies: &mut dyn Replies, described: Described, arguments: &[Argument]) {
    replies.reply(Reply::Array(arguments.len()));
    for argument in arguments {
        document_argument(replies, described, argument);
    }
}

/// Writes an argument. Source: <https://redis.io/docs/latest/develop/reference/command-arguments/>.
fn document_argument(replies: &mut dyn Replies, described: Described, argument: &Argument) {
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
        let is_second = described.key_specs().len() > 1 && argument.name != "key";
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
        document_arguments(replies, described, &argument.parts);
    }
}

/// Replies with each key of a request, written by `write_key` together with its spec.
fn keys_of(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    write_key: impl Fn(&mut dyn Replies, &[u8], &KeySpec),
) -> Answer {
    let commands = call.service.commands;
    let Some(command) = commands.find(&words[0], Dialect::Resp2) else {
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
    if keys.is_empty() && !command.has_counted_keys() {
        return Err(bad_argument("The command has no key arguments"));
    }
    call.replies.reply(Reply::Array(keys.len()));
    for (key, spec) in keys {
        write_key(call.replies, key, spec);
    }
    Ok(Outcome::Done)
}
