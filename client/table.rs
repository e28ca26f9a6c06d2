//! Tables for people: aligned columns that fit the terminal, and figures in people's units.
//!
//! In: rows as they arrive. Out: lines, those of data no wider than the terminal. Promises: constant memory, as the widths
//! are taken from the first rows and no cell of data is kept longer than a line; no control character reaches the terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::Value;
use unicode_width::UnicodeWidthChar as _;

use crate::reply::{Datum, Line};
use crate::style::{Kind, paint};

/// The rows from which the widths of the columns are taken; later ones are printed as they come.
const ROWS_MEASURED: usize = 1000;

/// The width of a terminal that does not tell its own.
const WIDTH: usize = 80;

/// What stands between two columns of a table with a header, and of one without.
const BETWEEN: [&str; 2] = [" │ ", "  "];

/// A table that is being printed.
pub struct Table {
    header: Option<[&'static str; 2]>,
    /// The columns of the terminal.
    width: usize,
    /// The columns that each cell but a row's last takes, once the widths are known.
    widths: Option<Vec<usize>>,
    waiting: Vec<Vec<String>>,
}

impl Table {
    /// A table for the terminal as wide as it is now.
    pub fn new(header: Option<[&'static str; 2]>) -> Self {
        let told = console::Term::stdout().size_checked();
        // Less than this is told by a terminal that does not know, and would show nothing anyway.
        let width = told
            .map(|(_, columns)| usize::from(columns))
            .filter(|columns| *columns >= 20);
        let width = width.unwrap_or(WIDTH);
        Self {
            header,
            width,
            widths: None,
            waiting: Vec::new(),
        }
    }

    /// Takes one row.
    pub fn row(&mut self, out: &mut impl Write, cells: &[Cow<'_, str>]) -> io::Result<()> {
        let columns = self.columns_of_last(self.width);
        let row: Vec<String> = cells.iter().map(|cell| cut(cell, columns)).collect();
        if let Some(widths) = &self.widths {
            return self.print(out, &row, widths);
        }
        self.waiting.push(row);
        if self.waiting.len() == ROWS_MEASURED {
            self.finish(out)
        } else {
            Ok(())
        }
    }

    /// Prints the rows that have waited for the widths to be known.
    pub fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.waiting);
        if let Some(header) = self.header {
            rows.insert(0, header.map(str::to_owned).to_vec());
        }
        let widest = |cells: &mut dyn Iterator<Item = &String>| {
            cells.map(|cell| columns_of(cell)).max().unwrap_or(0)
        };
        // A row's last cell takes what it needs, and stretches no column.
        let columns = rows.iter().map(|row| row.len() - 1).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns)
            .map(|place| widest(&mut rows.iter().filter_map(|row| row.split_last()?.1.get(place))))
            .collect();
        // What comes last has at least half of the line, so that no long key hides all values.
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(self.width / 2);
        }
        let mut rows_out = rows.iter();
        if self.header.is_some() {
            let heading = rows_out.next().expect("the header was put before the rows");
            self.print(out, heading, &widths)?;
            let last = widest(&mut rows.iter().filter_map(|row| row.last()));
            let last = last.min(self.width - widths[0] - columns_of(BETWEEN[0]));
            writeln!(out, "{}─┼─{}", "─".repeat(widths[0]), "─".repeat(last))?;
        }
        for row in rows_out {
            self.print(out, row, &widths)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    fn print(&self, out: &mut impl Write, row: &[String], widths: &[usize]) -> io::Result<()> {
        let between = BETWEEN[usize::from(self.header.is_none())];
        let (last, cells) = row.split_last().expect("every row has cells");
        let mut left = self.width;
        let mut is_first = true;
        for (cell, width) in cells.iter().zip(widths) {
            let width = (*width).min(left);
            let cell = cut(cell, width);
            let padding = width - columns_of(&cell);
            // The first names what the others tell of it.
            let cell = paint(&cell, if is_first { Kind::Key } else { Kind::Text });
            is_first = false;
            write!(out, "{cell}{:padding$}{between}", "")?;
            left = left.saturating_sub(width + columns_of(between));
        }
        let last = cut(last, self.columns_of_last(left));
        if self.header.is_some() {
            let kind = Kind::of_value(&last);
            return writeln!(out, "{}", paint(&last, kind));
        }
        writeln!(out, "{last}")
    }

    /// The columns that a last cell may take, of so many that are left. Data are cut off there; what the server says of
    /// itself is short, and is worth a second line.
    fn columns_of_last(&self, left: usize) -> usize {
        if self.header.is_some() {
            left
        } else {
            usize::MAX
        }
    }
}

/// The cells of a row: key and value, name and figure and its meaning, or usage and summary.
pub fn cells(line: &Line) -> Vec<Cow<'_, str>> {
    fn shown(text: &str) -> Cow<'_, str> {
        if text.is_empty() {
            "\"\"".into()
        } else {
            text.into()
        }
    }
    match line {
        Line::Item(key, Datum::Text(text)) => vec![shown(key), shown(text)],
        Line::Item(key, Datum::Base64(base64)) => vec![shown(key), bytes_note(base64).into()],
        Line::Help(usage, summary) => vec![usage.into(), summary.into()],
        Line::Namespace(name, keys) => vec![shown(name), grouped(*keys).into()],
        Line::Stat(name, figure) => {
            let told = match figure {
                Value::String(text) => shown(text),
                Value::Null => "-".into(),
                other => other.to_string().into(),
            };
            [name.into(), told]
                .into_iter()
                .chain(meaning(name, figure).map(Cow::Owned))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// A figure in people's units, where its name tells what it counts and the digits alone do not.
fn meaning(name: &str, figure: &Value) -> Option<String> {
    if let Value::String(text) = figure {
        let seconds = jiff::Timestamp::now()
            .duration_since(text.parse().ok()?)
            .as_secs();
        return Some(format!("{} ago", duration(u64::try_from(seconds).ok()?)));
    }
    let count = figure.as_u64()?;
    match name {
        _ if name.ends_with("_bytes") => Some(bytes(count)).filter(|_| count >= 1000),
        _ if name.ends_with("_seconds") => Some(duration(count)).filter(|_| count >= 60),
        "pid" => None,
        _ => Some(grouped(count)).filter(|_| count >= 10_000),
    }
}

/// Bytes, in the largest unit that they fill.
pub fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match units.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => {
            let tenths = count * 10 / size;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => counted(count, "byte"),
    }
}

/// Seconds, in the two largest units that they fill.
fn duration(seconds: u64) -> String {
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let largest = units.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let parts = units[largest..]
        .iter()
        .take(2)
        .filter(|(count, _)| *count > 0 || seconds == 0);
    parts
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many of something.
pub fn counted(number: u64, thing: &str) -> String {
    format!(
        "{} {thing}{}",
        grouped(number),
        if number == 1 { "" } else { "s" }
    )
}

/// Bytes that are no text, with their number.
pub fn bytes_note(base64: &str) -> String {
    let count = base64.trim_end_matches('=').len() * 3 / 4;
    format!("({}, base64) {base64}", counted(count as u64, "byte"))
}

/// Writes text so that none of it commands the terminal: control characters, and marks that turn the direction of text
/// around, are written as JSON escapes them, but for the `allowed` ones.
pub fn write_visible(out: &mut impl Write, text: &str, allowed: &[char]) -> io::Result<()> {
    let mut plain_from = 0;
    for (at, character) in text.char_indices() {
        if is_command(character) && !allowed.contains(&character) {
            out.write_all(&text.as_bytes()[plain_from..at])?;
            out.write_all(escape(character).as_bytes())?;
            plain_from = at + character.len_utf8();
        }
    }
    out.write_all(&text.as_bytes()[plain_from..])
}

fn is_command(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(character: char) -> String {
    match character {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        other => format!("\\u{:04x}", u32::from(other)),
    }
}

/// Text as a cell, of at most so many columns; what is cut off leaves an ellipsis. It reads no more than it shows.
fn cut(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut taken = 0;
    for character in text.chars() {
        let escaped = is_command(character).then(|| escape(character));
        let width = escaped
            .as_ref()
            .map_or_else(|| character.width().unwrap_or(0), String::len);
        taken += width;
        if taken > columns {
            while columns_of(&out) >= columns && out.pop().is_some() {}
            out.extend(Some('…').filter(|_| columns > 0));
            break;
        }
        match escaped {
            Some(escaped) => out.push_str(&escaped),
            None => out.push(character),
        }
    }
    out
}

/// The columns that text takes on a terminal.
fn columns_of(text: &str) -> usize {
    text.chars()
        .map(|character| character.width().unwrap_or(0))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_cut_where_it_would_leave_the_line() {
        for (text, columns, cell) in [
            ("apple", 5, "apple"),
            ("apples", 5, "appl…"),
            ("世界世界", 8, "世界世界"),
            ("世界世界", 7, "世界世…"),
            ("世界世界", 6, "世界…"),
            ("a\nb", 4, "a\\nb"),
            ("a\u{1b}b", 5, "a…"),
            ("", 3, ""),
        ] {
            assert_eq!(cut(text, columns), cell, "{text:?} in {columns}");
        }
    }

    #[test]
    fn figures_are_told_in_peoples_units() {
        for (name, figure, told) in [
            ("data_bytes", 999, None),
            ("data_bytes", 18_412_345, Some("18.4 MB")),
            ("memory_bytes", 2_000_000_000, Some("2.0 GB")),
            ("uptime_seconds", 59, None),
            ("uptime_seconds", 60, Some("1 min")),
            ("uptime_seconds", 7384, Some("2 h 3 min")),
            ("uptime_seconds", 86_400, Some("1 d")),
            ("keys", 222_583, Some("222,583")),
            ("keys", 999, None),
            ("pid", 123_456, None),
        ] {
            assert_eq!(
                meaning(name, &figure.into()).as_deref(),
                told,
                "{name} {figure}"
            );
        }
        assert_eq!(duration(0), "0 s");
        assert_eq!(meaning("durability", &"everysec".into()), None);
    }

    #[test]
    fn numbers_are_grouped() {
        let numbers = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(
            [counted(1, "pair"), counted(2, "pair")],
            ["1 pair", "2 pairs"]
        );
        assert_eq!(
            [bytes_note("AP8="), bytes_note("AA=="), bytes_note("")]
                .map(|note| note[..8].to_owned()),
            ["(2 bytes", "(1 byte,", "(0 bytes"]
        );
    }
}
