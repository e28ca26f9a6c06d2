//! Tables in plain text.
//!
//! In: names of columns, then rows. Out: lines on standard output, printed as soon as each row is there, so that a long run
//! shows where it is.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Prints the title of a section and the names of its columns.
pub fn head(title: &str, columns: &[&str]) {
    println!("\n{title}");
    row(columns);
}

/// Prints one row: the first cell to the left, all others to the right.
pub fn row(cells: &[impl AsRef<str>]) {
    let mut line = String::new();
    for (place, cell) in cells.iter().enumerate() {
        let cell = cell.as_ref();
        line += &if place == 0 {
            format!("{cell:<32}")
        } else {
            format!(" {cell:>12}")
        };
    }
    println!("{}", line.trim_end());
}

/// 1234567.8 as `1,234,568`.
pub fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in millions.
pub fn megabytes(bytes: u64) -> String {
    whole(bytes as f64 / 1e6)
}

pub fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

/// The latency that so many of a hundred batches did not exceed, in milliseconds.
pub fn percentile(latency: &Histogram<u64>, percent: f64) -> String {
    milliseconds(latency.value_at_quantile(percent / 100.0))
}

/// Nanoseconds as milliseconds.
pub fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3}", nanoseconds as f64 / 1e6)
}
