//! The JSON string of a long value, in pieces of bounded length.
//!
//! In: the bytes of a value, kept by whatever owns them. Out: pieces that join to the string. Promise: no copy of the whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::text::string;
use crate::model::is_text;

/// The bytes of a value that are encoded at a time. Divisible by three, so that the pieces of base64 fit together.
const PIECE_BYTES: usize = 48 << 10;

/// The JSON string of a long value, without its quotes, in pieces. It holds the bytes for as long as it lasts.
pub struct Pieces<B> {
    bytes: B,
    at: usize,
    is_text: bool,
}

impl<B: AsRef<[u8]>> Pieces<B> {
    /// Begins the pieces of a value.
    #[must_use]
    pub fn new(bytes: B) -> Self {
        let is_text = is_text(bytes.as_ref());
        Self {
            bytes,
            at: 0,
            is_text,
        }
    }

    /// Returns whether the pieces are text; if not, they are base64.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }
}

impl<B: AsRef<[u8]>> Iterator for Pieces<B> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let rest = &self.bytes.as_ref()[self.at..];
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len().min(PIECE_BYTES);
        if !self.is_text {
            self.at += end;
            return Some(BASE64.encode(&rest[..end]).into_bytes());
        }
        // Cut only between characters: within one, every byte but the first is 10xxxxxx.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_whole() {
        let long = "aé\"😀\n".repeat(20_000);
        let bytes: Vec<u8> = (0..200_000_u32)
            .map(|n| n.to_le_bytes()[0] | 0x80)
            .collect();
        let pieces = Pieces::new(&long);
        assert!(pieces.is_text());
        let joined = format!(
            "\"{}\"",
            String::from_utf8(pieces.flatten().collect()).expect("text")
        );
        assert_eq!(serde_json::from_str::<String>(&joined).expect("JSON"), long);
        let pieces = Pieces::new(&bytes);
        assert!(!pieces.is_text());
        let joined: Vec<u8> = pieces.flatten().collect();
        assert_eq!(BASE64.decode(joined).expect("base64"), bytes);
    }
}
