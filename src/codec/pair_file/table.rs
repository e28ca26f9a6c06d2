//! CSV (RFC 4180): a header that names the columns, and a row for each pair.
//!
//! The columns are `key`, `value`, `encoding` and `expires_at`, in any order; the last two may be missing. `encoding` says what the cell
//! `value` holds: `text` (or nothing) the value itself, `base64` its bytes in base64. So text that looks like base64 stays text.
//!
//! In: rows, with LF or CRLF. Out: their pairs. Promise: nothing is guessed. (The crate csv takes a quote that is never closed, and text
//! after one that is, for a value; it only writes here.)

use super::fault::{Fault, ReadError, TextError};
use super::pair::{FilePair, expiry, from_base64};
use super::scanner::VALUE_TEXT_BYTES_MAX;
use super::text::{Place, Text};
use crate::codec::key_text::key_bytes;
use crate::model::KEY_BYTES_MAX;

/// The longest row, in bytes without quotes: the longest key, and the longest value in base64. What is longer has lost a quote.
const ROW_BYTES_MAX: usize = VALUE_TEXT_BYTES_MAX + KEY_BYTES_MAX;
/// The cells that a header may have: enough to name the first that is no column of ours.
const HEADER_CELLS_MAX: usize = 1_000;

/// The columns, as they are written.
pub const COLUMNS: [&str; 4] = ["key", "value", "encoding", "expires_at"];

/// A cell of a row.
struct Cell {
    place: Place,
    bytes: Vec<u8>,
    is_quoted: bool,
}

/// What ended a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CellEnd {
    Comma,
    Line,
    File,
}

/// The places of the columns in a row.
struct Header {
    count: usize,
    key: usize,
    value: usize,
    encoding: Option<usize>,
    expires_at: Option<usize>,
}

/// Reads the header and all rows, and calls `take` with the pair of each.
///
/// # Errors
/// The first fault, that of the source, or that of `take`.
pub fn read<E>(
    text: &mut Text<'_>,
    take: &mut dyn FnMut(FilePair<'_>) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    let start = text.place();
    let header = match read_row(text, HEADER_CELLS_MAX)? {
        Some((_, CellEnd::File)) => {
            let reason = "the file ends within its header: it was cut; if it is whole, end the header with a line feed";
            return Err(start.fault(reason).into());
        }
        Some((names, _)) => header(&names)?,
        None => return Err(start.fault("the header is missing").into()),
    };
    while let Some((cells, end)) = read_row(text, header.count)? {
        let [first, .., last] = cells.as_slice() else {
            let place = cells.first().map_or(start, |cell| cell.place);
            return Err(too_few(place, 1, header.count, end).into());
        };
        if cells.len() < header.count {
            return Err(too_few(first.place, cells.len(), header.count, end).into());
        }
        if end == CellEnd::File && last.bytes.is_empty() && !last.is_quoted {
            let reason = "the file ends within its last row: it was cut; if it is whole, end this row with a line feed";
            return Err(first.place.fault(reason).into());
        }
        let pair = parse(&cells, &header)?;
        let bytes = pair.0.as_deref().unwrap_or(&cells[header.value].bytes);
        let key = &cells[header.key];
        let text = String::from_utf8_lossy(&key.bytes);
        let name = key_bytes(text);
        let checked = FilePair::new(&name, bytes, pair.1, first.place.line());
        let checked = checked.map_err(|reason| key.place.fault(reason))?;
        take(checked).map_err(ReadError::Refused)?;
    }
    Ok(())
}

fn too_few(place: Place, found: usize, expected: usize, end: CellEnd) -> Fault {
    let cut = if end == CellEnd::File {
        ", as the file was cut there"
    } else {
        ""
    };
    place.fault(format!(
        "the row has too few cells{cut}: {found}, where the header has {expected}"
    ))
}

/// Finds the columns.
fn header(names: &[Cell]) -> Result<Header, Fault> {
    let mut places = [None; COLUMNS.len()];
    for (at, cell) in names.iter().enumerate() {
        let column = COLUMNS
            .iter()
            .position(|known| cell.bytes.eq_ignore_ascii_case(known.as_bytes()));
        let name = String::from_utf8_lossy(&cell.bytes);
        let Some(column) = column else {
            let mut reason = format!(
                "the first row has to name the columns, which are key, value, encoding and expires_at, and not {name:?}"
            );
            if name.contains([';', '\t']) {
                reason += "; they are separated by commas";
            }
            return Err(cell.place.fault(reason));
        };
        if places[column].replace(at).is_some() {
            return Err(cell.place.fault(format!("there are two columns {name:?}")));
        }
    }
    let [Some(key), Some(value), encoding, expires_at] = places else {
        let place = names[0].place;
        let reason = "the first row has to name the columns, key and value among them";
        return Err(place.fault(reason));
    };
    Ok(Header {
        count: names.len(),
        key,
        value,
        encoding,
        expires_at,
    })
}

/// Returns the decoded value, if it is not the cell itself, and the expiry.
fn parse(cells: &[Cell], header: &Header) -> Result<(Option<Vec<u8>>, Option<u64>), Fault> {
    let text_of = |at: usize| -> Result<&str, Fault> {
        let cell = &cells[at];
        std::str::from_utf8(&cell.bytes).map_err(|_| {
            let reason = "this cell is not UTF-8: save the file as UTF-8, or write bytes in base64 and `base64` in a column `encoding`";
            cell.place.fault(reason)
        })
    };
    text_of(header.key)?;
    let encoding = header.encoding.map(text_of).transpose()?;
    let bytes = match encoding {
        None | Some("" | "text") => {
            text_of(header.value)?;
            None
        }
        Some("base64") => {
            let cell = &cells[header.value];
            let bytes = from_base64(&cell.bytes);
            Some(bytes.map_err(|reason| cell.place.fault(reason))?)
        }
        Some(other) => {
            let at = header.encoding.unwrap_or_default();
            let reason = format!("encoding is text or base64, not {other:?}");
            return Err(cells[at].place.fault(reason));
        }
    };
    let expires_at = match header.expires_at {
        Some(at) if !cells[at].bytes.is_empty() => {
            let found = expiry(text_of(at)?);
            Some(found.map_err(|reason| cells[at].place.fault(reason))?)
        }
        _ => None,
    };
    Ok((bytes, expires_at))
}

/// Reads the next row that is not empty, of at most so many cells; `None` at the end of the file.
fn read_row(
    text: &mut Text<'_>,
    cells_max: usize,
) -> Result<Option<(Vec<Cell>, CellEnd)>, TextError> {
    loop {
        match text.peek()? {
            None => return Ok(None),
            Some(b'\n') => text.consume(1),
            Some(b'\r') => {
                take_return(text)?;
            }
            Some(_) => break,
        }
    }
    let (mut cells, mut bytes_left) = (Vec::new(), ROW_BYTES_MAX);
    loop {
        let (cell, end) = read_cell(text, bytes_left)?;
        bytes_left -= cell.bytes.len();
        if cells.len() == cells_max {
            let reason = format!(
                "the row has too many cells: there may be {cells_max}, as in the header; a cell with a comma stands in quotes"
            );
            return Err(cell.place.fault(reason).into());
        }
        cells.push(cell);
        if end != CellEnd::Comma {
            return Ok(Some((cells, end)));
        }
    }
}

fn read_cell(text: &mut Text<'_>, bytes_max: usize) -> Result<(Cell, CellEnd), TextError> {
    let mut cell = Cell {
        place: text.place(),
        bytes: Vec::new(),
        is_quoted: text.peek()? == Some(b'"'),
    };
    if cell.is_quoted {
        text.consume(1);
        read_quoted(text, &mut cell, bytes_max)?;
    } else {
        let find = |bytes: &[u8]| memchr::memchr3(b',', b'\n', b'\r', bytes);
        while take_run(text, &mut cell, bytes_max, find)? {}
    }
    let end = match text.peek()? {
        None => CellEnd::File,
        Some(b'\r') => take_return(text)?,
        Some(b'\n') => {
            text.consume(1);
            CellEnd::Line
        }
        Some(b',') => {
            text.consume(1);
            CellEnd::Comma
        }
        Some(_) => {
            let reason = "after the quote that closes this cell stands neither a comma nor the end of the row: a quote is missing, or one within the cell is not doubled";
            return Err(cell.place.fault(reason).into());
        }
    };
    Ok((cell, end))
}

/// Reads up to the closing quote, which is taken.
fn read_quoted(text: &mut Text<'_>, cell: &mut Cell, bytes_max: usize) -> Result<(), TextError> {
    loop {
        while take_run(text, cell, bytes_max, |bytes| memchr::memchr(b'"', bytes))? {}
        if text.peek()?.is_none() {
            let reason = "the quote that opens this cell is never closed: the file was cut, or a quote is missing";
            return Err(cell.place.fault(reason).into());
        }
        text.consume(1);
        if text.peek()? != Some(b'"') {
            return Ok(());
        }
        text.consume(1);
        cell.bytes.push(b'"');
    }
}

/// Takes bytes into a cell up to one that `find` finds; returns false once it is there, or at the end of the file.
fn take_run(
    text: &mut Text<'_>,
    cell: &mut Cell,
    bytes_max: usize,
    find: impl Fn(&[u8]) -> Option<usize>,
) -> Result<bool, TextError> {
    let buffer = text.buffer()?;
    let end = find(buffer);
    let length = end.unwrap_or(buffer.len());
    cell.bytes.extend_from_slice(&buffer[..length]);
    text.consume(length);
    if cell.bytes.len() > bytes_max {
        let reason = format!(
            "the row is longer than the {ROW_BYTES_MAX} bytes that key and value may take; is the quote missing that closes this cell?"
        );
        return Err(cell.place.fault(reason).into());
    }
    Ok(end.is_none() && length > 0)
}

/// Takes a carriage return, and the line feed that must follow it.
fn take_return(text: &mut Text<'_>) -> Result<CellEnd, TextError> {
    let place = text.place();
    text.consume(1);
    match text.peek()? {
        None => Ok(CellEnd::Line),
        Some(b'\n') => {
            text.consume(1);
            Ok(CellEnd::Line)
        }
        Some(_) => {
            let reason = "a carriage return without a line feed: within a cell it stands in quotes, and rows end in LF or CRLF";
            Err(place.fault(reason).into())
        }
    }
}
