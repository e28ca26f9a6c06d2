//! One JSON object of keys and values, read in constant memory.
//!
//! In: JSON, however it is laid out. Out: the text of its keys and the values, one by one, with the limits of values checked. Promise: a mistake is told with
//! its key, line and column.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::text::string;
use super::value::read_value;
use crate::model::Value;

/// Reads one JSON object, and calls `take` with the text of the key and the value of each of its pairs.
///
/// # Errors
/// [`serde_json::Error`] with line and column, if the text is not one JSON object, a value is wrong or over its limit, or
/// `take` refuses a pair.
pub fn read_pairs<R: Read>(
    reader: R,
    take: impl FnMut(&str, Value<'_>) -> Result<(), String>,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    PairsSeed(take).deserialize(&mut deserializer)?;
    deserializer.end()
}

struct PairsSeed<T>(T);

impl<'de, T: FnMut(&str, Value<'_>) -> Result<(), String>> DeserializeSeed<'de> for PairsSeed<T> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: FnMut(&str, Value<'_>) -> Result<(), String>> Visitor<'de> for PairsSeed<T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object of keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut pairs: A) -> Result<(), A::Error> {
        while let Some(key) = pairs.next_key::<String>()? {
            let raw = pairs.next_value::<Box<RawValue>>()?;
            let mut read = || -> Result<(), String> {
                let loaded = read_value(raw.get())?;
                let value = Value::with_expiry(&loaded.bytes, loaded.expires_at)
                    .map_err(|error| error.to_string())?;
                (self.0)(&key, value)
            };
            read().map_err(|reason| A::Error::custom(format!("key {}: {reason}", shown(&key))))?;
        }
        Ok(())
    }
}

/// Returns a key as it stands in a message: its beginning, if it is long.
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
    use crate::model::UnixMs;

    type Pair = (String, Vec<u8>, Option<UnixMs>);

    fn pairs(text: &str) -> Result<Vec<Pair>, String> {
        let mut pairs = Vec::new();
        read_pairs(text.as_bytes(), |key, value| {
            pairs.push((key.to_owned(), value.bytes().to_vec(), value.expires_at()));
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
}
