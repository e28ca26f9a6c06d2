//! Subcommands: HELP, and the errors for unknown ones, with Redis's texts.
//!
//! In: the words of a request that the handler does not know. Out: the list of subcommands, or an error.

use super::call::{Answer, Arguments, Call, Outcome};
use super::refusals::bad_argument;
use super::spec::Command;
use super::usage;
use crate::protocol::{ErrorReply, Reply};

/// Handles a subcommand that the command does not have, or not with these arguments: lists the subcommands for HELP.
///
/// # Errors
/// `ARGS` unless the subcommand is HELP.
pub(super) fn other_subcommand(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let (word, name) = (String::from_utf8_lossy(&words[0]), call.command.name);
    let is_help = word.eq_ignore_ascii_case("HELP");
    if is_help && words.len() == 1 {
        return list_subcommands(call);
    }
    if is_help || call.command.subcommand_of(words).is_some() {
        let (name, word) = (name.to_lowercase(), word.to_lowercase());
        return Err(bad_argument(format!(
            "wrong number of arguments for '{name}|{word}' command"
        )));
    }
    Err(bad_argument(format!(
        "unknown subcommand '{word}'. Try {name} HELP."
    )))
}

fn list_subcommands(call: &mut Call<'_, '_>) -> Answer {
    let Command { name, usage, .. } = call.command;
    let first = format!("{name} <subcommand> [<argument> ...]. Subcommands are:");
    let lines: Vec<&str> = std::iter::once(&*first)
        .chain(usage::alternatives_of(usage))
        .chain(["HELP"])
        .collect();
    call.replies.reply(Reply::Array(lines.len()));
    for line in lines {
        call.replies.reply(Reply::Status(line));
    }
    Ok(Outcome::Done)
}

/// Returns the error that Redis gives for some subcommands, where it does not say which of the two is wrong.
pub(super) fn doubtful_subcommand(call: &Call<'_, '_>, word: &[u8]) -> ErrorReply {
    let (word, name) = (String::from_utf8_lossy(word), call.command.name);
    bad_argument(format!(
        "unknown subcommand or wrong number of arguments for '{word}'. Try {name} HELP."
    ))
}
