//! `top`: a server on one screen, live.
//!
//! In: STATS and CLIENT LIST once per interval, a few PINGs, a sample of MONITOR; the keyboard. Out: charts and tables. Promises: the screen
//! survives a restart of the server; the terminal is left as it was.

mod key_sample;
mod state;
mod view;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::state::State;
use crate::address::Address;
use crate::error::{ClientError, Outcome};

/// Shows the screen until the user leaves.
///
/// # Errors
/// [`ClientError::Usage`] if standard output is no terminal; `File` if the terminal fails; as `Connection::open` at the start.
pub fn run(address: &Address, interval: Duration) -> Result<Outcome, ClientError> {
    if !io::stdout().is_terminal() {
        let advice = "top needs a terminal; stat tells the same row by row";
        return Err(ClientError::Usage(advice.to_owned()));
    }
    let mut state = State::default();
    // A server that is absent at the start is an error; later, its return is awaited.
    state.connect(address)?;
    let mut terminal = ratatui::try_init().map_err(ClientError::terminal)?;
    let ended = show(&mut terminal, &mut state, address, interval);
    ratatui::restore();
    ended.map_err(ClientError::terminal)?;
    Ok(Outcome::Done)
}

fn show(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    address: &Address,
    interval: Duration,
) -> io::Result<()> {
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            next = Instant::now() + interval;
            state.refresh(address);
        }
        terminal.draw(|frame| view::draw(state, address, frame))?;
        let timeout = next.saturating_duration_since(Instant::now());
        if event::poll(timeout)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && !state.press(key)
        {
            return Ok(());
        }
    }
}
