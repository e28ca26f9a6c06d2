//! The prompt: read a line, send it, show the reply.
//!
//! In: what a person types. Out: replies, and what became of the connection. Promises: a server that was restarted between two
//! commands is found again by itself; a command whose reply was lost is never repeated; each line is in the history before it
//! is sent.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pykv::protocol::line::quote;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Editor, Event, EventContext,
    EventHandler, KeyEvent, Movement, RepeatCount,
};

use crate::complete::{Helping, LOCAL, is_unfinished, json_value};
use crate::confirm::{self, Consent};
use crate::connection::{self, Address, Connection};
use crate::error::ClientError;
use crate::help;
use crate::known_keys::KnownKeys;
use crate::render::{Outcome, Renderer, tell};
use crate::tools::export::{self, Export};
use crate::tools::import::{self, Import};

/// The lines that the history keeps.
const HISTORY_LINES_MAX: usize = 10_000;

/// Reads and answers until the user leaves.
pub fn run<W: Write>(
    address: &Address,
    mut renderer: Renderer<W>,
    is_forced: bool,
) -> Result<Outcome, ClientError> {
    connection::heed_interrupts();
    let keys = Arc::new(KnownKeys::default());
    renderer.keys = Some(Arc::clone(&keys));
    let mut typing = Typing::new(address, keys).map_err(terminal_fault)?;
    let mut prompt = Prompt {
        address: address.clone(),
        renderer,
        is_forced,
        connection: None,
        was_connected: false,
        in_transaction: false,
    };
    prompt.greet();
    loop {
        match typing.read(&prompt.text()) {
            Ok(line) => {
                if prompt.take(&line)? == After::Leave {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => tell("Ctrl-D or exit leaves."),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal_fault(error)),
        }
    }
    prompt.leave();
    Ok(Outcome::Done)
}

fn terminal_fault(error: ReadlineError) -> ClientError {
    ClientError::file("use", "the terminal")(std::io::Error::other(error))
}

/// Whether to go on after a line.
#[derive(PartialEq, Eq)]
enum After {
    Stay,
    Leave,
}

struct Prompt<W: Write> {
    address: Address,
    renderer: Renderer<W>,
    /// Whether much is deleted without a question.
    is_forced: bool,
    connection: Option<Connection>,
    was_connected: bool,
    /// Whether requests wait for EXEC.
    in_transaction: bool,
}

impl<W: Write> Prompt<W> {
    fn text(&self) -> String {
        if self.is_connected() {
            let state = if self.in_transaction { "(TX)" } else { "" };
            format!("{}{state}> ", self.address)
        } else {
            "not connected> ".to_owned()
        }
    }

    fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_open)
    }

    fn greet(&mut self) {
        if let Err(error) = self.connect() {
            crate::report(&error);
            tell("Each command tries to connect again. Ctrl-D or exit leaves.");
        }
    }

    /// Connects, if that has not been done or does not hold any more, and says so.
    fn connect(&mut self) -> Result<(), ClientError> {
        if self.is_connected() {
            return Ok(());
        }
        self.connection = None;
        if std::mem::take(&mut self.in_transaction) {
            tell("The transaction is gone with the connection; nothing of it was done.");
        }
        self.connection = Some(Connection::open(&self.address)?);
        let place = &self.address;
        tell(&if self.was_connected {
            format!("Connected again to {place}.")
        } else {
            format!("Connected to {place}. HELP lists commands, Tab completes, Ctrl-D leaves.")
        });
        self.was_connected = true;
        Ok(())
    }

    /// Does what a line says. Only a closed standard output is an error: everything else is told.
    fn take(&mut self, typed: &str) -> Result<After, ClientError> {
        connection::forget_interrupt();
        // A text pasted with line feeds in it is as many requests as it has lines.
        for line in requests(typed) {
            let line = line.as_str();
            if matches!(line.trim().to_ascii_lowercase().as_str(), "exit" | "quit") {
                return Ok(After::Leave);
            }
            let Err(error) = self.request(line) else {
                continue;
            };
            if error.is_closed_output() {
                return Err(error);
            }
            if !matches!(error, ClientError::SeenEnough) {
                crate::report(&error);
            }
            if !error.connection_still_good() {
                // After Ctrl-C the server is still there, and the next prompt should not say otherwise.
                let again = error
                    .is_interrupt()
                    .then(|| Connection::open(&self.address));
                self.connection = again.and_then(Result::ok);
                if self.connection.is_some() && std::mem::take(&mut self.in_transaction) {
                    tell("The transaction is gone with the connection; nothing of it was done.");
                }
                // What follows in a pasted text may rely on what was not done.
                break;
            }
        }
        Ok(After::Stay)
    }

    fn request(&mut self, line: &str) -> Result<Outcome, ClientError> {
        let (verb, rest) = line
            .trim_start()
            .split_once([' ', '\t'])
            .unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        match verb.to_ascii_lowercase().as_str() {
            // Each has a connection of its own: one that fails halfway leaves replies on it that nobody reads.
            "import" if !rest.is_empty() => {
                let asked = Import {
                    source: in_home(rest),
                    format: None,
                    prefix: String::new(),
                    ignore_ttl: false,
                    dry_run: false,
                    missing: false,
                    from: 0,
                };
                import::run(&self.address, &asked)
            }
            "export" if !rest.is_empty() => {
                let asked = Export {
                    target: Some(in_home(rest)),
                    format: None,
                    prefix: String::new(),
                    ignore_ttl: false,
                    dry_run: false,
                    missing: false,
                };
                export::run(&self.address, &asked)
            }
            "import" | "export" => Err(ClientError::Usage(format!(
                "{verb} needs a file: {verb} <file>"
            ))),
            // In other shells this word clears the screen. Here it would be the end of all data.
            "clear" if verb != "CLEAR" => {
                let advice = "CLEAR deletes every key: write it in capitals to do so. Ctrl-L clears the screen";
                Err(ClientError::Usage(advice.to_owned()))
            }
            "help" => {
                let topic = Some(rest).filter(|topic| !topic.is_empty());
                let outcome = self.renderer.local("HELP", &help::lines(topic))?;
                if topic.is_none() {
                    let local =
                        LOCAL.map(|(name, usage)| format!("{name} {usage}").trim_end().to_owned());
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
            _ => self.ask(line),
        }
    }

    fn ask(&mut self, line: &str) -> Result<Outcome, ClientError> {
        self.connect()?;
        let connection = self
            .connection
            .as_mut()
            .expect("it has just been connected");
        let in_transaction = self.in_transaction;
        if confirm::consent(connection, line, self.is_forced, in_transaction)? == Consent::Refused {
            tell("Nothing was done.");
            return Ok(Outcome::Done);
        }
        let verb = line.split_whitespace().next().unwrap_or_default();
        let verb = verb.to_ascii_uppercase();
        if matches!(verb.as_str(), "EXEC" | "DISCARD" | "RESET") {
            // Also if its answer is lost: nobody knows then whether it was done.
            self.in_transaction = false;
        }
        let outcome = self.renderer.answer(connection, line)?;
        if verb == "MULTI" && outcome == Outcome::Done {
            self.in_transaction = true;
        }
        Ok(outcome)
    }

    /// Says goodbye to the server, if it is there.
    fn leave(&mut self) {
        if let Some(mut connection) = self.connection.take().filter(Connection::is_open) {
            let _ = connection
                .send(b"QUIT")
                .and_then(|()| connection.next_line());
        }
    }
}

/// The requests of a text that was typed or pasted: its lines, but for JSON, which may have several.
fn requests(typed: &str) -> Vec<String> {
    let mut requests = Vec::new();
    let mut begun = String::new();
    for line in typed.lines() {
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

/// A request with a value of several lines, as one line: the value is quoted, and stays as it was typed.
fn on_one_line(request: &str) -> String {
    let Some(value) = json_value(request).filter(|_| request.contains('\n')) else {
        return request.to_owned();
    };
    let end = value.end.unwrap_or(request.len());
    // Options of a SET may follow.
    let (quoted, rest) = (quote(&request[value.start..end]), &request[end..]);
    format!("{}{quoted}{}", &request[..value.start], rest.trim_end())
}

/// Whether a line holds a password: it is not kept.
fn is_secret(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap_or_default().to_ascii_uppercase();
    let has = |name: &str| line.to_ascii_uppercase().contains(name);
    match verb.as_str() {
        "AUTH" => true,
        "HELLO" | "MIGRATE" => has(" AUTH"),
        "CONFIG" | "ACL" => has("PASS") || has("SETUSER"),
        "IMPORT" | "EXPORT" => line.contains("://") && line.contains('@'),
        _ => false,
    }
}

/// A file's name, with the home folder in the place of `~`, as a shell has it.
fn in_home(name: &str) -> String {
    match (name.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest).to_string_lossy().into_owned(),
        _ => name.to_owned(),
    }
}

/// The line editor and its history.
struct Typing {
    editor: Editor<Helping, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Typing {
    fn new(address: &Address, keys: Arc<KnownKeys>) -> rustyline::Result<Self> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .max_history_size(HISTORY_LINES_MAX)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Helping::new(address.clone(), keys)));
        let clear = EventHandler::Conditional(Box::new(ClearLine));
        editor.bind_sequence(KeyEvent::ctrl('C'), clear);
        let history = history_file();
        if let Some(file) = &history {
            // There is none at the first start.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }

    fn read(&mut self, prompt: &str) -> rustyline::Result<String> {
        let line = self.editor.readline(prompt)?;
        if line.lines().any(is_secret) {
            return Ok(line);
        }
        if self.editor.add_history_entry(&line)?
            && let Some(file) = &self.history
            && let Err(error) = append(&mut self.editor, file)
        {
            tell(&format!(
                "The history cannot be kept in {}: {error}",
                file.display()
            ));
            self.history = None;
        }
        Ok(line)
    }
}

fn append(editor: &mut Editor<Helping, DefaultHistory>, file: &Path) -> rustyline::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // It makes the file for its owner alone: what is typed may be secret.
    editor.append_history(file)
}

/// Where the history is kept (XDG Base Directory Specification).
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("pykv/history"))
}

/// Ctrl-C: clears what has been typed, if there is anything; else it interrupts the editor.
struct ClearLine;

impl ConditionalEventHandler for ClearLine {
    fn handle(
        &self,
        _: &Event,
        _: RepeatCount,
        _: bool,
        context: &EventContext<'_>,
    ) -> Option<Cmd> {
        (!context.line().is_empty()).then_some(Cmd::Kill(Movement::WholeBuffer))
    }
}
