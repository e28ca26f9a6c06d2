//! Requests and replies, free of dialect.
//!
//! In: bytes, which `line` (the line dialect) and `resp` (RESP2, RESP3) parse into `Request`s. Out: `Reply`s, which the same
//! two encode. A door without a byte dialect (HTTP) builds `Request`s from words and reads `Reply`s as they are.
//! protocol.md is the specification of both.

mod dialect;
pub mod line;
pub mod resp;

use std::borrow::Cow;
use std::fmt;

use crate::model::{PairError, UnixMs, Value};

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

/// One reply, free of dialect. A request is answered by one reply, by an aggregate (`Array`, `Map`) and its elements, or by
/// rows (`Item`, `Key`, `Stat`, `Help`, `Namespace`) and an `End`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply<'a> {
    /// Done.
    Ok,
    /// A value has been stored. Dialects write it as [`Reply::Ok`].
    Stored(StoredPair),
    /// Bytes.
    Value(&'a [u8]),
    /// The value of a key. Dialects write its bytes.
    Found(Value<'a>),
    /// The key does not exist.
    NotFound,
    /// A condition did not hold; nothing was changed.
    Unchanged,
    /// As `Unchanged`, where an array was due.
    NoArray,
    /// A count.
    Count(u64),
    /// A number that may be negative, such as a time to live.
    Signed(i64),
    /// A word of the server.
    Status(&'a str),
    /// Text of the server, of one or several lines.
    Text(&'a str),
    /// The head of an array of this many replies.
    Array(usize),
    /// The head of a map of this many pairs of replies.
    Map(usize),
    /// The request waits for EXEC.
    Queued,
    /// A number that is the value of a key.
    Number(i64),
    /// A row of ALL: key and value.
    Item(&'a str, Value<'a>),
    /// A row of KEYS.
    Key(&'a str),
    /// A row of STATS: name and figure.
    Stat(&'a str, &'a Figure),
    /// A row of HELP: synopsis and summary.
    Help(&'a str, &'a str),
    /// A row of NAMESPACES: name and number of keys.
    Namespace(&'a str, u64),
    /// The end of rows, and their number.
    End(u64),
    /// The end of the rows of NAMESPACES: their number, and the number of keys in no namespace.
    NamespacesEnd(u64, u64),
    /// A subscription began or ended: which kind, its channel or pattern, and the number of subscriptions left.
    Subscription(Subscription, Option<&'a [u8]>, usize),
    /// A published message: the pattern that matched, if any, channel and payload.
    Message(Option<&'a [u8]>, &'a [u8], &'a [u8]),
    /// Changes of keys with this prefix follow, after this revision.
    Following(&'a str, u64),
    /// Changes of keys with this prefix no longer follow.
    Unfollowed(&'a str),
    /// A change and its revision.
    Change(u64, Changed<'a>),
    /// A request of some client, for MONITOR.
    Monitor(&'a str),
    /// The reply to PING.
    Pong,
    /// Refused.
    Error(&'a ErrorReply),
}

/// The pair that a request has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPair {
    /// The key did not exist before.
    pub is_new: bool,
    /// Expiry, in milliseconds since 1970.
    pub expires_at: Option<UnixMs>,
}

/// The four kinds of subscription events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription {
    /// A channel was subscribed to.
    Begun,
    /// A channel was unsubscribed from.
    Ended,
    /// A pattern was subscribed to.
    PatternBegun,
    /// A pattern was unsubscribed from.
    PatternEnded,
}

/// A change of one key, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed<'a> {
    /// The key has this value and this expiry.
    Put(&'a str, &'a [u8], Option<UnixMs>),
    /// The key was deleted.
    Delete(&'a str),
    /// All keys were deleted.
    Clear,
}

/// The arguments of a request, decoded.
pub type Words<'a> = Vec<Cow<'a, [u8]>>;

/// The form of requests and replies: names of commands, encoding, texts of errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The line dialect. Doors without a byte dialect use its names and error texts.
    #[default]
    Line,
    /// RESP2.
    Resp2,
    /// RESP3, after `HELLO 3`.
    Resp3,
}

impl Dialect {
    /// Returns true for RESP2 and RESP3.
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
    arguments: RawArguments<'a>,
}

#[derive(Debug, Clone)]
enum RawArguments<'a> {
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
            arguments: RawArguments::Split(arguments),
        }
    }
}
