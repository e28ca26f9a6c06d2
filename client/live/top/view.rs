//! The screen of `top`: charts above, tables below; in a small window one line for each chart, and one table.
//!
//! In: the state, and a window of any size. Out: the screen. Promise: what does not fit is left out as a whole or ends in an ellipsis; a window
//! that is too small is told, with the size that it needs.

use std::collections::HashMap;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Sparkline, Table, Wrap};
use unicode_width::UnicodeWidthStr as _;

use super::state::{History, State, Tab};
use crate::address::Address;
use crate::live::figures::rounded;
use crate::render::cut;
use crate::units::{bytes, duration, grouped};

/// The smallest window, in columns and rows: one table of a few rows, and the persistence below it.
const WINDOW_MIN: (u16, u16) = (40, 20);
/// The smallest window with charts and all tables.
const WINDOW_OF_ALL_MIN: (u16, u16) = (76, 22);
/// The columns from which on the charts stand in one row.
const CHARTS_IN_A_ROW_MIN: u16 = 116;
/// The rows of charts and tables from which on two rows of charts have two rows of points each.
const ROWS_OF_HIGH_CHARTS_MIN: u16 = 26;
/// The rows of the persistence.
const DISK_ROWS: u16 = 8;
/// The most rows of the head, for a long error.
const HEAD_ROWS_MAX: usize = 3;

const KEYS: [(&str, &str); 8] = [
    ("q, Esc", "leave"),
    ("Tab, right", "next table"),
    ("Shift-Tab, left", "previous table"),
    ("s", "sort: number or name"),
    ("/", "filter the table"),
    ("p, space", "pause, go on"),
    ("k", "sample keys or not"),
    ("?", "these keys"),
];

/// Draws the whole screen.
pub fn draw(state: &State, address: &Address, frame: &mut Frame<'_>) {
    let area = frame.area();
    let has = |(columns, rows): (u16, u16)| area.width >= columns && area.height >= rows;
    if !has(WINDOW_MIN) {
        let ((columns, rows), Rect { width, height, .. }) = (WINDOW_MIN, area);
        let text = format!(
            "This window has {width} columns and {height} rows. top needs {columns} columns and {rows} rows. q leaves."
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let title = head(state, address);
    let title_rows = title.width().div_ceil(usize::from(area.width) - 1);
    let title_rows = u16::try_from(title_rows.clamp(1, HEAD_ROWS_MAX)).unwrap_or(1);
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(title_rows),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(title).wrap(Wrap { trim: false }), top);
    if has(WINDOW_OF_ALL_MIN) {
        draw_all(state, frame, middle);
    } else {
        draw_one(state, frame, middle);
    }
    frame.render_widget(foot(state, usize::from(area.width)), bottom);
    if state.is_helping {
        draw_keys_of_the_keyboard(frame, area);
    }
}

/// Draws all charts and tables.
fn draw_all(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let is_one_row = area.width >= CHARTS_IN_A_ROW_MIN;
    let chart_rows = match (is_one_row, area.height < ROWS_OF_HIGH_CHARTS_MIN) {
        (true, _) => 7,
        (false, false) => 8,
        (false, true) => 6,
    };
    let [charts, tables] =
        Layout::vertical([Constraint::Length(chart_rows), Constraint::Fill(1)]).areas(area);
    let areas: Vec<Rect> = if is_one_row {
        Layout::horizontal([Constraint::Fill(1); 4])
            .split(charts)
            .to_vec()
    } else {
        let rows = Layout::vertical([Constraint::Fill(1); 2]).split(charts);
        let halves = |row: &Rect| {
            Layout::horizontal([Constraint::Fill(1); 2])
                .split(*row)
                .to_vec()
        };
        rows.iter().flat_map(halves).collect()
    };
    for (chart, area) in charts_of(state).iter().zip(areas) {
        let inside = usize::from(area.width.saturating_sub(2));
        let block = Block::bordered().title(chart.title(inside));
        frame.render_widget(chart.line(inside).block(block), area);
    }
    let [left, right] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(tables);
    let [clients, disk] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(DISK_ROWS)]).areas(right);
    let [commands, keys] = Layout::vertical([Constraint::Fill(1); 2]).areas(left);
    draw_commands(state, frame, commands);
    draw_keys(state, frame, keys);
    draw_clients(state, frame, clients);
    draw_disk(state, frame, disk);
}

/// Draws one line for each chart, the selected table and the persistence.
fn draw_one(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let [charts, table, disk] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Fill(1),
        Constraint::Length(DISK_ROWS),
    ])
    .areas(area);
    let rows: [Rect; 4] = Layout::vertical([Constraint::Length(1); 4]).areas(charts);
    for (chart, row) in charts_of(state).iter().zip(rows) {
        let [title, line] =
            Layout::horizontal([Constraint::Length(24), Constraint::Fill(1)]).areas(row);
        frame.render_widget(Paragraph::new(format!(" {}", chart.title(22))), title);
        frame.render_widget(chart.line(usize::from(line.width)), line);
    }
    match state.selected {
        Tab::Commands => draw_commands(state, frame, table),
        Tab::Keys => draw_keys(state, frame, table),
        Tab::Clients => draw_clients(state, frame, table),
    }
    draw_disk(state, frame, disk);
}

fn head<'s>(state: &'s State, address: &Address) -> Text<'s> {
    let mut spans = vec![Span::styled(format!(" {address} "), strong())];
    if let Some(error) = &state.error {
        let text = format!(" not connected; trying again: {error}");
        spans.push(Span::styled(text, colored(Color::Red)));
    } else if let Some(now) = &state.now {
        spans.push(Span::raw(format!(
            " PyKV {}  up {}  {} keys  {} of data",
            now.text("version").unwrap_or("-"),
            duration(now.count("uptime_seconds")),
            grouped(now.count("keys")),
            bytes(now.count("data_bytes")),
        )));
    }
    if state.is_paused {
        spans.push(Span::styled("  paused", colored(Color::Yellow)));
    }
    Text::from(spans)
}

/// A chart, and its titles: the longest that fits is shown.
struct Chart<'s> {
    titles: [String; 2],
    history: &'s History,
    most: Option<u64>,
}

impl Chart<'_> {
    fn title(&self, columns: usize) -> String {
        let mut titles = self.titles.iter();
        let fits = titles.find(|title| title.width() <= columns);
        cut(fits.unwrap_or(&self.titles[1]), columns)
    }

    /// Returns the latest points that fit.
    fn line(&self, columns: usize) -> Sparkline<'static> {
        let skipped = self.history.len().saturating_sub(columns);
        let shown: Vec<u64> = self.history.iter().skip(skipped).copied().collect();
        let line = Sparkline::default().data(shown).style(colored(Color::Cyan));
        match self.most {
            Some(most) => line.max(most),
            None => line,
        }
    }
}

fn charts_of(state: &State) -> [Chart<'_>; 4] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let last =
        |history: &History, show: fn(u64) -> String| or_dash(history.back().copied().map(show));
    let [median, p99] = state
        .ping_ms
        .map(|ms| or_dash(ms.map(|ms| format!("{ms:.3}"))));
    let chart = |titles: [String; 2], history, most| Chart {
        titles,
        history,
        most,
    };
    let one = |title: &str, now: String| [format!("{title} {now}"), format!("{title} {now}")];
    let hits = last(&state.hits, |percent| format!("{percent} %"));
    let memory = last(&state.memory, bytes);
    let now = state.now.as_ref();
    let now = now.filter(|now| now.count("max_memory_bytes") > 0);
    let (memory, hits) = if let Some(now) = now {
        let rate = state
            .before
            .as_ref()
            .map_or(0.0, |before| now.rate("evicted", before));
        let (used, cap) = (
            now.count("used_memory_bytes"),
            now.count("max_memory_bytes"),
        );
        (
            [
                format!("memory {memory}: data {} of {}", bytes(used), bytes(cap)),
                format!("data {} of {}", bytes(used), bytes(cap)),
            ],
            [
                format!("hits {hits}  evicted/s {}", grouped(rounded(rate))),
                format!("hits {hits}"),
            ],
        )
    } else {
        (one("memory", memory), one("hits", hits))
    };
    [
        chart(
            one("requests/s", last(&state.requests, grouped)),
            &state.requests,
            None,
        ),
        chart(
            [
                format!("PING p50 p99 ms {median} {p99}"),
                format!("PING p99 ms {p99}"),
            ],
            &state.pings_us,
            None,
        ),
        chart(memory, &state.memory, None),
        chart(hits, &state.hits, Some(100)),
    ]
}

fn draw_commands(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let order = state.ordered(Tab::Commands, &state.commands, |(name, rate, all)| {
        // Among commands that are idle now, the one with more calls comes first.
        #[expect(clippy::cast_precision_loss, reason = "it only orders")]
        (name.clone(), rate + *all as f64 * 1e-12)
    });
    let (widths, [name]) = columns(area, [10, 13]);
    let rows = order
        .into_iter()
        .take(usize::from(area.height))
        .map(|place| {
            let (command, rate, all) = &state.commands[place];
            Row::new([
                cut(command, name),
                format!("{:>10}", grouped(rounded(*rate))),
                format!("{:>13}", grouped(*all)),
            ])
        });
    let names = ["command", "     now/s", "        total"];
    let title = "busiest commands";
    let table = table(state, Tab::Commands, title, rows, &widths, &names);
    frame.render_widget(table, area);
}

fn draw_keys(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let order = state.ordered(Tab::Keys, &state.keys, |(key, rate)| (key.clone(), *rate));
    let (widths, [name]) = columns(area, [12]);
    let rows = order
        .into_iter()
        .take(usize::from(area.height))
        .map(|place| {
            let (key, rate) = &state.keys[place];
            let safe = key.replace(char::is_control, "\u{fffd}");
            let rate = format!("{:>12}", grouped(rounded(*rate)));
            Row::new([cut(&safe, name), rate])
        });
    let title = if state.skips_keys {
        "busiest keys: off, k looks"
    } else {
        "busiest keys, sampled"
    };
    let names = ["key", "     about/s"];
    let table = table(state, Tab::Keys, title, rows, &widths, &names);
    frame.render_widget(table, area);
}

fn draw_clients(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let field = |client: &HashMap<String, String>, name: &str| {
        client.get(name).cloned().unwrap_or_default()
    };
    let order = state.ordered(Tab::Clients, &state.clients, |client| {
        (
            field(client, "addr"),
            field(client, "age").parse().unwrap_or(0.0),
        )
    });
    // Each column with its title and the field of CLIENT LIST, the least important last.
    let all = [
        ("address", "addr", 0),
        ("age s", "age", 7),
        ("last", "cmd", 14),
        ("name", "name", 14),
    ];
    let shown = match area.width {
        ..44 => &all[..2],
        44..64 => &all[..3],
        _ => &all[..],
    };
    let (widths, name) = match shown.len() {
        2 => fixed(area, &[7]),
        3 => fixed(area, &[7, 14]),
        _ => fixed(area, &[7, 14, 14]),
    };
    let rows = order
        .into_iter()
        .take(usize::from(area.height))
        .map(|place| {
            let client = &state.clients[place];
            Row::new(shown.iter().map(|(title, key, width)| {
                let text = cut(&field(client, key), if *width == 0 { name } else { *width });
                match *title {
                    "age s" => format!("{text:>7}"),
                    _ => text,
                }
            }))
        });
    let title = format!("clients {}", state.clients.len());
    let names: Vec<&str> = shown
        .iter()
        .map(|(title, ..)| if *title == "age s" { "  age s" } else { *title })
        .collect();
    let table = table(state, Tab::Clients, &title, rows, &widths, &names);
    frame.render_widget(table, area);
}

/// Returns the widths of a table whose first column takes what the others leave, and that of the first.
fn columns<const N: usize>(area: Rect, others: [u16; N]) -> (Vec<Constraint>, [usize; 1]) {
    let (widths, first) = fixed(area, &others);
    (widths, [first])
}

fn fixed(area: Rect, others: &[u16]) -> (Vec<Constraint>, usize) {
    let taken: u16 = others.iter().map(|width| width + 1).sum();
    // Two columns are the border.
    let first = area.width.saturating_sub(taken + 2);
    let others = others.iter().map(|width| Constraint::Length(*width));
    let widths = std::iter::once(Constraint::Length(first)).chain(others);
    (widths.collect(), usize::from(first))
}

fn table<'r>(
    state: &State,
    tab: Tab,
    title: &str,
    rows: impl Iterator<Item = Row<'r>>,
    widths: &[Constraint],
    names: &[&'r str],
) -> Table<'r> {
    let is_selected = state.selected == tab;
    let style = if is_selected {
        colored(Color::Cyan)
    } else {
        Style::new()
    };
    let title = if is_selected && (state.is_filtering || !state.filter.is_empty()) {
        format!("{title} /{}", state.filter)
    } else {
        title.to_owned()
    };
    let names = names.iter().map(|name| Cell::from(*name));
    Table::new(rows, widths)
        .header(Row::new(names).style(strong()))
        .block(Block::bordered().title(title).border_style(style))
}

fn draw_disk(state: &State, frame: &mut Frame<'_>, area: Rect) {
    const NAMES: usize = 15;
    let columns = usize::from(area.width.saturating_sub(2)).saturating_sub(NAMES);
    let lines = state.now.as_ref().map_or_else(Vec::new, |now| {
        let text = |name: &str| cut(now.text(name).unwrap_or("-"), columns);
        let disk = text("disk");
        let color = if disk == "ok" {
            Color::Green
        } else {
            Color::Red
        };
        let unsynced = now.number("unsynced_seconds").unwrap_or(0.0);
        // The day is left out where there is no room for it.
        let saved = now.text("last_save_time").unwrap_or("-");
        let time = saved.split_once('T').map_or(saved, |(_, time)| time);
        let saved = if saved.len() <= columns { saved } else { time };
        vec![
            Text::from(vec![
                Span::raw(format!("{:NAMES$}", "disk")),
                Span::styled(disk, colored(color)),
            ]),
            Text::from(format!("{:NAMES$}{}", "durability", text("durability"))),
            Text::from(format!(
                "{:NAMES$}{}",
                "journal",
                bytes(now.count("journal_bytes"))
            )),
            Text::from(format!("{:NAMES$}{unsynced:.1} s", "unsynced")),
            Text::from(format!(
                "{:NAMES$}{}",
                "last save",
                text("last_save_result")
            )),
            Text::from(format!("{:NAMES$}{saved}", "")),
        ]
    });
    let block = Block::bordered().title("persistence");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Draws the explanation of the keys above everything.
fn draw_keys_of_the_keyboard(frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<Text<'_>> = KEYS
        .iter()
        .map(|(key, effect)| Text::from(format!(" {key:<15} {effect}")))
        .collect();
    let rows = u16::try_from(lines.len()).unwrap_or(0) + 2;
    let width = WINDOW_MIN.0;
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - rows) / 2,
        width,
        height: rows,
    };
    frame.render_widget(Clear, place);
    let block = Block::bordered()
        .title("keys")
        .border_style(colored(Color::Cyan));
    frame.render_widget(Paragraph::new(lines).block(block), place);
}

/// Returns the last row, in the longest form that fits.
fn foot(state: &State, columns: usize) -> Paragraph<'static> {
    let order = if state.by_name { "number" } else { "name" };
    let forms = if state.is_filtering {
        [
            " type a part of the names to show; Enter keeps it, Esc clears it".to_owned(),
            " Enter keeps it, Esc clears it".to_owned(),
            String::new(),
        ]
    } else {
        [
            format!(
                " q leave  ? keys  Tab next table  s sort by {order}  / filter  p pause  k keys on or off"
            ),
            format!(" q leave  ? keys  Tab next table  s sort by {order}  / filter  p pause"),
            " q leave  ? keys  Tab next table".to_owned(),
        ]
    };
    let fits = forms.iter().find(|form| form.len() <= columns);
    Paragraph::new(fits.cloned().unwrap_or_default())
}

fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Returns a colour, if the terminal has colours.
fn colored(color: Color) -> Style {
    if console::colors_enabled() {
        Style::new().fg(color)
    } else {
        Style::new()
    }
}
