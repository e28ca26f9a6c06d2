//! Replies for people, on a terminal.
//!
//! In: lines of a reply, as they arrive. Out: tables, colours, numbered members. Promise: no control character of the data reaches the
//! terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use pykv::codec::json;
use pykv::codec::key_text::key_bytes;
use pykv::protocol::line::quote_key;
use serde_json::Value;

use super::nesting::{Level, Nesting};
use super::plain::{is_reserved, push_message};
use super::table::Table;
use crate::reply::{Datum, Line};
use crate::style::{Kind, is_nested_json, paint, pretty_json};
use crate::terminal::visible;
use crate::units::{bytes, counted, duration, grouped};

/// What stands between the size of binary data and its base64.
const BINARY_MARK: &str = ", base64) ";

/// The state of the current reply.
#[derive(Default)]
pub struct Screen {
    table: Option<Table>,
    /// True if the current line holds a part of a nested reply already.
    is_line_begun: bool,
}

impl Screen {
    /// Writes a line of a reply; `noun` is that of its rows, if they are counted.
    pub fn line(
        &mut self,
        out: &mut impl Write,
        line: &Line,
        noun: Option<&str>,
    ) -> io::Result<()> {
        let (text, kind): (Cow<'_, str>, Kind) = match line {
            Line::Ok => return writeln!(out, "OK"),
            Line::Pong => return writeln!(out, "PONG"),
            Line::Array(0) | Line::Map(0) => return writeln!(out, "(empty)"),
            Line::Array(_) | Line::Map(_) | Line::Error(..) => return Ok(()),
            Line::Event(word, payloads) => {
                return writeln!(out, "{}", visible(&push_message(word, payloads), &[]));
            }
            Line::Item(..) | Line::Stat(..) | Line::Help(..) | Line::Namespace(..) => {
                let table = self.table.get_or_insert_with(|| {
                    Table::new(match line {
                        Line::Item(..) => Some(["key", "value"]),
                        Line::Namespace(..) => Some(["namespace", "keys"]),
                        _ => None,
                    })
                });
                return table.row(out, &cells(line));
            }
            Line::End(count) => {
                self.finish(out)?;
                return match noun {
                    Some(noun) => writeln!(out, "{}", counted(*count, noun)),
                    None => Ok(()),
                };
            }
            Line::NotFound => ("Key not found".into(), Kind::Dim),
            Line::Unchanged => ("Unchanged".into(), Kind::Dim),
            Line::Queued => ("Queued".into(), Kind::Dim),
            Line::Count(count) => {
                let shown = u64::try_from(*count);
                let shown = shown.map_or_else(|_| count.to_string(), grouped);
                (shown.into(), Kind::Literal)
            }
            Line::Value(Datum::Text(text)) => {
                let shown = match quoted_if_doubtful(text) {
                    Cow::Owned(quoted) => return writeln!(out, "{}", visible(&quoted, &[])),
                    Cow::Borrowed(text) => visible(text, &['\n', '\t']),
                };
                if is_nested_json(&shown) {
                    return writeln!(out, "{}", pretty_json(&shown));
                }
                (shown, Kind::of_value(text))
            }
            Line::Value(Datum::Base64(base64)) => (binary_note(base64).into(), Kind::Dim),
            Line::Key(key) => (visible(&shown_key(key), &[]).into_owned().into(), Kind::Key),
        };
        writeln!(out, "{}", paint(&text, kind))
    }

    /// Writes a member of an array or map, with its number.
    pub fn member(
        &mut self,
        out: &mut impl Write,
        nesting: &mut Nesting,
        line: &Line,
    ) -> io::Result<()> {
        for level in &mut nesting.0 {
            let (number, mark) = if level.is_map {
                (level.begun.div_ceil(2), '#')
            } else {
                (level.begun, ')')
            };
            let number = format!("{number}{mark} ");
            if std::mem::take(&mut level.is_fresh) && !level.is_at_value() {
                write!(out, "{number}")?;
            } else if !self.is_line_begun {
                write!(out, "{:width$}", "", width = number.len())?;
            }
        }
        let shown: Cow<'_, str> = match line {
            Line::Value(Datum::Text(text)) | Line::Key(text) => json::string(text).into(),
            Line::Value(Datum::Base64(base64)) => binary_note(base64).into(),
            Line::NotFound => "(nothing)".into(),
            Line::Unchanged => "(unchanged)".into(),
            Line::Array(0) | Line::Map(0) => "(empty)".into(),
            // Its first member stands on the same line.
            Line::Array(_) | Line::Map(_) => {
                self.is_line_begun = true;
                return Ok(());
            }
            Line::Count(count) => count.to_string().into(),
            Line::Ok => "OK".into(),
            Line::Pong => "PONG".into(),
            Line::Queued => "QUEUED".into(),
            Line::Error(code, message) => format!("(error) {code} {message}").into(),
            _ => "".into(),
        };
        self.is_line_begun = nesting.0.last().is_some_and(Level::is_at_name);
        let end = if self.is_line_begun { " => " } else { "\n" };
        write!(out, "{}{end}", visible(&shown, &[]))
    }

    /// Writes the rows that are still kept.
    pub fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        match self.table.take() {
            Some(mut table) => table.finish(out),
            None => Ok(()),
        }
    }
}

/// Writes the help of one command.
pub fn help(out: &mut impl Write, synopsis: &str, summary: &str, example: &str) -> io::Result<()> {
    let (synopsis, example) = (paint(synopsis, Kind::Key), paint(example, Kind::Key));
    writeln!(out, "{synopsis}\n{summary}\nFor example: {example}")
}

/// Returns the cells of a row: key and value; name, figure and the same in a larger unit; synopsis and summary.
fn cells(line: &Line) -> Vec<Cow<'_, str>> {
    match line {
        Line::Item(key, Datum::Text(text)) => {
            vec![shown_key(key), quoted_if_doubtful(text)]
        }
        Line::Item(key, Datum::Base64(base64)) => {
            vec![shown_key(key), binary_note(base64).into()]
        }
        Line::Help(synopsis, summary) => vec![synopsis.into(), summary.into()],
        Line::Namespace(name, keys) => vec![shown_key(name), grouped(*keys).into()],
        Line::Stat(name, figure) => {
            let shown = match figure {
                Value::String(text) => quoted_if_empty(text).into(),
                Value::Null => "-".into(),
                other => other.to_string().into(),
            };
            let mut cells = vec![name.into(), shown];
            cells.extend(in_larger_unit(name, figure).map(Cow::Owned));
            cells
        }
        _ => Vec::new(),
    }
}

/// Returns the text of a value, as a JSON string if it is empty or could be taken for something else.
fn quoted_if_doubtful(text: &str) -> Cow<'_, str> {
    let is_note = text.starts_with('(') && text.contains(BINARY_MARK);
    if text.is_empty() || text == "\"\"" || is_note || is_reserved(text) {
        json::string(text).into()
    } else {
        text.into()
    }
}

/// Returns a key by its text, as it can be typed if it is not text.
fn shown_key(text: &str) -> Cow<'static, str> {
    let key = key_bytes(text.into());
    match std::str::from_utf8(&key) {
        Ok(text) => quoted_if_empty(text).to_owned().into(),
        Err(_) => quote_key(&key).into_owned().into(),
    }
}

fn quoted_if_empty(text: &str) -> &str {
    if text.is_empty() { "\"\"" } else { text }
}

/// Returns a figure in the unit of its name, where the digits alone are hard to read; of a time, how long ago it was.
fn in_larger_unit(name: &str, figure: &Value) -> Option<String> {
    if let Value::String(text) = figure {
        let seconds = jiff::Timestamp::now()
            .duration_since(text.parse().ok()?)
            .as_secs();
        return Some(format!("{} ago", duration(u64::try_from(seconds).ok()?)));
    }
    let count = figure.as_u64()?;
    match name {
        _ if name.ends_with("_bytes") => Some(bytes(count)).filter(|_| count >= 1000),
        _ if name.ends_with("_seconds") => Some(duration(count)).filter(|_| count >= 60),
        "pid" => None,
        _ => Some(grouped(count)).filter(|_| count >= 10_000),
    }
}

/// Returns binary data with its size.
fn binary_note(base64: &str) -> String {
    let count = base64.trim_end_matches('=').len() * 3 / 4;
    format!("({}{BINARY_MARK}{base64}", counted(count as u64, "byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_in_larger_units() {
        for (name, figure, shown) in [
            ("data_bytes", 999, None),
            ("data_bytes", 18_412_345, Some("18.4 MB")),
            ("uptime_seconds", 59, None),
            ("uptime_seconds", 7384, Some("2 h 3 min")),
            ("keys", 222_583, Some("222,583")),
            ("keys", 999, None),
            ("pid", 123_456, None),
        ] {
            let found = in_larger_unit(name, &figure.into());
            assert_eq!(found.as_deref(), shown, "{name} {figure}");
        }
        assert_eq!(in_larger_unit("durability", &"everysec".into()), None);
    }

    #[test]
    fn binary_data_is_shown_with_its_size() {
        let notes = ["AP8=", "AA==", ""].map(|base64| binary_note(base64)[..8].to_owned());
        assert_eq!(notes, ["(2 bytes", "(1 byte,", "(0 bytes"]);
    }
}
