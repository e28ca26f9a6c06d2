//! Text that is safe for a terminal, and messages on standard error.
//!
//! In: any text. Out: the same without control characters. Promise: no data can move the cursor, change the direction of text or do worse.

use std::borrow::Cow;
use std::io::{self, Write as _};

use crate::style::paint_error;

/// Returns text with its control characters escaped as in JSON, except the `allowed` ones.
pub fn visible<'t>(text: &'t str, allowed: &[char]) -> Cow<'t, str> {
    let is_unsafe = |character: char| is_control(character) && !allowed.contains(&character);
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            out += &escape(character);
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Returns whether a terminal acts on this character: a control character, or one that sets the direction of text.
pub fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the JSON escape of a control character.
pub fn escape(character: char) -> String {
    match character {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        other => format!("\\u{:04x}", u32::from(other)),
    }
}

/// Writes a message to standard error. A failure is ignored: there is nowhere else to report it.
pub fn tell(message: &str) {
    let _ = io::stderr().write_all(format!("{}\n", visible(message, &[])).as_bytes());
}

/// Writes an error to standard error, in red.
pub fn tell_error(message: &str) {
    let _ = writeln!(io::stderr(), "{}", paint_error(&visible(message, &[])));
}
