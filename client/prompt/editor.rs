//! The line editor: completion, hints, colours and history.
//!
//! In: keys of the keyboard. Out: lines. Promise: a line with a password is in no history.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pykv::command::Flag;
use rustyline::completion::{Completer, Pair as Candidate};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Context, Editor, Event, EventContext,
    EventHandler, Helper, KeyEvent, Movement, RepeatCount,
};

use super::complete::LineCompleter;
use super::highlight::highlight;
use super::hint::{Suggestion, hint};
use super::multiline::is_unfinished;
use crate::address::Address;
use crate::error::ClientError;
use crate::help;
use crate::known_keys::KnownKeys;
use crate::style::{Kind, paint};
use crate::terminal::tell;

/// The lines of the history.
const HISTORY_LINES_MAX: usize = 10_000;

/// An action of the user at the prompt.
pub enum Input {
    /// Entered a line.
    Line(String),
    /// Pressed Ctrl-C on an empty line.
    Interrupt,
    /// Pressed Ctrl-D.
    End,
}

/// The line editor and its history.
pub struct LineEditor {
    editor: Editor<LineHelper, DefaultHistory>,
    /// The file of the history; `None` if it cannot be kept.
    history: Option<PathBuf>,
}

impl LineEditor {
    /// Opens the editor on the terminal, with the history of earlier sessions.
    ///
    /// # Errors
    /// [`ClientError::File`] if the terminal cannot be used.
    pub fn open(address: &Address, keys: Arc<KnownKeys>) -> Result<Self, ClientError> {
        Self::try_open(address, keys).map_err(terminal_error)
    }

    fn try_open(address: &Address, keys: Arc<KnownKeys>) -> rustyline::Result<Self> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .max_history_size(HISTORY_LINES_MAX)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(LineHelper {
            completer: LineCompleter::new(address.clone(), keys),
            history: HistoryHinter::new(),
        }));
        let clear = EventHandler::Conditional(Box::new(ClearLine));
        editor.bind_sequence(KeyEvent::ctrl('C'), clear);
        let history = history_file();
        if let Some(file) = &history {
            // The file does not exist at the first start.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`ClientError::File`] if the terminal fails.
    pub fn read(&mut self, prompt: &str) -> Result<Input, ClientError> {
        let line = match self.editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => return Ok(Input::Interrupt),
            Err(ReadlineError::Eof) => return Ok(Input::End),
            Err(error) => return Err(terminal_error(error)),
        };
        let is_kept = !line.lines().any(is_secret);
        if is_kept
            && self
                .editor
                .add_history_entry(&line)
                .map_err(terminal_error)?
            && let Some(file) = &self.history
            && let Err(error) = append(&mut self.editor, file)
        {
            let name = file.display();
            tell(&format!("The history cannot be kept in {name}: {error}"));
            self.history = None;
        }
        Ok(Input::Line(line))
    }
}

fn terminal_error(error: ReadlineError) -> ClientError {
    ClientError::terminal(io::Error::other(error))
}

fn append(editor: &mut Editor<LineHelper, DefaultHistory>, file: &Path) -> rustyline::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // The file is created for its owner alone.
    editor.append_history(file)
}

/// Returns whether a line may hold a password: that of a command, even a mistyped one, or in a URL.
fn is_secret(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("pykv-cli ").unwrap_or(line);
    let verb = line.split_whitespace().next().unwrap_or_default();
    let nearest = || help::nearest(verb).and_then(help::command);
    let command = help::command(verb).or_else(nearest);
    command.is_some_and(|command| command.has(Flag::Secret))
        || (help::command(verb).is_none() && line.contains("://") && line.contains('@'))
}

/// Returns the path of the history (XDG Base Directory Specification).
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("pykv/history"))
}

/// Ctrl-C: clears the line if anything has been typed, else interrupts the editor.
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

/// Connects the editor with completion, hints, colours and multi-line values.
#[derive(Helper)]
struct LineHelper {
    completer: LineCompleter,
    history: HistoryHinter,
}

impl Validator for LineHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_unfinished(context.input()) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Completer for LineHelper {
    type Candidate = Candidate;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Candidate>)> {
        self.completer.complete(line, cursor, context)
    }
}

impl Hinter for LineHelper {
    type Hint = Suggestion;

    fn hint(&self, line: &str, cursor: usize, context: &Context<'_>) -> Option<Suggestion> {
        let is_at_end = cursor == line.len();
        is_at_end.then(|| hint(line, &self.history, context))?
    }
}

impl Highlighter for LineHelper {
    fn highlight<'l>(&self, line: &'l str, _cursor: usize) -> Cow<'l, str> {
        highlight(line).into()
    }

    fn highlight_char(&self, _line: &str, _cursor: usize, _kind: CmdKind) -> bool {
        true
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        paint(hint, Kind::Dim).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_a_password_are_secret() {
        for (line, secret) in [
            ("AUTH default x", true),
            ("auht default x", true),
            ("HELLO 3 AUTH default x", true),
            ("import redis://:x@host", true),
            ("import redis://host", false),
            ("pykv-cli AUTH default x", true),
            ("pykv-cli diff pykv://:x@host", true),
            ("pykv-cli GET a", false),
            ("PUT mail redis://ann@host", false),
            ("GET a", false),
            ("GTE a", false),
        ] {
            assert_eq!(is_secret(line), secret, "{line}");
        }
    }
}
