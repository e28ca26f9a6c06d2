//! `health`: a check for monitoring systems.
//!
//! In: the figures of a server. Out: `ok`, or one sentence for each failure, as `/health` of the server. Promise: the exit status says the
//! same.

use std::io::{self, Write as _};

use super::figures::Figures;
use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::format::Format;

/// The age of a change, in seconds, from which on it has to be on the disk under `everysec`.
const UNSYNCED_SECONDS_MAX: f64 = 1.0;

/// Checks the server, and prints the result.
///
/// # Errors
/// [`ClientError::File`] if the output fails; as [`Connection::next_line`].
pub fn run(connection: &mut Connection, format: Format) -> Result<Outcome, ClientError> {
    let failures = match Figures::ask(connection) {
        Ok(figures) => failures(&figures),
        // While the server loads its data, the message says how far it is.
        Err(ClientError::Refused { message, .. }) => vec![message],
        Err(error) => return Err(error),
    };
    let text = match (format, failures.is_empty()) {
        (Format::Json, is_ok) => {
            let status = if is_ok { "ok" } else { "failing" };
            serde_json::json!({"status": status, "reasons": failures}).to_string()
        }
        (_, true) => "ok".to_owned(),
        (_, false) => failures.join("\n"),
    };
    writeln!(io::stdout(), "{text}").map_err(ClientError::output)?;
    Ok(Outcome::done_if(failures.is_empty()))
}

fn failures(figures: &Figures) -> Vec<String> {
    let (disk, save) = (figures.text("disk"), figures.text("last_save_result"));
    let disk = disk.filter(|state| *state != "ok");
    let save = save.filter(|result| !["ok", "none yet"].contains(result));
    let disk = disk.map(|reason| format!("changes are refused: {reason}"));
    let save = save.map(|reason| format!("the last save failed: {reason}"));
    disk.into_iter().chain(save).chain(late(figures)).collect()
}

/// Returns by how much the disk is too slow for the promise of `everysec`, if it is.
fn late(figures: &Figures) -> Option<String> {
    let unsynced = figures.number("unsynced_seconds")?;
    let is_late =
        figures.text("durability") == Some("everysec") && unsynced >= UNSYNCED_SECONDS_MAX;
    is_late.then(|| {
        let late = unsynced - UNSYNCED_SECONDS_MAX;
        format!(
            "the disk is slow: a power cut now would take the last {unsynced:.1} seconds of changes, {late:.1} more than everysec promises"
        )
    })
}
