//! Values of several lines: a JSON object or array at the prompt goes on until it is closed.
//!
//! In: text as typed or pasted. Out: requests of one line each, with the value as it was typed.

use std::ops::Range;

use pykv::codec::bom::BOM;
use pykv::protocol::line::quote;

use super::names::arguments_of;
use super::words::words;
use crate::help;

/// Returns whether a request ends in a JSON object or array that is not closed yet.
pub fn is_unfinished(request: &str) -> bool {
    json_value(request).is_some_and(|(_, is_closed)| !is_closed)
}

/// Returns the requests of a text: its lines, except that a JSON value may span several.
pub fn requests(text: &str) -> Vec<String> {
    let mut requests = Vec::new();
    let mut begun = String::new();
    // A text that is pasted may begin as its file does.
    for line in text.trim_start_matches(BOM).lines() {
        if begun.is_empty() && line.trim().is_empty() {
            continue;
        }
        if !begun.is_empty() {
            begun.push('\n');
        }
        begun += line;
        if !is_unfinished(&begun) {
            requests.push(on_one_line(&std::mem::take(&mut begun)));
        }
    }
    requests.extend(Some(begun).filter(|begun| !begun.is_empty()));
    requests
}

/// Returns a request as one line: a value of several lines is quoted.
fn on_one_line(request: &str) -> String {
    let Some((value, _)) = json_value(request).filter(|_| request.contains('\n')) else {
        return request.to_owned();
    };
    let (before, after) = (&request[..value.start], &request[value.end..]);
    // Options of a SET may follow the value.
    format!("{before}{}{}", quote(&request[value]), after.trim_end())
}

/// Returns the bytes of the value, if it begins as a JSON object or array, and whether it is closed.
fn json_value(request: &str) -> Option<(Range<usize>, bool)> {
    let mut typed = words(request);
    let command = help::command(typed.next()?.text)?;
    let arguments = arguments_of(command.usage);
    let place = arguments.iter().position(|name| *name == "<value>")?;
    let start = typed.nth(place)?.range.start;
    let value = &request[start..];
    if !value.starts_with(['{', '[']) {
        return None;
    }
    let (mut depth, mut is_in_string, mut is_escaped) = (0_i32, false, false);
    for (place, byte) in value.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_string => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b'{' | b'[' if !is_in_string => depth += 1,
            b'}' | b']' if !is_in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((start..start + place + 1, true));
        }
    }
    Some((start..request.len(), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_value_goes_on_over_lines_until_it_is_closed() {
        for (request, unfinished) in [
            ("PUT a {", true),
            ("PUT a {\n\"b\": [1,\n2]", true),
            ("PUT a {\n\"b\": \"}\"\n}", false),
            ("SET a [1, 2", true),
            ("PUT a b", false),
            ("PUT a{ b", false),
            ("GET {", false),
            ("PUT a \"{\"", false),
            ("PUT [a b", false),
            ("PUT note see {this", false),
            ("PUT user:{1} {", true),
            ("PUT \"a {\" [", true),
            ("SET a {\n} EX 5", false),
        ] {
            assert_eq!(is_unfinished(request), unfinished, "{request}");
        }
        let typed = "\u{feff}PING\n\nSET a {\n} EX 5\nGET a";
        assert_eq!(requests(typed), ["PING", "SET a \"{\\n}\" EX 5", "GET a"]);
    }
}
