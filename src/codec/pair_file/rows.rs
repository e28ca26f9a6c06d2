//! JSON Lines: one object per line, `{"key": "...", "value": "...", "expires_at": "..."}`.
//!
//! In: lines; blank ones are skipped. Out: their pairs. Promise: a row is one whole line, so that a line that was cut is told as such.

use std::borrow::Cow;

use super::fault::{Fault, ReadError, TextError};
use super::pair::{FilePair, expiry, shown};
use super::scanner::{RawText, Scanner};
use super::text::{Place, Text};
use crate::codec::json;
use crate::codec::key_text::key_bytes;

/// The members of a row.
#[derive(Default)]
struct Row {
    key: Option<String>,
    value: Option<(Place, RawText)>,
    expires_at: Option<(Place, RawText)>,
}

/// Reads rows up to the end of the file, and calls `take` with the pair of each.
///
/// # Errors
/// The first fault, that of the source, or that of `take`.
pub fn read<E>(
    text: &mut Text<'_>,
    take: &mut dyn FnMut(FilePair<'_>) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    // The blanks between rows may be line feeds.
    while Scanner::new(text).next_token()?.is_some() {
        let mut scanner = Scanner::on_one_line(text);
        let start = scanner.place();
        let row = read_row(&mut scanner)?;
        match scanner.next_token()? {
            None | Some(b'\n') => {}
            found => {
                let expected = "the end of the line after the object";
                return Err(scanner.unexpected(found, expected).into());
            }
        }
        let missing = |name: &str| start.fault(format!("missing member \"{name}\""));
        let key = row.key.ok_or_else(|| missing("key"))?;
        let (place, raw) = row.value.ok_or_else(|| missing("value"))?;
        let fault = |reason: String| place.fault(format!("key {}: {reason}", shown(&key)));
        let value = json::read_value(raw.as_str()).map_err(fault)?;
        let expires_at = match (row.expires_at, value.expires_at) {
            (Some((place, _)), Some(_)) => {
                let reason = "there is an expires_at beside the $expires_at of the value: keep one";
                return Err(place.fault(reason).into());
            }
            (Some((place, raw)), None) => read_expiry(place, raw.as_str())?,
            (None, expires_at) => expires_at,
        };
        let name = key_bytes(Cow::Borrowed(&key));
        let pair = FilePair::new(&name, &value.bytes, expires_at, start.line());
        take(pair.map_err(fault)?).map_err(ReadError::Refused)?;
    }
    Ok(())
}

fn read_row(scanner: &mut Scanner<'_, '_>) -> Result<Row, TextError> {
    scanner.take(b'{', "an object, `{`")?;
    let mut row = Row::default();
    if scanner.next_token()? == Some(b'}') {
        scanner.take(b'}', "`}`")?;
        return Ok(row);
    }
    loop {
        scanner.next_token()?;
        let place = scanner.place();
        let name = scanner.take_key()?;
        let twice = || place.fault(format!("there is more than one \"{name}\" in the row"));
        scanner.take(b':', "`:` after the name of a member")?;
        let is_new = match name.as_str() {
            "key" => row.key.replace(scanner.take_key()?).is_none(),
            "value" => row.value.replace(placed_value(scanner)?).is_none(),
            "expires_at" => row.expires_at.replace(placed_value(scanner)?).is_none(),
            other => {
                let other = shown(other);
                let reason = format!("unknown member {other}: a row has key, value and expires_at");
                return Err(place.fault(reason).into());
            }
        };
        if !is_new {
            return Err(twice().into());
        }
        match scanner.next_token()? {
            Some(b',') => scanner.take(b',', "`,`")?,
            Some(b'}') => {
                scanner.take(b'}', "`}`")?;
                return Ok(row);
            }
            found => {
                return Err(scanner
                    .unexpected(found, "`,` or `}` after the value")
                    .into());
            }
        }
    }
}

fn placed_value(scanner: &mut Scanner<'_, '_>) -> Result<(Place, RawText), TextError> {
    scanner.next_token()?;
    Ok((scanner.place(), scanner.take_value()?))
}

fn read_expiry(place: Place, raw: &str) -> Result<Option<u64>, Fault> {
    if raw == "null" {
        return Ok(None);
    }
    let text: String = serde_json::from_str(raw)
        .map_err(|_| place.fault("expires_at is neither null nor a time in quotes"))?;
    expiry(&text)
        .map(Some)
        .map_err(|reason| place.fault(reason))
}
