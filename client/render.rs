//! How replies are shown: the one path of a single command, of a pipe and of the prompt.
//!
//! In: the lines of a reply, as they arrive. Out: text for people on a terminal, plain text for programs, or JSON; an `ERR`
//! goes to standard error. Promises: a reply of any length is shown in constant memory; on a terminal no data can move the
//! cursor or do worse; plain rows and JSON can be read back without doubt.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};

use pykv::command::{Access, COMMANDS, place_of};
use pykv::json;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::reply::{Datum, Line};
use crate::table::{self, Table};

/// Whom replies are shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// People, on a terminal.
    People,
    /// Programs that read lines.
    Plain,
    /// Programs that read JSON: one document per reply, each on its line.
    Json,
}

impl Format {
    /// What suits standard output, unless JSON is asked for.
    pub fn of_output(json: bool) -> Self {
        match (json, io::stdout().is_terminal()) {
            (true, _) => Self::Json,
            (false, true) => Self::People,
            (false, false) => Self::Plain,
        }
    }
}

/// What a reply answers, as far as showing it depends on that.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The request's place in the table of commands, if it is there.
    place: Option<usize>,
    /// Its line in the input.
    input_line: Option<u64>,
}

impl Asked {
    /// What is asked by a request line; a line without a word asks for nothing.
    pub fn by(request: &[u8]) -> Option<Self> {
        let request = request.strip_suffix(b"\r").unwrap_or(request);
        let verb = request
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .find(|word| !word.is_empty())?;
        Some(Self {
            place: std::str::from_utf8(verb).ok().and_then(place_of),
            input_line: None,
        })
    }

    /// The same, read from this line of the input.
    pub fn on_line(self, input_line: u64) -> Self {
        Self {
            input_line: Some(input_line),
            ..self
        }
    }

    /// Whether this is the command of that name.
    pub fn is(self, name: &str) -> bool {
        self.place.is_some_and(|place| COMMANDS[place].name == name)
    }

    /// What it means for this request that its reply is missing.
    fn unanswered(self, error: ClientError) -> ClientError {
        let is_change = |place: usize| COMMANDS[place].access == Access::Write;
        let mut error = error;
        if self.place.is_none_or(is_change) {
            error = ClientError::InDoubt(error.into());
        }
        match self.input_line {
            Some(line) => ClientError::OnLine {
                line,
                cause: error.into(),
            },
            None => error,
        }
    }
}

/// What became of a request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done; `NOT_FOUND` is an answer like any other.
    Done,
    /// The server refused it.
    Refused,
}

/// Shows replies.
pub struct Renderer<W> {
    out: W,
    format: Format,
    /// The rows of a reply so far, for people.
    table: Option<Table>,
    /// Whether a JSON object or array is open.
    open: bool,
}

impl<W: Write> Renderer<W> {
    /// A renderer that writes to `out`.
    pub fn new(out: W, format: Format) -> Self {
        Self {
            out,
            format,
            table: None,
            open: false,
        }
    }

    /// Asks for one thing, and shows what is answered.
    pub fn answer(
        &mut self,
        connection: &mut Connection,
        request: &str,
    ) -> Result<Outcome, ClientError> {
        let Some(asked) = Asked::by(request.as_bytes()) else {
            return Ok(Outcome::Done);
        };
        connection.send(request.as_bytes())?;
        let outcome = self.reply(connection, asked)?;
        self.flush()?;
        Ok(outcome)
    }

    /// Reads one reply and shows it.
    pub fn reply(
        &mut self,
        connection: &mut Connection,
        asked: Asked,
    ) -> Result<Outcome, ClientError> {
        loop {
            if connection.would_wait() {
                // Whoever reads our output should not have to wait for what has come already.
                self.out.flush().map_err(ClientError::output)?;
            }
            let line = match connection.next_line() {
                Ok(line) => line,
                Err(error) => {
                    self.break_off().map_err(ClientError::output)?;
                    return Err(asked.unanswered(error));
                }
            };
            if let Line::Error(code, message) = &line {
                self.break_off().map_err(ClientError::output)?;
                self.error(code, message, asked);
                return Ok(Outcome::Refused);
            }
            self.line(&line, asked).map_err(ClientError::output)?;
            if line.ends_reply() {
                return Ok(Outcome::Done);
            }
        }
    }

    /// Hands on all that has been shown.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.out.flush().map_err(ClientError::output)
    }

    fn line(&mut self, line: &Line, asked: Asked) -> io::Result<()> {
        match self.format {
            Format::People => self.for_people(line, asked),
            Format::Plain => self.plain(line),
            Format::Json => self.json(line, asked),
        }
    }

    /// Leaves a reply that does not end as it should: people see the rows that came, a program sees that it is cut off.
    fn break_off(&mut self) -> io::Result<()> {
        if let Some(mut table) = self.table.take() {
            table.finish(&mut self.out)?;
        }
        if std::mem::take(&mut self.open) {
            writeln!(self.out)?;
        }
        self.out.flush()
    }

    fn for_people(&mut self, line: &Line, asked: Asked) -> io::Result<()> {
        let out = &mut self.out;
        match line {
            Line::Ok => writeln!(out, "OK"),
            Line::Pong => writeln!(out, "PONG"),
            Line::NotFound => writeln!(out, "Key not found"),
            Line::Count(count) => writeln!(out, "{}", table::grouped(*count)),
            Line::Value(Datum::Text(text)) if text.is_empty() => writeln!(out, "\"\""),
            Line::Value(Datum::Text(text)) => {
                table::write_visible(out, text, &['\n', '\t'])?;
                writeln!(out)
            }
            Line::Value(Datum::Base64(base64)) => writeln!(out, "{}", table::bytes_note(base64)),
            Line::Key(key) => {
                table::write_visible(out, if key.is_empty() { "\"\"" } else { key }, &[])?;
                writeln!(out)
            }
            Line::Item(..) | Line::Stat(..) | Line::Help(..) => {
                let table = self.table.get_or_insert_with(|| match line {
                    Line::Item(..) => Table::new(Some(["key", "value"])),
                    _ => Table::new(None),
                });
                table.row(out, &table::cells(line))
            }
            Line::End(count) => {
                if let Some(mut table) = self.table.take() {
                    table.finish(out)?;
                }
                match (asked.is("ALL"), asked.is("KEYS")) {
                    (true, _) => writeln!(out, "{}", table::counted(*count, "pair")),
                    (_, true) => writeln!(out, "{}", table::counted(*count, "key")),
                    _ => Ok(()),
                }
            }
            Line::Error(..) => Ok(()),
        }
    }

    fn plain(&mut self, line: &Line) -> io::Result<()> {
        let out = &mut self.out;
        match line {
            Line::Ok => writeln!(out, "OK"),
            Line::Pong => writeln!(out, "PONG"),
            Line::NotFound => writeln!(out, "Key not found"),
            Line::Count(count) => writeln!(out, "{count}"),
            Line::Value(Datum::Text(text)) => writeln!(out, "{text}"),
            Line::Value(value @ Datum::Base64(_)) => writeln!(out, "{}", plain_datum(value)),
            Line::Item(key, value) => writeln!(out, "{}\t{}", plain_text(key), plain_datum(value)),
            Line::Key(key) => writeln!(out, "{}", plain_text(key)),
            Line::Stat(name, serde_json::Value::String(text)) => {
                writeln!(out, "{name}\t{}", plain_text(text))
            }
            Line::Stat(name, figure) => writeln!(out, "{name}\t{figure}"),
            Line::Help(usage, summary) => writeln!(out, "{usage}\t{summary}"),
            Line::End(_) | Line::Error(..) => Ok(()),
        }
    }

    fn json(&mut self, line: &Line, asked: Asked) -> io::Result<()> {
        match line {
            Line::Ok => writeln!(self.out, "\"OK\""),
            Line::Pong => writeln!(self.out, "\"PONG\""),
            Line::NotFound => writeln!(self.out, "null"),
            Line::Count(count) => writeln!(self.out, "{count}"),
            Line::Value(value) => {
                write_datum(&mut self.out, value)?;
                writeln!(self.out)
            }
            Line::Item(key, value) => {
                self.member("{")?;
                write!(self.out, "{}:", json::string(key))?;
                write_datum(&mut self.out, value)
            }
            Line::Key(key) => {
                self.member("[")?;
                self.out.write_all(json::string(key).as_bytes())
            }
            Line::Stat(name, figure) => {
                self.member("{")?;
                write!(self.out, "{}:{figure}", json::string(name))
            }
            Line::Help(usage, summary) => {
                self.member("{")?;
                write!(
                    self.out,
                    "{}:{}",
                    json::string(usage),
                    json::string(summary)
                )
            }
            Line::End(_) => {
                let (opening, closing) = if asked.is("KEYS") {
                    ("[", "]")
                } else {
                    ("{", "}")
                };
                let opening = if std::mem::take(&mut self.open) {
                    ""
                } else {
                    opening
                };
                writeln!(self.out, "{opening}{closing}")
            }
            Line::Error(..) => Ok(()),
        }
    }

    /// What goes before a member of an object or array: its opening, or a comma.
    fn member(&mut self, opening: &str) -> io::Result<()> {
        let before = if std::mem::replace(&mut self.open, true) {
            ","
        } else {
            opening
        };
        self.out.write_all(before.as_bytes())
    }

    fn error(&self, code: &str, message: &str, asked: Asked) {
        if self.format == Format::Json {
            let mut error = serde_json::json!({ "code": code, "message": message });
            if let Some(line) = asked.input_line {
                error["line"] = line.into();
            }
            return tell(&serde_json::json!({ "error": error }).to_string());
        }
        let place = asked
            .input_line
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        tell(&format!("Error: {place}{code} {message}"));
    }
}

/// Writes a line to standard error. If nobody takes it, there is nobody to be told that either.
pub fn tell(line: &str) {
    let mut safe = Vec::new();
    table::write_visible(&mut safe, line, &[]).expect("writing to memory cannot fail");
    safe.push(b'\n');
    let _ = io::stderr().write_all(&safe);
}

/// Text in a row of plain output: as it is, unless it could be taken for something else; then as a JSON string.
fn plain_text(text: &str) -> Cow<'_, str> {
    let doubtful =
        text.starts_with('"') || text.starts_with("BASE64 ") || text.contains(char::is_control);
    if doubtful {
        Cow::Owned(json::string(text))
    } else {
        Cow::Borrowed(text)
    }
}

fn plain_datum(value: &Datum) -> Cow<'_, str> {
    match value {
        Datum::Text(text) => plain_text(text),
        Datum::Base64(base64) => Cow::Owned(format!("BASE64 {}", json::string(base64))),
    }
}

/// Writes a value as JSON has it, in a reply as in an exported file.
pub fn write_datum(out: &mut impl Write, value: &Datum) -> io::Result<()> {
    match value {
        Datum::Text(text) => serde_json::to_writer(out, text).map_err(io::Error::from),
        Datum::Base64(base64) => write!(out, "{{\"$base64\":{}}}", json::string(base64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of these lines, which answer this request.
    fn shown(format: Format, request: &str, lines: &[&str]) -> String {
        let mut renderer = Renderer::new(Vec::new(), format);
        for line in lines {
            let line = Line::parse(line.as_bytes()).expect("a line of the protocol");
            renderer
                .line(&line, Asked::by(request.as_bytes()).expect("a request"))
                .expect("writing to memory cannot fail");
        }
        String::from_utf8(renderer.out).expect("text")
    }

    #[test]
    fn a_value_is_shown_without_its_wrapping() {
        let line = r#"VALUE "a\tb\nc\u001b[2J\u009b""#;
        assert_eq!(
            shown(Format::Plain, "GET k", &[line]),
            "a\tb\nc\u{1b}[2J\u{9b}\n"
        );
        assert_eq!(
            shown(Format::People, "GET k", &[line]),
            "a\tb\nc\\u001b[2J\\u009b\n"
        );
        assert_eq!(
            shown(Format::Json, "GET k", &[line]),
            "\"a\\tb\\nc\\u001b[2J\u{9b}\"\n"
        );
        assert_eq!(
            shown(Format::People, "GET k", &[r#"BASE64 "AP8=""#]),
            "(2 bytes, base64) AP8=\n"
        );
        assert_eq!(
            shown(Format::Plain, "GET k", &[r#"BASE64 "AP8=""#]),
            "BASE64 \"AP8=\"\n"
        );
        assert_eq!(
            shown(Format::Json, "GET k", &[r#"BASE64 "AP8=""#]),
            "{\"$base64\":\"AP8=\"}\n"
        );
    }

    #[test]
    fn plain_rows_can_be_read_back_without_doubt() {
        let lines = [
            r#"ITEM "a b" "c d""#,
            r#"ITEM "t\tt" "\"q\"""#,
            r#"ITEM "b" BASE64 "AP8=""#,
            r#"ITEM "not b" "BASE64 \"AP8=\"""#,
            "END 4",
        ];
        let rows = "a b\tc d\n\"t\\tt\"\t\"\\\"q\\\"\"\nb\tBASE64 \"AP8=\"\nnot b\t\"BASE64 \\\"AP8=\\\"\"\n";
        assert_eq!(shown(Format::Plain, "ALL", &lines), rows);
    }

    #[test]
    fn each_reply_is_one_json_document() {
        let lines = [r#"ITEM "a" "1""#, r#"ITEM "b" BASE64 "AP8=""#, "END 2"];
        assert_eq!(
            shown(Format::Json, "ALL", &lines),
            "{\"a\":\"1\",\"b\":{\"$base64\":\"AP8=\"}}\n"
        );
        assert_eq!(shown(Format::Json, " all x", &["END 0"]), "{}\n");
        assert_eq!(
            shown(Format::Json, "KEYS", &[r#"KEY "a""#, r#"KEY "b""#, "END 2"]),
            "[\"a\",\"b\"]\n"
        );
        assert_eq!(shown(Format::Json, "keys\r", &["END 0"]), "[]\n");
        assert_eq!(
            shown(Format::Json, "STATS", &["STAT a 1", "STAT b null", "END 2"]),
            "{\"a\":1,\"b\":null}\n"
        );
        assert_eq!(shown(Format::Json, "GET k", &["NOT_FOUND"]), "null\n");
    }

    #[test]
    fn people_see_a_table_and_how_many_rows_it_has() {
        let lines = [
            r#"ITEM "key:1" "a\nb""#,
            r#"ITEM "世界" "\u001b[2J""#,
            "END 2",
        ];
        let rows = "key   │ value\n──────┼──────────\nkey:1 │ a\\nb\n世界  │ \\u001b[2J\n2 pairs\n";
        assert_eq!(shown(Format::People, "ALL", &lines), rows);
        assert_eq!(shown(Format::People, "ALL x", &["END 0"]), "0 pairs\n");
        assert_eq!(
            shown(Format::People, "KEYS", &[r#"KEY "a""#, "END 1"]),
            "a\n1 key\n"
        );
    }
}
