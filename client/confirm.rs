//! What deletes much is asked about first: with the reason and the count, on a terminal; elsewhere it takes `--force`.
//!
//! In: a request. Out: whether to go on. Promise: what cannot be counted is not taken for little.

use std::io::{self, IsTerminal as _};

use pykv::protocol::line;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::reply::Line;
use crate::table::counted;

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    Given,
    Refused,
}

/// Why a request is asked about, and how its keys are counted.
fn danger(request: &str) -> Option<(&'static str, Option<String>)> {
    let words = line::parse(request.as_bytes()).ok()??;
    let verb = String::from_utf8_lossy(words.verb).to_ascii_uppercase();
    let arguments = words.arguments(None).ok()?;
    match verb.as_str() {
        "CLEAR" | "FLUSHDB" | "FLUSHALL" => Some(("deletes every key", Some("COUNT".to_owned()))),
        "DELPREFIX" if arguments.len() == 1 => {
            let prefix = line::quote(std::str::from_utf8(&arguments[0]).ok()?);
            Some((
                "deletes every key with this prefix",
                Some(format!("COUNT {prefix}")),
            ))
        }
        "SHUTDOWN"
            if !arguments
                .iter()
                .any(|word| word.eq_ignore_ascii_case(b"ABORT")) =>
        {
            Some(("stops the server for everybody", None))
        }
        _ => None,
    }
}

/// Asks whether a request that deletes much is meant.
///
/// # Errors
/// Nobody can be asked, and it was not said that it is meant; what the server says.
pub fn consent(
    connection: &mut Connection,
    request: &str,
    is_forced: bool,
    in_transaction: bool,
) -> Result<Consent, ClientError> {
    let Some((reason, count)) = danger(request).filter(|_| !is_forced) else {
        return Ok(Consent::Given);
    };
    let verb = request
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    // In a transaction the count would be one of its requests.
    let keys = match count.filter(|_| !in_transaction) {
        None => String::new(),
        Some(count) => match connection.ask(&count)? {
            Line::Count(0) => return Ok(Consent::Given),
            Line::Count(keys) => format!(": {}", counted(keys.unsigned_abs(), "key")),
            _ => String::new(),
        },
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(ClientError::Usage(format!(
            "{verb} {reason}{keys}; where nobody can be asked, say --force before it"
        )));
    }
    let terminal = console::Term::stderr();
    let asked = terminal
        .write_str(&format!("{verb} {reason}{keys}. Type yes to go on: "))
        .and_then(|()| terminal.read_line())
        .map_err(ClientError::file("use", "the terminal"))?;
    Ok(if asked.trim().eq_ignore_ascii_case("yes") {
        Consent::Given
    } else {
        Consent::Refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deletes_much_is_asked_about_and_nothing_else() {
        for (request, count) in [
            ("clear", Some("COUNT")),
            ("FLUSHALL ASYNC", Some("COUNT")),
            ("DELPREFIX user:", Some("COUNT user:")),
            ("delprefix \"a b\"", Some("COUNT \"a b\"")),
        ] {
            assert_eq!(
                danger(request).and_then(|(_, count)| count).as_deref(),
                count
            );
        }
        assert!(danger("SHUTDOWN").is_some());
        for request in [
            "DEL a",
            "DELPREFIX user: DRYRUN",
            "SHUTDOWN ABORT",
            "GET CLEAR",
            "",
        ] {
            assert!(danger(request).is_none(), "{request}");
        }
    }
}
