//! A request as it is sent, and as it waits for its reply, with its row of the command table.
//!
//! In: a request. Out: its bytes; the number of replies to read, their noun, and the error if they never arrive.

use pykv::command::{Access, ChannelUse, Command, Flag, Scope};
use pykv::protocol::line;

use crate::connection::Patience;
use crate::error::ClientError;
use crate::help;
use crate::place::Place;

/// A request as it is sent.
#[derive(Debug)]
pub enum Request {
    /// A line, without its line end.
    Line(String),
    /// An array of RESP with its verb, as its arguments are no text or too long for a line.
    Resp { verb: Vec<u8>, bytes: Vec<u8> },
}

impl Request {
    /// Returns the request of a line.
    pub fn line(line: &str) -> Self {
        Self::Line(line.to_owned())
    }

    /// Returns the request of some words, the verb first, in RESP.
    pub fn in_resp(words: &[&[u8]]) -> Self {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        let verb = words.first().map(|verb| verb.to_vec());
        let verb = verb.unwrap_or_default();
        Self::Resp { verb, bytes }
    }
}

/// A request that waits for its reply.
#[derive(Debug, Clone, Copy)]
pub struct PendingRequest {
    /// The row of the command table; `None` for an unknown verb.
    command: Option<&'static Command>,
    /// The command that a mistyped name may stand for.
    pub suggestion: Option<&'static str>,
    /// Its place in the input, if it comes from one.
    pub place: Option<Place>,
    /// The number of replies: one, unless it ends several subscriptions.
    pub replies: usize,
    /// True if the reply is one in RESP, and no array.
    pub is_resp: bool,
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
            place: None,
            replies: if is_unsubscribe { channels(line) } else { 1 },
            is_resp: false,
        })
    }

    /// Returns the request that waits once this one is sent, or `None` for a blank line.
    pub fn to(request: &Request) -> Option<Self> {
        match request {
            Request::Line(line) => Self::of(line.as_bytes()),
            Request::Resp { verb, .. } => Some(Self {
                is_resp: true,
                ..Self::of(verb)?
            }),
        }
    }

    /// Returns the request for the help of one command, or of all.
    pub fn for_help(topic: Option<&str>) -> Self {
        let unknown = topic.filter(|topic| help::command(topic).is_none());
        Self {
            command: help::command("HELP"),
            suggestion: unknown.and_then(help::nearest),
            place: None,
            replies: 1,
            is_resp: false,
        }
    }

    /// Returns whether it changes neither pairs nor the server.
    pub fn changes_nothing(self) -> bool {
        self.command
            .is_some_and(|command| matches!(command.access, Access::Read | Access::Connection))
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

    /// Returns how long the server may be silent before it answers: a scan of all keys, a save or a transaction takes its time.
    pub fn patience(self) -> Patience {
        let is_long =
            |command: &Command| command.is_on_keyspace() || command.scope == Scope::Queued;
        if self.command.is_some_and(is_long) {
            Patience::WhileAlive
        } else {
            Patience::Limited
        }
    }

    /// Returns the error of a request whose reply is missing: a change may have been done, and the line of the input is named.
    pub fn unanswered(self, error: ClientError) -> ClientError {
        let mut error = error;
        if self.command.is_none_or(Command::is_write) {
            error = ClientError::InDoubt(error.into());
        }
        match self.place {
            Some(place) => ClientError::OnLine {
                place,
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
