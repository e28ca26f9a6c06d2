//! `watch`: the changes of keys with a prefix, as they happen.
//!
//! In: FOLLOW. Out: a line per change: the local time, the change, key, value and expiry; JSON if not on a terminal. Promise: no change is
//! left out; a gap is an error.

use std::io::{self, IsTerminal as _, Write as _};

use pykv::codec::json;
use pykv::model::now_ms;
use pykv::protocol::line::quote;
use serde_json::Value;

use crate::connection::{Connection, Patience};
use crate::error::{ClientError, Outcome};
use crate::reply::Line;
use crate::style::{Kind, paint};
use crate::terminal::{tell, visible};

/// What stands before the base64 of bytes that are no text.
const BASE64_WORD: &str = "base64 ";

/// The arguments of `watch`.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Only keys with this prefix
    #[arg(default_value = "")]
    prefix: String,
}

/// Prints changes until Ctrl-C.
///
/// # Errors
/// [`ClientError::Refused`] if the server refuses; `File` if the output fails; as [`Connection::next_line`].
pub fn run(connection: &mut Connection, options: &Watch) -> Result<Outcome, ClientError> {
    if options.prefix.ends_with('*') {
        let prefix = &options.prefix;
        tell(&format!(
            "{prefix} is a prefix here, and no pattern: without the * it has more keys."
        ));
    }
    connection.send(format!("FOLLOW {}", quote(&options.prefix)).as_bytes())?;
    // That it follows is due; a change comes when somebody makes one.
    let mut patience = Patience::Limited;
    loop {
        match connection.next_line_with(std::mem::replace(&mut patience, Patience::Endless)) {
            Ok(Line::Event(word, change)) if word == "CHANGE" => print(&change)?,
            Ok(Line::Event(word, _)) if word == "UNFOLLOWED" => return Ok(Outcome::Refused),
            Ok(Line::Error(code, message)) => return Err(ClientError::Refused { code, message }),
            Ok(_) => {}
            Err(ClientError::Interrupted) => return Ok(Outcome::Done),
            Err(error) => return Err(error),
        }
    }
}

/// Prints a change: its revision, word, key, value and expiry.
fn print(change: &[Value]) -> Result<(), ClientError> {
    let mut out = io::stdout();
    let line = if out.is_terminal() {
        for_people(change)
    } else {
        Value::from(change.to_vec()).to_string()
    };
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(ClientError::output)
}

fn for_people(change: &[Value]) -> String {
    let text = |place: usize| {
        change
            .get(place)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let value = match change.get(3) {
        Some(Value::Object(binary)) => {
            let base64 = binary["$base64"].as_str().unwrap_or_default();
            format!("{BASE64_WORD}{base64}")
        }
        Some(Value::String(text)) if text.starts_with(BASE64_WORD) => json::string(text),
        Some(Value::String(value)) => value.clone(),
        _ => String::new(),
    };
    let now = json::time(now_ms());
    let time = paint(
        now.split_once('T').map_or(&*now, |(_, time)| time),
        Kind::Dim,
    );
    let key = paint(&visible(text(2), &[]), Kind::Key);
    let shown = paint(&visible(&value, &[]), Kind::of_value(&value));
    let expiry = match text(4) {
        "" => String::new(),
        expiry => format!("  until {expiry}"),
    };
    let line = format!("{time}  {:5}  {key}  {shown}{expiry}", text(1));
    line.trim_end().to_owned()
}
