//! Long output in a pager: the program that PAGER names, or `less`.
//!
//! In: text for a terminal. Out: the same, in the pager if it is longer than the screen. Promises: output that fits is not paged; output
//! to a pager that has been quit is dropped; a pager gets no line that was typed ahead.

use std::env;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use memchr::memchr_iter;

use crate::interrupt;
use crate::question::is_input_waiting;

/// A writer that pages between `begin` and `end`.
pub struct Paged<W> {
    out: W,
    /// Output not shown yet, as it may fit on the screen.
    held: Vec<u8>,
    /// The lines of the screen; `None` if nothing is paged.
    height: Option<usize>,
    is_begun: bool,
    pager: Option<(Child, Option<ChildStdin>)>,
}

impl<W: Write> Paged<W> {
    /// Returns a writer that pages if `is_wanted` and standard output is a terminal.
    pub fn new(out: W, is_wanted: bool) -> Self {
        let terminal = console::Term::stdout();
        let is_dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
        let is_paged = is_wanted && terminal.is_term() && !is_dumb;
        Self {
            out,
            held: Vec::new(),
            height: is_paged.then(|| usize::from(terminal.size().0)),
            is_begun: false,
            pager: None,
        }
    }

    /// Returns the writer below.
    #[cfg(test)]
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Begins output that is paged if it is long.
    pub fn begin(&mut self) {
        self.is_begun = self.height.is_some();
    }

    /// Ends the output, and waits until the user has quit the pager.
    ///
    /// # Errors
    /// The output cannot be written, or the pager not be waited for.
    pub fn end(&mut self) -> io::Result<()> {
        self.is_begun = false;
        if let Some((mut child, stdin)) = self.pager.take() {
            drop(stdin);
            child.wait()?;
            interrupt::reset();
        }
        self.out.write_all(&std::mem::take(&mut self.held))?;
        self.out.flush()
    }

    fn start(&mut self) {
        let asked = env::var("PAGER")
            .ok()
            .filter(|pager| !pager.trim().is_empty());
        let line = asked.unwrap_or_else(|| "less".to_owned());
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let mut command = Command::new(name);
        command.args(words).stdin(Stdio::piped());
        if env::var_os("LESS").is_none() {
            // Colours, no clearing of the screen.
            command.env("LESS", "-RX");
        }
        // Without a pager, everything is shown at once; as where lines are typed ahead, which a pager would take for its keys.
        self.is_begun = false;
        if !is_input_waiting()
            && let Ok(mut child) = command.spawn()
        {
            // Ctrl-C is for the pager now.
            interrupt::catch();
            let stdin = child.stdin.take();
            self.pager = Some((child, stdin));
        }
    }
}

impl<W: Write> Write for Paged<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_begun {
            self.held.extend_from_slice(bytes);
            let lines = memchr_iter(b'\n', &self.held).count();
            if self.height.is_some_and(|height| lines >= height) {
                self.start();
                let held = std::mem::take(&mut self.held);
                self.write_all(&held)?;
            }
            return Ok(bytes.len());
        }
        let Some((_, stdin)) = &mut self.pager else {
            self.out.write_all(bytes)?;
            return Ok(bytes.len());
        };
        if let Some(open) = stdin
            && open.write_all(bytes).is_err()
        {
            // The user has quit the pager.
            *stdin = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &self.pager {
            // A pipe has no buffer on this side.
            Some(_) => Ok(()),
            None if self.is_begun => Ok(()),
            None => self.out.flush(),
        }
    }
}
