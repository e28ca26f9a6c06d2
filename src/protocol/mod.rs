//! Requests and replies, independent of the dialect.
//!
//! In: bytes, which `line` (the line dialect), `resp` (RESP2, RESP3) and `inline` (Redis's lines) parse into `Request`s. Out: `Reply`s, which the same two
//! encode. HTTP, which has no dialect, makes `Request`s of words and reads `Reply`s directly. protocol.md specifies the dialects.

mod dialect;
pub mod foreign;
pub mod inline;
pub mod line;
pub mod resp;

use std::borrow::Cow;
use std::fmt;

use crate::model::{PairError, UnixMs, Value};

/// Error code: the first word after `ERR`. The list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request cannot be parsed; a string is not terminated, for example.
    Syntax,
    /// The command does not exist.
    Unknown,
    /// The arguments are not valid, or the command is not allowed in this state.
    Args,
    /// A key, a value or a request is over its limit.
    TooLarge,
    /// Bytes that must be UTF-8 are not.
    Text,
    /// The client has to authenticate first.
    NoAuth,
    /// The request is not permitted.
    Denied,
    /// The memory limit is reached.
    Full,
    /// The disk refuses changes.
    Disk,
    /// The keys are of several slots of the cluster.
    CrossSlot,
    /// There is no feed of changes.
    NoFeed,
    /// A change may have been made, and may be lost.
    InDoubt,
    /// A replica takes no changes.
    ReadOnly,
    /// Another server of the cluster leads.
    NotLeader,
    /// There are too many connections, or the data is being loaded.
    Busy,
    /// A script has raised an error, which begins with a code of its own.
    Script,
    /// The server has failed.
    Internal,
}

impl ErrorCode {
    /// Returns the code as it is sent.
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
            Self::CrossSlot => "CROSS_SLOT",
            Self::NoFeed => "NO_FEED",
            Self::InDoubt => "IN_DOUBT",
            Self::ReadOnly => "READONLY",
            Self::NotLeader => "NOT_LEADER",
            Self::Busy => "BUSY",
            Self::Script => "SCRIPT",
            Self::Internal => "INTERNAL",
        }
    }
}

/// An error reply: a code for programs, one line of text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// Code.
    pub code: ErrorCode,
    /// Cause, place and remedy, in one line.
    pub message: String,
    /// First word of the error in RESP, if it is not that of the code.
    pub prefix: Option<&'static str>,
}

impl ErrorReply {
    /// Makes an error without a prefix.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            prefix: None,
        }
    }

    /// Sets the first word of the error in RESP.
    #[must_use]
    pub fn with_prefix(self, prefix: &'static str) -> Self {
        Self {
            prefix: Some(prefix),
            ..self
        }
    }

    /// Returns the first word of the error in RESP.
    #[must_use]
    pub fn redis_prefix(&self) -> &'static str {
        self.prefix.unwrap_or(match self.code {
            ErrorCode::Disk => "MISCONF",
            ErrorCode::Busy => "LOADING",
            ErrorCode::Full => "OOM",
            ErrorCode::NoAuth => "NOAUTH",
            ErrorCode::CrossSlot => "CROSSSLOT",
            ErrorCode::NoFeed => "NOFEED",
            ErrorCode::InDoubt => "INDOUBT",
            ErrorCode::ReadOnly => "READONLY",
            ErrorCode::NotLeader => "NOT_LEADER",
            _ => "ERR",
        })
    }
}

impl From<PairError> for ErrorReply {
    fn from(error: PairError) -> Self {
        let code = match error {
            PairError::KeyTooLarge(_) | PairError::ValueTooLarge(_) => ErrorCode::TooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.as_str(), self.message)
    }
}

/// The error for bytes that are not a request.
#[derive(Debug)]
pub struct Refusal {
    /// The reply.
    pub error: ErrorReply,
    /// True if the connection is to be closed, as the start of the next request is unknown.
    pub closes: bool,
}

/// A figure of STATS.
#[derive(Debug, Clone, PartialEq)]
pub enum Figure {
    /// A whole number.
    Count(u64),
    /// A number with a fraction: seconds, a rate.
    Real(f64),
    /// A word or a sentence.
    Text(String),
    /// Not known.
    Absent,
}

impl Figure {
    /// Converts the figure to JSON, rounded to three digits after the point.
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

/// Channel of invalidations for a client that subscribes to them in RESP2.
pub const INVALIDATION_CHANNEL: &[u8] = b"__redis__:invalidate";

/// A reply, independent of the dialect. A request is answered by one reply, by an aggregate (`Array`, `Map`) and its elements, or
/// by rows (`Item`, `Key`, `Stat`, `Help`, `Namespace`) and an `End`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply<'a> {
    /// Success.
    Ok,
    /// A value was stored. Encoded as [`Reply::Ok`].
    Stored(StoredPair),
    /// Bytes.
    Value(&'a [u8]),
    /// The value of a key. Encoded as its bytes.
    Found(Value<'a>),
    /// The key does not exist.
    NotFound,
    /// A condition did not hold; nothing was changed.
    Unchanged,
    /// As `Unchanged`, in place of an array.
    NoArray,
    /// A count.
    Count(u64),
    /// A number that may be negative, such as a time to live.
    Signed(i64),
    /// A number with a fraction, as decimal text.
    Double(&'a str),
    /// A word of the server's.
    Status(&'a str),
    /// Text of the server's, of one or several lines.
    Text(&'a str),
    /// The head of an array of this many replies.
    Array(usize),
    /// A set of this many replies, which follow.
    Set(usize),
    /// The head of a map of this many pairs of replies.
    Map(usize),
    /// The request is queued until EXEC.
    Queued,
    /// A number that is the value of a key.
    Number(i64),
    /// A row of ALL: key and value.
    Item(&'a [u8], Value<'a>),
    /// A row of KEYS.
    Key(&'a [u8]),
    /// A row of STATS: name and figure.
    Stat(&'a str, &'a Figure),
    /// A row of HELP: synopsis and summary.
    Help(&'a str, &'a str),
    /// A row of NAMESPACES: name and number of keys.
    Namespace(&'a [u8], u64),
    /// The end of rows, and their number.
    End(u64),
    /// The end of the rows of NAMESPACES: their number, and the number of keys in no namespace.
    NamespacesEnd(u64, u64),
    /// A subscription began or ended: which kind, its channel or pattern, and the number of subscriptions left.
    Subscription(Subscription, Option<&'a [u8]>, usize),
    /// A published message: the pattern that matched, if any, channel and payload.
    Message(Option<&'a [u8]>, &'a [u8], &'a [u8]),
    /// A message of a shard channel: channel and payload.
    ShardMessage(&'a [u8], &'a [u8]),
    /// A key whose copies are not to be used any more, or all keys.
    Invalidated(Option<&'a [u8]>),
    /// The client with this number is gone, which invalidations were to be sent to.
    RedirectionBroken(u64),
    /// Following of a prefix began, after this revision.
    Following(&'a [u8], u64),
    /// Following of a prefix ended.
    Unfollowed(&'a [u8]),
    /// A change and its revision.
    Change(u64, Changed<'a>),
    /// Bytes as they are: a part of the feed of a replica.
    Raw(&'a [u8]),
    /// A request of some client, for MONITOR.
    Monitor(&'a str),
    /// The reply to PING.
    Pong,
    /// The request was refused, or failed.
    Error(&'a ErrorReply),
}

/// Metadata of a pair that a request has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPair {
    /// True if the key did not exist before.
    pub is_new: bool,
    /// Expiry, in milliseconds since 1970.
    pub expires_at: Option<UnixMs>,
}

/// Kind of a subscription event.
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
    /// A shard channel was subscribed to.
    ShardBegun,
    /// A shard channel was unsubscribed from.
    ShardEnded,
}

/// A change of one key, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed<'a> {
    /// The key has this value and this expiry.
    Put(&'a [u8], &'a [u8], Option<UnixMs>),
    /// The key was deleted.
    Delete(&'a [u8]),
    /// The key was evicted, as the memory of the data has a cap.
    Evict(&'a [u8]),
    /// All keys were deleted.
    Clear,
}

/// Decoded words of requests.
pub type Words<'a> = Vec<Cow<'a, [u8]>>;

/// Dialect of requests and replies: names of commands, encoding, texts of errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The line dialect, whose names and error texts HTTP uses, too.
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

/// A complete request, borrowed from the input buffer.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Name of the command, in any case.
    pub verb: &'a [u8],
    arguments: RawArguments<'a>,
}

#[derive(Debug, Clone)]
enum RawArguments<'a> {
    /// A line, and the offset of its arguments: how they are split depends on the command.
    Line(&'a [u8], usize),
    /// Decoded words.
    Split(&'a [&'a [u8]]),
}

impl<'a> Request<'a> {
    /// Makes a request of decoded words.
    #[must_use]
    pub fn split(verb: &'a str, arguments: &'a [&'a [u8]]) -> Self {
        Self {
            verb: verb.as_bytes(),
            arguments: RawArguments::Split(arguments),
        }
    }
}
