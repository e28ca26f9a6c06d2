//! What is shown of a history that is not linearizable: enough to see why, and no more.
//!
//! In: all that was done with the key, the answer that nothing explains, and the values that were possible there. Out: lines
//! of text, in the order of the calls: where these values and the one that was seen come from, what went on just before, and the
//! kills between.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::checker::{Action, End, Operation, State};
use crate::load::value_name;

/// How many operations before the one that failed are shown.
const BEFORE: usize = 12;

/// The excerpt: a head, and a line for each operation and kill.
pub fn excerpt(
    key: &str,
    past: &[Operation],
    failed: usize,
    states: &BTreeSet<State>,
    kills: &[(Duration, String)],
) -> String {
    let mut states_of_interest = states.clone();
    if let Action::Get(seen) = past[failed].action {
        states_of_interest.insert(seen);
    }
    let first = past[..failed].len().saturating_sub(BEFORE);
    let shown = past.iter().enumerate().filter(|(index, operation)| {
        let is_origin = matches!(operation.action, Action::Put(value) if states_of_interest.contains(&Some(value)));
        is_origin || (first..=failed).contains(index)
    });
    let mut lines: Vec<(Duration, String)> = shown
        .map(|(index, operation)| {
            let mark = if index == failed {
                "  <== impossible"
            } else {
                ""
            };
            (operation.called, format!("{}{mark}", line(operation)))
        })
        .collect();
    let begin = lines.first().map(|(time, _)| *time).unwrap_or_default();
    let end = past[failed].called;
    for (time, how) in kills {
        if (begin..=end).contains(time) {
            lines.push((*time, format!("{:>9.3} ms  killed {how}", millis(*time))));
        }
    }
    lines.sort_by_key(|(time, _)| *time);
    let states: Vec<String> = states.iter().map(|&state| state_name(state)).collect();
    let mut text = format!(
        "key {key} is not linearizable; possible at that answer: {}\n",
        states.join(", ")
    );
    for (_, line) in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn line(operation: &Operation) -> String {
    let asked = match operation.action {
        Action::Put(value) => format!("PUT {}", value_name(value)),
        Action::Delete(Some(was_there)) => format!("DEL -> COUNT {}", u8::from(was_there)),
        Action::Delete(None) => "DEL -> COUNT ?, or CLEAR".to_owned(),
        Action::Get(seen) => format!("GET -> {}", state_name(seen)),
        Action::Exists(was_there) => format!("EXISTS -> COUNT {}", u8::from(was_there)),
    };
    let end = match operation.end {
        End::Answered(time) => format!("{:>9.3} ms", millis(time)),
        End::InFlight => "in flight   ".to_owned(),
        End::Doubtful => "ERR DISK    ".to_owned(),
    };
    format!(
        "{:>9.3} .. {end}  client {}  {asked}",
        millis(operation.called),
        operation.client
    )
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn state_name(state: State) -> String {
    state.map_or_else(|| "NOT_FOUND".to_owned(), value_name)
}
