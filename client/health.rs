//! `health`: whether a server does all that it promises, for whoever watches over it.
//!
//! In: its figures. Out: `ok`, or one sentence for each thing that is not. Promise: the exit status says the same.

use std::io::{self, Write as _};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::render::{Format, Outcome};
use crate::reply::Line;

/// Asks, and tells.
pub fn run(connection: &mut Connection, format: Format) -> Result<Outcome, ClientError> {
    connection.send(b"STATS")?;
    let mut reasons = Vec::new();
    loop {
        let line = connection.next_line()?;
        match &line {
            Line::Stat(name, figure) => reasons.extend(fault(name, figure)),
            // While it loads its data, it says how far that is.
            Line::Error(_, message) => reasons.push(message.clone()),
            _ => {}
        }
        if line.ends_reply() {
            break;
        }
    }
    let mut out = io::stdout();
    let outcome = if reasons.is_empty() {
        Outcome::Done
    } else {
        Outcome::Refused
    };
    if format == Format::Json {
        let status = if reasons.is_empty() { "ok" } else { "failing" };
        let told = serde_json::json!({"status": status, "reasons": reasons});
        writeln!(out, "{told}").map_err(ClientError::output)?;
        return Ok(outcome);
    }
    if reasons.is_empty() {
        writeln!(out, "ok").map_err(ClientError::output)?;
    }
    for reason in reasons {
        writeln!(out, "{reason}").map_err(ClientError::output)?;
    }
    Ok(outcome)
}

/// What a figure tells that is not well.
fn fault(name: &str, figure: &serde_json::Value) -> Option<String> {
    let text = figure.as_str()?;
    match name {
        "disk" if text != "ok" => Some(format!("changes are refused: {text}")),
        "last_save_result" if !["ok", "none yet"].contains(&text) => {
            Some(format!("the last save failed: {text}"))
        }
        _ => None,
    }
}
