//! One line of a reply, decoded.
//!
//! In: a line without its end. Out: its word and payloads. A reply consists of all lines up to the first for which `Line::ends_reply`
//! holds; that of an array or map includes the replies that are its members.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use pykv::codec::key_text::key_text;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The payload of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// Text.
    Text(String),
    /// Binary data, in base64.
    Base64(String),
}

impl Datum {
    /// Returns the payload of some bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(BASE64.encode(error.as_bytes())),
        }
    }
}

/// One line of a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// The request was executed.
    Ok,
    /// The reply to PING.
    Pong,
    /// The key does not exist.
    NotFound,
    /// A condition did not hold, so nothing was changed.
    Unchanged,
    /// The request is queued until EXEC.
    Queued,
    /// A number; some commands return negative ones for special cases.
    Count(i64),
    /// An array: as many replies follow, its members.
    Array(usize),
    /// A map: twice as many replies follow, names and values in turn.
    Map(usize),
    /// The text of a namespace, and its number of keys.
    Namespace(String, u64),
    /// A push message: its word and its payloads.
    Event(String, Vec<serde_json::Value>),
    /// A value.
    Value(Datum),
    /// The text of a key and its value, in the reply to ALL.
    Item(String, Datum),
    /// The text of a key, in the reply to KEYS.
    Key(String),
    /// The name and value of a figure, in the reply to STATS.
    Stat(String, serde_json::Value),
    /// The synopsis and summary of a command, in the reply to HELP.
    Help(String, String),
    /// The end of a reply of several lines, and their number.
    End(u64),
    /// An error: its code and message.
    Error(String, String),
}

impl Line {
    /// Decodes a line; returns `None` for one that is not of the protocol.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (word, rest) = match memchr::memchr(b' ', line) {
            Some(blank) => (&line[..blank], &line[blank + 1..]),
            None => (line, &[][..]),
        };
        Some(match word {
            b"OK" => Self::Ok,
            b"PONG" => Self::Pong,
            b"NOT_FOUND" => Self::NotFound,
            b"UNCHANGED" => Self::Unchanged,
            b"QUEUED" => Self::Queued,
            b"ARRAY" => Self::Array(only(rest)?),
            b"MAP" => Self::Map(only(rest)?),
            b"NAMESPACE" => {
                let (name, keys) = first_key(rest)?;
                Self::Namespace(name, only(keys)?)
            }
            word if EVENTS.contains(&word) => Self::Event(
                String::from_utf8_lossy(word).into_owned(),
                payloads_of(rest)?,
            ),
            b"COUNT" => Self::Count(only(rest)?),
            b"END" => Self::End(only(rest)?),
            b"VALUE" => Self::Value(Datum::Text(only(rest)?)),
            b"BASE64" => Self::Value(Datum::Base64(only(rest)?)),
            b"KEY" => match rest.strip_prefix(b"BASE64 ") {
                Some(base64) => Self::Key(key_of(only(base64)?)?),
                None => Self::Key(only(rest)?),
            },
            b"ITEM" => {
                let (key, value) = first_key(rest)?;
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

    /// Returns the bytes of the value that follows a line of RESP, if one does.
    pub fn resp_value_bytes(line: &[u8]) -> Option<usize> {
        only(line.strip_prefix(b"$")?)
    }

    /// Decodes a line of RESP that is a reply by itself; returns `None` for any other.
    pub fn parse_resp(line: &[u8]) -> Option<Self> {
        let (kind, rest) = line.split_first()?;
        let text = String::from_utf8_lossy(rest);
        Some(match (kind, &*text) {
            (b'+', "OK") => Self::Ok,
            (b'+', "QUEUED") => Self::Queued,
            (b'$', "-1") => Self::NotFound,
            (b':', _) => Self::Count(only(rest)?),
            (b'-', error) => {
                let (code, message) = error.split_once(' ').unwrap_or((error, ""));
                Self::Error(code.to_owned(), message.to_owned())
            }
            _ => return None,
        })
    }

    /// Returns whether the line is the last of its reply.
    pub fn ends_reply(&self) -> bool {
        !matches!(
            self,
            Self::Item(..) | Self::Key(_) | Self::Stat(..) | Self::Help(..) | Self::Namespace(..)
        )
    }
}

/// The words of push messages.
const EVENTS: [&[u8]; 10] = [
    b"SUBSCRIBED",
    b"UNSUBSCRIBED",
    b"PSUBSCRIBED",
    b"PUNSUBSCRIBED",
    b"MESSAGE",
    b"PMESSAGE",
    b"FOLLOWING",
    b"UNFOLLOWED",
    b"CHANGE",
    b"MONITOR",
];

/// Decodes the payloads of a push message: JSON values, binary data as `{"$base64": "..."}`, words such as PUT as strings.
fn payloads_of(mut payload: &[u8]) -> Option<Vec<serde_json::Value>> {
    let mut payloads = Vec::new();
    while !payload.is_empty() {
        if payload.starts_with(b"BASE64 ") {
            let (base64, rest) = take_value(&payload[7..])?;
            payloads.push(serde_json::json!({ "$base64": base64 }));
            payload = rest;
        } else if payload[0].is_ascii_uppercase() {
            let end = memchr::memchr(b' ', payload).unwrap_or(payload.len());
            let word = std::str::from_utf8(&payload[..end]).ok()?;
            payloads.push(word.into());
            payload = &payload[end..];
        } else {
            let (value, rest) = take_value(payload)?;
            payloads.push(value);
            payload = rest;
        }
        payload = payload.strip_prefix(b" ").unwrap_or(payload);
    }
    Some(payloads)
}

/// Splits the first JSON value off.
fn take_value(payload: &[u8]) -> Option<(serde_json::Value, &[u8])> {
    let mut values = serde_json::Deserializer::from_slice(payload).into_iter();
    let value = values.next()?.ok()?;
    Some((value, &payload[values.byte_offset()..]))
}

/// Decodes a payload that is one JSON value.
fn only<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

/// Splits the first JSON string off, and the blank behind it.
fn first(payload: &[u8]) -> Option<(String, &[u8])> {
    let mut values = serde_json::Deserializer::from_slice(payload);
    let text = String::deserialize(&mut values).ok()?;
    let rest = &payload[values.into_iter::<serde::de::IgnoredAny>().byte_offset()..];
    Some((text, rest.strip_prefix(b" ")?))
}

/// Splits the first key off, and the blank behind it; returns its text, as files hold it.
fn first_key(payload: &[u8]) -> Option<(String, &[u8])> {
    let Some(base64) = payload.strip_prefix(b"BASE64 ") else {
        return first(payload);
    };
    let (base64, rest) = first(base64)?;
    Some((key_of(base64)?, rest))
}

/// Returns the text of a key that is sent in base64.
fn key_of(base64: String) -> Option<String> {
    let key = BASE64.decode(base64).ok()?;
    Some(key_text(&key).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_protocol_is_decoded() {
        let text = |text: &str| text.to_owned();
        for (line, read) in [
            ("OK", Line::Ok),
            ("PONG", Line::Pong),
            ("NOT_FOUND", Line::NotFound),
            ("COUNT 2", Line::Count(2)),
            ("COUNT -1", Line::Count(-1)),
            ("UNCHANGED", Line::Unchanged),
            ("QUEUED", Line::Queued),
            ("ARRAY 3", Line::Array(3)),
            ("MAP 0", Line::Map(0)),
            (r#"NAMESPACE "user:" 2"#, Line::Namespace(text("user:"), 2)),
            (
                r#"CHANGE 813 PUT "a b" BASE64 "AP8=""#,
                Line::Event(
                    text("CHANGE"),
                    vec![
                        813.into(),
                        "PUT".into(),
                        "a b".into(),
                        serde_json::json!({ "$base64": "AP8=" }),
                    ],
                ),
            ),
            (
                "UNSUBSCRIBED null 0",
                Line::Event(
                    text("UNSUBSCRIBED"),
                    vec![serde_json::Value::Null, 0.into()],
                ),
            ),
            ("END 0", Line::End(0)),
            (r#"VALUE "a\nb""#, Line::Value(Datum::Text(text("a\nb")))),
            (r#"BASE64 "AP8=""#, Line::Value(Datum::Base64(text("AP8=")))),
            (r#"KEY """#, Line::Key(text(""))),
            (r#"KEY BASE64 "/w==""#, Line::Key(text("$base64:/w=="))),
            (
                r#"ITEM BASE64 "/w==" BASE64 "AP8=""#,
                Line::Item(text("$base64:/w=="), Datum::Base64(text("AP8="))),
            ),
            (
                r#"NAMESPACE BASE64 "/zo=" 2"#,
                Line::Namespace(text("$base64:/zo="), 2),
            ),
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
    fn a_reply_in_resp_is_decoded() {
        for (line, read) in [
            ("+OK", Some(Line::Ok)),
            ("$-1", Some(Line::NotFound)),
            (":-2", Some(Line::Count(-2))),
            (
                "-OOM no room",
                Some(Line::Error("OOM".to_owned(), "no room".to_owned())),
            ),
            ("*1", None),
            ("OK", None),
            ("", None),
        ] {
            assert_eq!(Line::parse_resp(line.as_bytes()), read, "{line}");
        }
        assert_eq!(Line::resp_value_bytes(b"$12"), Some(12));
        assert_eq!(Line::resp_value_bytes(b"$-1"), None);
    }

    #[test]
    fn lines_of_other_protocols_are_rejected() {
        for line in [
            "",
            "-ERR unknown command",
            "HTTP/1.1 400 Bad Request",
            "VALUE apple",
            r#"ITEM "k""#,
        ] {
            assert_eq!(Line::parse(line.as_bytes()), None, "{line}");
        }
    }
}
