//! Aligned columns that fit the terminal.
//!
//! In: rows as they arrive. Out: lines, those of data no wider than the terminal. Promises: constant memory, as the first rows set the
//! widths and a cell of data is kept no longer than a line; no control character reaches the terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use unicode_width::UnicodeWidthChar as _;

use crate::style::{Kind, paint};
use crate::terminal::{escape, is_control};

/// The rows that set the widths of the columns; later ones are printed as they arrive.
const ROWS_MEASURED: usize = 1000;

/// The width of a terminal that does not report its own.
const WIDTH: usize = 80;

/// The separator of columns, of a table with a header and of one without.
const BETWEEN: [&str; 2] = [" │ ", "  "];

/// A table in the course of printing.
pub struct Table {
    header: Option<[&'static str; 2]>,
    /// The width of the terminal, in columns.
    width: usize,
    /// The widths of all cells of a row but the last, once known.
    widths: Option<Vec<usize>>,
    waiting: Vec<Vec<String>>,
}

impl Table {
    /// Returns an empty table as wide as the terminal is now.
    pub fn new(header: Option<[&'static str; 2]>) -> Self {
        let size = console::Term::stdout().size_checked();
        // A terminal that reports less does not know its width.
        let width = size
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

    /// Adds a row.
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

    /// Prints the rows that were kept to set the widths.
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
        // The last cell of a row takes what it needs, and widens no column.
        let columns = rows.iter().map(|row| row.len() - 1).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns)
            .map(|place| widest(&mut rows.iter().filter_map(|row| row.split_last()?.1.get(place))))
            .collect();
        // The last cell has at least half of the line, so that a long key does not hide all values.
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
            // The first cell is the name of the row.
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

    /// Returns the columns that a last cell may take of those left. Data is cut off there; figures and help are short, and worth a second
    /// line.
    fn columns_of_last(&self, left: usize) -> usize {
        if self.header.is_some() {
            left
        } else {
            usize::MAX
        }
    }
}

/// Returns text as a cell of at most so many columns, with an ellipsis where it is cut off. It reads no more than it shows.
pub fn cut(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut taken = 0;
    for character in text.chars() {
        let escaped = is_control(character).then(|| escape(character));
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

/// Returns the width of text on a terminal, in columns.
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
}
