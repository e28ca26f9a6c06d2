//! Colours by type, and JSON laid out over several lines.
//!
//! In: text that is safe for a terminal. Out: the same in colours, unless the terminal has none, or NO_COLOR or TERM=dumb forbid them.
//! Promise: only colours are added, and blanks between the tokens of JSON.

use std::env;

use console::{Style, Term};

/// The type of a piece of text, which sets its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key or a name.
    Key,
    /// Text.
    Text,
    /// A number, true, false or null.
    Literal,
    /// An error, or a mistake in a line.
    Error,
    /// Text of less importance.
    Dim,
}

impl Kind {
    /// Returns the type of a value.
    pub fn of_value(value: &str) -> Self {
        let is_literal = matches!(value, "true" | "false" | "null") || is_number(value);
        if is_literal {
            Self::Literal
        } else {
            Self::Text
        }
    }

    fn style(self) -> Style {
        let style = Style::new();
        match self {
            Self::Key => style.cyan(),
            Self::Text => style.green(),
            Self::Literal => style.yellow(),
            Self::Error => style.red(),
            Self::Dim => style.dim(),
        }
    }
}

fn is_number(text: &str) -> bool {
    text.trim() == text
        && text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// Makes an empty NO_COLOR forbid nothing (<https://no-color.org>); the library of colours takes it for a refusal.
pub fn respect_no_color() {
    if env::var_os("NO_COLOR").is_none_or(|value| !value.is_empty()) {
        return;
    }
    let is_set_to = |name: &str, value: &str| env::var_os(name).is_some_and(|set| set == value);
    let is_forced = env::var_os("CLICOLOR_FORCE").is_some_and(|set| set != "0");
    let is_allowed = !is_set_to("CLICOLOR", "0") && !is_set_to("TERM", "dumb");
    let is_coloured = |terminal: Term| is_forced || (is_allowed && terminal.is_term());
    console::set_colors_enabled(is_coloured(Term::stdout()));
    console::set_colors_enabled_stderr(is_coloured(Term::stderr()));
}

/// Returns the text in its colour, for standard output.
pub fn paint(text: &str, kind: Kind) -> String {
    kind.style().apply_to(text).to_string()
}

/// Returns an error message in its colour, for standard error.
pub fn paint_error(text: &str) -> String {
    Kind::Error.style().for_stderr().apply_to(text).to_string()
}

/// Returns whether a text is a JSON object or array.
pub fn is_nested_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Returns a JSON text over several lines, in colours. Tokens are copied, not parsed: a number may have more digits than any type keeps.
pub fn pretty_json(text: &str) -> String {
    let (mut out, mut depth, mut before) = (String::new(), 0_usize, "");
    let tokens: Vec<&str> = Tokens(text).collect();
    for (place, token) in tokens.iter().enumerate() {
        let closes = matches!(*token, "}" | "]");
        depth -= usize::from(closes);
        let opened = matches!(before, "{" | "[");
        if (closes && !opened) || (!closes && (opened || before == ",")) {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        } else if before == ":" {
            out.push(' ');
        }
        let kind = match token.as_bytes()[0] {
            b'"' if tokens.get(place + 1) == Some(&":") => Some(Kind::Key),
            b'"' => Some(Kind::Text),
            b'{' | b'}' | b'[' | b']' | b':' | b',' => None,
            _ => Some(Kind::Literal),
        };
        match kind {
            Some(kind) => out += &paint(token, kind),
            None => out += token,
        }
        depth += usize::from(matches!(*token, "{" | "["));
        before = token;
    }
    out
}

/// The tokens of a JSON text, without blanks.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_ascii_start();
        let first = *rest.as_bytes().first()?;
        let end = match first {
            b'{' | b'}' | b'[' | b']' | b':' | b',' => 1,
            b'"' => {
                let mut escaped = false;
                let closing = rest.bytes().skip(1).position(|byte| {
                    let closes = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    closes
                });
                closing.map_or(rest.len(), |at| at + 2)
            }
            _ => rest
                .find(|character: char| "{}[]:,\" \t\r\n".contains(character))
                .unwrap_or(rest.len()),
        };
        let (token, rest) = rest.split_at(end);
        self.0 = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_and_every_digit_is_kept() {
        console::set_colors_enabled(false);
        for (text, laid_out) in [
            ("{}", "{}"),
            ("[ ]", "[]"),
            (
                r#"{"a":12345678901234567890.10,"b":[true,null]}"#,
                "{\n  \"a\": 12345678901234567890.10,\n  \"b\": [\n    true,\n    null\n  ]\n}",
            ),
            (
                r#"["x:{\"y\",\\", 1 ]"#,
                "[\n  \"x:{\\\"y\\\",\\\\\",\n  1\n]",
            ),
        ] {
            assert!(is_nested_json(text), "{text}");
            assert_eq!(pretty_json(text), laid_out);
        }
        for text in ["", "a", "{", "1", "\"a\"", "{json...}"] {
            assert!(!is_nested_json(text), "{text}");
        }
    }

    #[test]
    fn numbers_and_words_of_json_are_told_from_text() {
        for text in ["1", "-1.5e3", "true", "null"] {
            assert_eq!(Kind::of_value(text), Kind::Literal, "{text}");
        }
        for text in ["", "1 ", "one", "True", "-", "1.2.3"] {
            assert_eq!(Kind::of_value(text), Kind::Text, "{text}");
        }
    }
}
