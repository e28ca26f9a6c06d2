//! JSON, token by token, as it is read.
//!
//! In: the text of a file. Out: the raw text of keys and values. Promises: of one value no more is held than of the longest one that can be
//! stored; a fault has its place. What is inside a value is parsed by serde_json, once it is here.

use serde_json::value::RawValue;

use super::fault::{Fault, TextError};
use super::text::{Place, Text};
use crate::codec::json::is_half_character;
use crate::model::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::receive_buffer::ReceiveBuffer;

/// The longest value in a file, in bytes and without its escapes: the longest one as base64, and the names and the expiry beside it.
pub const VALUE_TEXT_BYTES_MAX: usize = VALUE_BYTES_MAX.div_ceil(3) * 4 + 1024;

/// The limit of a token, and what the token is.
struct Limit {
    bytes_max: usize,
    reason: fn() -> String,
}

const KEY: Limit = Limit {
    bytes_max: KEY_BYTES_MAX,
    reason: || format!("the key is longer than the {KEY_BYTES_MAX} bytes that it may have"),
};
const VALUE: Limit = Limit {
    bytes_max: VALUE_TEXT_BYTES_MAX,
    reason: || format!("the value is longer than the {VALUE_BYTES_MAX} bytes that it may have"),
};

/// Raw text of a value, which is UTF-8.
#[derive(Debug)]
pub struct RawText(ReceiveBuffer);

impl RawText {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("it was checked")
    }
}

/// A reader of JSON tokens.
pub struct Scanner<'t, 'r> {
    text: &'t mut Text<'r>,
    /// True if no token may be on another line than the one before it.
    is_one_line: bool,
}

impl<'t, 'r> Scanner<'t, 'r> {
    /// Begins to read JSON that may have any layout.
    pub fn new(text: &'t mut Text<'r>) -> Self {
        Self {
            text,
            is_one_line: false,
        }
    }

    /// Begins to read JSON that stands on one line.
    pub fn on_one_line(text: &'t mut Text<'r>) -> Self {
        Self {
            text,
            is_one_line: true,
        }
    }

    /// Returns the place of the next byte.
    pub fn place(&self) -> Place {
        self.text.place()
    }

    /// Returns the first byte of the next token; `None` at the end of the text.
    ///
    /// # Errors
    /// Those of the text.
    pub fn next_token(&mut self) -> Result<Option<u8>, TextError> {
        loop {
            let buffer = self.text.buffer()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let is_one_line = self.is_one_line;
            let is_blank =
                |byte: u8| matches!(byte, b' ' | b'\t' | b'\r') || byte == b'\n' && !is_one_line;
            let token = buffer.iter().position(|byte| !is_blank(*byte));
            let blanks = token.unwrap_or(buffer.len());
            let found = token.map(|at| buffer[at]);
            self.text.consume(blanks);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Takes a token of one byte.
    ///
    /// # Errors
    /// A fault if the next token is another one, which says what was expected.
    pub fn take(&mut self, token: u8, expected: &str) -> Result<(), TextError> {
        match self.next_token()? {
            Some(found) if found == token => {
                self.text.consume(1);
                Ok(())
            }
            found => Err(self.unexpected(found, expected).into()),
        }
    }

    /// Makes the fault of a token that is not expected.
    pub fn unexpected(&self, found: Option<u8>, expected: &str) -> Fault {
        let place = self.place();
        match found {
            None => place.fault(format!(
                "the file ends too soon, {expected} is missing: it was cut"
            )),
            Some(b'\n') => place.fault(format!("the line ends too soon, {expected} is missing")),
            Some(byte) if byte.is_ascii_graphic() => {
                let byte = char::from(byte);
                place.fault(format!("expected {expected}, found `{byte}`"))
            }
            Some(byte) => place.fault(format!("expected {expected}, found the byte {byte:#04x}")),
        }
    }

    /// Takes a string that is a key or the name of a member.
    ///
    /// # Errors
    /// A fault if it is no string, not text, or longer than a key may be.
    pub fn take_key(&mut self) -> Result<String, TextError> {
        let found = self.next_token()?;
        if found != Some(b'"') {
            return Err(self.unexpected(found, "a key in quotes").into());
        }
        let (place, mut raw) = (self.place(), ReceiveBuffer::default());
        let mut count = 0;
        self.take_string(&mut raw, &mut count, &KEY)?;
        string(place, &raw).map_err(TextError::Fault)
    }

    /// Takes a value of any kind; returns its raw text, with every run of blanks outside its strings as one.
    ///
    /// # Errors
    /// A fault if it is no JSON, not text, or longer than any value that can be stored.
    pub fn take_value(&mut self) -> Result<RawText, TextError> {
        let found = self.next_token()?;
        let place = self.place();
        if !found.is_some_and(|byte| is_word(byte) || matches!(byte, b'"' | b'{' | b'[')) {
            return Err(self.unexpected(found, "a value").into());
        }
        let mut raw = ReceiveBuffer::default();
        self.take_raw_value(&mut raw)?;
        if raw.first() != Some(&b'"')
            && let Err(error) = serde_json::from_slice::<&RawValue>(&raw)
        {
            // Blanks are not as they were, so that only the place of the whole is known.
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            let reason = format!("the value is not JSON: {reason}");
            return Err(place.fault(reason).into());
        }
        check_text(place, &raw)?;
        Ok(RawText(raw))
    }

    fn take_raw_value(&mut self, raw: &mut ReceiveBuffer) -> Result<(), TextError> {
        let (mut depth, mut count) = (0_u64, 0);
        loop {
            let before = self.place();
            let next = self.next_token()?;
            if depth > 0 && self.place() != before {
                raw.append(b" ")?;
                count += 1;
            }
            let Some(byte) = next else {
                return Err(self.unexpected(None, "the end of a value").into());
            };
            match byte {
                b'"' => self.take_string(raw, &mut count, &VALUE)?,
                _ if is_word(byte) => self.take_word(raw, &mut count)?,
                b'\n' => return Err(self.unexpected(next, "the end of a value").into()),
                _ => {
                    match byte {
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    raw.append(&[byte])?;
                    count += 1;
                    self.text.consume(1);
                }
            }
            if count > VALUE.bytes_max {
                return Err(self.place().fault((VALUE.reason)()).into());
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Takes a number, `true`, `false`, `null`, or what stands in their place.
    fn take_word(&mut self, raw: &mut ReceiveBuffer, count: &mut usize) -> Result<(), TextError> {
        loop {
            let buffer = self.text.buffer()?;
            let length = buffer.iter().position(|byte| !is_word(*byte));
            let (length, has_end) = (length.unwrap_or(buffer.len()), length.is_some());
            raw.append(&buffer[..length])?;
            *count += length;
            self.text.consume(length);
            if has_end || length == 0 || *count > VALUE.bytes_max {
                return Ok(());
            }
        }
    }

    /// Takes a string with its quotes. `count` grows by its bytes without escapes, or by less.
    fn take_string(
        &mut self,
        raw: &mut ReceiveBuffer,
        count: &mut usize,
        limit: &Limit,
    ) -> Result<(), TextError> {
        let start = self.place();
        raw.append(b"\"")?;
        self.text.consume(1);
        let cut = |what: &str| {
            let reason =
                format!("{what} within the string that begins here: its closing quote is missing");
            TextError::Fault(start.fault(reason))
        };
        loop {
            let buffer = self.text.buffer()?;
            if buffer.is_empty() {
                return Err(cut("the file ends"));
            }
            let end = memchr::memchr3(b'"', b'\\', b'\n', buffer);
            let length = end.unwrap_or(buffer.len());
            let byte = end.map(|end| buffer[end]);
            raw.append(&buffer[..length])?;
            *count += length;
            self.text.consume(length);
            if *count > limit.bytes_max {
                return Err(start.fault((limit.reason)()).into());
            }
            match byte {
                None => {}
                Some(b'"') => {
                    raw.append(b"\"")?;
                    self.text.consume(1);
                    return Ok(());
                }
                Some(b'\n') => return Err(cut("the line ends")),
                Some(_) => {
                    *count += 1;
                    self.take_byte(raw)?;
                    let escape = self.take_byte(raw)?;
                    // The digits of \u00XX are no bytes of the value.
                    let digits = if escape == Some(b'u') { 4 } else { 0 };
                    for _ in 0..digits {
                        match self.text.peek()? {
                            Some(byte) if byte.is_ascii_hexdigit() => self.take_byte(raw)?,
                            _ => break,
                        };
                    }
                }
            }
        }
    }

    fn take_byte(&mut self, raw: &mut ReceiveBuffer) -> Result<Option<u8>, TextError> {
        let byte = self.text.peek()?;
        if let Some(byte) = byte {
            raw.append(&[byte])?;
            self.text.consume(1);
        }
        Ok(byte)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.') || !byte.is_ascii()
}

/// Checks that the raw text of a string is UTF-8, with the place of the byte that is not.
fn check_text(place: Place, raw: &[u8]) -> Result<(), Fault> {
    match std::str::from_utf8(raw) {
        Ok(_) => Ok(()),
        Err(error) => Err(place.after(error.valid_up_to()).fault(
            "this is not UTF-8: save the file as UTF-8, or write bytes as {\"$base64\": \"...\"}",
        )),
    }
}

/// Parses the raw text of a string.
fn string(place: Place, raw: &[u8]) -> Result<String, Fault> {
    check_text(place, raw)?;
    serde_json::from_slice(raw).map_err(|error| {
        let reason = if is_half_character(&error) {
            "half of a surrogate pair, which stands for no character".to_owned()
        } else {
            let whole = error.to_string();
            whole
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        place.after(error.column().saturating_sub(1)).fault(reason)
    })
}
