//! The end of a task: an `Outcome` if it ran, a `ClientError` if it could not, each with its exit status.
//!
//! A refusal by the server is an outcome, shown like any reply. It is an error only where the task cannot go on after it.

use std::io;
use std::time::Duration;

use pykv::codec::pair_file::Fault;
use pykv::error::{error_chain, without_numbers};

use crate::address::{Address, AddressError};
use crate::deadline::Step;
use crate::interrupt::INTERRUPTED_STATUS;
use crate::place::Place;
use crate::terminal::tell_error;
use crate::units::counted;

/// The result of a task that ran, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Done; `NOT_FOUND` is a reply like any other, except where only the bytes of a value are written.
    Done,
    /// There is no value whose bytes could be written: exit status 3.
    NotFound,
    /// The server refused something, or there is something to report: exit status 1.
    Refused,
}

impl Outcome {
    /// Returns `Done` if the condition holds, else `Refused`.
    pub fn done_if(is_done: bool) -> Self {
        if is_done { Self::Done } else { Self::Refused }
    }

    /// Returns the exit status of the program.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::NotFound => 3,
        }
    }
}

/// The reason why a task ended early.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is malformed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No connection could be opened; nothing was sent.
    #[error("cannot connect to {address}")]
    Connect {
        address: Address,
        #[source]
        source: io::Error,
    },
    /// The server was silent for longer than the limit.
    #[error("the server at {name} did not answer within {seconds} s: {step}")]
    Silent {
        name: String,
        seconds: f64,
        step: Step,
    },
    /// The connection was lost between a request and the end of its reply.
    #[error("the connection to {address} was lost before the answer was complete")]
    Lost {
        address: Address,
        #[source]
        source: io::Error,
    },
    /// The peer does not speak the protocol.
    #[error("{address} does not answer as a PyKV server does: {shown}")]
    Foreign { address: Address, shown: String },
    /// Ctrl-C was pressed during a reply.
    #[error("interrupted before the answer was complete")]
    Interrupted,
    /// Ctrl-C was pressed at a question.
    #[error("interrupted at the question; nothing was done")]
    Dismissed,
    /// Ctrl-C ended a stream that has no other end.
    #[error("ended by Ctrl-C")]
    StreamEnded,
    /// The reply to a change is missing.
    #[error("the change may or may not have been done")]
    InDoubt(#[source] Box<ClientError>),
    /// The reply to a request of the input is missing.
    #[error("line {}", place.line)]
    OnLine {
        place: Place,
        #[source]
        cause: Box<ClientError>,
    },
    /// The replies to the last requests of a bulk load are missing.
    #[error(
        "the server closed the connection before all requests were answered: those without an answer may or may not have been done"
    )]
    Unanswered,
    /// The input ends inside something that is not complete.
    #[error("the input ends after {} inside {inside}", counted(*end, "byte"))]
    Cut { end: u64, inside: String },
    /// The input holds something that is no request.
    #[error("{place}, is malformed; neither that nor what follows was sent: {reason}")]
    MalformedInput { place: Place, reason: String },
    /// The server refused a request that the task depends on.
    #[error("{code} {message}")]
    Refused { code: String, message: String },
    /// The command line or a typed request is wrong.
    #[error("{0}")]
    Usage(String),
    /// A file to import is broken.
    #[error("{name}: {fault}; {report}")]
    Broken {
        name: String,
        fault: Fault,
        /// The number of pairs stored, and the way to go on.
        report: String,
    },
    /// A source or target of many pairs failed.
    #[error("{name}: {reason}")]
    Store { name: String, reason: String },
    /// A file, standard input or standard output failed.
    #[error("cannot {action} {name}")]
    File {
        action: &'static str,
        name: String,
        #[source]
        source: io::Error,
    },
}

impl ClientError {
    /// Returns the conversion from an I/O error of a file.
    pub fn file(action: &'static str, name: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |source| Self::File {
            action,
            name,
            source,
        }
    }

    /// Returns the error of a server that was silent up to a limit.
    pub fn silent(name: &impl ToString, limit: Option<Duration>, step: Step) -> Self {
        let (name, seconds) = (name.to_string(), limit.unwrap_or_default().as_secs_f64());
        Self::Silent {
            name,
            seconds,
            step,
        }
    }

    /// Converts an error of standard output.
    pub fn output(source: io::Error) -> Self {
        Self::file("write to", "standard output")(source)
    }

    /// Converts an error of the terminal.
    pub fn terminal(source: io::Error) -> Self {
        Self::file("use", "the terminal")(source)
    }

    /// Converts an error reply, which begins with its code.
    pub fn refused(reply: &str) -> Self {
        let (code, message) = reply.split_once(' ').unwrap_or((reply, ""));
        Self::Refused {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// Returns whether the reader of standard output has gone, as after `| head`, which is not a failure.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns whether the next request may use the same connection. After an interrupt, the rest of the reply may still arrive.
    pub fn leaves_connection_usable(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Dismissed
                | Self::Usage(_)
                | Self::File { .. }
                | Self::Store { .. }
                | Self::Broken { .. }
        )
    }

    /// Returns whether Ctrl-C is the cause.
    pub fn is_interrupt(&self) -> bool {
        match self {
            Self::InDoubt(cause) | Self::OnLine { cause, .. } => cause.is_interrupt(),
            other => matches!(
                other,
                Self::Interrupted | Self::Dismissed | Self::StreamEnded
            ),
        }
    }

    /// Returns whether the server was silent for too long.
    fn is_silence(&self) -> bool {
        match self {
            Self::InDoubt(cause) | Self::OnLine { cause, .. } => cause.is_silence(),
            other => matches!(other, Self::Silent { .. }),
        }
    }

    /// Returns the exit status of the program: 1 refused or a broken file, 130 interrupted, else 2.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Broken { .. } => 1,
            other if other.is_interrupt() => INTERRUPTED_STATUS,
            _ => 2,
        }
    }
}

/// Returns an error with its causes, without the numbers that the system has for errors.
pub fn in_words(error: &ClientError) -> String {
    without_numbers(&error_chain(error))
}

/// Writes an error with its causes to standard error.
pub fn report(error: &ClientError) {
    let mut text = format!("Error: {}", in_words(error));
    if error.is_silence() {
        text += "; --timeout SECONDS waits longer";
    }
    match error {
        // What TLS refuses says itself what to do.
        ClientError::Connect { source, .. } if source.raw_os_error().is_some() => {
            text += "; is pykv-server running?";
        }
        ClientError::OnLine { place, .. } => {
            text += &format!(
                "; answered before: {}",
                counted(place.request - 1, "request")
            );
        }
        _ => {}
    }
    tell_error(&text);
}
