//! The text of a file, gzipped or not, with a byte order mark before it or not, and the place of its next byte.
//!
//! In: bytes. Out: the text, piece by piece. Promises: bounded memory, however long the file is or becomes when unzipped; gzip that is cut,
//! damaged or followed by something else is a fault, and never the end.

use std::io::{self, BufRead as _, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

use super::fault::{Fault, TextError};
use super::meter::Meter;
use crate::codec::bom::BOM;

const GZIP: &[u8] = &[0x1f, 0x8b];

/// Bytes of text that are kept at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    line: u64,
    column: u64,
}

impl Place {
    /// Returns the line, counted from 1.
    pub fn line(self) -> u64 {
        self.line
    }

    /// Makes the fault at this place.
    pub fn fault(self, reason: impl Into<String>) -> Fault {
        Fault {
            line: self.line,
            column: self.column,
            reason: reason.into(),
        }
    }

    /// Returns the place after such bytes of the same line.
    pub fn after(self, bytes: usize) -> Self {
        Self {
            column: self.column + bytes as u64,
            ..self
        }
    }
}

/// The text of a file.
pub struct Text<'r> {
    reader: BufReader<Box<dyn Read + 'r>>,
    /// The first bytes, read already but not taken yet.
    head: Cursor<Vec<u8>>,
    is_gzipped: bool,
    place: Place,
    meter: Meter<'r>,
}

impl<'r> Text<'r> {
    /// Begins to read a file.
    ///
    /// # Errors
    /// Those of its first bytes.
    pub fn open(source: impl Read + 'r, meter: Meter<'r>) -> Result<Self, TextError> {
        let (head, source) = peek(source, GZIP.len()).map_err(TextError::Source)?;
        let is_gzipped = head == GZIP;
        let reader: Box<dyn Read + 'r> = if is_gzipped {
            Box::new(MultiGzDecoder::new(source))
        } else {
            Box::new(source)
        };
        let mut text = Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            head: Cursor::default(),
            is_gzipped,
            place: Place { line: 1, column: 1 },
            meter,
        };
        while text.head().len() < BOM.len() && text.grow_head()? {}
        if text.head().starts_with(BOM.as_bytes()) {
            text.head.set_position(BOM.len() as u64);
        }
        Ok(text)
    }

    /// Returns the place of the next byte.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Returns the first bytes, as far as they were read, before any was taken.
    pub fn head(&self) -> &[u8] {
        self.head
            .get_ref()
            .get(self.head_at()..)
            .unwrap_or_default()
    }

    /// Reads more of the first bytes; returns false at the end of the file.
    ///
    /// # Errors
    /// Those of the bytes.
    pub fn grow_head(&mut self) -> Result<bool, TextError> {
        let piece = match self.reader.fill_buf() {
            Ok(piece) => piece,
            Err(error) => return Err(self.error(error)),
        };
        let count = piece.len();
        self.head.get_mut().extend_from_slice(piece);
        self.reader.consume(count);
        Ok(count > 0)
    }

    /// Returns the next bytes; none at the end of the file.
    ///
    /// # Errors
    /// Those of the bytes.
    pub fn buffer(&mut self) -> Result<&[u8], TextError> {
        self.meter.tell().map_err(TextError::Source)?;
        let at = self.head_at();
        if at < self.head.get_ref().len() {
            return Ok(&self.head.get_ref()[at..]);
        }
        if let Err(error) = self.reader.fill_buf() {
            return Err(self.error(error));
        }
        Ok(self.reader.buffer())
    }

    /// Takes so many of the bytes that [`Self::buffer`] returned.
    pub fn consume(&mut self, count: usize) {
        self.meter.count(count);
        let at = self.head_at();
        let is_head = at < self.head.get_ref().len();
        let taken = if is_head {
            &self.head.get_ref()[at..at + count]
        } else {
            &self.reader.buffer()[..count]
        };
        match memchr::memrchr(b'\n', taken) {
            None => self.place.column += count as u64,
            Some(last) => {
                self.place.line += memchr::memchr_iter(b'\n', taken).count() as u64;
                self.place.column = (count - last) as u64;
            }
        }
        if !is_head {
            self.reader.consume(count);
        } else if at + count < self.head.get_ref().len() {
            self.head.set_position((at + count) as u64);
        } else {
            self.head = Cursor::default();
        }
    }

    /// Returns the next byte; `None` at the end of the file.
    ///
    /// # Errors
    /// Those of the bytes.
    pub fn peek(&mut self) -> Result<Option<u8>, TextError> {
        Ok(self.buffer()?.first().copied())
    }

    fn head_at(&self) -> usize {
        usize::try_from(self.head.position()).expect("within the memory")
    }

    /// Tells a fault of gzip from a failure of the source, which never has these kinds.
    fn error(&self, error: io::Error) -> TextError {
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the gzip data ends here, too soon: the file was cut; get it again, whole"
                    .to_owned()
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => format!(
                "the gzip data is damaged here, or something that is not gzip follows it ({error}); get the file again"
            ),
            _ => return TextError::Source(error),
        };
        if self.is_gzipped {
            self.place.fault(reason).into()
        } else {
            TextError::Source(error)
        }
    }
}

/// Returns the first bytes of a reader, at most `count`, and a reader that begins with them again.
fn peek(mut reader: impl Read, count: usize) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    reader.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}
