//! Replies as JSON, one document per reply.
//!
//! In: lines of a reply, as they arrive. Out: a value, an array or an object, and a line end. Promise: a reply that is cut off is no whole
//! document.

use std::io::{self, Write};

use pykv::codec::json::string;
use serde_json::Value;

use super::nesting::Nesting;
use crate::reply::{Datum, Line};

/// The state of the current document.
#[derive(Debug, Default)]
pub struct Document {
    /// True until its object or array is closed.
    is_open: bool,
}

impl Document {
    /// Writes a line of a reply; `opening` is the bracket of a reply of several lines.
    pub fn line(&mut self, out: &mut impl Write, line: &Line, opening: &str) -> io::Result<()> {
        match line {
            Line::NotFound => writeln!(out, "null"),
            Line::Unchanged => writeln!(out, "\"UNCHANGED\""),
            Line::Array(1..) | Line::Map(1..) => {
                self.is_open = true;
                value(out, line)
            }
            Line::Event(word, payloads) => {
                let mut message = payloads.clone();
                message.insert(0, word.as_str().into());
                writeln!(out, "{}", Value::from(message))
            }
            Line::Key(key) => {
                self.separate(out, opening)?;
                write!(out, "{}", string(key))
            }
            Line::Namespace(name, keys) => self.entry(out, opening, name, keys),
            Line::Stat(name, figure) => self.entry(out, opening, name, figure),
            Line::Help(synopsis, summary) => self.entry(out, opening, synopsis, string(summary)),
            Line::Item(key, datum) => {
                self.entry(out, opening, key, "")?;
                write_datum(out, datum)
            }
            Line::End(_) => {
                if !self.is_open {
                    write!(out, "{opening}")?;
                }
                self.end();
                writeln!(out, "{}", if opening == "[" { "]" } else { "}" })
            }
            Line::Error(..) => Ok(()),
            line => {
                value(out, line)?;
                writeln!(out)
            }
        }
    }

    /// Ends the document.
    pub fn end(&mut self) {
        self.is_open = false;
    }

    /// Ends the line of a document that is cut off.
    pub fn break_off(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::take(&mut self.is_open) {
            writeln!(out)?;
        }
        Ok(())
    }

    /// Writes a name and its value; one of a few forms, the `Display` of the value, is JSON.
    fn entry(
        &mut self,
        out: &mut impl Write,
        opening: &str,
        name: &str,
        json: impl std::fmt::Display,
    ) -> io::Result<()> {
        self.separate(out, opening)?;
        write!(out, "{}:{json}", string(name))
    }

    /// Writes the opening bracket before the first member, and a comma before each other.
    fn separate(&mut self, out: &mut impl Write, opening: &str) -> io::Result<()> {
        let is_first = !std::mem::replace(&mut self.is_open, true);
        write!(out, "{}", if is_first { opening } else { "," })
    }
}

/// Writes a member of an array or map.
pub fn member(out: &mut impl Write, nesting: &Nesting, line: &Line) -> io::Result<()> {
    let before = match nesting.0.last() {
        Some(level) if level.is_at_value() => ":",
        Some(level) if level.begun > 1 => ",",
        _ => "",
    };
    write!(out, "{before}")?;
    value(out, line)
}

/// Writes the end of an array or map.
pub fn close(out: &mut impl Write, is_map: bool, is_outermost: bool) -> io::Result<()> {
    write!(out, "{}", if is_map { "}" } else { "]" })?;
    if is_outermost {
        writeln!(out)?;
    }
    Ok(())
}

fn value(out: &mut impl Write, line: &Line) -> io::Result<()> {
    match line {
        Line::Ok => write!(out, "\"OK\""),
        Line::Pong => write!(out, "\"PONG\""),
        Line::Queued => write!(out, "\"QUEUED\""),
        Line::Count(count) => write!(out, "{count}"),
        Line::Value(value) => write_datum(out, value),
        Line::Key(key) => write!(out, "{}", string(key)),
        Line::Array(0) => write!(out, "[]"),
        Line::Map(0) => write!(out, "{{}}"),
        Line::Array(_) => write!(out, "["),
        Line::Map(_) => write!(out, "{{"),
        Line::Error(code, message) => write!(out, "{}", error(code, message, None)),
        _ => write!(out, "null"),
    }
}

/// Returns an error as a document; `line` is the number of its line in the input.
pub fn error(code: &str, message: &str, line: Option<u64>) -> Value {
    let mut error = serde_json::json!({ "code": code, "message": message });
    if let Some(line) = line {
        error["line"] = line.into();
    }
    serde_json::json!({ "error": error })
}

/// Writes a value as in an exported file.
fn write_datum(out: &mut impl Write, value: &Datum) -> io::Result<()> {
    match value {
        Datum::Text(text) => serde_json::to_writer(out, text).map_err(io::Error::from),
        Datum::Base64(base64) => write!(out, "{{\"$base64\":{}}}", string(base64)),
    }
}
