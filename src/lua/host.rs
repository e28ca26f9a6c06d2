//! What executes the commands of a script, and why a script ends.
//!
//! In: the words of a command. Out: its reply, or why the script has to end.

use std::borrow::Cow;

/// Why a script has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It has to begin again, under other circumstances.
    Again,
    /// Its time is over.
    TimeOver,
    /// Somebody has killed it.
    Killed,
}

/// Executes what a script asks of its server.
pub trait Host {
    /// Executes a command, whose name is the first word, and appends its reply in RESP.
    ///
    /// # Errors
    /// Why the script has to end.
    fn call(&mut self, words: &[Cow<'_, [u8]>], reply: &mut Vec<u8>) -> Result<(), Stop>;

    /// Has the next replies in RESP3, or in RESP2 as at the beginning.
    fn set_resp3(&mut self, is_resp3: bool);

    /// Returns true if the user of the script may execute a command with these arguments.
    ///
    /// # Errors
    /// In Redis's words, if there is no such command.
    fn permits(&mut self, words: &[Cow<'_, [u8]>]) -> Result<bool, String>;

    /// Writes a line to the log; the level is 0 (debug) to 3 (warning).
    fn log(&mut self, level: i64, line: &[u8]);
}

/// Why a script has not returned anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Its text is not Lua: the message of the compiler.
    Syntax(String),
    /// It has raised an error: the text, which begins with a code, and where.
    Raised {
        /// Code and message.
        error: Vec<u8>,
        /// Name of the chunk and line, as `@user_script:1`.
        place: Option<String>,
    },
    /// It was ended.
    Stopped(Stop),
}
