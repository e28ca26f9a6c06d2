//! What the bytes on the wire say, free of dialect: `Request` in, `Reply` out.
//!
//! `line` reads and writes the line dialect, `resp` that of Redis clients; any other (HTTP's shim) makes the same `Request` from
//! words that it has already split, and takes the same `Reply`s. protocol.md is the law of all of it.

pub mod line;
pub mod resp;

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use crate::record::PairError;

/// The closed list of errors: the first word after `ERR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The line cannot be taken apart: a string that does not end, say.
    Syntax,
    /// There is no such command.
    Unknown,
    /// The command does not take this number of arguments.
    Args,
    /// A key, a value or a line is over its limit.
    TooLarge,
    /// Bytes that are not UTF-8 where text is asked for.
    Text,
    /// A password is asked for first.
    NoAuth,
    /// This may not be done here, by anybody.
    Denied,
    /// The memory that the server may use is full.
    Full,
    /// The disk does not take the change.
    Disk,
    /// The server has no room for another connection, or is still loading its data.
    Busy,
    /// A fault of the server's own.
    Internal,
}

impl ErrorCode {
    /// The code as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "SYNTAX",
            Self::Unknown => "UNKNOWN",
            Self::Args => "ARGS",
            Self::TooLarge => "TOO_LARGE",
            Self::Text => "TEXT",
            Self::NoAuth => "NOAUTH",
            Self::Denied => "DENIED",
            Self::Full => "FULL",
            Self::Disk => "DISK",
            Self::Busy => "BUSY",
            Self::Internal => "INTERNAL",
        }
    }
}

/// A refusal: a code for programs, one line of text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// Which of the closed list.
    pub code: ErrorCode,
    /// What is wrong, where, and what to do; one line.
    pub message: String,
}

impl ErrorReply {
    /// An error with its text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<PairError> for ErrorReply {
    fn from(error: PairError) -> Self {
        let code = match error {
            PairError::KeyTooLarge(_) | PairError::ValueTooLarge(_) => ErrorCode::TooLarge,
            PairError::KeyNotText(_) => ErrorCode::Text,
        };
        Self::new(code, error.to_string())
    }
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.as_str(), self.message)
    }
}

/// What is no request, and is answered with an error.
#[derive(Debug)]
pub struct Refusal {
    /// What is said of it.
    pub error: ErrorReply,
    /// Whether no later byte can be trusted to begin a request.
    pub closes: bool,
}

/// One figure of STATS.
#[derive(Debug, Clone, PartialEq)]
pub enum Figure {
    /// A whole number.
    Count(u64),
    /// A number with a fraction: seconds, a rate.
    Real(f64),
    /// A word or a sentence.
    Text(String),
    /// Not known, or not yet.
    Absent,
}

impl Figure {
    /// The figure as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Count(count) => (*count).into(),
            Self::Real(real) => ((real * 1000.0).round() / 1000.0).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Absent => serde_json::Value::Null,
        }
    }
}

/// One line of an answer, free of dialect. An answer is one reply, or a row of `Item`, `Key`, `Stat` or `Help` and an `End`.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<'a> {
    /// Done.
    Ok,
    /// The value that was asked for.
    Value(&'a [u8]),
    /// There is no such key.
    NotFound,
    /// How many.
    Count(u64),
    /// The value that a key has now, which is a whole number.
    Number(i64),
    /// A pair, in ALL.
    Item(&'a str, &'a [u8]),
    /// A key, in KEYS.
    Key(&'a str),
    /// A figure and its name, in STATS.
    Stat(&'a str, &'a Figure),
    /// A command's usage and what it does, in HELP.
    Help(&'a str, &'a str),
    /// The end of a row of lines, and how many there were.
    End(u64),
    /// The answer to PING.
    Pong,
    /// Refused.
    Error(&'a ErrorReply),
}

/// Where replies go: a dialect writes each to its output as it comes.
pub trait Replies {
    /// Takes one reply.
    fn reply(&mut self, reply: Reply<'_>);
}

/// The arguments of a request, decoded.
pub type Words<'a> = SmallVec<[Cow<'a, [u8]>; 2]>;

/// How a client speaks: what commands are called, and how errors read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Lines, and whatever else is not Redis.
    Line,
    /// As Redis.
    Resp,
}

/// One whole request, borrowed from the buffer that it arrived in.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is asked for, as it was written: case does not matter.
    pub verb: &'a str,
    /// The dialect that it came in.
    pub dialect: Dialect,
    arguments: Arguments<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Arguments<'a> {
    /// The rest of a line and the byte at which it begins: where its last argument begins depends on the command.
    Line(&'a str, usize),
    /// Split already, by a dialect that says where each argument ends.
    Split(&'a [&'a [u8]]),
}

impl<'a> Request<'a> {
    /// A request whose arguments a dialect has split already.
    #[must_use]
    pub fn split(verb: &'a str, arguments: &'a [&'a [u8]]) -> Self {
        Self {
            verb,
            dialect: Dialect::Line,
            arguments: Arguments::Split(arguments),
        }
    }

    /// A request of a Redis client, from its words; `None` if there are none.
    #[must_use]
    pub fn resp(words: &'a [&'a [u8]]) -> Option<Self> {
        let (verb, arguments) = words.split_first()?;
        Some(Self {
            // No command is called by anything that is not text.
            verb: std::str::from_utf8(verb).unwrap_or("\u{fffd}"),
            dialect: Dialect::Resp,
            arguments: Arguments::Split(arguments),
        })
    }

    /// The arguments, decoded. On a line, `rest_at` is the place of the argument that takes the rest of the line, if the
    /// command has one.
    ///
    /// # Errors
    /// `SYNTAX` or `TEXT`, with the column, where an argument is not a word and not a JSON string.
    pub fn arguments(&self, rest_at: Option<usize>) -> Result<Words<'a>, ErrorReply> {
        match self.arguments {
            Arguments::Line(text, start) => line::split_arguments(text, start, rest_at),
            Arguments::Split(words) => Ok(words.iter().map(|word| Cow::Borrowed(*word)).collect()),
        }
    }
}
