//! `top`: a server on one screen, live.
//!
//! In: STATS and CLIENT LIST once a second, a few PINGs, a moment of MONITOR for the busiest keys; what somebody types. Out: charts, tables.
//! Promises: a server that goes away is said to be gone, and found again; the terminal is left as it was.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};

use super::figures::Figures;
use super::latency::Times;
use crate::connection::{Address, Connection};
use crate::error::ClientError;
use crate::render::Outcome;
use crate::reply::{Datum, Line};
use crate::table::{bytes, grouped};

/// How many moments a chart keeps.
const KEPT: usize = 240;
/// How many PINGs are asked each time.
const PINGS: usize = 20;
/// For how long requests are looked at to find the busiest keys: the server tells of each meanwhile.
const SAMPLE: Duration = Duration::from_millis(50);
/// How long it is waited for the connection of a sample.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(500);
/// How many requests are looked at, at the most.
const SAMPLED_MAX: usize = 5_000;

/// Which table the keys of the keyboard are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Commands,
    Keys,
    Clients,
}

const TABLES: [Shown; 3] = [Shown::Commands, Shown::Keys, Shown::Clients];

/// What is on the screen.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the keyboard"
)]
struct Screen {
    address: Address,
    connection: Option<Connection>,
    before: Option<Figures>,
    now: Option<Figures>,
    requests: VecDeque<u64>,
    pings_us: VecDeque<u64>,
    memory: VecDeque<u64>,
    hits: VecDeque<u64>,
    ping: [Option<f64>; 2],
    commands: Vec<(String, f64, u64)>,
    keys: Vec<(String, f64)>,
    clients: Vec<HashMap<String, String>>,
    fault: Option<String>,
    shown: Shown,
    /// Whether rows stand in the order of their names, and not of their numbers.
    by_name: bool,
    filter: String,
    is_filtering: bool,
    is_paused: bool,
    samples_keys: bool,
}

/// Shows the screen until somebody leaves it.
pub fn run(address: &Address, interval: Duration) -> Result<Outcome, ClientError> {
    if !io::stdout().is_terminal() {
        let advice = "top needs a terminal; stat tells the same row by row";
        return Err(ClientError::Usage(advice.to_owned()));
    }
    let mut screen = Screen::new(address.clone());
    // A server that is not there at the beginning is a mistake, and told as such.
    screen.connection = Some(Connection::open(address)?);
    let mut terminal = ratatui::try_init().map_err(ClientError::file("use", "the terminal"))?;
    let ended = show(&mut terminal, &mut screen, interval);
    ratatui::restore();
    ended.map_err(ClientError::file("use", "the terminal"))?;
    Ok(Outcome::Done)
}

fn show(terminal: &mut DefaultTerminal, screen: &mut Screen, interval: Duration) -> io::Result<()> {
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            next = Instant::now() + interval;
            if !screen.is_paused {
                screen.look();
            }
        }
        terminal.draw(|frame| screen.draw(frame))?;
        let patience = next.saturating_duration_since(Instant::now());
        if event::poll(patience)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && !screen.press(key)
        {
            return Ok(());
        }
    }
}

fn push(points: &mut VecDeque<u64>, point: u64) {
    if points.len() == KEPT {
        points.pop_front();
    }
    points.push_back(point);
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is charted is no less than nought, and far below 2^64"
)]
fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

impl Screen {
    fn new(address: Address) -> Self {
        Self {
            address,
            connection: None,
            before: None,
            now: None,
            requests: VecDeque::new(),
            pings_us: VecDeque::new(),
            memory: VecDeque::new(),
            hits: VecDeque::new(),
            ping: [None; 2],
            commands: Vec::new(),
            keys: Vec::new(),
            clients: Vec::new(),
            fault: None,
            shown: Shown::Commands,
            by_name: false,
            filter: String::new(),
            is_filtering: false,
            is_paused: false,
            samples_keys: true,
        }
    }

    /// Asks the server how it is; if it is not there, says so.
    fn look(&mut self) {
        match self.ask() {
            Ok(()) => self.fault = None,
            Err(error) => {
                self.connection = None;
                self.before = None;
                self.now = None;
                self.fault = Some(pykv::error::error_chain(&error));
            }
        }
    }

    fn ask(&mut self) -> Result<(), ClientError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address)?,
        };
        let figures = Figures::ask(&mut connection)?;
        let mut times = Times::default();
        for _ in 0..PINGS {
            times.ask(&mut connection)?;
        }
        self.ping = [0.5, 0.99].map(|share| times.quantile_ms(share));
        if let Line::Value(Datum::Text(list)) = connection.ask("CLIENT LIST")? {
            self.clients = list.lines().map(fields).collect();
        }
        self.connection = Some(connection);
        self.before = self.now.replace(figures);
        if let (Some(before), Some(now)) = (&self.before, &self.now) {
            push(
                &mut self.requests,
                whole(now.rate("requests_total", before)),
            );
            push(&mut self.memory, now.count("memory_bytes"));
            push(
                &mut self.hits,
                whole(now.hit_ratio(before).unwrap_or(0.0) * 100.0),
            );
            push(&mut self.pings_us, whole(self.ping[1].unwrap_or(0.0) * 1e3));
            self.commands = now.commands(before);
        }
        if self.samples_keys {
            // Where the sample fails, the figures are still good.
            self.keys = sample(&self.address).unwrap_or_default();
        }
        Ok(())
    }

    /// Does what a key says; whether to go on.
    fn press(&mut self, key: KeyEvent) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return false;
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
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(TABLES.len() - 1),
            KeyCode::Char('s') => self.by_name = !self.by_name,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('k') => {
                self.samples_keys = !self.samples_keys;
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

    fn turn(&mut self, steps: usize) {
        let place = TABLES.iter().position(|table| *table == self.shown);
        self.shown = TABLES[(place.unwrap_or(0) + steps) % TABLES.len()];
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, charts, tables, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(7),
            Constraint::Min(4),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.head(), head);
        self.draw_charts(frame, charts);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(tables);
        let [clients, disk] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(8)]).areas(right);
        let [commands, keys] = Layout::vertical([Constraint::Fill(1); 2]).areas(left);
        self.draw_commands(frame, commands);
        self.draw_keys(frame, keys);
        self.draw_clients(frame, clients);
        self.draw_disk(frame, disk);
        frame.render_widget(self.foot(), foot);
    }

    fn head(&self) -> Paragraph<'_> {
        let mut spans = vec![Span::styled(format!(" {} ", self.address), strong())];
        if let Some(fault) = &self.fault {
            let text = format!(" not connected; trying again: {fault}");
            spans.push(Span::styled(text, colored(Color::Red)));
        } else if let Some(now) = &self.now {
            spans.push(Span::raw(format!(
                " PyKV {}  up {}  {} keys  {} of data",
                now.text("version"),
                duration(now.count("uptime_seconds")),
                grouped(now.count("keys")),
                bytes(now.count("data_bytes")),
            )));
        }
        if self.is_paused {
            spans.push(Span::styled("  paused", colored(Color::Yellow)));
        }
        Paragraph::new(Text::from(spans))
    }

    fn draw_charts(&self, frame: &mut Frame<'_>, area: Rect) {
        let last = |points: &VecDeque<u64>| points.back().copied();
        let told = |told: Option<String>| told.unwrap_or_else(|| "-".to_owned());
        let ms = |ms: Option<f64>| told(ms.map(|ms| format!("{ms:.3}")));
        let charts = [
            (
                "requests/s",
                told(last(&self.requests).map(grouped)),
                &self.requests,
                None,
            ),
            (
                "PING p50 p99 ms",
                format!("{} {}", ms(self.ping[0]), ms(self.ping[1])),
                &self.pings_us,
                None,
            ),
            (
                "memory",
                told(last(&self.memory).map(bytes)),
                &self.memory,
                None,
            ),
            (
                "hits",
                told(last(&self.hits).map(|share| format!("{share} %"))),
                &self.hits,
                Some(100),
            ),
        ];
        let areas: [Rect; 4] = Layout::horizontal([Constraint::Fill(1); 4]).areas(area);
        for ((title, now, points, most), area) in charts.into_iter().zip(areas) {
            let inside = usize::from(area.width.saturating_sub(2));
            let skipped = points.len().saturating_sub(inside);
            let shown: Vec<u64> = points.iter().skip(skipped).copied().collect();
            let block = Block::bordered().title(format!("{title} {now}"));
            let chart = Sparkline::default()
                .block(block)
                .data(&shown)
                .style(colored(Color::Cyan));
            let chart = match most {
                Some(most) => chart.max(most),
                None => chart,
            };
            frame.render_widget(chart, area);
        }
    }

    /// Those of these rows that are wanted, in their order: the largest first, or by name.
    fn ordered<T>(&self, table: Shown, rows: &[T], of: impl Fn(&T) -> (String, f64)) -> Vec<usize> {
        let filter = self.filter.to_lowercase();
        let is_wanted = |name: &str| self.shown != table || name.to_lowercase().contains(&filter);
        let mut named: Vec<(usize, String, f64)> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| {
                let (name, number) = of(row);
                (place, name, number)
            })
            .filter(|(_, name, _)| is_wanted(name))
            .collect();
        let by_name = self.by_name && self.shown == table;
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

    fn draw_commands(&self, frame: &mut Frame<'_>, area: Rect) {
        let order = self.ordered(Shown::Commands, &self.commands, |(name, rate, all)| {
            // Of two that are not asked for now, the one that was asked for more.
            #[expect(clippy::cast_precision_loss, reason = "it only orders")]
            (name.clone(), rate + *all as f64 * 1e-12)
        });
        let rows = order.into_iter().map(|place| {
            let (name, rate, all) = &self.commands[place];
            Row::new([
                name.clone(),
                format!("{:>12}", grouped(whole(*rate))),
                format!("{:>15}", grouped(*all)),
            ])
        });
        let widths = [
            Constraint::Fill(1),
            Constraint::Length(12),
            Constraint::Length(15),
        ];
        let names = ["command", "         now/s", "         in all"];
        self.draw_table(
            frame,
            area,
            Shown::Commands,
            "busiest commands",
            rows,
            &widths,
            &names,
        );
    }

    fn draw_keys(&self, frame: &mut Frame<'_>, area: Rect) {
        let order = self.ordered(Shown::Keys, &self.keys, |(key, rate)| (key.clone(), *rate));
        let rows = order.into_iter().map(|place| {
            let (key, rate) = &self.keys[place];
            let safe: String = key
                .chars()
                .map(|letter| {
                    if letter.is_control() {
                        '\u{fffd}'
                    } else {
                        letter
                    }
                })
                .collect();
            Row::new([safe, format!("{:>12}", grouped(whole(*rate)))])
        });
        let title = if self.samples_keys {
            "busiest keys, sampled"
        } else {
            "busiest keys: off, k looks"
        };
        let widths = [Constraint::Fill(1), Constraint::Length(12)];
        self.draw_table(
            frame,
            area,
            Shown::Keys,
            title,
            rows,
            &widths,
            &["key", "     about/s"],
        );
    }

    fn draw_clients(&self, frame: &mut Frame<'_>, area: Rect) {
        let field = |client: &HashMap<String, String>, name: &str| {
            client.get(name).cloned().unwrap_or_default()
        };
        let order = self.ordered(Shown::Clients, &self.clients, |client| {
            (
                field(client, "addr"),
                field(client, "age").parse().unwrap_or(0.0),
            )
        });
        let rows = order.into_iter().map(|place| {
            let client = &self.clients[place];
            Row::new(["addr", "name", "cmd", "age"].map(|name| field(client, name)))
        });
        let title = format!("clients {}", self.clients.len());
        let widths = [
            Constraint::Length(21),
            Constraint::Fill(1),
            Constraint::Length(6),
            Constraint::Length(6),
        ];
        let names = ["address", "name", "last", "age s"];
        self.draw_table(frame, area, Shown::Clients, &title, rows, &widths, &names);
    }

    #[expect(clippy::too_many_arguments, reason = "a table has as many parts")]
    fn draw_table<'r>(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        table: Shown,
        title: &str,
        rows: impl Iterator<Item = Row<'r>>,
        widths: &[Constraint],
        names: &[&'static str],
    ) {
        let is_chosen = self.shown == table;
        let style = if is_chosen {
            colored(Color::Cyan)
        } else {
            Style::new()
        };
        let filter = if is_chosen && (self.is_filtering || !self.filter.is_empty()) {
            format!("{title} /{}", self.filter)
        } else {
            title.to_owned()
        };
        let names = names.iter().map(|name| Cell::from(*name));
        let shown = Table::new(rows.take(usize::from(area.height)), widths)
            .header(Row::new(names).style(strong()))
            .block(Block::bordered().title(filter).border_style(style));
        frame.render_widget(shown, area);
    }

    fn draw_disk(&self, frame: &mut Frame<'_>, area: Rect) {
        let lines = match &self.now {
            None => Vec::new(),
            Some(now) => {
                let state = now.text("disk");
                let style = if state == "ok" {
                    colored(Color::Green)
                } else {
                    colored(Color::Red)
                };
                vec![
                    Text::from(vec![
                        Span::raw("disk           "),
                        Span::styled(state, style),
                    ]),
                    Text::from(format!("durability     {}", now.text("durability"))),
                    Text::from(format!(
                        "journal        {}",
                        bytes(now.count("journal_bytes"))
                    )),
                    Text::from(format!(
                        "unsynced       {:.1} s",
                        now.number("unsynced_seconds").unwrap_or(0.0)
                    )),
                    Text::from(format!("last save      {}", now.text("last_save_result"))),
                    Text::from(format!("               {}", now.text("last_save_time"))),
                ]
            }
        };
        let block = Block::bordered().title("persistence");
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    fn foot(&self) -> Paragraph<'static> {
        let text = if self.is_filtering {
            " type what names must hold; Enter keeps it, Esc takes it away".to_owned()
        } else {
            let order = if self.by_name { "number" } else { "name" };
            format!(
                " q leave  Tab next table  s sort by {order}  / filter  p pause  k keys on or off"
            )
        };
        Paragraph::new(text)
    }
}

/// The fields of a line of CLIENT LIST.
fn fields(line: &str) -> HashMap<String, String> {
    let fields = line.split(' ').filter_map(|field| field.split_once('='));
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The keys that are asked for in a moment, and about how often in a second.
fn sample(address: &Address) -> Result<Vec<(String, f64)>, ClientError> {
    let mut connection = Connection::open_for(address, SAMPLE_PATIENCE)?;
    connection.ask("MONITOR")?;
    let (began, mut counts) = (Instant::now(), HashMap::new());
    let until = began + SAMPLE;
    for _ in 0..SAMPLED_MAX {
        match connection.line_until(until) {
            Some(Line::Event(_, told)) => {
                let request = told
                    .first()
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or_default();
                if let Some(key) = key_of(request) {
                    *counts.entry(key).or_insert(0.0) += 1.0;
                }
            }
            _ => break,
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(counts
        .into_iter()
        .map(|(key, count)| (key, count / seconds))
        .collect())
}

/// The key of a request as MONITOR tells it: the second of the words in quotes.
fn key_of(request: &str) -> Option<String> {
    let words = request.split_once("] ")?.1;
    let key = words.split("\" \"").nth(1)?;
    Some(key.trim_end_matches('"').to_owned())
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// A colour, where the terminal has some.
fn colored(color: Color) -> Style {
    if console::colors_enabled() {
        Style::new().fg(color)
    } else {
        Style::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_request_is_its_second_word() {
        for (request, key) in [
            ("1795491949.2 [0 127.0.0.1:47952] \"get\" \"a\"", Some("a")),
            ("1.2 [0 http] \"set\" \"a b\" \"x\"", Some("a b")),
            ("1.2 [0 127.0.0.1:1] \"ping\"", None),
            ("", None),
        ] {
            assert_eq!(key_of(request).as_deref(), key, "{request}");
        }
    }

    #[test]
    fn rows_stand_by_number_or_by_name_and_only_those_that_are_wanted() {
        let mut screen = Screen::new("localhost".parse().expect("an address"));
        let rows = [("b", 1.0), ("a", 2.0), ("ab", 2.0)];
        let order = |screen: &Screen| {
            let order = screen.ordered(Shown::Commands, &rows, |(name, number)| {
                ((*name).to_owned(), *number)
            });
            order
                .into_iter()
                .map(|place| rows[place].0)
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&screen), ["a", "ab", "b"]);
        screen.press(KeyCode::Char('s').into());
        assert_eq!(order(&screen), ["a", "ab", "b"]);
        for letter in "/B".chars() {
            screen.press(KeyCode::Char(letter).into());
        }
        assert_eq!(order(&screen), ["ab", "b"]);
        screen.press(KeyCode::Esc.into());
        // A filter is for the table that is chosen.
        screen.press(KeyCode::Tab.into());
        assert_eq!(screen.shown, Shown::Keys);
        assert!(!screen.press(KeyCode::Char('q').into()));
    }
}
