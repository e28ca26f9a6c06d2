//! What a reply says: one `Line` of it, read from the wire.
//!
//! In: a line without its end. Out: its word and its payloads, decoded. A reply is all lines up to the first for which
//! `Line::ends_reply` holds.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A value, as a line carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// Text.
    Text(String),
    /// Bytes that are no text, in base64.
    Base64(String),
}

/// One line of a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Done.
    Ok,
    /// The answer to PING.
    Pong,
    /// There is no such key.
    NotFound,
    /// How many.
    Count(u64),
    /// The value that was asked for.
    Value(Datum),
    /// A pair, in ALL.
    Item(String, Datum),
    /// A key, in KEYS.
    Key(String),
    /// A figure and its name, in STATS.
    Stat(String, serde_json::Value),
    /// A command's usage and what it does, in HELP.
    Help(String, String),
    /// The end of a row of lines, and how many there were.
    End(u64),
    /// Refused: the code, and why.
    Error(String, String),
}

impl Line {
    /// Reads a line; `None` is a line that no PyKV server sends.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (word, rest) = match memchr::memchr(b' ', line) {
            Some(blank) => (&line[..blank], &line[blank + 1..]),
            None => (line, &[][..]),
        };
        Some(match word {
            b"OK" => Self::Ok,
            b"PONG" => Self::Pong,
            b"NOT_FOUND" => Self::NotFound,
            b"COUNT" => Self::Count(only(rest)?),
            b"END" => Self::End(only(rest)?),
            b"VALUE" => Self::Value(Datum::Text(only(rest)?)),
            b"BASE64" => Self::Value(Datum::Base64(only(rest)?)),
            b"KEY" => Self::Key(only(rest)?),
            b"ITEM" => {
                let (key, value) = first(rest)?;
                Self::Item(
                    key,
                    match value.strip_prefix(b"BASE64 ") {
                        Some(base64) => Datum::Base64(only(base64)?),
                        None => Datum::Text(only(value)?),
                    },
                )
            }
            b"HELP" => {
                let (usage, summary) = first(rest)?;
                Self::Help(usage, only(summary)?)
            }
            b"STAT" => {
                let (name, figure) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
                Self::Stat(name.to_owned(), only(figure.as_bytes())?)
            }
            b"ERR" => {
                let text = String::from_utf8_lossy(rest);
                let (code, message) = text.split_once(' ').unwrap_or((&text, ""));
                Self::Error(code.to_owned(), message.to_owned())
            }
            _ => return None,
        })
    }

    /// Whether no line of the same reply follows.
    pub fn ends_reply(&self) -> bool {
        !matches!(
            self,
            Self::Item(..) | Self::Key(_) | Self::Stat(..) | Self::Help(..)
        )
    }
}

/// The one JSON value that a payload is.
fn only<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

/// The JSON string that a payload begins with, and what follows it.
fn first(payload: &[u8]) -> Option<(String, &[u8])> {
    let mut values = serde_json::Deserializer::from_slice(payload);
    let text = String::deserialize(&mut values).ok()?;
    let rest = &payload[values.into_iter::<serde::de::IgnoredAny>().byte_offset()..];
    Some((text, rest.strip_prefix(b" ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_protocol_is_read() {
        let text = |text: &str| text.to_owned();
        for (line, read) in [
            ("OK", Line::Ok),
            ("PONG", Line::Pong),
            ("NOT_FOUND", Line::NotFound),
            ("COUNT 2", Line::Count(2)),
            ("END 0", Line::End(0)),
            (r#"VALUE "a\nb""#, Line::Value(Datum::Text(text("a\nb")))),
            (r#"BASE64 "AP8=""#, Line::Value(Datum::Base64(text("AP8=")))),
            (r#"KEY """#, Line::Key(text(""))),
            (
                r#"ITEM "a \" b" "c d""#,
                Line::Item(text("a \" b"), Datum::Text(text("c d"))),
            ),
            (
                r#"ITEM "k" BASE64 "AP8=""#,
                Line::Item(text("k"), Datum::Base64(text("AP8="))),
            ),
            (
                r#"ITEM "k" "BASE64 x""#,
                Line::Item(text("k"), Datum::Text(text("BASE64 x"))),
            ),
            ("STAT keys 10", Line::Stat(text("keys"), 10.into())),
            (
                "STAT last_save_time null",
                Line::Stat(text("last_save_time"), serde_json::Value::Null),
            ),
            (
                r#"HELP "GET <key>" "Read the value of a key.""#,
                Line::Help(text("GET <key>"), text("Read the value of a key.")),
            ),
            (
                "ERR ARGS GET takes 1 argument",
                Line::Error(text("ARGS"), text("GET takes 1 argument")),
            ),
        ] {
            assert_eq!(Line::parse(line.as_bytes()), Some(read), "{line}");
        }
    }

    #[test]
    fn what_no_server_of_ours_sends_is_not_taken_for_a_reply() {
        for line in [
            "",
            "-ERR unknown command",
            "HTTP/1.1 400 Bad Request",
            "VALUE apple",
            "COUNT -1",
            r#"ITEM "k""#,
        ] {
            assert_eq!(Line::parse(line.as_bytes()), None, "{line}");
        }
    }
}
