//! The screen of `top`: charts above, tables below.

use std::collections::HashMap;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};

use super::state::{History, State, Tab};
use crate::address::Address;
use crate::live::figures::rounded;
use crate::units::{bytes, duration, grouped};

/// Draws the whole screen.
pub fn draw(state: &State, address: &Address, frame: &mut Frame<'_>) {
    let [top, charts, tables, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(head(state, address), top);
    draw_charts(state, frame, charts);
    let [left, right] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(tables);
    let [clients, disk] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(8)]).areas(right);
    let [commands, keys] = Layout::vertical([Constraint::Fill(1); 2]).areas(left);
    draw_commands(state, frame, commands);
    draw_keys(state, frame, keys);
    draw_clients(state, frame, clients);
    draw_disk(state, frame, disk);
    frame.render_widget(foot(state), bottom);
}

fn head<'s>(state: &'s State, address: &Address) -> Paragraph<'s> {
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
    Paragraph::new(Text::from(spans))
}

fn draw_charts(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let last =
        |history: &History, show: fn(u64) -> String| or_dash(history.back().copied().map(show));
    let [median, p99] = state
        .ping_ms
        .map(|ms| or_dash(ms.map(|ms| format!("{ms:.3}"))));
    let charts = [
        (
            "requests/s",
            last(&state.requests, grouped),
            &state.requests,
            None,
        ),
        (
            "PING p50 p99 ms",
            format!("{median} {p99}"),
            &state.pings_us,
            None,
        ),
        ("memory", last(&state.memory, bytes), &state.memory, None),
        (
            "hits",
            last(&state.hits, |percent| format!("{percent} %")),
            &state.hits,
            Some(100),
        ),
    ];
    let areas: [Rect; 4] = Layout::horizontal([Constraint::Fill(1); 4]).areas(area);
    for ((title, now, history, most), area) in charts.into_iter().zip(areas) {
        let inside = usize::from(area.width.saturating_sub(2));
        let skipped = history.len().saturating_sub(inside);
        let shown: Vec<u64> = history.iter().skip(skipped).copied().collect();
        let block = Block::bordered().title(format!("{title} {now}"));
        let chart = Sparkline::default()
            .block(block)
            .data(&shown)
            .style(colored(Color::Cyan));
        let chart = most.map_or(chart.clone(), |most| chart.max(most));
        frame.render_widget(chart, area);
    }
}

fn draw_commands(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let order = state.ordered(Tab::Commands, &state.commands, |(name, rate, all)| {
        // Among commands that are idle now, the one with more calls comes first.
        #[expect(clippy::cast_precision_loss, reason = "it only orders")]
        (name.clone(), rate + *all as f64 * 1e-12)
    });
    let rows = order
        .into_iter()
        .take(usize::from(area.height))
        .map(|place| {
            let (name, rate, all) = &state.commands[place];
            Row::new([
                name.clone(),
                format!("{:>12}", grouped(rounded(*rate))),
                format!("{:>15}", grouped(*all)),
            ])
        });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(15),
    ];
    let names = ["command", "       now/s", "          total"];
    let table = table(
        state,
        Tab::Commands,
        "busiest commands",
        rows,
        &widths,
        &names,
    );
    frame.render_widget(table, area);
}

fn draw_keys(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let order = state.ordered(Tab::Keys, &state.keys, |(key, rate)| (key.clone(), *rate));
    let rows = order
        .into_iter()
        .take(usize::from(area.height))
        .map(|place| {
            let (key, rate) = &state.keys[place];
            let safe = key.replace(char::is_control, "\u{fffd}");
            Row::new([safe, format!("{:>12}", grouped(rounded(*rate)))])
        });
    let title = if state.skips_keys {
        "busiest keys: off, k looks"
    } else {
        "busiest keys, sampled"
    };
    let widths = [Constraint::Fill(1), Constraint::Length(12)];
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
    let rows = order
        .into_iter()
        .take(usize::from(area.height))
        .map(|place| {
            let client = &state.clients[place];
            Row::new(["addr", "name", "cmd", "age"].map(|name| field(client, name)))
        });
    let title = format!("clients {}", state.clients.len());
    let widths = [
        Constraint::Length(21),
        Constraint::Fill(1),
        Constraint::Length(6),
        Constraint::Length(6),
    ];
    let names = ["address", "name", "last", "age s"];
    let table = table(state, Tab::Clients, &title, rows, &widths, &names);
    frame.render_widget(table, area);
}

fn table<'r>(
    state: &State,
    tab: Tab,
    title: &str,
    rows: impl Iterator<Item = Row<'r>>,
    widths: &[Constraint],
    names: &[&'static str],
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
    let lines = state.now.as_ref().map_or_else(Vec::new, |now| {
        let text = |name: &str| now.text(name).unwrap_or("-").to_owned();
        let disk = text("disk");
        let color = if disk == "ok" {
            Color::Green
        } else {
            Color::Red
        };
        let unsynced = now.number("unsynced_seconds").unwrap_or(0.0);
        vec![
            Text::from(vec![
                Span::raw("disk           "),
                Span::styled(disk, colored(color)),
            ]),
            Text::from(format!("durability     {}", text("durability"))),
            Text::from(format!(
                "journal        {}",
                bytes(now.count("journal_bytes"))
            )),
            Text::from(format!("unsynced       {unsynced:.1} s")),
            Text::from(format!("last save      {}", text("last_save_result"))),
            Text::from(format!("               {}", text("last_save_time"))),
        ]
    });
    let block = Block::bordered().title("persistence");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn foot(state: &State) -> Paragraph<'static> {
    let text = if state.is_filtering {
        " type a part of the names to show; Enter keeps it, Esc clears it".to_owned()
    } else {
        let order = if state.by_name { "number" } else { "name" };
        format!(" q leave  Tab next table  s sort by {order}  / filter  p pause  k keys on or off")
    };
    Paragraph::new(text)
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
