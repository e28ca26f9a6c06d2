//! The state of `top`: measurements, and what the user has chosen.
//!
//! In: a server; keys of the keyboard. Out: histories, rows and switches, for the view. Promise: a server that goes away is an error that is
//! shown, and the next measurement connects again.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::key_sample;
use crate::address::Address;
use crate::connection::Connection;
use crate::deadline;
use crate::error::{ClientError, in_words};
use crate::live::figures::{Figures, rounded};
use crate::live::latency::PingTimes;
use crate::reply::{Datum, Line};

/// The longest time that the server has to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The points that a chart keeps.
const POINTS_MAX: usize = 240;
/// The PINGs of each measurement.
const PINGS: usize = 20;

/// The tables of the screen, one of which is selected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tab {
    #[default]
    Commands,
    Keys,
    Clients,
}

const TABS: [Tab; 3] = [Tab::Commands, Tab::Keys, Tab::Clients];

/// The latest points of a measurement, the newest last.
pub type History = VecDeque<u64>;

/// Everything that the screen shows.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the keyboard"
)]
pub struct State {
    connection: Option<Connection>,
    pub before: Option<Figures>,
    pub now: Option<Figures>,
    pub requests: History,
    pub pings_us: History,
    pub memory: History,
    pub hits: History,
    /// The median and the 99th percentile of the latest PINGs, in milliseconds.
    pub ping_ms: [Option<f64>; 2],
    /// Each command, its calls per second, and its calls in all.
    pub commands: Vec<(String, f64, u64)>,
    /// The busiest keys, and about how many requests per second name them.
    pub keys: Vec<(String, f64)>,
    /// The fields of each line of CLIENT LIST.
    pub clients: Vec<HashMap<String, String>>,
    pub error: Option<String>,
    pub selected: Tab,
    /// True if the selected table is sorted by name, and not by number.
    pub by_name: bool,
    pub filter: String,
    pub is_filtering: bool,
    pub is_paused: bool,
    /// True if the keys are explained.
    pub is_helping: bool,
    /// True if the busiest keys are not sampled.
    pub skips_keys: bool,
}

impl State {
    /// Connects. The keyboard waits for the server meanwhile, and so for no longer than [`ANSWER_MAX`].
    pub fn connect(&mut self, address: &Address) -> Result<(), ClientError> {
        let limit = deadline::limit().map_or(ANSWER_MAX, |limit| limit.min(ANSWER_MAX));
        self.connection = Some(Connection::open_within(address, limit)?);
        Ok(())
    }

    /// Measures, unless paused.
    pub fn refresh(&mut self, address: &Address) {
        if self.is_paused {
            return;
        }
        self.error = None;
        if let Err(error) = self.measure(address) {
            self.connection = None;
            self.before = None;
            self.now = None;
            self.error = Some(in_words(&error));
        }
    }

    fn measure(&mut self, address: &Address) -> Result<(), ClientError> {
        if self.connection.is_none() {
            self.connect(address)?;
        }
        let connection = self.connection.as_mut().expect("it was just connected");
        let figures = Figures::ask(connection)?;
        let mut times = PingTimes::default();
        for _ in 0..PINGS {
            times.measure(connection)?;
        }
        self.ping_ms = [0.5, 0.99].map(|quantile| times.quantile_ms(quantile));
        if let Line::Value(Datum::Text(list)) = connection.ask("CLIENT LIST")? {
            self.clients = list.lines().map(fields).collect();
        }
        self.before = self.now.replace(figures);
        if let (Some(before), Some(now)) = (&self.before, &self.now) {
            let hits = now.hit_ratio(before).unwrap_or(0.0);
            let ping_ms = self.ping_ms[1].unwrap_or(0.0);
            for (history, point) in [
                (
                    &mut self.requests,
                    rounded(now.rate("requests_total", before)),
                ),
                (&mut self.memory, now.count("memory_bytes")),
                (&mut self.hits, rounded(hits * 100.0)),
                (&mut self.pings_us, rounded(ping_ms * 1e3)),
            ] {
                if history.len() == POINTS_MAX {
                    history.pop_front();
                }
                history.push_back(point);
            }
            self.commands = now.commands(before);
        }
        if !self.skips_keys {
            // Without a sample, the other measurements are still good.
            self.keys = key_sample::take(address).unwrap_or_default();
        }
        Ok(())
    }

    /// Handles a key; returns whether to go on.
    pub fn press(&mut self, key: KeyEvent) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return false;
        }
        if std::mem::take(&mut self.is_helping) {
            return true;
        }
        if self.is_filtering {
            match key.code {
                KeyCode::Enter => self.is_filtering = false,
                KeyCode::Esc => {
                    self.is_filtering = false;
                    self.filter.clear();
                }
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(character) => self.filter.push(character),
                _ => {}
            }
            return true;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Tab | KeyCode::Right => self.select_next(1),
            KeyCode::BackTab | KeyCode::Left => self.select_next(TABS.len() - 1),
            KeyCode::Char('?') => self.is_helping = true,
            KeyCode::Char('s') => self.by_name = !self.by_name,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('k') => {
                self.skips_keys = !self.skips_keys;
                self.keys.clear();
            }
            KeyCode::Char('/') => {
                self.is_filtering = true;
                self.filter.clear();
            }
            _ => {}
        }
        true
    }

    fn select_next(&mut self, steps: usize) {
        let place = TABS.iter().position(|tab| *tab == self.selected);
        self.selected = TABS[(place.unwrap_or(0) + steps) % TABS.len()];
    }

    /// Returns the places of the rows that pass the filter, sorted by number, the largest first, or by name.
    pub fn ordered<T>(
        &self,
        table: Tab,
        rows: &[T],
        of: impl Fn(&T) -> (String, f64),
    ) -> Vec<usize> {
        let filter = self.filter.to_lowercase();
        let is_shown = |name: &str| self.selected != table || name.to_lowercase().contains(&filter);
        let mut named: Vec<(usize, String, f64)> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| {
                let (name, number) = of(row);
                (place, name, number)
            })
            .filter(|(_, name, _)| is_shown(name))
            .collect();
        let by_name = self.by_name && self.selected == table;
        named.sort_by(|(_, one, of_one), (_, other, of_other)| {
            let by_number = of_other.partial_cmp(of_one).unwrap_or(Ordering::Equal);
            if by_name {
                one.cmp(other)
            } else {
                by_number.then_with(|| one.cmp(other))
            }
        });
        named.into_iter().map(|(place, ..)| place).collect()
    }
}

/// Splits a line of CLIENT LIST into its fields.
fn fields(line: &str) -> HashMap<String, String> {
    let fields = line.split(' ').filter_map(|field| field.split_once('='));
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_filtered_and_sorted_by_number_or_by_name() {
        let mut state = State::default();
        let rows = [("b", 1.0), ("a", 2.0), ("ab", 2.0)];
        let order = |state: &State| {
            let order = state.ordered(Tab::Commands, &rows, |(name, number)| {
                ((*name).to_owned(), *number)
            });
            order
                .into_iter()
                .map(|place| rows[place].0)
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&state), ["a", "ab", "b"]);
        state.press(KeyCode::Char('s').into());
        assert_eq!(order(&state), ["a", "ab", "b"]);
        for letter in "/B".chars() {
            state.press(KeyCode::Char(letter).into());
        }
        assert_eq!(order(&state), ["ab", "b"]);
        state.press(KeyCode::Esc.into());
        // Any key closes the explanation of the keys, and does nothing else.
        state.press(KeyCode::Char('?').into());
        assert!(state.is_helping && state.press(KeyCode::Char('q').into()));
        assert!(!state.is_helping);
        // The filter applies to the selected table.
        state.press(KeyCode::Tab.into());
        assert_eq!(state.selected, Tab::Keys);
        assert!(!state.press(KeyCode::Char('q').into()));
    }
}
