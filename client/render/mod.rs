//! Replies on the screen or in the output, the same way for a single command, a pipe and the prompt.
//!
//! In: the lines of a reply, as they arrive. Out: text in the chosen form on standard output, errors on standard error. Promises: constant
//! memory for a reply of any length; no data can control the terminal; plain rows, JSON and CSV can be read back without doubt.

mod csv;
mod json;
mod nesting;
mod people;
mod plain;
mod table;

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::time::Instant;

use self::csv::Rows;
use self::json::Document;
use self::nesting::Nesting;
use self::people::Screen;
use crate::connection::{Connection, Patience};
use crate::error::{ClientError, Outcome};
use crate::format::Format;
use crate::help;
use crate::known_keys::KnownKeys;
use crate::pager::Paged;
use crate::reply::Line;
use crate::request::{PendingRequest, Request};
use crate::terminal::{tell, tell_error};

pub use self::csv::row as csv_row;
pub use self::plain::text as plain_text;
pub use self::table::cut;

/// Shows replies.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Renderer<W: Write> {
    out: Paged<W>,
    format: Format,
    /// True if a person reads the output, and the line after a value should be a new one.
    is_on_terminal: bool,
    /// True to show the duration of each reply.
    pub is_timed: bool,
    /// True if the output is one reply, so that a value may have lines.
    pub is_only_reply: bool,
    /// The keys of replies are remembered here, for completion.
    pub keys: Option<Arc<KnownKeys>>,
    nesting: Nesting,
    screen: Screen,
    document: Document,
    rows: Rows,
    /// True if the latest reply has found nothing.
    is_empty: bool,
}

impl<W: Write> Renderer<W> {
    /// Returns a renderer; `is_paged` pages long replies for people.
    pub fn new(out: W, format: Format, is_paged: bool) -> Self {
        Self {
            out: Paged::new(out, is_paged && format == Format::People),
            format,
            is_on_terminal: io::stdout().is_terminal(),
            is_timed: false,
            is_only_reply: false,
            keys: None,
            nesting: Nesting::default(),
            screen: Screen::default(),
            document: Document::default(),
            rows: Rows::default(),
            is_empty: false,
        }
    }

    /// Sends a request, and shows the reply.
    ///
    /// # Errors
    /// As [`Connection::send`] and [`Renderer::reply`].
    pub fn answer(
        &mut self,
        connection: &mut Connection,
        request: &Request,
    ) -> Result<Outcome, ClientError> {
        let sent = request;
        let Some(pending) = PendingRequest::to(request) else {
            return Ok(Outcome::Done);
        };
        match request {
            Request::Line(line) => connection.send(line.as_bytes())?,
            Request::Resp { bytes, .. } => connection.send_bytes(bytes)?,
        }
        let (request, began) = (pending, Instant::now());
        if !request.is_stream() {
            self.out.begin();
        }
        let outcome = self.reply(connection, request);
        let took = began.elapsed();
        self.out.end().map_err(ClientError::output)?;
        if let (Request::Line(line), true, Ok(Outcome::Done)) = (sent, self.is_empty, &outcome)
            && let Some(hint) = help::request_hint(line)
        {
            tell(&hint);
        }
        if self.is_timed {
            tell(&format!("({:.3} ms)", took.as_secs_f64() * 1e3));
        }
        outcome
    }

    /// Shows the help of a command, or of all, without a server.
    ///
    /// # Errors
    /// [`ClientError::File`] if the output fails.
    pub fn help(&mut self, topic: Option<&str>) -> Result<Outcome, ClientError> {
        let request = PendingRequest::for_help(topic);
        let lines = help::lines(topic);
        if let [Line::Error(code, message)] = &*lines {
            self.error(code, message, request);
            return Ok(Outcome::Refused);
        }
        self.out.begin();
        let command = topic.and_then(help::command);
        let shown = match (self.format, &*lines, command) {
            (Format::People, [Line::Help(synopsis, summary), _], Some(command)) => {
                people::help(&mut self.out, synopsis, summary, command.example)
            }
            (_, lines, _) => lines.iter().try_for_each(|line| self.line(line, request)),
        };
        shown
            .and_then(|()| self.out.end())
            .map_err(ClientError::output)?;
        Ok(Outcome::Done)
    }

    /// Returns the form of the output.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns whether the output is JSON.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Reads a reply and shows it.
    ///
    /// # Errors
    /// [`ClientError::File`] if the output fails; `StreamEnded` if Ctrl-C ends a stream; as [`Connection::next_line`], `InDoubt` for a
    /// change.
    pub fn reply(
        &mut self,
        connection: &mut Connection,
        request: PendingRequest,
    ) -> Result<Outcome, ClientError> {
        let mut outcome = Outcome::Done;
        let mut due = request.replies;
        loop {
            if connection.would_block() {
                // The reader of the output need not wait for what has arrived already.
                self.flush()?;
            }
            let patience = if due == 0 {
                Patience::Endless
            } else {
                request.patience()
            };
            let line = if request.is_resp {
                connection.next_resp(patience)
            } else {
                connection.next_line_with(patience)
            };
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    self.break_off().map_err(ClientError::output)?;
                    return Err(if due == 0 && error.is_interrupt() {
                        ClientError::StreamEnded
                    } else {
                        request.unanswered(error)
                    });
                }
            };
            let is_outermost = self.nesting.0.is_empty();
            self.is_empty = matches!(line, Line::End(0) | Line::Count(0));
            outcome = outcome.max(match line {
                Line::Error(..) => Outcome::Refused,
                Line::NotFound if is_outermost && self.format == Format::Raw => Outcome::NotFound,
                _ => Outcome::Done,
            });
            let shown = match &line {
                Line::Error(code, message) if is_outermost => {
                    let broken_off = self.break_off();
                    self.error(code, message, request);
                    broken_off
                }
                line => self.line(line, request),
            };
            let is_complete = shown
                .and_then(|()| self.count(&line))
                .map_err(ClientError::output)?;
            // A stream goes on after its first reply, unless it could not begin.
            let ends_stream = match &line {
                Line::Error(..) => due > 0,
                Line::Event(word, _) => word == "UNFOLLOWED",
                _ => false,
            };
            due = due.saturating_sub(usize::from(is_complete));
            if due == 0 && (!request.is_stream() || ends_stream) {
                return Ok(outcome);
            }
        }
    }

    /// Writes all buffered output.
    ///
    /// # Errors
    /// [`ClientError::File`] if the output fails.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.out.flush().map_err(ClientError::output)
    }

    /// Counts a line that has been shown; returns whether the reply is complete.
    fn count(&mut self, line: &Line) -> io::Result<bool> {
        let (out, is_json) = (&mut self.out, self.format == Format::Json);
        let is_complete = self.nesting.count(line, |is_map, is_outermost| {
            if is_json {
                json::close(out, is_map, is_outermost)?;
            }
            Ok(())
        })?;
        if is_complete {
            self.document.end();
            self.rows.end();
        }
        Ok(is_complete)
    }

    fn line(&mut self, line: &Line, request: PendingRequest) -> io::Result<()> {
        if let (Some(keys), Line::Item(key, _) | Line::Key(key) | Line::Namespace(key, _)) =
            (&self.keys, line)
        {
            keys.note(key);
        }
        let out = &mut self.out;
        let is_member = !self.nesting.0.is_empty();
        match (self.format, line) {
            (Format::People, _) if is_member => self.screen.member(out, &mut self.nesting, line),
            (Format::People, _) => self.screen.line(out, line, request.noun()),
            (Format::Json, _) if is_member => json::member(out, &self.nesting, line),
            (Format::Json, _) => {
                let is_list = request.noun() == Some("key");
                self.document
                    .line(out, line, if is_list { "[" } else { "{" })
            }
            (Format::Csv, _) => self.rows.line(out, line, request.noun() == Some("pair")),
            (Format::Plain | Format::Raw, _) if is_member => plain::member(out, line),
            (Format::Raw, Line::Value(value)) => plain::raw(out, value, self.is_on_terminal),
            (Format::Raw, Line::NotFound) => {
                tell(plain::NOT_FOUND);
                Ok(())
            }
            (Format::Plain, Line::Value(value)) if self.is_only_reply => plain::value(out, value),
            (Format::Plain | Format::Raw, _) => plain::line(out, line),
        }
    }

    /// Ends a reply that is cut off: people see the rows that arrived, and a program sees that some are missing.
    fn break_off(&mut self) -> io::Result<()> {
        self.screen.finish(&mut self.out)?;
        self.nesting.0.clear();
        self.document.break_off(&mut self.out)?;
        self.rows.end();
        self.out.flush()
    }

    fn error(&self, code: &str, message: &str, request: PendingRequest) {
        let line = request.place.map(|place| place.line);
        if self.format == Format::Json {
            return tell(&json::error(code, message, line).to_string());
        }
        let place = line.map(|line| format!("line {line}: "));
        let suggestion = request.suggestion.filter(|_| code == "UNKNOWN");
        let suggestion = suggestion.map(|name| match (request.place, help::is_only_tool(name)) {
            // A script has requests, and no tools.
            (Some(_), true) => format!("; did you mean the tool, pykv-cli {name}?"),
            _ => format!("; did you mean {name}?"),
        });
        let (place, suggestion) = (place.unwrap_or_default(), suggestion.unwrap_or_default());
        tell_error(&format!("Error: {place}{code} {message}{suggestion}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the output of these lines, which answer this request.
    fn shown(format: Format, request: &str, lines: &[&str]) -> String {
        let mut renderer = Renderer::new(Vec::new(), format, false);
        renderer.is_only_reply = true;
        let request = PendingRequest::of(request.as_bytes()).expect("a request");
        for (place, line) in lines.iter().enumerate() {
            let line = Line::parse(line.as_bytes()).expect("a line of the protocol");
            let shown = renderer.line(&line, request);
            let is_complete = shown.and_then(|()| renderer.count(&line));
            let is_last = place + 1 == lines.len();
            assert_eq!(is_complete.expect("memory"), is_last, "{line:?}");
        }
        String::from_utf8(renderer.out.into_inner()).expect("text")
    }

    #[test]
    fn a_value_is_shown_without_its_quotes() {
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
    fn arrays_and_maps_are_shown_as_they_nest() {
        let lines = [
            "ARRAY 4",
            r#"VALUE "a\nb""#,
            "ARRAY 2",
            "NOT_FOUND",
            "COUNT -1",
            "MAP 2",
            r#"VALUE "name""#,
            r#"VALUE "Ada""#,
            r#"VALUE "none""#,
            "ARRAY 0",
            "ERR DISK no room",
        ];
        assert_eq!(
            shown(Format::People, "EXEC", &lines),
            "1) \"a\\nb\"\n2) 1) (nothing)\n   2) -1\n3) 1# \"name\" => \"Ada\"\n   2# \"none\" => (empty)\n4) (error) DISK no room\n"
        );
        assert_eq!(
            shown(Format::Plain, "EXEC", &lines),
            "\"a\\nb\"\nKey not found\n-1\nname\nAda\nnone\nERR DISK no room\n"
        );
        assert_eq!(
            shown(Format::Json, "EXEC", &lines),
            "[\"a\\nb\",[null,-1],{\"name\":\"Ada\",\"none\":[]},{\"error\":{\"code\":\"DISK\",\"message\":\"no room\"}}]\n"
        );
        assert_eq!(shown(Format::Json, "EXEC", &["ARRAY 0"]), "[]\n");
        assert_eq!(shown(Format::People, "EXEC", &["MAP 0"]), "(empty)\n");
        assert_eq!(
            shown(
                Format::Plain,
                "EXEC",
                &["ARRAY 1", r#"VALUE "Key not found""#]
            ),
            "\"Key not found\"\n"
        );
    }

    #[test]
    fn push_messages_are_shown_as_on_the_wire() {
        let line = r#"CHANGE 8 PUT "PUT" BASE64 "AP8=" "2026-11-24T05:12:38.885Z""#;
        assert_eq!(
            shown(Format::Plain, "FOLLOW a", &[line]),
            format!("{line}\n")
        );
        assert_eq!(
            shown(Format::Json, "FOLLOW a", &[line]),
            "[\"CHANGE\",8,\"PUT\",\"PUT\",{\"$base64\":\"AP8=\"},\"2026-11-24T05:12:38.885Z\"]\n"
        );
        let line = r#"MESSAGE "news" "PUT""#;
        assert_eq!(
            shown(Format::Plain, "SUBSCRIBE news", &[line]),
            format!("{line}\n")
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
    fn people_see_a_table_and_its_number_of_rows() {
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
