//! How pairs stand in JSON: on disk, in the shim, and in the files that the client imports and exports.
//!
//! In: values, or JSON text. Out: JSON text, or values. A text value without expiry is a plain JSON string. What needs more
//! is an object with `$`-names: `{"$text": "...", "$expires_at": "2026-11-23T01:02:03.456Z"}` or `{"$base64": "..."}`.
//! Promises: what is written is read back byte for byte; any other JSON value is read as its compact JSON text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::entry::Entry;
use crate::model::{Key, UnixMs, Value, is_text};

/// The bytes of a value that are escaped at a time, where a long one is sent in pieces. Divisible by three, so that the
/// pieces of base64 fit together.
const PIECE_BYTES: usize = 48 << 10;

/// Writes text as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write_text(out, text.as_bytes());
}

/// Writes the bytes of text as a JSON string.
pub fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    if has_any(text, is_escaped) {
        let text = std::str::from_utf8(text).expect("it is known to be text");
        return serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
    }
    write_plain(out, text);
}

/// Writes bytes as a JSON string, and something before it, if they are text; whether they are.
#[must_use]
pub fn write_if_text(out: &mut Vec<u8>, before: &str, bytes: &[u8]) -> bool {
    // Nearly all text has neither, and one look is enough.
    let is_plain = !has_any(bytes, |byte| is_escaped(byte) | !byte.is_ascii());
    let is_text = is_plain || is_text(bytes);
    if is_text {
        out.extend_from_slice(before.as_bytes());
    }
    if is_plain {
        write_plain(out, bytes);
    } else if is_text {
        write_text(out, bytes);
    }
    is_text
}

fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Whether a byte cannot stand in a JSON string as it is (RFC 8259, section 7).
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch the compiler compares many bytes in one step"
)]
fn is_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// Whether any byte is like this. All of a piece are looked at, not up to the first: so the processor compares many in one step.
#[inline]
fn has_any(bytes: &[u8], is_like_this: impl Fn(u8) -> bool + Copy) -> bool {
    const PIECE_BYTES: usize = 16;
    let in_piece = |piece: &[u8; PIECE_BYTES]| {
        piece
            .iter()
            .fold(false, |any, byte| any | is_like_this(*byte))
    };
    let (pieces, rest) = bytes.as_chunks();
    // Some of the last bytes are looked at for the second time.
    let in_rest = match bytes.last_chunk() {
        Some(piece) => in_piece(piece),
        None => rest.iter().any(|byte| is_like_this(*byte)),
    };
    in_rest || pieces.iter().any(in_piece)
}

/// Text as a JSON string.
#[must_use]
pub fn string(text: &str) -> String {
    serde_json::to_string(text).expect("text is always JSON")
}

/// Bytes as base64 (RFC 4648, section 4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Writes bytes as a JSON string of base64.
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    write_string(out, &base64(bytes));
}

/// Writes a value in its JSON form.
pub fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    let is_plain = value.expires_at().is_none();
    let before = if is_plain { "" } else { "{\"$text\":" };
    if !write_if_text(out, before, value.bytes()) {
        out.extend_from_slice(b"{\"$base64\":");
        write_base64(out, value.bytes());
    } else if is_plain {
        return;
    }
    if let Some(expires_at) = value.expires_at() {
        out.extend_from_slice(b",\"$expires_at\":");
        write_string(out, &time(expires_at));
    }
    out.push(b'}');
}

/// A moment as RFC 3339 has it, in UTC, to the millisecond.
#[must_use]
pub fn time(at: UnixMs) -> String {
    // Of the last second that can be read, `from_millisecond` takes the beginning only.
    let (seconds, ms) = (at / 1000, at % 1000);
    let nanoseconds = i32::try_from(ms * 1_000_000).expect("less than a second");
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::new(seconds, nanoseconds).ok())
        .map_or_else(|| at.to_string(), |timestamp| format!("{timestamp:.3}"))
}

/// A long value's JSON text, without the quotes around it, in pieces; it keeps the entry, and nobody waits for it.
pub struct Pieces {
    entry: Entry,
    at: usize,
    is_text: bool,
}

impl Pieces {
    /// The pieces of the entry's value.
    #[must_use]
    pub fn new(entry: Entry) -> Self {
        let is_text = is_text(entry.value_bytes());
        Self {
            entry,
            at: 0,
            is_text,
        }
    }

    /// Whether the pieces are text; if not, they are base64.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let rest = &self.entry.value_bytes()[self.at..];
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len().min(PIECE_BYTES);
        if !self.is_text {
            self.at += end;
            return Some(BASE64.encode(&rest[..end]).into_bytes());
        }
        // Back to where a character begins; the first byte of one is never 10xxxxxx.
        while end < rest.len() && rest[end] & 0b1100_0000 == 0b1000_0000 {
            end -= 1;
        }
        self.at += end;
        let text = std::str::from_utf8(&rest[..end])
            .expect("the whole is text, and it was cut between characters");
        let mut piece = string(text).into_bytes();
        piece.pop();
        piece.remove(0);
        Some(piece)
    }
}

/// A value as it was read, before its limits are checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Loaded<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// When it ceases to be.
    pub expires_at: Option<UnixMs>,
}

impl<'a> Loaded<'a> {
    /// Text that does not expire.
    #[must_use]
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            bytes: match text.into() {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            expires_at: None,
        }
    }
}

/// Takes the JSON string that the bytes begin with; its text, and what follows. `None` if they begin with none.
///
/// It exists because it is the inner loop of a start: a string without escapes, as most are, is not copied.
#[must_use]
pub fn take_string(bytes: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let body = bytes.strip_prefix(b"\"")?;
    let mut at = memchr::memchr2(b'"', b'\\', body)?;
    if body[at] == b'"' {
        // Below the space nothing may stand as it is (RFC 8259, section 7).
        let (text, rest) = (&body[..at], &body[at + 1..]);
        let is_plain = text.iter().all(|byte| *byte >= b' ');
        return is_plain
            .then(|| std::str::from_utf8(text).ok())
            .flatten()
            .map(|text| (Cow::Borrowed(text), rest));
    }
    while body[at] == b'\\' {
        let after = at + 2;
        at = after + memchr::memchr2(b'"', b'\\', body.get(after..)?)?;
    }
    // The two quotes and what is between them.
    let text = serde_json::from_slice(&bytes[..at + 2]).ok()?;
    Some((Cow::Owned(text), &body[at + 1..]))
}

/// Reads one value from its JSON text.
///
/// # Errors
/// What is wrong with a string, or with an object that has one of our `$`-names, in a sentence.
pub fn read_value(raw: &str) -> Result<Loaded<'_>, String> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw)
            .map(Loaded::text)
            .map_err(|error| plain_reason(&error)),
        Some(b'{') if raw.contains("\"$") => read_object_value(raw),
        _ => Ok(Loaded::text(compact(raw))),
    }
}

/// What serde_json says, without the line and column of the small text that it was shown.
fn plain_reason(error: &serde_json::Error) -> String {
    if is_half_character(error) {
        return "half of a surrogate pair, which stands for no character".to_owned();
    }
    let whole = error.to_string();
    whole.split(" at line ").next().unwrap_or(&whole).to_owned()
}

/// Whether a string that is ended is wrong because an escape in it stands for half a character: well-formed, but no text.
/// (Of a string that has its closing quote, serde_json says "end of hex escape" only where the second half is missing.)
#[must_use]
pub fn is_half_character(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    text.contains("surrogate") || text.contains("end of hex escape")
}

fn read_object_value(raw: &str) -> Result<Loaded<'static>, String> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(raw).map_err(|error| plain_reason(&error))?;
    let ours = ["$text", "$base64", "$expires_at"];
    if !ours.iter().any(|name| members.contains_key(*name)) {
        return Ok(Loaded::text(compact(raw)));
    }
    if let Some(other) = members.keys().find(|name| !ours.contains(&name.as_str())) {
        return Err(format!(
            "{} does not stand beside $text, $base64 or $expires_at",
            string(other)
        ));
    }
    let text_of = |name: &str| -> Result<Option<String>, String> {
        let Some(raw) = members.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| format!("{name} is not a string"))
    };
    let bytes = match (text_of("$text")?, text_of("$base64")?) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => BASE64
            .decode(base64)
            .map_err(|error| format!("$base64 is not base64: {error}"))?,
        _ => return Err("an object with $-names has either $text or $base64".to_owned()),
    };
    let expires_at = text_of("$expires_at")?
        .map(|text| read_time(&text))
        .transpose()?;
    Ok(Loaded {
        bytes: Cow::Owned(bytes),
        expires_at,
    })
}

fn read_time(text: &str) -> Result<UnixMs, String> {
    read_moment(text).ok_or_else(|| {
        format!(
            "$expires_at {} is not a time such as \"2026-11-23T01:02:03.456Z\"",
            string(text)
        )
    })
}

/// A moment, from RFC 3339; `None` if it is none, or one before 1970.
#[must_use]
pub fn read_moment(text: &str) -> Option<UnixMs> {
    let timestamp = text.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(timestamp.as_millisecond()).ok()
}

/// JSON text without the blanks between its tokens.
fn compact(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut in_string = false;
    let mut escaped = false;
    for character in raw.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_string = character == '"';
        }
        out.push(character);
    }
    out
}

/// Reads one JSON object, pair by pair, in constant memory, however it is laid out.
///
/// # Errors
/// What is wrong and where (line and column), or what `take` said of a pair.
pub fn read_pairs<R: Read>(
    reader: R,
    take: impl FnMut(Key<'_>, Value<'_>) -> Result<(), String>,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    PairsSeed(take).deserialize(&mut deserializer)?;
    deserializer.end()
}

struct PairsSeed<T>(T);

impl<'de, T: FnMut(Key<'_>, Value<'_>) -> Result<(), String>> DeserializeSeed<'de>
    for PairsSeed<T>
{
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: FnMut(Key<'_>, Value<'_>) -> Result<(), String>> Visitor<'de> for PairsSeed<T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object of keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut pairs: A) -> Result<(), A::Error> {
        while let Some(key) = pairs.next_key::<String>()? {
            let raw = pairs.next_value::<Box<RawValue>>()?;
            let mut read = || -> Result<(), String> {
                let loaded = read_value(raw.get())?;
                let value = Value::parse_until(&loaded.bytes, loaded.expires_at)
                    .map_err(|error| error.to_string())?;
                (self.0)(
                    Key::parse(key.as_bytes()).map_err(|error| error.to_string())?,
                    value,
                )
            };
            read().map_err(|reason| A::Error::custom(format!("key {}: {reason}", shown(&key))))?;
        }
        Ok(())
    }
}

/// A key in a message: whole if it is short.
fn shown(key: &str) -> String {
    if key.chars().count() <= 80 {
        return string(key);
    }
    let head: String = key.chars().take(80).collect();
    format!("{} (and more)", string(&head))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair = (String, Vec<u8>, Option<UnixMs>);

    fn pairs(text: &str) -> Result<Vec<Pair>, String> {
        let mut pairs = Vec::new();
        read_pairs(text.as_bytes(), |key, value| {
            pairs.push((
                key.as_str().to_owned(),
                value.bytes().to_vec(),
                value.expires_at(),
            ));
            Ok(())
        })
        .map_err(|error| error.to_string())?;
        Ok(pairs)
    }

    #[test]
    fn values_that_are_not_strings_become_their_compact_json_text() {
        let text = r##"{ "n": 3, "t": true, "f": 1.50, "nul": null,
            "o": {"a": [1, 2, "x  y", "q\" z"], "$ref": "#/b"} }"##;
        let expected = [
            "3",
            "true",
            "1.50",
            "null",
            r##"{"a":[1,2,"x  y","q\" z"],"$ref":"#/b"}"##,
        ];
        let got: Vec<_> = pairs(text)
            .expect("JSON")
            .into_iter()
            .map(|(_, value, _)| value)
            .collect();
        assert_eq!(got, expected.map(|value| value.as_bytes().to_vec()));
    }

    #[test]
    fn objects_with_our_names_are_bytes_or_text_with_an_expiry() {
        let text = r#"{"b": {"$base64": "AP8="}, "e": {"$text": "x", "$expires_at": "2026-11-23T01:02:03.456Z"}}"#;
        assert_eq!(
            pairs(text).expect("JSON"),
            [
                ("b".to_owned(), b"\x00\xff".to_vec(), None),
                ("e".to_owned(), b"x".to_vec(), Some(1_795_395_723_456))
            ]
        );
    }

    #[test]
    fn a_mistake_in_our_names_is_told_with_key_and_line() {
        for (text, reason) in [
            (
                "{\n\"k\": {\"$text\": 1}}",
                "key \"k\": $text is not a string at line 2",
            ),
            (
                "{\n\"k\": {\"$base64\": \"!\"}}",
                "key \"k\": $base64 is not base64",
            ),
            (
                "{\n\"k\": {\"$text\": \"a\", \"$expires\": \"b\"}}",
                "key \"k\": \"$expires\" does not stand beside",
            ),
            (
                "{\n\"k\": {\"$expires_at\": \"b\"}}",
                "either $text or $base64",
            ),
            (
                "{\n\"k\": {\"$text\": \"a\", \"$expires_at\": \"soon\"}}",
                "key \"k\": $expires_at \"soon\" is not a time",
            ),
        ] {
            let error = pairs(text).expect_err(text);
            assert!(
                error.contains(reason) && error.contains("line 2"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_string_is_taken_as_serde_json_reads_it_or_not_at_all() {
        for text in [
            r#""""#,
            r#""plain""#,
            r#""é\u00e9 \" \\""#,
            r#""\\""#,
            r#""\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""\q""#,
            r#""\"#,
            r#"""#,
            r#""unended"#,
            r#""unended\""#,
            "\"tab\there\"",
            "plain",
            "",
        ] {
            let expected = serde_json::from_str::<String>(text).ok();
            let taken = take_string(text.as_bytes()).map(|(text, rest)| {
                assert!(rest.is_empty());
                text.into_owned()
            });
            assert_eq!(taken, expected, "{text}");
            if expected.is_some() {
                let longer = format!("{text},\"more\"");
                let rest = take_string(longer.as_bytes()).map(|(_, rest)| rest);
                assert_eq!(rest, Some(&b",\"more\""[..]), "{text}");
            }
        }
        assert_eq!(take_string(b"\"\xff\""), None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (bytes, expires_at) in [
            (&b"plain"[..], None),
            (b"{\"$text\":\"x\"}", None),
            (b"\xff\x00", None),
            (b"\xff\x00", Some(1_795_395_723_456)),
            ("a\"\\\n\r\0\u{2028}😀".as_bytes(), Some(0)),
            // The last moment that can be written.
            (b"late", Some(253_402_207_200_999)),
        ] {
            let mut out = Vec::new();
            write_value(
                &mut out,
                Value::parse_until(bytes, expires_at).expect("short"),
            );
            let loaded = read_value(std::str::from_utf8(&out).expect("JSON is text"))
                .expect("what was written");
            assert_eq!(
                loaded,
                Loaded {
                    bytes: Cow::Borrowed(bytes),
                    expires_at
                }
            );
        }
    }

    #[test]
    fn pieces_join_to_the_whole() {
        let long = "aé\"😀\n".repeat(20_000);
        let bytes: Vec<u8> = (0..200_000_u32)
            .map(|n| n.to_le_bytes()[0] | 0x80)
            .collect();
        let key = Key::parse(b"k").expect("text");
        let pieces = Pieces::new(Entry::new(
            key,
            Value::parse(long.as_bytes()).expect("short"),
        ));
        assert!(pieces.is_text());
        let joined = format!(
            "\"{}\"",
            String::from_utf8(pieces.flatten().collect()).expect("text")
        );
        assert_eq!(serde_json::from_str::<String>(&joined).expect("JSON"), long);
        let pieces = Pieces::new(Entry::new(key, Value::parse(&bytes).expect("short")));
        assert!(!pieces.is_text());
        let joined: Vec<u8> = pieces.flatten().collect();
        assert_eq!(BASE64.decode(joined).expect("base64"), bytes);
    }
}
