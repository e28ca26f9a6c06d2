//! The text of an error with its causes, for people who read what a program prints.
//!
//! In: an error. Out: one line.

use std::error::Error;

/// Returns the text of an error and of each of its sources, as in `cannot open data: permission denied`.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let all = std::iter::successors(Some(error), |&error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns a text without the numbers of system errors, such as ` (os error 2)`: the words before them say the same.
#[must_use]
pub fn without_numbers(text: &str) -> String {
    const MARK: &str = " (os error ";
    let mut parts = text.split(MARK);
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<i32>().is_ok() => words += rest,
            _ => words = words + MARK + part,
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_system_errors_are_left_out_and_nothing_else() {
        for (text, words) in [
            (
                "cannot read a: no such file (os error 2)",
                "cannot read a: no such file",
            ),
            ("a (os error 2): b (os error 11); c", "a: b; c"),
            ("key \"x (os error y)\"", "key \"x (os error y)\""),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_numbers(text), words);
        }
    }
}
