//! The text of a file, gzipped or not, with a byte order mark before it or not.
//!
//! In: bytes. Out: the text. Promise: bounded memory, however long it is.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Returns a reader of the text that `source` holds: unzipped, and without its byte order mark.
///
/// # Errors
/// [`io::Error`], if the first bytes cannot be read, or if they begin gzip that is broken.
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

/// Returns the first bytes of a reader, at most `count`, and a reader that begins with them again.
fn peek(mut reader: impl Read, count: usize) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    reader.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}
