//! The place of a request in an input, by which an error names it.

use std::fmt;

use crate::units::grouped;

/// The place where a request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The number of the request, from 1; blank lines are none.
    pub request: u64,
    /// The number of its line, from 1.
    pub line: u64,
    /// The bytes before it.
    pub byte: u64,
}

impl Place {
    /// The place of the first request.
    pub const START: Self = Self {
        request: 1,
        line: 1,
        byte: 0,
    };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [request, line, byte] = [self.request, self.line, self.byte].map(grouped);
        write!(
            f,
            "request {request}, which begins at byte {byte} (line {line})"
        )
    }
}
