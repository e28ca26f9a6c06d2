//! The format of a file, told by its first bytes.
//!
//! In: the beginning of a text, and what is known besides. Out: its format, or the reason why it has none of ours. Promise: the name of a file
//! never overrules what it holds; it decides only where the content fits two formats.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::format::FileFormat;

/// The longest beginning that is looked at: a row with the longest key, each byte escaped as six, up to its value.
pub const HEAD_BYTES_MAX: usize = 512 << 10;

/// What the beginning of a file says.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// It is of this format.
    Format(FileFormat),
    /// It is of none, for this reason.
    Refused(String),
    /// More of it is needed.
    More,
}

/// Beginnings of files that are something else: what they are, and what to do.
const OTHERS: [(&[u8], &str); 11] = [
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"BZh", "compressed by bzip2: decompress it, or use gzip"),
    (b"\xfd7zXZ", "compressed by xz: decompress it, or use gzip"),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed by zstd: decompress it, or use gzip",
    ),
    (b"\x1f\x8b", "gzipped twice: gunzip it once"),
    (b"\xff\xfe", "text in UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16: save it as UTF-8"),
    (
        b"REDIS",
        "a Redis snapshot (RDB): start Redis on it, and run pykv-cli import redis://HOST:PORT",
    ),
    (
        b"SQLite format 3\0",
        "an SQLite database: export key and value as CSV",
    ),
    (
        b"*",
        "requests, and not pairs: send them with pykv-cli --pipe",
    ),
    (
        b"[",
        "a JSON array: write one object of keys and values, or JSON Lines, each line {\"key\": \"...\", \"value\": \"...\"}",
    ),
];

/// The members of a row of JSON Lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "key")]
    _key: IgnoredAny,
    #[serde(rename = "value")]
    _value: IgnoredAny,
    #[serde(default, rename = "expires_at")]
    _expires_at: IgnoredAny,
}

/// The header of a journal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalHeader {
    #[serde(rename = "journal")]
    _journal: u64,
    #[serde(rename = "number")]
    _number: u64,
    #[serde(rename = "first_seq")]
    _first_seq: u64,
    #[serde(rename = "crc")]
    _crc: String,
}

/// Tells the format by the beginning of a text, which is all of it if `is_whole`. `hint` is the format that was demanded, or that the name
/// stands for.
pub fn tell(head: &[u8], is_whole: bool, hint: Option<FileFormat>) -> Told {
    let is_all = is_whole || head.len() >= HEAD_BYTES_MAX;
    let text = head.trim_ascii_start();
    let Some(first) = text.first() else {
        let reason = if is_whole {
            "the file is empty: it holds no pairs, not even `{}` or a header"
        } else {
            "the file begins with nothing but blanks"
        };
        return if is_all { refused(reason) } else { Told::More };
    };
    if *first == b'{' {
        return tell_object(text, is_all, hint);
    }
    if text.len() < 16 && !is_all {
        return Told::More;
    }
    if let Some((_, what)) = OTHERS.iter().find(|(begin, _)| text.starts_with(begin)) {
        return refused(&format!("the file is {what}"));
    }
    let line = match memchr::memchr(b'\n', text) {
        Some(end) => &text[..end],
        None if is_all => text,
        None => return Told::More,
    };
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    if line.iter().any(is_control) {
        return refused("the file is binary: JSON, JSON Lines or CSV is needed, gzipped or not");
    }
    let names: Vec<&[u8]> = line
        .split(|byte| *byte == b',')
        .map(|name| name.trim_ascii().trim_ascii_end())
        .collect();
    let has = |wanted: &str| {
        let is_it = |name: &[u8]| name.eq_ignore_ascii_case(wanted.as_bytes());
        names
            .iter()
            .any(|name| is_it(name) || is_it(unquoted(name)))
    };
    if has("key") && has("value") || hint == Some(FileFormat::Csv) {
        return Told::Format(FileFormat::Csv);
    }
    refused(
        "the file is no JSON object (it would begin with `{`), no JSON Lines (the same) and no CSV (its first row would name the columns: key,value,encoding,expires_at)",
    )
}

fn refused(reason: &str) -> Told {
    Told::Refused(reason.to_owned())
}

fn unquoted(name: &[u8]) -> &[u8] {
    let inner = name.strip_prefix(b"\"");
    inner
        .and_then(|name| name.strip_suffix(b"\""))
        .unwrap_or(name)
}

/// Tells one object from rows of them.
fn tell_object(text: &[u8], is_all: bool, hint: Option<FileFormat>) -> Told {
    use FileFormat::{Json, Jsonl};
    let names_of_a_row = ["key", "value", "expires_at", "journal"];
    let may_be_row =
        hint == Some(Jsonl) || first_name(text).is_none_or(|name| names_of_a_row.contains(&name));
    let (line, rest) = match memchr::memchr(b'\n', text) {
        Some(end) => (text[..end].trim_ascii_end(), text[end..].trim_ascii_start()),
        None => (text, &b""[..]),
    };
    if rest.is_empty() && !is_all {
        // Told as soon as can be: a source may be slow.
        return if may_be_row {
            Told::More
        } else {
            Told::Format(Json)
        };
    }
    if serde_json::from_slice::<JournalHeader>(line).is_ok() {
        return refused(
            "the file is a journal of a data folder, whose changes only a server can apply: start pykv-server on the folder, and export from it",
        );
    }
    let is_row = serde_json::from_slice::<Row>(line).is_ok();
    let is_object = is_row || serde_json::from_slice::<IgnoredAny>(line).is_ok();
    let is_jsonl = if rest.is_empty() {
        // One line: whole, or the first half of a row.
        match hint {
            Some(Json) => false,
            Some(Jsonl) => first_name(text).is_none_or(|name| names_of_a_row.contains(&name)),
            _ => is_row || may_be_row && !is_object,
        }
    } else if rest.starts_with(b"{") {
        // Within one object, too, a line may begin with a brace: then what is before it is the beginning of JSON.
        let begin = &text[..=text.len() - rest.len()];
        let goes_on = serde_json::from_slice::<IgnoredAny>(begin).is_err_and(|it| it.is_eof());
        !goes_on && (is_object || may_be_row)
    } else {
        is_object && may_be_row
    };
    Told::Format(if is_jsonl { Jsonl } else { Json })
}

/// Returns the name of the first member, as far as it is there and has no escapes.
fn first_name(text: &[u8]) -> Option<&str> {
    let name = text.strip_prefix(b"{")?.trim_ascii_start();
    if let Some(&byte) = name.first()
        && byte != b'"'
    {
        return Some("");
    }
    let name = name.strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', name)?;
    std::str::from_utf8(&name[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::FileFormat::{Csv, Json, Jsonl};
    use super::*;

    #[test]
    fn the_content_tells_the_format_and_the_name_only_where_it_fits_two() {
        let row = "{\"key\":\"a\",\"value\":\"1\"}";
        for (text, hint, format) in [
            ("{}", None, Json),
            ("{}", Some(Jsonl), Json),
            ("{\n  \"key\": \"a\",\n  \"value\": \"1\"\n}\n", None, Json),
            (
                "{\n  \"key\": \"a\",\n  \"value\": \"1\"\n}\n",
                Some(Jsonl),
                Json,
            ),
            ("{\"a\": {\"key\": 1}}", Some(Csv), Json),
            ("{\"a\": \"1\"}", Some(Jsonl), Json),
            ("{ \"a\":\n{}, \"b\": \"2\"}", None, Json),
            ("{\"key\": [1,\n{}, 2]}", None, Json),
            ("{\"key\":\"a\",\n{\"key\":\"b\"", None, Jsonl),
            (&format!("{row}\n{row}\n"), None, Jsonl),
            (&format!("{row}\n{row}\n"), Some(Json), Jsonl),
            (&format!("\n\n{row}\r\n{row}"), Some(Csv), Jsonl),
            (row, None, Jsonl),
            (row, Some(Jsonl), Jsonl),
            (row, Some(Json), Json),
            ("{\"key\":\"a\",\"val", None, Jsonl),
            ("{\"key\":\"a\",\"val\n{\"key\":\"b\"", Some(Json), Jsonl),
            ("{\"key\":\"a\"}", None, Json),
            ("{\"key\":\"a\"}", Some(Jsonl), Jsonl),
            ("{\"a\":\"1\"}\n{\"b\":\"2\"}", None, Jsonl),
            ("key,value\na,1\n", None, Csv),
            ("key,value", Some(Json), Csv),
            ("\"Value\",\"KEY\"\r\n1,a\r\n", Some(Jsonl), Csv),
            ("encoding,key,expires_at,value\n", None, Csv),
            ("a,b\n", Some(Csv), Csv),
        ] {
            let told = tell(text.as_bytes(), true, hint);
            assert_eq!(told, Told::Format(format), "{text:?} as {hint:?}");
        }
    }

    #[test]
    fn a_slow_source_is_told_as_soon_as_it_can_be() {
        for (text, told) in [
            ("", Told::More),
            ("  \n", Told::More),
            ("{", Told::More),
            ("{\"ke", Told::More),
            ("{\"key\":\"a\"", Told::More),
            ("{\"k0\":\"v\"", Told::Format(Json)),
            ("key,value", Told::More),
            ("key,value,encoding\n", Told::Format(Csv)),
        ] {
            assert_eq!(tell(text.as_bytes(), false, None), told, "{text:?}");
        }
    }

    #[test]
    fn what_has_no_format_of_ours_is_refused_with_what_it_is() {
        for (text, reason) in [
            (&b""[..], "the file is empty"),
            (b" \r\n ", "the file is empty"),
            (b"[{\"key\":\"a\"}]", "a JSON array"),
            (b"PK\x03\x04....", "a zip archive"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"REDIS0011\xfa", "a Redis snapshot"),
            (b"\x1f\x8b\x08", "gzipped twice"),
            (b"\x89PNG\r\n\x1a\n\0\0", "no JSON object"),
            (b"\x7fELF\x02\x01", "binary"),
            (b"hello\n", "no JSON object"),
            (
                b"{\"journal\":3,\"number\":7,\"first_seq\":41,\"crc\":\"562d2f80\"}\n",
                "a journal",
            ),
        ] {
            match tell(text, true, Some(Json)) {
                Told::Refused(found) => assert!(found.contains(reason), "{found}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
}
