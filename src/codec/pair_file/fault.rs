//! Why the reading of a file of pairs ended before its end.

use std::io;

/// A fault of the file itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct Fault {
    /// The line of the unzipped text, counted from 1.
    pub line: u64,
    /// The byte of that line, counted from 1.
    pub column: u64,
    /// What is wrong there.
    pub reason: String,
}

/// The text of a file cannot be read.
#[derive(Debug)]
pub enum TextError {
    /// The file is broken.
    Fault(Fault),
    /// Its source failed.
    Source(io::Error),
}

impl From<Fault> for TextError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for TextError {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

/// The reading of pairs has ended early; `E` is the reason of who takes them.
#[derive(Debug)]
pub enum ReadError<E> {
    /// The file is broken.
    Fault(Fault),
    /// Its source failed.
    Source(io::Error),
    /// The pair that was read last was refused.
    Refused(E),
}

impl<E> From<TextError> for ReadError<E> {
    fn from(error: TextError) -> Self {
        match error {
            TextError::Fault(fault) => Self::Fault(fault),
            TextError::Source(error) => Self::Source(error),
        }
    }
}

impl<E> From<Fault> for ReadError<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
