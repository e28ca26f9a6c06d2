//! An error with its causes, in one sentence: for whoever reads what a program prints.

use std::error::Error;

/// What went wrong, and why, as in `cannot open data: permission denied`.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let all = std::iter::successors(Some(error), |&error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
