//! One JSON object of keys and values, as store.json is, an export, or a file of an older `PyKV`.
//!
//! In: JSON, however it is laid out. Out: its pairs, one by one.

use std::borrow::Cow;

use super::fault::{ReadError, TextError};
use super::pair::{FilePair, shown};
use super::scanner::Scanner;
use super::text::Text;
use crate::codec::json;
use crate::codec::key_text::key_bytes;

/// Reads one object up to the end of the file, and calls `take` with each of its pairs.
///
/// # Errors
/// The first fault, that of the source, or that of `take`.
pub fn read<E>(
    text: &mut Text<'_>,
    take: &mut dyn FnMut(FilePair<'_>) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    let mut scanner = Scanner::new(text);
    scanner.take(b'{', "`{`")?;
    if scanner.next_token()? == Some(b'}') {
        scanner.take(b'}', "`}`")?;
        return Ok(end(&mut scanner)?);
    }
    loop {
        scanner.next_token()?;
        let line = scanner.place().line();
        let key = scanner.take_key()?;
        scanner.take(b':', "`:` after the key")?;
        scanner.next_token()?;
        let place = scanner.place();
        let raw = scanner.take_value()?;
        let fault = |reason: String| place.fault(format!("key {}: {reason}", shown(&key)));
        let loaded = json::read_value(raw.as_str()).map_err(fault)?;
        let name = key_bytes(Cow::Borrowed(&key));
        let pair = FilePair::new(&name, &loaded.bytes, loaded.expires_at, line);
        take(pair.map_err(fault)?).map_err(ReadError::Refused)?;
        match scanner.next_token()? {
            Some(b',') => scanner.take(b',', "`,`")?,
            Some(b'}') => {
                scanner.take(b'}', "`}`")?;
                return Ok(end(&mut scanner)?);
            }
            found => {
                return Err(scanner
                    .unexpected(found, "`,` or `}` after the value")
                    .into());
            }
        }
    }
}

/// Reads what follows the object: nothing but blanks.
fn end(scanner: &mut Scanner<'_, '_>) -> Result<(), TextError> {
    match scanner.next_token()? {
        None => Ok(()),
        Some(b'{') => {
            let reason = "a second object follows the first: join them, or write JSON Lines, each line {\"key\": \"...\", \"value\": \"...\"}";
            Err(scanner.place().fault(reason).into())
        }
        found => Err(scanner
            .unexpected(found, "nothing after the end of the object")
            .into()),
    }
}
