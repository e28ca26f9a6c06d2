//! The byte order mark, which some editors put before UTF-8.
//!
//! In: nothing. Out: the mark. Every input of text that a person may have edited begins after it.

/// The byte order mark.
pub const BOM: &str = "\u{feff}";
