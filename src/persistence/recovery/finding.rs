//! Damage that inspection and repair report.
//!
//! In: a place in a file. Out: what is wrong there and what is lost by it, as sentences for people.

use std::path::PathBuf;

/// The most bytes of a line that are shown.
const EXCERPT_BYTES_MAX: usize = 100;

/// Damage that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1, where the damage is in one line.
    pub line: Option<u64>,
    /// The fault.
    pub reason: String,
    /// The loss.
    pub lost: String,
}

/// Returns the beginning of a line for people, with control characters escaped, which a terminal would not show.
#[must_use]
pub fn excerpt(line: &[u8]) -> String {
    let head = String::from_utf8_lossy(&line[..line.len().min(EXCERPT_BYTES_MAX)]);
    let mut excerpt = String::new();
    for character in head.chars() {
        if character.is_control() {
            excerpt.extend(character.escape_default());
        } else {
            excerpt.push(character);
        }
    }
    if line.len() > EXCERPT_BYTES_MAX {
        excerpt.push_str(" (and more)");
    }
    excerpt
}
