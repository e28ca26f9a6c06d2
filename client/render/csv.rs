//! Replies as rows of CSV.
//!
//! In: lines of a reply. Out: one row each (RFC 4180), cells quoted where needed. Promises: a value has a second cell that says whether it
//! is text, base64 of other bytes, or missing; the rows of pairs are a file that `import` reads.

use std::borrow::Cow;
use std::io::{self, Write};
use std::iter;

use serde_json::Value;

use super::plain;
use crate::reply::{Datum, Line};

/// The names of the columns of pairs, as in an exported file.
const PAIR_COLUMNS: [&str; 3] = ["key", "value", "encoding"];

/// The state of the current reply.
#[derive(Debug, Default)]
pub struct Rows {
    has_header: bool,
}

impl Rows {
    /// Writes a line of a reply, whose rows may be pairs.
    pub fn line(&mut self, out: &mut impl Write, line: &Line, has_pairs: bool) -> io::Result<()> {
        if has_pairs
            && matches!(line, Line::Item(..) | Line::End(_))
            && !std::mem::replace(&mut self.has_header, true)
        {
            row(out, PAIR_COLUMNS)?;
        }
        let cells: Vec<Cow<'_, str>> = match line {
            Line::Ok => vec!["OK".into()],
            Line::Pong => vec!["PONG".into()],
            Line::Queued => vec!["QUEUED".into()],
            Line::Unchanged => vec!["UNCHANGED".into()],
            Line::NotFound => vec!["".into(), "none".into()],
            Line::Count(count) => vec![count.to_string().into()],
            Line::Value(value) => datum(value).into(),
            Line::Item(key, value) => iter::once(key.into()).chain(datum(value)).collect(),
            Line::Key(key) => vec![key.into()],
            Line::Namespace(name, keys) => vec![name.into(), keys.to_string().into()],
            Line::Stat(name, value) => vec![name.into(), figure(value)],
            Line::Help(synopsis, summary) => vec![synopsis.into(), summary.into()],
            Line::Event(word, payloads) => iter::once(word.into())
                .chain(payloads.iter().map(payload))
                .collect(),
            // A member of an array; any other is written to standard error.
            Line::Error(code, message) => vec!["ERR".into(), code.into(), message.into()],
            Line::Array(_) | Line::Map(_) | Line::End(_) => return Ok(()),
        };
        row(out, cells.iter().map(|cell| &**cell))
    }

    /// Ends the reply.
    pub fn end(&mut self) {
        self.has_header = false;
    }
}

/// Writes a row of cells.
pub fn row<'c>(out: &mut impl Write, cells: impl IntoIterator<Item = &'c str>) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    let row = writer
        .into_inner()
        .map_err(csv::IntoInnerError::into_error)?;
    out.write_all(&row)
}

/// Returns the cells of a value.
fn datum(value: &Datum) -> [Cow<'_, str>; 2] {
    match value {
        Datum::Text(text) => [text.into(), "text".into()],
        Datum::Base64(base64) => [base64.into(), "base64".into()],
    }
}

fn figure(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// Returns the cell of a payload of a push message, as in the plain form.
fn payload(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => plain::text(text),
        Value::Object(binary) => format!("BASE64 {}", binary["$base64"]).into(),
        other => other.to_string().into(),
    }
}
