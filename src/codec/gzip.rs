//! The text of a file, however it is packed: gzipped or not, with a byte order mark before it or not.
//!
//! In: bytes. Out: the text. Promise: a bounded memory, however long it is.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const BOM: &[u8] = "\u{feff}".as_bytes();

/// The text that a reader gives.
///
/// # Errors
/// What the reader says.
pub fn text_of<'r>(source: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let (head, source) = peek(source, GZIP.len())?;
    let text: Box<dyn Read + 'r> = if head == GZIP {
        Box::new(MultiGzDecoder::new(source))
    } else {
        Box::new(source)
    };
    let (head, mut text) = peek(text, BOM.len())?;
    if head == BOM {
        text.read_exact(&mut [0; BOM.len()])?;
    }
    Ok(Box::new(text))
}

/// The first bytes that a reader gives, and all of them to be read.
fn peek(mut reader: impl Read, count: usize) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    reader.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}
