//! Pairs, written as a file.
//!
//! In: pairs. Out: a file in one of the formats. Promise: it is read back the same, bytes and expiry included.

use std::io::{self, Write};

use super::format::FileFormat;
use super::table::COLUMNS;
use crate::codec::json;
use crate::codec::key_text::key_text;
use crate::model::{Key, Value, is_text};

/// Writes pairs in a format.
pub struct PairWriter<W: Write> {
    out: W,
    format: FileFormat,
    count: u64,
}

impl<W: Write> PairWriter<W> {
    /// Returns a writer of a file without pairs.
    pub fn new(out: W, format: FileFormat) -> Self {
        Self {
            out,
            format,
            count: 0,
        }
    }

    /// Writes one pair.
    ///
    /// # Errors
    /// That of the output.
    pub fn pair(&mut self, key: Key<'_>, value: Value<'_>) -> io::Result<()> {
        let mut row = Vec::new();
        match self.format {
            FileFormat::Json => {
                row.extend_from_slice(if self.count == 0 { b"{\n  " } else { b",\n  " });
                json::write_string(&mut row, &key_text(key.as_bytes()));
                row.extend_from_slice(b": ");
                json::write_value(&mut row, value);
            }
            FileFormat::Jsonl => {
                row.extend_from_slice(b"{\"key\":");
                json::write_string(&mut row, &key_text(key.as_bytes()));
                row.extend_from_slice(b",\"value\":");
                let lasting = Value::parse(value.bytes()).expect("it is a value");
                json::write_value(&mut row, lasting);
                if let Some(at) = value.expires_at() {
                    row.extend_from_slice(b",\"expires_at\":");
                    json::write_string(&mut row, &json::time(at));
                }
                row.extend_from_slice(b"}\n");
            }
            FileFormat::Csv => {
                self.write_header()?;
                let base64 = (!is_text(value.bytes())).then(|| json::base64(value.bytes()));
                let (cell, encoding) = match &base64 {
                    Some(base64) => (base64.as_bytes(), "base64"),
                    None => (value.bytes(), "text"),
                };
                let at = value.expires_at().map(json::time).unwrap_or_default();
                let mut writer = csv::Writer::from_writer(&mut row);
                writer.write_record([
                    key_text(key.as_bytes()).as_bytes(),
                    cell,
                    encoding.as_bytes(),
                    at.as_bytes(),
                ])?;
                writer.flush()?;
            }
        }
        self.count += 1;
        self.out.write_all(&row)
    }

    /// Writes the header of CSV before the first row.
    fn write_header(&mut self) -> io::Result<()> {
        if self.format == FileFormat::Csv && self.count == 0 {
            writeln!(self.out, "{}", COLUMNS.join(","))?;
        }
        Ok(())
    }

    /// Ends the file; returns its number of pairs.
    ///
    /// # Errors
    /// That of the output.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        match (self.format, self.count) {
            (FileFormat::Json, 0) => self.out.write_all(b"{}\n")?,
            (FileFormat::Json, _) => self.out.write_all(b"\n}\n")?,
            _ => self.write_header()?,
        }
        self.out.flush()?;
        Ok((self.out, self.count))
    }
}
