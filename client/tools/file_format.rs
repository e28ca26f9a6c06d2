//! File formats of pairs: JSON as in the snapshot, JSON lines, CSV; gzipped or not.
//!
//! In: a file. Out: its pairs, one after the other, or the place of an error; and the reverse. Promise: pairs that are written are read back
//! the same, binary values and expiry included.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use pykv::codec::gzip;
use pykv::codec::json;
use pykv::model::{Key, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::pair::Pair;

/// The size of the read buffer.
const BUFFER_BYTES: usize = 256 << 10;
/// The columns of CSV.
const COLUMNS: [&str; 4] = ["key", "value", "encoding", "expires_at"];

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// One JSON object, one pair per line, as in the snapshot of the server
    Json,
    /// One JSON object per line: key, value, expires_at
    Jsonl,
    /// Rows of key, value, encoding (text or base64) and expires_at, below a header
    Csv,
}

impl FileFormat {
    /// Returns the format that the extension of a file name stands for; JSON if it stands for none.
    pub fn of(name: &str) -> Self {
        let name = name.strip_suffix(".gz").unwrap_or(name);
        let extension = Path::new(name)
            .extension()
            .map(std::ffi::OsStr::to_ascii_lowercase);
        match extension.as_deref().and_then(|end| end.to_str()) {
            Some("jsonl" | "ndjson") => Self::Jsonl,
            Some("csv") => Self::Csv,
            _ => Self::Json,
        }
    }
}

/// The reason why reading ended before the end of the file.
#[derive(Debug)]
pub enum Stopped {
    /// The file is malformed: the reason, with its place.
    File(String),
    /// The consumer wants no more pairs.
    ByConsumer,
}

/// Reads the pairs of a file; `take` returns whether it wants more.
///
/// # Errors
/// [`Stopped::File`] if the file is malformed or cannot be read; [`Stopped::ByConsumer`] once `take` returns false.
pub fn read(
    source: impl Read,
    format: FileFormat,
    mut take: impl FnMut(Pair) -> bool,
) -> Result<(), Stopped> {
    let file = |error: &dyn std::fmt::Display| Stopped::File(error.to_string());
    let text = gzip::text_of(source).map_err(|error| file(&error))?;
    let reader = BufReader::with_capacity(BUFFER_BYTES, text);
    match format {
        FileFormat::Json => {
            let mut is_stopped = false;
            let read = json::read_pairs(reader, |key, value| {
                is_stopped = !take(Pair {
                    key: key.as_str().to_owned(),
                    value: value.bytes().to_vec(),
                    expires_at: value.expires_at(),
                });
                if is_stopped {
                    Err(String::new())
                } else {
                    Ok(())
                }
            });
            match read {
                Err(_) if is_stopped => Err(Stopped::ByConsumer),
                read => read.map_err(|error| file(&error)),
            }
        }
        FileFormat::Jsonl => read_lines(reader, take),
        FileFormat::Csv => read_csv(reader, take),
    }
}

/// A line of JSON lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    expires_at: Option<String>,
}

fn read_lines(
    mut reader: impl io::BufRead,
    mut take: impl FnMut(Pair) -> bool,
) -> Result<(), Stopped> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let broken = |reason: String| Stopped::File(format!("line {number}: {reason}"));
        let count = reader
            .read_until(b'\n', &mut line)
            .map_err(|error| broken(error.to_string()))?;
        if count == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let read = || -> Result<Pair, String> {
            let row: Row<'_> = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
            let value = json::read_value(row.value.get())?;
            checked(row.key, value.bytes.into_owned(), row.expires_at.as_deref())
        };
        if !take(read().map_err(broken)?) {
            return Err(Stopped::ByConsumer);
        }
    }
    Ok(())
}

fn read_csv(reader: impl Read, mut take: impl FnMut(Pair) -> bool) -> Result<(), Stopped> {
    let file = |error: csv::Error| Stopped::File(error.to_string());
    let mut rows = csv::Reader::from_reader(reader);
    let names = rows.headers().map_err(file)?.clone();
    let place = |name: &str| {
        names
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
    };
    let [key, value, encoding, expires_at] = COLUMNS.map(place);
    let (Some(key), Some(value)) = (key, value) else {
        let reason = "line 1: the first row has to name the columns, key and value among them";
        return Err(Stopped::File(reason.to_owned()));
    };
    for row in rows.into_byte_records() {
        let row = row.map_err(file)?;
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |place: usize| row.get(place).unwrap_or_default();
        let text =
            |place: usize| std::str::from_utf8(cell(place)).map_err(|_| "not UTF-8".to_owned());
        let read = || -> Result<Pair, String> {
            let is_base64 = match encoding.map(text).transpose()? {
                None | Some("" | "text") => false,
                Some("base64") => true,
                Some(other) => return Err(format!("encoding is text or base64, not {other:?}")),
            };
            let bytes = if is_base64 {
                BASE64
                    .decode(cell(value))
                    .map_err(|error| error.to_string())?
            } else {
                cell(value).to_vec()
            };
            let expires_at = expires_at
                .map(text)
                .transpose()?
                .filter(|at| !at.is_empty());
            checked(text(key)?.to_owned(), bytes, expires_at)
        };
        let pair = read().map_err(|reason| Stopped::File(format!("line {line}: {reason}")))?;
        if !take(pair) {
            return Err(Stopped::ByConsumer);
        }
    }
    Ok(())
}

/// Returns a pair, checked against the limits of the server.
fn checked(key: String, value: Vec<u8>, expires_at: Option<&str>) -> Result<Pair, String> {
    Key::parse(key.as_bytes()).map_err(|error| error.to_string())?;
    Value::parse(&value).map_err(|error| error.to_string())?;
    let expires_at = expires_at.map(|text| {
        json::read_moment(text).ok_or_else(|| {
            format!("expires_at {text:?} is not a time such as \"2026-11-23T01:02:03.456Z\"")
        })
    });
    Ok(Pair {
        key,
        value,
        expires_at: expires_at.transpose()?,
    })
}

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
    pub fn pair(&mut self, pair: &Pair) -> io::Result<()> {
        let mut row = Vec::new();
        match self.format {
            FileFormat::Json => {
                row.extend_from_slice(if self.count == 0 { b"{\n  " } else { b",\n  " });
                json::write_string(&mut row, &pair.key);
                row.extend_from_slice(b": ");
                write_value(&mut row, &pair.value, pair.expires_at)?;
            }
            FileFormat::Jsonl => {
                row.extend_from_slice(b"{\"key\":");
                json::write_string(&mut row, &pair.key);
                row.extend_from_slice(b",\"value\":");
                write_value(&mut row, &pair.value, None)?;
                if let Some(at) = pair.expires_at {
                    row.extend_from_slice(b",\"expires_at\":");
                    json::write_string(&mut row, &json::time(at));
                }
                row.extend_from_slice(b"}\n");
            }
            FileFormat::Csv => {
                let is_text = std::str::from_utf8(&pair.value).is_ok();
                let base64 = (!is_text).then(|| BASE64.encode(&pair.value));
                let value = base64
                    .as_ref()
                    .map_or(&*pair.value, |base64| base64.as_bytes());
                let encoding = if is_text { "text" } else { "base64" };
                let at = pair.expires_at.map(json::time).unwrap_or_default();
                self.write_header()?;
                let cells = [
                    pair.key.as_bytes(),
                    value,
                    encoding.as_bytes(),
                    at.as_bytes(),
                ];
                let mut writer = csv::Writer::from_writer(&mut row);
                writer.write_record(cells)?;
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

fn write_value(row: &mut Vec<u8>, value: &[u8], expires_at: Option<u64>) -> io::Result<()> {
    let value = Value::with_expiry(value, expires_at).map_err(io::Error::other)?;
    json::write_value(row, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8], format: FileFormat) -> Result<Vec<Pair>, String> {
        let mut pairs = Vec::new();
        let read = read(text, format, |pair| {
            pairs.push(pair);
            true
        });
        match read {
            Ok(()) => Ok(pairs),
            Err(Stopped::File(reason)) => Err(reason),
            Err(Stopped::ByConsumer) => unreachable!("all pairs are wanted"),
        }
    }

    #[test]
    fn pairs_are_read_back_the_same_in_every_format() {
        let all: Vec<Pair> = [
            ("a", &b"1"[..], None),
            ("", b"", None),
            (
                "q\"u,o\n",
                "\u{e4}\",\"\n\r\n".as_bytes(),
                Some(4_102_444_800_123),
            ),
            ("bytes", &[0, 255], Some(4_102_444_800_000)),
            ("plain bytes", &[255], None),
            ("{\"$text\"", b"{\"$text\": \"x\"}", None),
        ]
        .into_iter()
        .map(|(key, value, expires_at)| Pair {
            key: key.to_owned(),
            value: value.to_vec(),
            expires_at,
        })
        .collect();
        for format in [FileFormat::Json, FileFormat::Jsonl, FileFormat::Csv] {
            for count in [0, 1, all.len()] {
                let mut writer = PairWriter::new(Vec::new(), format);
                for pair in &all[..count] {
                    writer.pair(pair).expect("memory");
                }
                let (text, written) = writer.finish().expect("memory");
                assert_eq!(written, count as u64);
                assert_eq!(
                    pairs(&text, format).as_deref(),
                    Ok(&all[..count]),
                    "{format:?}"
                );
            }
        }
    }

    #[test]
    fn a_malformed_file_is_refused_with_the_place() {
        for (format, text, reason) in [
            (
                FileFormat::Jsonl,
                "{\"key\":\"a\",\"value\":\"1\"}\n\n{\"key\":\"b\"}\n",
                "line 3: missing field `value`",
            ),
            (
                FileFormat::Jsonl,
                "{\"key\":\"a\",\"value\":\"1\",\"expires_at\":\"soon\"}",
                "line 1: expires_at \"soon\" is not a time",
            ),
            (
                FileFormat::Csv,
                "a,b\n1,2\n",
                "line 1: the first row has to name the columns",
            ),
            (
                FileFormat::Csv,
                "key,value,encoding\na,1,hex\n",
                "line 2: encoding is text or base64, not \"hex\"",
            ),
            (
                FileFormat::Csv,
                "key,value\na\n",
                "CSV error: record 1 (line: 2",
            ),
            (FileFormat::Json, "[", "expected one JSON object"),
        ] {
            let found = pairs(text.as_bytes(), format).expect_err(text);
            assert!(found.contains(reason), "{text}: {found}");
        }
    }

    #[test]
    fn the_extension_sets_the_format() {
        for (name, format) in [
            ("a.json", FileFormat::Json),
            ("a", FileFormat::Json),
            ("a.JSONL", FileFormat::Jsonl),
            ("a.ndjson.gz", FileFormat::Jsonl),
            ("b.csv", FileFormat::Csv),
            ("b.csv.gz", FileFormat::Csv),
        ] {
            assert_eq!(FileFormat::of(name), format, "{name}");
        }
    }
}
