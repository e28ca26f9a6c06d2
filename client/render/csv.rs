//! Replies as rows of CSV.
//!
//! In: lines of a reply. Out: one row each (RFC 4180), cells quoted where needed.

use std::borrow::Cow;
use std::io::{self, Write};
use std::iter;

use serde_json::Value;

use super::plain;
use crate::reply::{Datum, Line};

/// Writes a line of a reply.
pub fn line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    let cells: Vec<Cow<'_, str>> = match line {
        Line::Ok => vec!["OK".into()],
        Line::Pong => vec!["PONG".into()],
        Line::Queued => vec!["QUEUED".into()],
        Line::Unchanged => vec!["UNCHANGED".into()],
        // An empty cell, where an empty value is a quoted one.
        Line::NotFound => return writeln!(out),
        Line::Count(count) => vec![count.to_string().into()],
        Line::Value(value) => vec![datum(value)],
        Line::Item(key, value) => vec![key.into(), datum(value)],
        Line::Key(key) => vec![key.into()],
        Line::Namespace(name, keys) => vec![name.into(), keys.to_string().into()],
        Line::Stat(name, value) => vec![name.into(), figure(value)],
        Line::Help(synopsis, summary) => vec![synopsis.into(), summary.into()],
        Line::Event(word, payloads) => iter::once(word.into())
            .chain(payloads.iter().map(figure))
            .collect(),
        Line::Array(_) | Line::Map(_) | Line::End(_) | Line::Error(..) => return Ok(()),
    };
    row(out, cells.iter().map(|cell| &**cell))
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

fn datum(value: &Datum) -> Cow<'_, str> {
    match value {
        Datum::Text(text) => text.into(),
        binary @ Datum::Base64(_) => plain::datum(binary),
    }
}

fn figure(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}
