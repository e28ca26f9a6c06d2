//! A request that waits for its reply, with its row of the command table.
//!
//! In: a request line. Out: the number of replies to read, their noun, and the error if they never arrive.

use pykv::command::{ChannelUse, Command, Flag, Scope};
use pykv::protocol::line;

use crate::error::ClientError;
use crate::help;

/// A request that waits for its reply.
#[derive(Debug, Clone, Copy)]
pub struct PendingRequest {
    /// The row of the command table; `None` for an unknown verb.
    command: Option<&'static Command>,
    /// The command that a mistyped name may stand for.
    pub suggestion: Option<&'static str>,
    /// The number of its line in the input.
    pub input_line: Option<u64>,
    /// The number of replies: one, unless it ends several subscriptions.
    pub replies: usize,
}

impl PendingRequest {
    /// Returns the request of a line, or `None` for a blank line.
    pub fn of(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let verb = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .find(|word| !word.is_empty())?;
        let verb = String::from_utf8_lossy(verb);
        let command = help::command(&verb);
        let is_unsubscribe = command
            .is_some_and(|command| command.scope == Scope::Channels(ChannelUse::Unsubscribe));
        Some(Self {
            command,
            suggestion: command.map_or_else(|| help::nearest(&verb), |_| None),
            input_line: None,
            replies: if is_unsubscribe { channels(line) } else { 1 },
        })
    }

    /// Returns the request for the help of one command, or of all.
    pub fn for_help(topic: Option<&str>) -> Self {
        let unknown = topic.filter(|topic| help::command(topic).is_none());
        Self {
            command: help::command("HELP"),
            suggestion: unknown.and_then(help::nearest),
            input_line: None,
            replies: 1,
        }
    }

    /// Returns whether this is the command of a name.
    pub fn is(self, name: &str) -> bool {
        self.command.is_some_and(|command| command.name == name)
    }

    /// Returns the noun of the rows that the reply lists, if they are counted.
    pub fn noun(self) -> Option<&'static str> {
        match self.command?.name {
            "ALL" => Some("pair"),
            "KEYS" => Some("key"),
            _ => None,
        }
    }

    /// Returns whether the reply goes on until the user ends it.
    pub fn is_stream(self) -> bool {
        self.command
            .is_some_and(|command| command.has(Flag::Receives))
    }

    /// Returns the error of a request whose reply is missing: a change may have been done, and the line of the input is named.
    pub fn unanswered(self, error: ClientError) -> ClientError {
        let mut error = error;
        if self.command.is_none_or(Command::is_write) {
            error = ClientError::InDoubt(error.into());
        }
        match self.input_line {
            Some(line) => ClientError::OnLine {
                line,
                cause: error.into(),
            },
            None => error,
        }
    }
}

/// Returns the number of channels that an unsubscription names, each of which gets a reply; one without names gets one.
fn channels(line: &[u8]) -> usize {
    let request = line::parse(line).ok().flatten();
    let names = request.and_then(|request| request.arguments(None).ok());
    names.map_or(1, |names| names.len().max(1))
}
