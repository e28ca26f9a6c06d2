//! Fuzzes the line parser against a plain reading of protocol.md.
//!
//! In: a byte that says how the rest arrives in pieces, and the rest: what a client sends. Out: nothing, or a panic. It holds
//! that lines are the same however they arrive, that each is read as the grammar says, and that arguments come through
//! whatever form they are written in.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use pykv_fuzz::codec::json;
use pykv_fuzz::model::{KEY_BYTES_MAX, Value};
use pykv_fuzz::protocol::line::{self, Frame, LINE_BYTES_MAX, QUOTED_LINE_BYTES_MAX};
use pykv_fuzz::protocol::{ErrorCode, ErrorReply, Refusal, Reply, foreign};

fuzz_target!(|input: &[u8]| {
    let Some((pieces, sent)) = input.split_first() else {
        return;
    };
    let lines = frames(sent, usize::MAX);
    assert_eq!(lines, frames(sent, usize::from(*pieces).max(1)));
    let whole_lines = || sent.split_inclusive(|byte| *byte == b'\n');
    for (sent, framed) in whole_lines().zip(&lines) {
        check_frame(sent, framed.as_deref());
    }
    for line in lines.into_iter().flatten() {
        check_line(&line);
    }
});

/// The lines of what arrives in pieces of this length, as a connection takes them; `None` is one that is too long, and the
/// last.
fn frames(sent: &[u8], piece_bytes: usize) -> Vec<Option<Vec<u8>>> {
    let mut lines = Vec::new();
    let mut input = Vec::new();
    let mut seen = 0;
    for piece in sent.chunks(piece_bytes) {
        input.extend_from_slice(piece);
        loop {
            match line::frame(&input, seen) {
                Frame::Partial => break seen = input.len(),
                Frame::TooLong(refusal) => {
                    assert!(refusal.closes && refusal.error.code == ErrorCode::TooLarge);
                    lines.push(None);
                    return lines;
                }
                Frame::Line(line, taken) => {
                    lines.push(Some(line.to_vec()));
                    input.drain(..taken);
                    seen = 0;
                }
            }
        }
    }
    lines
}

/// Checks a line as it was sent, which may not be ended, against what was made of it.
fn check_frame(sent: &[u8], framed: Option<&[u8]>) {
    let without_lf = sent.strip_suffix(b"\n").unwrap_or(sent);
    match framed {
        Some(line) => {
            assert!(without_lf.len() <= QUOTED_LINE_BYTES_MAX);
            assert_eq!(line, without_lf.strip_suffix(b"\r").unwrap_or(without_lf));
        }
        None => {
            assert!(without_lf.len() > LINE_BYTES_MAX);
            let may_be_longer = std::str::from_utf8(without_lf).is_ok_and(has_quoted_value);
            assert!(!may_be_longer || without_lf.len() > QUOTED_LINE_BYTES_MAX);
        }
    }
}

/// Whether a line is a PUT whose value is a JSON string that begins within the room that there is for all before it.
fn has_quoted_value(line: &str) -> bool {
    let blanks = [' ', '\t'];
    let Ok(Some((verb, arguments))) = read(line.as_bytes()) else {
        return false;
    };
    let value = arguments
        .ok()
        .and_then(|arguments| arguments.get(1).cloned());
    // The value ends the line, and no key that is a JSON string can end where a value as long as this begins.
    verb.eq_ignore_ascii_case("PUT")
        && value.is_some()
        && line.trim_end_matches(blanks).ends_with('"')
        && value_start(line)
            .is_some_and(|at| line[at..].starts_with('"') && at < 6 * KEY_BYTES_MAX + 1024)
}

/// Where the value of a PUT that can be read begins.
fn value_start(line: &str) -> Option<usize> {
    let mut place = Place::new(line);
    place.skip_blanks();
    place.bare_word();
    place.skip_blanks();
    place.word().ok()?;
    place.skip_blanks();
    Some(line.char_indices().nth(place.at)?.0)
}

fn check_line(line: &[u8]) {
    let refusals = [
        foreign::refuse_beginning(line),
        foreign::refuse_malformed(line),
        foreign::refuse(line, false),
    ];
    for refusal in refusals.into_iter().flatten() {
        assert!(refusal.closes && refusal.error.code == ErrorCode::Denied);
        check_error(&refusal.error);
    }
    let expected = read(line);
    let parsed = match line::parse(line) {
        Ok(parsed) => parsed,
        Err(refusal) => {
            check_refusal(&refusal);
            assert_eq!(expected, Err(refusal.error.code));
            return;
        }
    };
    let expected = expected.expect("it was read");
    let Some(request) = parsed else {
        assert_eq!(expected, None);
        return;
    };
    let (verb, arguments) = expected.expect("a request");
    assert_eq!(request.verb, verb.as_bytes());
    let rest_at = rest_at(&verb);
    let words = match request.arguments(rest_at) {
        Ok(words) => words,
        Err(error) => {
            check_error(&error);
            assert_eq!(arguments, Err(error.code));
            return;
        }
    };
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
    assert!(words.iter().map(Vec::len).sum::<usize>() <= line.len());
    assert_eq!(arguments.as_ref(), Ok(&words));
    check_written(&verb, &words, |word| match std::str::from_utf8(word) {
        Ok(text) => json::string(text),
        Err(_) => format!("BASE64 \"{}\"", STANDARD.encode(word)),
    });
    check_written(&verb, &words, |word| line::quote_key(word).into_owned());
    for word in &words {
        check_reply(word);
    }
}

/// A request that is written anew is read as the same.
fn check_written(verb: &str, words: &[Vec<u8>], write: impl Fn(&[u8]) -> String) {
    let mut line = verb.to_owned();
    for word in words {
        line.push(' ');
        line.push_str(&write(word));
    }
    let request = line::parse(line.as_bytes())
        .expect("a line")
        .expect("a request");
    assert_eq!(request.verb, verb.as_bytes());
    let again = request.arguments(rest_at(verb)).expect("arguments");
    assert!(
        again
            .iter()
            .map(AsRef::as_ref)
            .eq(words.iter().map(Vec::as_slice)),
        "{line}"
    );
}

/// A reply with this key and value is one line of JSON, or of base64, and holds them.
fn check_reply(word: &[u8]) {
    let mut out = Vec::new();
    let Ok(value) = Value::parse(word) else {
        return;
    };
    line::write(&mut out, Reply::Item(word, value));
    let reply = std::str::from_utf8(&out).expect("a reply is text");
    let Ok(text) = std::str::from_utf8(word) else {
        let base64 = STANDARD.encode(word);
        assert_eq!(
            reply,
            format!("ITEM BASE64 \"{base64}\" BASE64 \"{base64}\"\n")
        );
        return;
    };
    let json = reply
        .strip_prefix("ITEM ")
        .and_then(|rest| rest.strip_suffix('\n'));
    let strings: Vec<String> = serde_json::Deserializer::from_str(json.expect("an item"))
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("JSON");
    assert_eq!(strings, [text, text]);
    assert_eq!(reply.matches('\n').count(), 1);
}

fn check_refusal(refusal: &Refusal) {
    assert!(!refusal.closes);
    check_error(&refusal.error);
}

/// An error is one line, without control characters.
fn check_error(error: &ErrorReply) {
    let mut out = Vec::new();
    line::write(&mut out, Reply::Error(error));
    let reply = String::from_utf8(out).expect("a reply is text");
    let message = reply
        .strip_prefix("ERR ")
        .and_then(|rest| rest.strip_suffix('\n'));
    let message = message.expect("an error");
    assert!(
        !message.contains(char::is_control) && message.contains(' '),
        "{message:?}"
    );
}

fn rest_at(verb: &str) -> Option<usize> {
    verb.eq_ignore_ascii_case("PUT").then_some(1)
}

/// A verb, and its arguments or why they cannot be read.
type Read = (String, Result<Vec<Vec<u8>>, ErrorCode>);

/// Reads a line as protocol.md has it, character by character.
fn read(line: &[u8]) -> Result<Option<Read>, ErrorCode> {
    let line = std::str::from_utf8(line).map_err(|_| ErrorCode::Text)?;
    let mut place = Place::new(line);
    place.skip_blanks();
    let verb = place.bare_word();
    if verb.is_empty() {
        return Ok(None);
    }
    let lower = verb.to_ascii_lowercase();
    let arguments = place.arguments(lower == "put");
    Ok(Some((verb, arguments)))
}

/// A place in a line.
struct Place {
    line: Vec<char>,
    at: usize,
}

impl Place {
    fn new(line: &str) -> Self {
        Self {
            line: line.chars().collect(),
            at: 0,
        }
    }

    fn next(&self) -> Option<char> {
        self.line.get(self.at).copied()
    }

    fn is_at_blank(&self) -> bool {
        matches!(self.next(), Some(' ' | '\t'))
    }

    fn skip_blanks(&mut self) {
        while self.is_at_blank() {
            self.at += 1;
        }
    }

    fn bare_word(&mut self) -> String {
        let start = self.at;
        while self.next().is_some() && !self.is_at_blank() {
            self.at += 1;
        }
        self.line[start..self.at].iter().collect()
    }

    fn arguments(&mut self, is_put: bool) -> Result<Vec<Vec<u8>>, ErrorCode> {
        let mut arguments = Vec::new();
        loop {
            self.skip_blanks();
            let Some(next) = self.next() else {
                return Ok(arguments);
            };
            if !is_put || arguments.len() != 1 {
                arguments.push(self.word()?);
            } else if next == '"' {
                arguments.push(self.string()?.into_bytes());
                self.skip_blanks();
                if self.next().is_some() {
                    return Err(ErrorCode::Syntax);
                }
            } else {
                let rest: String = self.line[self.at..].iter().collect();
                arguments.push(rest.into_bytes());
                self.at = self.line.len();
            }
        }
    }

    fn word(&mut self) -> Result<Vec<u8>, ErrorCode> {
        if self.next() != Some('"') {
            let word = self.bare_word();
            let after = self.at;
            if word == "BASE64" {
                self.skip_blanks();
                if self.next() == Some('"')
                    && let Ok(base64) = self.word()
                    && let Ok(key) = STANDARD.decode(base64)
                    && std::str::from_utf8(&key).is_err()
                {
                    return Ok(key);
                }
                self.at = after;
            }
            return Ok(word.into_bytes());
        }
        let text = self.string()?;
        if self.next().is_none() || self.is_at_blank() {
            Ok(text.into_bytes())
        } else {
            Err(ErrorCode::Syntax)
        }
    }

    /// A string of RFC 8259, section 7. That it is not ended is told before all else that is wrong with it.
    fn string(&mut self) -> Result<String, ErrorCode> {
        let mut end = self.at + 1;
        loop {
            match self.line.get(end) {
                None => return Err(ErrorCode::Syntax),
                Some('"') => break,
                Some('\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        self.at += 1;
        let mut text = String::new();
        while self.at < end {
            let character = self.line[self.at];
            self.at += 1;
            text.push(match character {
                '\\' => self.escape()?,
                '\0'..' ' => return Err(ErrorCode::Syntax),
                _ => character,
            });
        }
        self.at += 1;
        Ok(text)
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Result<char, ErrorCode> {
        let escaped = self.line[self.at];
        self.at += 1;
        Ok(match escaped {
            '"' | '\\' | '/' => escaped,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut units = vec![self.unit()?];
                if (0xd800..0xdc00).contains(&units[0])
                    && self.line[self.at..].starts_with(&['\\', 'u'])
                {
                    self.at += 2;
                    units.push(self.unit()?);
                }
                let text = String::from_utf16(&units).map_err(|_| ErrorCode::Text)?;
                text.chars().next().ok_or(ErrorCode::Text)?
            }
            _ => return Err(ErrorCode::Syntax),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16, ErrorCode> {
        let digits: String = self.line[self.at..].iter().take(4).collect();
        self.at += 4;
        if digits.len() == 4 && digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            u16::from_str_radix(&digits, 16).map_err(|_| ErrorCode::Syntax)
        } else {
            Err(ErrorCode::Syntax)
        }
    }
}
