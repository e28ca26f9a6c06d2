//! Why what was asked could not be done, and what that means for what comes next.
//!
//! A server's refusal is an answer, shown like any other; it is an error here only where nothing can go on without it.

use std::io;

use crate::connection::{Address, AddressError};

/// Why what was asked could not be done, other than by the server's refusal.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// There is no server, or it cannot be reached. Nothing was sent.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where it was looked for.
        address: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection ended between a request and the end of its reply.
    #[error("the connection to {address} was lost before the answer was complete")]
    Lost {
        /// The server's.
        address: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something else listens there.
    #[error("{address} does not answer as a PyKV server does: {shown}")]
    Foreign {
        /// Where.
        address: Address,
        /// The beginning of what it answered.
        shown: String,
    },
    /// The user has pressed Ctrl-C.
    #[error("interrupted before the answer was complete")]
    Interrupted,
    /// The user has seen enough of what comes by itself.
    #[error("ended by Ctrl-C")]
    SeenEnough,
    /// It was a change whose reply is missing.
    #[error("the change may or may not have been done")]
    InDoubt(#[source] Box<ClientError>),
    /// It happened to what stands on this line of the input.
    #[error("line {line}")]
    OnLine {
        /// The line.
        line: u64,
        /// What happened.
        #[source]
        cause: Box<ClientError>,
    },
    /// The server refused what cannot go on without it.
    #[error("{code} {message}")]
    Refused {
        /// Which of the closed list of codes.
        code: String,
        /// Why.
        message: String,
    },
    /// The command line holds what no request can.
    #[error("{0}")]
    Usage(String),
    /// A file to import is not one flat JSON object.
    #[error("{name}: {reason}; stored before that: {stored}")]
    Malformed {
        /// The file.
        name: String,
        /// What is wrong, with line and column.
        reason: String,
        /// How many pairs.
        stored: String,
    },
    /// A server that is read from or written to many pairs at a time.
    #[error("{name}: {reason}")]
    Store {
        /// The server's.
        name: String,
        /// What it said, or the system.
        reason: String,
    },
    /// A file, standard input or standard output.
    #[error("cannot {action} {name}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ClientError {
    /// A fault of a file.
    pub fn file(action: &'static str, name: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |source| Self::File {
            action,
            name,
            source,
        }
    }

    /// A fault of standard output.
    pub fn output(source: io::Error) -> Self {
        Self::file("write to", "standard output")(source)
    }

    /// Whether nobody reads our output any more, as after `| head`. That is no fault.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the server may still be asked on the same connection.
    pub fn connection_still_good(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Usage(_)
            | Self::File { .. }
            | Self::Store { .. }
            | Self::Malformed { .. } => true,
            // After an interrupt, the reply may still be on its way.
            Self::Address(_)
            | Self::Connect { .. }
            | Self::Lost { .. }
            | Self::Foreign { .. }
            | Self::Interrupted
            | Self::SeenEnough
            | Self::InDoubt(_)
            | Self::OnLine { .. } => false,
        }
    }

    /// Whether the user has ended it.
    pub fn is_interrupt(&self) -> bool {
        match self {
            Self::InDoubt(cause) | Self::OnLine { cause, .. } => cause.is_interrupt(),
            other => matches!(other, Self::Interrupted | Self::SeenEnough),
        }
    }

    /// What the program's exit status says of it.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Refused { .. } => 1,
            // What a shell says of a program that Ctrl-C has ended.
            other if other.is_interrupt() => 130,
            _ => 2,
        }
    }
}
