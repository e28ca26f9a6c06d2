//! Replies as lines for programs.
//!
//! In: lines of a reply. Out: one row each, cells separated by tabs; or the bytes of a value. Promise: a row is read back without doubt; text
//! that could be taken for something else is written as a JSON string.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use pykv::codec::json;
use serde_json::Value;

use crate::reply::{Datum, Line};

/// What stands for a missing key.
pub const NOT_FOUND: &str = "Key not found";
const UNCHANGED: &str = "Unchanged";
const QUEUED: &str = "Queued";
/// The texts that stand for something else, and the beginnings of those that do.
const RESERVED: [&str; 3] = [NOT_FOUND, UNCHANGED, QUEUED];
const BASE64_WORD: &str = "BASE64 ";
const ERROR_WORD: &str = "ERR ";

/// Writes a line of a reply.
pub fn line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    let row: Cow<'_, str> = match line {
        Line::Ok => "OK".into(),
        Line::Pong => "PONG".into(),
        Line::NotFound => NOT_FOUND.into(),
        Line::Unchanged => UNCHANGED.into(),
        Line::Queued => QUEUED.into(),
        Line::Namespace(name, keys) => format!("{}\t{keys}", text(name)).into(),
        Line::Event(word, payloads) => push_message(word, payloads).into(),
        Line::Count(count) => count.to_string().into(),
        Line::Value(value) => datum(value),
        Line::Item(key, value) => format!("{}\t{}", text(key), datum(value)).into(),
        Line::Key(key) => text(key),
        Line::Stat(name, Value::String(figure)) => format!("{name}\t{}", text(figure)).into(),
        Line::Stat(name, figure) => format!("{name}\t{figure}").into(),
        Line::Help(synopsis, summary) => format!("{synopsis}\t{summary}").into(),
        Line::Array(_) | Line::Map(_) | Line::End(_) | Line::Error(..) => return Ok(()),
    };
    writeln!(out, "{row}")
}

/// Writes a member of an array or map, so that it differs from a missing key and from an error.
pub fn member(out: &mut impl Write, member: &Line) -> io::Result<()> {
    match member {
        Line::Error(code, message) => writeln!(out, "{ERROR_WORD}{code} {message}"),
        member => line(out, member),
    }
}

/// Writes a value that is the whole output: text as it is, whatever lines it has, unless all of it could be taken for something else.
pub fn value(out: &mut impl Write, value: &Datum) -> io::Result<()> {
    match value {
        Datum::Text(text) if !is_doubtful(text) => writeln!(out, "{text}"),
        Datum::Text(text) => writeln!(out, "{}", json::string(text)),
        binary @ Datum::Base64(_) => writeln!(out, "{}", datum(binary)),
    }
}

/// Returns whether text could be taken for a missing key, for base64, or for the JSON string of such a text.
fn is_doubtful(text: &str) -> bool {
    let inner = || serde_json::from_str::<String>(text).is_ok_and(|inner| is_doubtful(&inner));
    is_reserved(text) || text.starts_with(BASE64_WORD) || (text.starts_with('"') && inner())
}

/// Returns whether text is what stands for something else.
pub fn is_reserved(text: &str) -> bool {
    RESERVED.contains(&text)
}

/// Writes the bytes of a value as they are, and a line end if `has_line_end`.
///
/// # Errors
/// The output fails; the value is not base64.
pub fn raw(out: &mut impl Write, value: &Datum, has_line_end: bool) -> io::Result<()> {
    match value {
        Datum::Text(text) => out.write_all(text.as_bytes())?,
        Datum::Base64(base64) => {
            out.write_all(&BASE64.decode(base64).map_err(io::Error::other)?)?;
        }
    }
    if has_line_end {
        writeln!(out)?;
    }
    Ok(())
}

/// Returns the text of a cell: as a JSON string if it could be taken for one, for base64, for a missing key, for an error, or for more than
/// one cell.
pub fn text(text: &str) -> Cow<'_, str> {
    let is_ambiguous = is_reserved(text)
        || text.starts_with('"')
        || text.starts_with(BASE64_WORD)
        || text.starts_with(ERROR_WORD)
        || text.contains(char::is_control);
    if is_ambiguous {
        Cow::Owned(json::string(text))
    } else {
        Cow::Borrowed(text)
    }
}

/// Returns a value as the text of a cell.
pub fn datum(value: &Datum) -> Cow<'_, str> {
    match value {
        Datum::Text(value) => text(value),
        Datum::Base64(base64) => Cow::Owned(format!("BASE64 {}", json::string(base64))),
    }
}

/// Returns a push message as on the wire.
pub fn push_message(word: &str, payloads: &[Value]) -> String {
    let mut line = word.to_owned();
    for (place, payload) in payloads.iter().enumerate() {
        line.push(' ');
        match payload {
            // The second payload of a change is the word of the change.
            Value::String(change) if word == "CHANGE" && place == 1 => line += change,
            Value::Object(binary) => line += &format!("BASE64 {}", binary["$base64"]),
            other => line += &other.to_string(),
        }
    }
    line
}
