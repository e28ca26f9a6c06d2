//! `watch`: the changes of keys with a prefix, as they are made.
//!
//! In: FOLLOW. Out: a line for each change: the time here, what was done, the key, the value. Promise: none is left out; where one would
//! be, that is an error.

use std::io::{self, IsTerminal as _, Write as _};

use pykv::codec::json;
use pykv::model::now_ms;
use pykv::protocol::line::quote;
use serde_json::Value;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::render::{Outcome, visible};
use crate::reply::Line;
use crate::style::{Kind, paint};

/// What is watched.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Only keys that begin with this
    #[arg(default_value = "")]
    prefix: String,
}

/// Tells until Ctrl-C.
pub fn run(connection: &mut Connection, asked: &Watch) -> Result<Outcome, ClientError> {
    connection.send(format!("FOLLOW {}", quote(&asked.prefix)).as_bytes())?;
    loop {
        match connection.next_line() {
            Ok(Line::Event(word, told)) if word == "CHANGE" => tell(&told)?,
            Ok(Line::Event(word, _)) if word == "UNFOLLOWED" => return Ok(Outcome::Refused),
            Ok(Line::Error(code, message)) => return Err(ClientError::Refused { code, message }),
            Ok(_) => {}
            // Whoever watches has seen enough.
            Err(ClientError::Interrupted) => return Ok(Outcome::Done),
            Err(error) => return Err(error),
        }
    }
}

/// Tells a change: its number, what was done, the key, the value, when it expires.
fn tell(told: &[Value]) -> Result<(), ClientError> {
    let text = |place: usize| told.get(place).and_then(Value::as_str).unwrap_or_default();
    let value = match told.get(3) {
        Some(Value::Object(bytes)) => {
            format!("base64 {}", bytes["$base64"].as_str().unwrap_or_default())
        }
        Some(Value::String(value)) => value.clone(),
        _ => String::new(),
    };
    let time = json::time(now_ms());
    let time = time.split_once('T').map_or(&*time, |(_, time)| time);
    let mut out = io::stdout();
    let written = if out.is_terminal() {
        let line = || -> io::Result<String> {
            let (key, value) = (visible(text(2), &[])?, visible(&value, &[])?);
            let (key, shown) = (
                paint(&key, Kind::Key),
                paint(&value, Kind::of_value(&value)),
            );
            let expiry = text(4);
            let expiry = if expiry.is_empty() {
                String::new()
            } else {
                format!("  until {expiry}")
            };
            Ok(format!(
                "{}  {:5}  {key}  {shown}{expiry}",
                paint(time, Kind::Quiet),
                text(1)
            ))
        };
        line().and_then(|line| writeln!(out, "{}", line.trim_end()))
    } else {
        writeln!(out, "{}", Value::from(told.to_vec()))
    };
    written
        .and_then(|()| out.flush())
        .map_err(ClientError::output)
}
