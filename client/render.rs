//! How replies are shown: the one path of a single command, of a pipe and of the prompt.
//!
//! In: the lines of a reply, as they arrive. Out: text for people on a terminal, plain text for programs, or JSON; an `ERR`
//! goes to standard error. Promises: a reply of any length is shown in constant memory; on a terminal no data can move the
//! cursor or do worse; plain rows and JSON can be read back without doubt.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use pykv::codec::json;
use pykv::command::{Access, COMMANDS, place_of};
use pykv::protocol::{Dialect, line};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::help;
use crate::known_keys::KnownKeys;
use crate::pager::Paged;
use crate::reply::{Datum, Line};
use crate::style::{self, Kind, paint};
use crate::table::{self, Table};

/// Whom replies are shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// People, on a terminal.
    People,
    /// Programs that read lines.
    Plain,
    /// Whoever wants the bytes of a value as they are.
    Raw,
    /// Programs that read JSON: one document per reply, each on its line.
    Json,
    /// Spreadsheets and the like (RFC 4180).
    Csv,
}

/// The forms that can be asked for.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
pub struct Forms {
    /// Answer in JSON: one document per reply
    #[arg(long)]
    pub json: bool,

    /// Answer in rows of CSV, of keys and values
    #[arg(long)]
    csv: bool,

    /// Answer as to a program, on a terminal too; a value's bytes as they are
    #[arg(long)]
    raw: bool,
}

impl Format {
    /// What is asked for; else what suits standard output.
    pub fn of_output(forms: Forms) -> Self {
        match forms {
            Forms { json: true, .. } => Self::Json,
            Forms { csv: true, .. } => Self::Csv,
            Forms { raw: true, .. } => Self::Raw,
            _ if io::stdout().is_terminal() => Self::People,
            _ => Self::Plain,
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
    /// How many replies it is answered with: one, but where it ends several subscriptions.
    replies: usize,
}

impl Asked {
    /// What is asked by a request line; a line without a word asks for nothing.
    pub fn by(request: &[u8]) -> Option<Self> {
        let request = request.strip_suffix(b"\r").unwrap_or(request);
        let verb = request
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .find(|word| !word.is_empty())?;
        let place = std::str::from_utf8(verb)
            .ok()
            .and_then(|verb| place_of(verb.as_bytes(), Dialect::Line));
        let mut asked = Self {
            place,
            input_line: None,
            replies: 1,
        };
        if asked.is("UNSUBSCRIBE") || asked.is("PUNSUBSCRIBE") {
            let words = line::parse(request).ok().flatten();
            let names = words.and_then(|words| words.arguments(None).ok());
            asked.replies = names.map_or(1, |names| names.len().max(1));
        }
        Some(asked)
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

    /// Whether what it asks for goes on coming until the user has enough.
    fn is_stream(self) -> bool {
        ["SUBSCRIBE", "PSUBSCRIBE", "FOLLOW", "MONITOR"]
            .iter()
            .any(|name| self.is(name))
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
pub struct Renderer<W: Write> {
    out: Paged<W>,
    format: Format,
    /// Whether it is told how long a reply took.
    pub is_timed: bool,
    /// Where the keys of replies are noted, for who may type them.
    pub keys: Option<Arc<KnownKeys>>,
    /// The rows of a reply so far, for people.
    table: Option<Table>,
    /// Whether a JSON object or array is open.
    open: bool,
    /// The arrays and maps that are being shown, the outermost first.
    levels: Vec<Level>,
    /// Whether something of them stands on this line already.
    is_line_begun: bool,
}

/// An array or a map of which some replies are still to come.
struct Level {
    /// How many have begun.
    begun: usize,
    length: usize,
    is_map: bool,
    /// Whether the number of the one that has begun is still to be shown.
    is_fresh: bool,
}

impl<W: Write> Renderer<W> {
    /// A renderer that writes to `out`; long replies in a pager, if that is wanted and people read them.
    pub fn new(out: W, format: Format, is_paged: bool) -> Self {
        Self {
            out: Paged::new(out, is_paged && format == Format::People),
            format,
            is_timed: false,
            keys: None,
            table: None,
            open: false,
            levels: Vec::new(),
            is_line_begun: false,
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
        let began = Instant::now();
        if !asked.is_stream() {
            self.out.begin();
        }
        let outcome = self.reply(connection, asked);
        let took = began.elapsed();
        self.out.end().map_err(ClientError::output)?;
        if self.is_timed {
            tell(&format!("({:.3} ms)", took.as_secs_f64() * 1e3));
        }
        outcome
    }

    /// Shows a reply that needs no server.
    pub fn local(&mut self, request: &str, lines: &[Line]) -> Result<Outcome, ClientError> {
        let asked = Asked::by(request.as_bytes()).expect("it has a word");
        let mut outcome = Outcome::Done;
        self.out.begin();
        for line in lines {
            match line {
                // One is told whole, and not in a table.
                Line::Help(synopsis, summary) if self.is_for_people() && lines.len() == 2 => {
                    self.explain(synopsis, summary)
                        .map_err(ClientError::output)?;
                }
                Line::Error(code, message) => {
                    self.error(code, message, asked);
                    outcome = Outcome::Refused;
                }
                line => self.line(line, asked).map_err(ClientError::output)?,
            }
        }
        self.open = false;
        self.out.end().map_err(ClientError::output)?;
        Ok(outcome)
    }

    fn is_for_people(&self) -> bool {
        self.format == Format::People
    }

    /// Tells people of one command.
    fn explain(&mut self, synopsis: &str, summary: &str) -> io::Result<()> {
        let name = synopsis.split(' ').next().unwrap_or_default();
        writeln!(self.out, "{}", paint(synopsis, Kind::Key))?;
        writeln!(self.out, "{summary}")?;
        match help::command(name) {
            Some(command) => writeln!(
                self.out,
                "For example: {}",
                paint(command.example, Kind::Key)
            ),
            None => Ok(()),
        }
    }

    /// Whether all that is shown is JSON.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Reads one reply and shows it.
    pub fn reply(
        &mut self,
        connection: &mut Connection,
        asked: Asked,
    ) -> Result<Outcome, ClientError> {
        let mut outcome = Outcome::Done;
        let mut due = asked.replies;
        loop {
            if connection.would_wait() {
                // Whoever reads our output should not have to wait for what has come already.
                self.out.flush().map_err(ClientError::output)?;
            }
            let line = match connection.next_line() {
                Ok(line) => line,
                Err(error) => {
                    self.break_off().map_err(ClientError::output)?;
                    return Err(if due == 0 && error.is_interrupt() {
                        ClientError::SeenEnough
                    } else {
                        asked.unanswered(error)
                    });
                }
            };
            if matches!(line, Line::Error(..)) {
                outcome = Outcome::Refused;
            }
            match &line {
                Line::Error(code, message) if self.levels.is_empty() => {
                    self.break_off().map_err(ClientError::output)?;
                    self.error(code, message, asked);
                }
                _ => self.line(&line, asked).map_err(ClientError::output)?,
            }
            let is_whole = self.count(&line).map_err(ClientError::output)?;
            // What comes by itself is told as long as it comes; where it ends, or could not begin, so does this.
            let ends_stream = match &line {
                Line::Error(..) => due > 0,
                Line::Event(word, _) => word == "UNFOLLOWED",
                _ => false,
            };
            due = due.saturating_sub(usize::from(is_whole));
            if due == 0 && (!asked.is_stream() || ends_stream) {
                return Ok(outcome);
            }
        }
    }

    /// Hands on all that has been shown.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.out.flush().map_err(ClientError::output)
    }

    /// Counts a line that has been shown; whether a reply is whole with it.
    fn count(&mut self, line: &Line) -> io::Result<bool> {
        match line {
            Line::Array(length) | Line::Map(length) if *length > 0 => {
                let is_map = matches!(line, Line::Map(_));
                self.levels.push(Level {
                    begun: 0,
                    length: if is_map { 2 * length } else { *length },
                    is_map,
                    is_fresh: false,
                });
                self.begin_next();
                return Ok(false);
            }
            line if !line.ends_reply() => return Ok(false),
            _ => {}
        }
        while let Some(level) = self.levels.last() {
            if level.begun < level.length {
                self.begin_next();
                return Ok(false);
            }
            let is_map = level.is_map;
            self.levels.pop();
            if self.format == Format::Json {
                self.out.write_all(if is_map { b"}" } else { b"]" })?;
                if self.levels.is_empty() {
                    writeln!(self.out)?;
                }
            }
        }
        self.open = false;
        Ok(true)
    }

    fn begin_next(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.begun += 1;
            level.is_fresh = true;
        }
    }

    fn line(&mut self, line: &Line, asked: Asked) -> io::Result<()> {
        if let (Some(keys), Line::Item(key, _) | Line::Key(key) | Line::Namespace(key, _)) =
            (&self.keys, line)
        {
            keys.note(key);
        }
        if !self.levels.is_empty() {
            return self.member_of_level(line);
        }
        match self.format {
            Format::People => self.for_people(line, asked),
            Format::Plain => self.plain(line),
            Format::Raw => match line {
                Line::Value(value) => self.raw(value),
                line => self.plain(line),
            },
            Format::Json => self.json(line, asked),
            Format::Csv => self.csv(line),
        }
    }

    /// Writes a value's bytes as they are, and ends the line.
    fn raw(&mut self, value: &Datum) -> io::Result<()> {
        match value {
            Datum::Text(text) => self.out.write_all(text.as_bytes())?,
            Datum::Base64(base64) => {
                let bytes = BASE64.decode(base64).map_err(io::Error::other)?;
                self.out.write_all(&bytes)?;
            }
        }
        writeln!(self.out)
    }

    fn csv(&mut self, line: &Line) -> io::Result<()> {
        let row: Vec<Cow<'_, str>> = match line {
            Line::Ok => vec!["OK".into()],
            Line::Pong => vec!["PONG".into()],
            Line::Queued => vec!["QUEUED".into()],
            Line::Unchanged => vec!["UNCHANGED".into()],
            // A cell that is empty, and not a text that is.
            Line::NotFound => return writeln!(self.out),
            Line::Count(count) => vec![count.to_string().into()],
            Line::Value(Datum::Text(text)) => vec![text.into()],
            Line::Value(value) => vec![plain_datum(value)],
            Line::Item(key, Datum::Text(text)) => vec![key.into(), text.into()],
            Line::Item(key, value) => vec![key.into(), plain_datum(value)],
            Line::Key(key) => vec![key.into()],
            Line::Namespace(name, keys) => vec![name.into(), keys.to_string().into()],
            Line::Stat(name, serde_json::Value::String(text)) => vec![name.into(), text.into()],
            Line::Stat(name, figure) => vec![name.into(), figure.to_string().into()],
            Line::Help(usage, summary) => vec![usage.into(), summary.into()],
            Line::Event(word, told) => {
                let told = told.iter().map(|told| match told {
                    serde_json::Value::String(text) => text.into(),
                    other => other.to_string().into(),
                });
                std::iter::once(word.into()).chain(told).collect()
            }
            Line::Array(_) | Line::Map(_) | Line::End(_) | Line::Error(..) => return Ok(()),
        };
        let mut writer = csv::WriterBuilder::new()
            .quote_style(csv::QuoteStyle::Necessary)
            .from_writer(Vec::new());
        writer.write_record(row.iter().map(|cell| cell.as_bytes()))?;
        let row = writer
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)?;
        self.out.write_all(&row)
    }

    /// Leaves a reply that does not end as it should: people see the rows that came, a program sees that it is cut off.
    fn break_off(&mut self) -> io::Result<()> {
        if let Some(mut table) = self.table.take() {
            table.finish(&mut self.out)?;
        }
        self.levels.clear();
        if std::mem::take(&mut self.open) {
            writeln!(self.out)?;
        }
        self.out.flush()
    }

    /// Shows one reply of an array or a map.
    fn member_of_level(&mut self, line: &Line) -> io::Result<()> {
        match self.format {
            Format::People => self.numbered(line),
            Format::Csv => self.csv(line),
            Format::Plain | Format::Raw => match line {
                Line::Value(Datum::Text(text)) => writeln!(self.out, "{}", plain_member(text)),
                Line::Error(code, message) => writeln!(self.out, "ERR {code} {message}"),
                line => self.plain(line),
            },
            Format::Json => {
                let before = match self.levels.last_mut() {
                    Some(level) if level.is_map && level.begun % 2 == 0 => ":",
                    Some(level) if level.begun > 1 => ",",
                    _ => "",
                };
                self.out.write_all(before.as_bytes())?;
                self.json_member(line)
            }
        }
    }

    /// Shows one reply of an array or a map to people, with its number before it.
    fn numbered(&mut self, line: &Line) -> io::Result<()> {
        for level in &mut self.levels {
            let is_value = level.is_map && level.begun % 2 == 0;
            let number = if level.is_map {
                level.begun.div_ceil(2)
            } else {
                level.begun
            };
            let mark = if level.is_map { '#' } else { ')' };
            let shown = format!("{number}{mark} ");
            if std::mem::take(&mut level.is_fresh) && !is_value {
                self.out.write_all(shown.as_bytes())?;
            } else if !self.is_line_begun {
                write!(self.out, "{:width$}", "", width = shown.len())?;
            }
        }
        let is_name = self
            .levels
            .last()
            .is_some_and(|level| level.is_map && level.begun % 2 == 1);
        let shown: Cow<'_, str> = match line {
            Line::Value(Datum::Text(text)) => json::string(text).into(),
            Line::Value(Datum::Base64(base64)) => table::bytes_note(base64).into(),
            Line::NotFound => "(nothing)".into(),
            Line::Unchanged => "(unchanged)".into(),
            Line::Array(0) | Line::Map(0) => "(empty)".into(),
            // The first of its members stands on the same line.
            Line::Array(_) | Line::Map(_) => {
                self.is_line_begun = true;
                return Ok(());
            }
            Line::Count(count) => count.to_string().into(),
            Line::Ok => "OK".into(),
            Line::Pong => "PONG".into(),
            Line::Queued => "QUEUED".into(),
            Line::Error(code, message) => format!("(error) {code} {message}").into(),
            Line::Key(key) => json::string(key).into(),
            _ => "".into(),
        };
        table::write_visible(&mut self.out, &shown, &[])?;
        self.is_line_begun = is_name;
        self.out.write_all(if is_name { b" => " } else { b"\n" })
    }

    /// Writes one reply of an array or a map as JSON.
    fn json_member(&mut self, line: &Line) -> io::Result<()> {
        let out = &mut self.out;
        match line {
            Line::Ok => write!(out, "\"OK\""),
            Line::Pong => write!(out, "\"PONG\""),
            Line::Queued => write!(out, "\"QUEUED\""),
            Line::Count(count) => write!(out, "{count}"),
            Line::Value(value) => write_datum(out, value),
            Line::Key(key) => write!(out, "{}", json::string(key)),
            Line::Array(0) => write!(out, "[]"),
            Line::Map(0) => write!(out, "{{}}"),
            Line::Array(_) => write!(out, "["),
            Line::Map(_) => write!(out, "{{"),
            Line::Error(code, message) => {
                let error = serde_json::json!({ "error": { "code": code, "message": message } });
                write!(out, "{error}")
            }
            _ => write!(out, "null"),
        }
    }

    fn for_people(&mut self, line: &Line, asked: Asked) -> io::Result<()> {
        let out = &mut self.out;
        match line {
            Line::Ok => writeln!(out, "OK"),
            Line::Pong => writeln!(out, "PONG"),
            Line::NotFound => writeln!(out, "{}", paint("Key not found", Kind::Quiet)),
            Line::Unchanged => writeln!(out, "{}", paint("Unchanged", Kind::Quiet)),
            Line::Queued => writeln!(out, "{}", paint("Queued", Kind::Quiet)),
            Line::Count(count) => {
                let shown = u64::try_from(*count);
                let shown = shown.map_or_else(|_| count.to_string(), table::grouped);
                writeln!(out, "{}", paint(&shown, Kind::Literal))
            }
            Line::Array(0) | Line::Map(0) => writeln!(out, "(empty)"),
            Line::Event(word, told) => {
                table::write_visible(out, &event(word, told), &[])?;
                writeln!(out)
            }
            Line::Value(Datum::Text(text)) if text.is_empty() => writeln!(out, "\"\""),
            Line::Value(Datum::Text(text)) => {
                let shown = visible(text, &['\n', '\t'])?;
                if style::is_nested_json(&shown) {
                    return writeln!(out, "{}", style::pretty_json(&shown));
                }
                writeln!(out, "{}", paint(&shown, Kind::of_value(text)))
            }
            Line::Value(Datum::Base64(base64)) => {
                writeln!(out, "{}", paint(&table::bytes_note(base64), Kind::Quiet))
            }
            Line::Key(key) => {
                let shown = visible(if key.is_empty() { "\"\"" } else { key }, &[])?;
                writeln!(out, "{}", paint(&shown, Kind::Key))
            }
            Line::Item(..) | Line::Stat(..) | Line::Help(..) | Line::Namespace(..) => {
                let table = self.table.get_or_insert_with(|| match line {
                    Line::Item(..) => Table::new(Some(["key", "value"])),
                    Line::Namespace(..) => Table::new(Some(["namespace", "keys"])),
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
            Line::Array(_) | Line::Map(_) | Line::Error(..) => Ok(()),
        }
    }

    fn plain(&mut self, line: &Line) -> io::Result<()> {
        let out = &mut self.out;
        match line {
            Line::Ok => writeln!(out, "OK"),
            Line::Pong => writeln!(out, "PONG"),
            Line::NotFound => writeln!(out, "Key not found"),
            Line::Unchanged => writeln!(out, "Unchanged"),
            Line::Queued => writeln!(out, "Queued"),
            Line::Namespace(name, keys) => writeln!(out, "{}\t{keys}", plain_text(name)),
            Line::Event(word, told) => writeln!(out, "{}", event(word, told)),
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
            Line::Array(_) | Line::Map(_) | Line::End(_) | Line::Error(..) => Ok(()),
        }
    }

    fn json(&mut self, line: &Line, asked: Asked) -> io::Result<()> {
        match line {
            Line::Ok => writeln!(self.out, "\"OK\""),
            Line::Pong => writeln!(self.out, "\"PONG\""),
            Line::NotFound => writeln!(self.out, "null"),
            Line::Unchanged => writeln!(self.out, "\"UNCHANGED\""),
            Line::Queued => writeln!(self.out, "\"QUEUED\""),
            Line::Array(0) | Line::Map(0) => {
                self.json_member(line)?;
                writeln!(self.out)
            }
            Line::Array(_) | Line::Map(_) => {
                self.open = true;
                self.json_member(line)
            }
            Line::Namespace(name, keys) => {
                self.member("{")?;
                write!(self.out, "{}:{keys}", json::string(name))
            }
            Line::Event(word, told) => {
                let mut told = told.clone();
                told.insert(0, word.as_str().into());
                writeln!(self.out, "{}", serde_json::Value::from(told))
            }
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
        let meant = message
            .strip_prefix("there is no command '")
            .filter(|_| code == "UNKNOWN")
            .and_then(|rest| help::meant(rest.split('\'').next()?));
        let meant = meant.map_or_else(String::new, |name| format!("; did you mean {name}?"));
        tell_fault(&format!("Error: {place}{code} {message}{meant}"));
    }
}

/// Text that can do a terminal no harm; these characters stay.
///
/// # Errors
/// What is written is text, so that there are none.
pub fn visible(text: &str, kept: &[char]) -> io::Result<String> {
    let mut safe = Vec::new();
    table::write_visible(&mut safe, text, kept)?;
    String::from_utf8(safe).map_err(io::Error::other)
}

/// Writes a line to standard error that tells of a fault.
pub fn tell_fault(line: &str) {
    let safe = visible(line, &[]).expect("writing to memory cannot fail");
    let _ = writeln!(io::stderr(), "{}", style::paint_error(&safe));
}

/// Writes a line to standard error. If nobody takes it, there is nobody to be told that either.
pub fn tell(line: &str) {
    let mut safe = Vec::new();
    table::write_visible(&mut safe, line, &[]).expect("writing to memory cannot fail");
    safe.push(b'\n');
    let _ = io::stderr().write_all(&safe);
}

/// Text in a row of plain output: as it is, unless it could be taken for something else; then as a JSON string.
pub fn plain_text(text: &str) -> Cow<'_, str> {
    let doubtful =
        text.starts_with('"') || text.starts_with("BASE64 ") || text.contains(char::is_control);
    if doubtful {
        Cow::Owned(json::string(text))
    } else {
        Cow::Borrowed(text)
    }
}

/// Text in a plain array, where each line is one of its members: not to be taken for one that is not there.
fn plain_member(text: &str) -> Cow<'_, str> {
    if matches!(text, "Key not found" | "Unchanged") || text.starts_with("ERR ") {
        Cow::Owned(json::string(text))
    } else {
        plain_text(text)
    }
}

/// What has come by itself, as it stands on the wire.
fn event(word: &str, told: &[serde_json::Value]) -> String {
    let mut line = word.to_owned();
    for value in told {
        let shown = match value {
            serde_json::Value::String(text)
                if matches!(&**text, "PUT" | "DEL" | "CLEAR")
                    && word == "CHANGE"
                    && line.split(' ').count() == 2 =>
            {
                text.clone()
            }
            serde_json::Value::Object(bytes) => format!("BASE64 {}", bytes["$base64"]),
            other => other.to_string(),
        };
        line += &format!(" {shown}");
    }
    line
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
        let mut renderer = Renderer::new(Vec::new(), format, false);
        for line in lines {
            let line = Line::parse(line.as_bytes()).expect("a line of the protocol");
            renderer
                .line(&line, Asked::by(request.as_bytes()).expect("a request"))
                .expect("writing to memory cannot fail");
        }
        String::from_utf8(renderer.out.into_inner()).expect("text")
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

    /// What is shown of a whole reply, nested as it may be.
    fn shown_whole(format: Format, lines: &[&str]) -> String {
        let mut renderer = Renderer::new(Vec::new(), format, false);
        let asked = Asked::by(b"EXEC").expect("a request");
        for (place, line) in lines.iter().enumerate() {
            let line = Line::parse(line.as_bytes()).expect("a line of the protocol");
            let shown = renderer.line(&line, asked);
            shown.expect("writing to memory cannot fail");
            let is_whole = renderer.count(&line).expect("writing to memory");
            assert_eq!(is_whole, place + 1 == lines.len(), "{line:?}");
        }
        String::from_utf8(renderer.out.into_inner()).expect("text")
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
            shown_whole(Format::People, &lines),
            "1) \"a\\nb\"\n2) 1) (nothing)\n   2) -1\n3) 1# \"name\" => \"Ada\"\n   2# \"none\" => (empty)\n4) (error) DISK no room\n"
        );
        assert_eq!(
            shown_whole(Format::Plain, &lines),
            "\"a\\nb\"\nKey not found\n-1\nname\nAda\nnone\nERR DISK no room\n"
        );
        assert_eq!(
            shown_whole(Format::Json, &lines),
            "[\"a\\nb\",[null,-1],{\"name\":\"Ada\",\"none\":[]},{\"error\":{\"code\":\"DISK\",\"message\":\"no room\"}}]\n"
        );
        assert_eq!(shown_whole(Format::Json, &["ARRAY 0"]), "[]\n");
        assert_eq!(shown_whole(Format::People, &["MAP 0"]), "(empty)\n");
        assert_eq!(
            shown_whole(Format::Plain, &["ARRAY 1", r#"VALUE "Key not found""#]),
            "\"Key not found\"\n"
        );
    }

    #[test]
    fn what_comes_by_itself_is_shown_as_it_stands_on_the_wire() {
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
