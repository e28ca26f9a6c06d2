//! The prompt: read a line, send it, show the reply.
//!
//! In: lines that the user types. Out: replies, and the state of the connection. Promises: a server that was restarted between two commands
//! is connected to again; a command whose reply was lost is never repeated; a line is in the history before it is sent.

mod complete;
mod editor;
mod highlight;
mod hint;
mod multiline;
mod names;
mod words;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::editor::{Input, LineEditor};
use self::multiline::requests;
use self::names::local;
use self::words::words;
use crate::address::Address;
use crate::confirm::{Confirmation, confirm};
use crate::connection::Connection;
use crate::error::{ClientError, Outcome, report};
use crate::help::{TOOLS, is_only_tool};
use crate::interrupt;
use crate::known_keys::KnownKeys;
use crate::live::rows::interval;
use crate::render::Renderer;
use crate::request::Request;
use crate::terminal::tell;
use crate::tool::Tool;
use crate::units::counted;

/// The time that a server has to answer QUIT.
const FAREWELL: Duration = Duration::from_millis(500);

/// Reads and answers lines until the user leaves.
///
/// # Errors
/// [`ClientError::File`] if the terminal or standard output fails. All other errors are shown.
pub fn run<W: Write>(
    address: &Address,
    mut renderer: Renderer<W>,
    is_forced: bool,
) -> Result<Outcome, ClientError> {
    interrupt::catch();
    let keys = Arc::new(KnownKeys::default());
    renderer.keys = Some(Arc::clone(&keys));
    let mut editor = LineEditor::open(address, keys)?;
    let mut prompt = Prompt {
        address: address.clone(),
        renderer,
        is_forced,
        connection: None,
        was_connected: false,
        in_transaction: false,
        has_explained_watch: false,
    };
    if let Err(error) = prompt.connect() {
        report(&error);
        tell("Each command tries to connect again. Ctrl-D or exit leaves.");
    }
    loop {
        match editor.read(&prompt.text())? {
            Input::Line(line) if prompt.take(&line)? => {}
            Input::Interrupt => tell("Ctrl-D or exit leaves."),
            Input::Line(_) | Input::End => break,
        }
    }
    prompt.leave();
    Ok(Outcome::Done)
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Prompt<W: Write> {
    address: Address,
    renderer: Renderer<W>,
    /// True if dangerous requests need no confirmation.
    is_forced: bool,
    connection: Option<Connection>,
    was_connected: bool,
    /// True if requests are queued until EXEC.
    in_transaction: bool,
    /// True if it has been said what `watch` is here.
    has_explained_watch: bool,
}

impl<W: Write> Prompt<W> {
    fn text(&mut self) -> String {
        if self.is_connected() {
            let state = if self.in_transaction { "(TX)" } else { "" };
            format!("{}{state}> ", self.address)
        } else {
            "not connected> ".to_owned()
        }
    }

    fn is_connected(&mut self) -> bool {
        self.connection.as_mut().is_some_and(Connection::is_open)
    }

    /// Connects, unless the connection is still open.
    fn connect(&mut self) -> Result<(), ClientError> {
        if self.is_connected() {
            return Ok(());
        }
        self.connection = None;
        self.abandon_transaction();
        self.connection = Some(Connection::open(&self.address)?);
        let address = &self.address;
        tell(&if self.was_connected {
            format!("Connected again to {address}.")
        } else {
            format!("Connected to {address}. HELP lists commands, Tab completes, Ctrl-D leaves.")
        });
        self.was_connected = true;
        Ok(())
    }

    fn abandon_transaction(&mut self) {
        if std::mem::take(&mut self.in_transaction) {
            tell("The transaction is gone with the connection; nothing of it was done.");
        }
    }

    /// Executes what was typed or pasted, which may be several requests; returns whether to go on.
    ///
    /// # Errors
    /// [`ClientError::File`] if the reader of standard output has gone.
    fn take(&mut self, typed: &str) -> Result<bool, ClientError> {
        interrupt::reset();
        let mut requests = requests(typed).into_iter();
        while let Some(line) = requests.next() {
            if matches!(line.trim().to_ascii_lowercase().as_str(), "exit" | "quit") {
                return Ok(false);
            }
            let Err(error) = self.execute(&line) else {
                continue;
            };
            if error.is_closed_output() {
                return Err(error);
            }
            if !matches!(error, ClientError::StreamEnded) {
                report(&error);
            }
            if !error.leaves_connection_usable() {
                self.connection = None;
                if error.is_interrupt() {
                    // The server is still there, and the next prompt should show that.
                    self.connection = Connection::open(&self.address).ok();
                    self.abandon_transaction();
                }
            }
            if error.is_interrupt() || !error.leaves_connection_usable() {
                // The other requests may rely on the one that failed.
                let left = requests.count() as u64;
                if left > 0 {
                    let left = counted(left, "request");
                    tell(&format!("Not sent, as this one failed: {left} after it."));
                }
                break;
            }
        }
        Ok(true)
    }

    fn execute(&mut self, line: &str) -> Result<Outcome, ClientError> {
        let (verb, rest) = line
            .trim_start()
            .split_once([' ', '\t'])
            .unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        match verb.to_ascii_lowercase().as_str() {
            "import" | "export" if rest.is_empty() => Err(ClientError::Usage(format!(
                "{verb} needs a file: {verb} <file>"
            ))),
            name if is_only_tool(name) => self.run_tool(&tool_words(name, rest)),
            // As on the command line.
            "pykv-cli" if !rest.is_empty() => {
                let (verb, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
                if TOOLS.iter().any(|(name, _)| *name == verb) {
                    self.run_tool(&tool_words(verb, rest.trim()))
                } else {
                    self.execute(&format!("{verb} {rest}"))
                }
            }
            // In other shells this word clears the screen.
            "clear" if verb != "CLEAR" => {
                let advice = "CLEAR deletes every key: write it in capitals to do so. Ctrl-L clears the screen";
                Err(ClientError::Usage(advice.to_owned()))
            }
            "help" => {
                let topic = Some(rest).filter(|topic| !topic.is_empty());
                let outcome = self.renderer.help(topic)?;
                if topic.is_none() {
                    let local = local().map(|(name, usage)| format!("{name} {usage}"));
                    let local: Vec<_> = local.map(|name| name.trim_end().to_owned()).collect();
                    tell(&format!("At this prompt also: {}.", local.join(", ")));
                }
                Ok(outcome)
            }
            "timing" if rest.is_empty() => {
                let is_timed = &mut self.renderer.is_timed;
                *is_timed = !*is_timed;
                let state = if *is_timed { "is" } else { "is not" };
                tell(&format!("How long an answer takes {state} told."));
                Ok(Outcome::Done)
            }
            _ => {
                let outcome = self.ask(line, &verb.to_ascii_uppercase())?;
                self.explain_watch(verb, rest, outcome);
                Ok(outcome)
            }
        }
    }

    /// Says once that `watch` is a command of the server here, where the tool of this name may have been meant.
    fn explain_watch(&mut self, verb: &str, rest: &str, outcome: Outcome) {
        if verb == "watch" && outcome == Outcome::Done && !self.has_explained_watch {
            self.has_explained_watch = true;
            tell(&format!(
                "WATCH guards keys for the next MULTI. To see changes as they happen: pykv-cli watch {rest}"
            ));
        }
    }

    /// Runs a tool, on connections of its own.
    fn run_tool(&mut self, words: &[String]) -> Result<Outcome, ClientError> {
        match Tool::parse(words) {
            Ok(tool) => tool.run(&self.address, self.renderer.format(), interval(0.0)),
            Err(error) => {
                // Of its own help and of its errors, clap knows the form.
                let _ = error.print();
                Ok(Outcome::Refused)
            }
        }
    }

    fn ask(&mut self, line: &str, verb: &str) -> Result<Outcome, ClientError> {
        self.connect()?;
        let connection = self.connection.as_mut().expect("it was just connected");
        if confirm(connection, line, self.is_forced, self.in_transaction)? == Confirmation::Refused
        {
            tell("Nothing was done.");
            return Ok(Outcome::Done);
        }
        if matches!(verb, "EXEC" | "DISCARD" | "RESET") {
            // Even if the reply is lost: the transaction has ended then, too.
            self.in_transaction = false;
        }
        let outcome = self.renderer.answer(connection, &Request::line(line))?;
        self.in_transaction |= verb == "MULTI" && outcome == Outcome::Done;
        if outcome == Outcome::Done && !self.in_transaction {
            // So the prompt shows it, and the next connection selects it.
            match verb {
                "SELECT" => self.address.select(database_of(line)),
                "RESET" => self.address.select(0),
                _ => {}
            }
        }
        Ok(outcome)
    }

    /// Closes the connection in order.
    fn leave(&mut self) {
        if self.is_connected()
            && let Some(connection) = &mut self.connection
            && connection.send(b"QUIT").is_ok()
        {
            connection.line_until(Instant::now() + FAREWELL);
        }
    }
}

/// Returns the database that a SELECT, which was executed, has named.
fn database_of(line: &str) -> u32 {
    let number = words(line).nth(1);
    let number = number.and_then(|word| word.text.trim_matches('"').parse().ok());
    number.unwrap_or(0)
}

/// Returns the words of a tool. A file may have blanks in its name.
fn tool_words(name: &str, rest: &str) -> Vec<String> {
    let is_file = Path::new(&expand_home(rest)).exists();
    let words = words(rest).map(|word| {
        let unquoted = serde_json::from_str(word.text);
        unquoted.unwrap_or_else(|_| word.text.to_owned())
    });
    let words: Vec<String> = if is_file {
        vec![rest.to_owned()]
    } else {
        words.collect()
    };
    let words = words.into_iter().map(|word| expand_home(&word));
    std::iter::once(name.to_ascii_lowercase())
        .chain(words)
        .collect()
}

/// Returns a file name with the home folder in the place of `~`.
fn expand_home(name: &str) -> String {
    match (name.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest).to_string_lossy().into_owned(),
        _ => name.to_owned(),
    }
}
