//! The text of an error with its causes, for people who read what a program prints.
//!
//! In: an error. Out: one line.

use std::error::Error;

/// Returns the text of an error and of each of its sources, as in `cannot open data: permission denied`.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let all = std::iter::successors(Some(error), |&error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
