//! What the bytes on the wire say, free of dialect: `Request` in, `Reply` out.
//!
//! `line` reads and writes the line dialect, `resp` that of Redis clients; any other (HTTP's shim) makes the same `Request` from
//! words that it has already split, and takes the same `Reply`s. protocol.md is the law of all of it.

pub mod line;
pub mod resp;

use std::borrow::Cow;
use std::fmt;

use crate::model::{PairError, UnixMs};

/// The closed list of errors: the first word after `ERR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The line cannot be taken apart: a string that does not end, say.
    Syntax,
    /// There is no such command.
    Unknown,
    /// The command does not take these arguments, or not here.
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
    /// What a Redis client branches on, where it says more than the code.
    pub prefix: Option<&'static str>,
}

impl ErrorReply {
    /// An error with its text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            prefix: None,
        }
    }

    /// The same with the prefix that a Redis client branches on.
    #[must_use]
    pub fn with_prefix(self, prefix: &'static str) -> Self {
        Self {
            prefix: Some(prefix),
            ..self
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply<'a> {
    /// Done.
    Ok,
    /// The value that was asked for.
    Value(&'a [u8]),
    /// There is no such key.
    NotFound,
    /// A condition did not hold: nothing was changed.
    Unchanged,
    /// As `Unchanged`, in the place of an array.
    NoArray,
    /// How many.
    Count(u64),
    /// How many, or less than nought for what is no number: a time to live.
    Signed(i64),
    /// A word of the server's own.
    Status(&'a str),
    /// Text of the server's own, of several lines as may be.
    Text(&'a str),
    /// So many replies follow, which together are one.
    Array(usize),
    /// So many times two replies follow: a name, and what it is.
    Map(usize),
    /// The request waits for EXEC.
    Queued,
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
    /// A namespace, and how many keys it has.
    Namespace(&'a str, u64),
    /// The end of a row of lines, and how many there were.
    End(u64),
    /// A subscription has begun or ended: which way, to what, and how many this connection has now.
    Subscription(Subscription, Option<&'a [u8]>, usize),
    /// Published, to a channel: the pattern by which it came here, if any, the channel, and what was said.
    Message(Option<&'a [u8]>, &'a [u8], &'a [u8]),
    /// The changes of keys with this prefix follow, after this revision.
    Following(&'a str, u64),
    /// They do no more.
    Unfollowed(&'a str),
    /// A change, and its revision.
    Change(u64, Changed<'a>),
    /// A request of somebody, in MONITOR.
    Monitor(&'a str),
    /// The answer to PING.
    Pong,
    /// Refused.
    Error(&'a ErrorReply),
}

/// The four ways in which a subscription begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription {
    /// To a channel.
    Begun,
    /// To a channel, no more.
    Ended,
    /// To a pattern.
    PatternBegun,
    /// To a pattern, no more.
    PatternEnded,
}

/// What has become of a pair, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed<'a> {
    /// It has this value, and ceases to be then.
    Put(&'a str, &'a [u8], Option<UnixMs>),
    /// It is gone.
    Delete(&'a str),
    /// All are gone.
    Clear,
}

/// Where replies go: a dialect writes each to its output as it comes.
pub trait Replies {
    /// Takes one reply.
    fn reply(&mut self, reply: Reply<'_>);
    /// From now on replies are in another dialect.
    fn speak(&mut self, dialect: Dialect);
    /// How far the replies have come.
    fn mark(&self) -> usize;
    /// Takes back what has come since.
    fn take_back(&mut self, since: usize);
}

/// Replies in a dialect, to the end of a buffer.
pub struct Spoken<'a> {
    /// The dialect.
    pub dialect: Dialect,
    /// The buffer.
    pub output: &'a mut Vec<u8>,
}

impl Replies for Spoken<'_> {
    fn reply(&mut self, reply: Reply<'_>) {
        match self.dialect {
            Dialect::Line => line::write(self.output, reply),
            Dialect::Resp2 => resp::write(self.output, reply, false),
            Dialect::Resp3 => resp::write(self.output, reply, true),
        }
    }

    fn speak(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    fn mark(&self) -> usize {
        self.output.len()
    }

    fn take_back(&mut self, since: usize) {
        self.output.truncate(since);
    }
}

/// The arguments of a request, decoded.
pub type Words<'a> = Vec<Cow<'a, [u8]>>;

/// How a client speaks: what commands are called, and how errors read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Lines, and whatever else is not Redis.
    #[default]
    Line,
    /// As Redis, and as all its clients understand it.
    Resp2,
    /// As Redis after `HELLO 3`.
    Resp3,
}

impl Dialect {
    /// Whether it is one of Redis's.
    #[must_use]
    pub fn is_resp(self) -> bool {
        self != Self::Line
    }
}

/// One whole request, borrowed from the buffer that it arrived in.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What is asked for, as it was written: case does not matter.
    pub verb: &'a [u8],
    arguments: Arguments<'a>,
}

#[derive(Debug, Clone)]
enum Arguments<'a> {
    /// The rest of a line and the byte at which it begins: where its last argument begins depends on the command.
    Line(&'a [u8], usize),
    /// Split already, by whoever knows where each word ends.
    Split(&'a [&'a [u8]]),
}

impl<'a> Request<'a> {
    /// A request whose arguments are split already.
    #[must_use]
    pub fn split(verb: &'a str, arguments: &'a [&'a [u8]]) -> Self {
        Self {
            verb: verb.as_bytes(),
            arguments: Arguments::Split(arguments),
        }
    }

    /// The arguments, decoded; see [`Request::split_into`].
    ///
    /// # Errors
    /// The same.
    pub fn arguments(&self, rest_at: Option<usize>) -> Result<Words<'a>, ErrorReply> {
        let mut words = Words::new();
        self.split_into(rest_at, &mut words)?;
        Ok(words)
    }

    /// Puts the arguments, decoded, behind those that are there. On a line, `rest_at` is the place of the argument that takes
    /// the rest of the line, if the command has one.
    ///
    /// # Errors
    /// `SYNTAX` or `TEXT`, with the column, where an argument is not a word and not a JSON string.
    pub fn split_into(
        &self,
        rest_at: Option<usize>,
        words: &mut Words<'a>,
    ) -> Result<(), ErrorReply> {
        match &self.arguments {
            Arguments::Line(text, start) => line::split_into(text, *start, rest_at, words),
            Arguments::Split(arguments) => {
                words.extend(arguments.iter().map(|word| Cow::Borrowed(*word)));
                Ok(())
            }
        }
    }
}
