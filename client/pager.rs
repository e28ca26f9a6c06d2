//! Long output, a screen at a time: through the program that PAGER names, or `less`.
//!
//! In: text for a terminal. Out: the same; where it is longer than the screen, in the pager. Promises: what fits is not paged; nobody
//! waits for a pager that has been left.

use std::env;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use memchr::memchr_iter;

use crate::connection::{forget_interrupt, heed_interrupts};

/// A writer that pages, while it is told to.
pub struct Paged<W> {
    out: W,
    /// What is not shown yet: it may fit on the screen.
    held: Vec<u8>,
    /// The lines of the screen; none, where nothing is paged.
    height: Option<usize>,
    is_begun: bool,
    pager: Option<(Child, Option<ChildStdin>)>,
}

impl<W: Write> Paged<W> {
    /// A writer that pages if standard output is a terminal and that is wanted.
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

    /// What it writes to.
    #[cfg(test)]
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Pages what is written from now on, if it is long.
    pub fn begin(&mut self) {
        self.is_begun = self.height.is_some();
    }

    /// Shows what is held; if a pager shows it, waits until that is left.
    pub fn end(&mut self) -> io::Result<()> {
        self.is_begun = false;
        if let Some((mut child, stdin)) = self.pager.take() {
            drop(stdin);
            child.wait()?;
            forget_interrupt();
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
        // Where there is no pager, all of it is shown at once.
        self.is_begun = false;
        if let Ok(mut child) = command.spawn() {
            // Ctrl-C is the pager's now.
            heed_interrupts();
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
            // Whoever has left it has seen enough.
            *stdin = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.pager {
            Some((_, Some(open))) => {
                let _ = open.flush();
                Ok(())
            }
            Some((_, None)) => Ok(()),
            None if self.is_begun => Ok(()),
            None => self.out.flush(),
        }
    }
}
