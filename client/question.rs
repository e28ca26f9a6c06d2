//! A question on the terminal.
//!
//! In: a question. Out: the line that answers it. Promises: no more than that line is read, so that what is typed after it is for whoever
//! reads next; Ctrl-C ends the question, and the terminal is left as it was.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::interrupt::{self, INTERRUPT_INTERVAL, is_interrupted};

/// The bytes that are read at once. A terminal hands out one line at a time.
const READ_BYTES: usize = 4096;

/// The end of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A line, without its end; Ctrl-D is an empty one.
    Line(String),
    /// Ctrl-C was pressed.
    Interrupted,
}

/// Returns whether lines that have been typed or pasted wait to be read.
pub fn is_input_waiting() -> bool {
    is_readable(&io::stdin(), PollTimeout::ZERO)
}

/// Asks for a line, which is shown as it is typed.
///
/// # Errors
/// Those of the terminal.
pub fn ask(question: &str) -> io::Result<Answer> {
    interrupt::catch();
    show(question)?;
    read_line(&mut terminal()?)
}

/// Asks for a line that is not shown. What was typed before the question is forgotten: it was shown.
///
/// # Errors
/// Those of the terminal.
pub fn ask_secretly(question: &str) -> io::Result<Answer> {
    interrupt::catch();
    let mut terminal = terminal()?;
    let before = tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent)?;
    let answer = show(question).and_then(|()| read_line(&mut terminal));
    tcsetattr(&terminal, SetArg::TCSADRAIN, &before)?;
    if matches!(answer, Ok(Answer::Line(_))) {
        show("\n")?;
    }
    answer
}

/// Opens the terminal of the user.
fn terminal() -> io::Result<File> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(File::from(stdin.as_fd().try_clone_to_owned()?));
    }
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

fn show(text: &str) -> io::Result<()> {
    let mut err = io::stderr();
    err.write_all(text.as_bytes())?;
    err.flush()
}

fn read_line(terminal: &mut File) -> io::Result<Answer> {
    let pause = PollTimeout::try_from(INTERRUPT_INTERVAL).expect("it is below a minute");
    let (mut line, mut piece) = (Vec::new(), [0; READ_BYTES]);
    loop {
        if is_interrupted() {
            show("\n")?;
            return Ok(Answer::Interrupted);
        }
        if !is_readable(terminal, pause) {
            continue;
        }
        let count = terminal.read(&mut piece)?;
        line.extend_from_slice(&piece[..count]);
        if count == 0 || line.ends_with(b"\n") {
            let text = String::from_utf8_lossy(&line);
            return Ok(Answer::Line(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
    }
}

/// Returns whether there is something to read, or an end, within a time. A signal ends the wait early.
fn is_readable(input: &impl AsFd, pause: PollTimeout) -> bool {
    let mut waiting = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    poll(&mut waiting, pause).is_ok_and(|count| count > 0)
}
