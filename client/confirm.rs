//! Confirmation of dangerous requests: a question on a terminal, elsewhere `--force`.
//!
//! In: a request. Out: whether to send it. Promises: a dangerous request is sent without confirmation only if it would delete no key; a
//! question is answered by what is typed after it is shown, and by nothing that was typed or pasted ahead.

use std::io::{self, IsTerminal as _};

use pykv::command::{Flag, Scope};
use pykv::protocol::line;

use crate::connection::{Connection, Patience};
use crate::error::ClientError;
use crate::help;
use crate::question::{Answer, ask, is_input_waiting};
use crate::reply::Line;
use crate::terminal::tell;
use crate::units::counted;

/// The answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    Given,
    Refused,
}

/// The options with which a dangerous command does no harm.
const HARMLESS: [&[u8]; 2] = [b"DRYRUN", b"ABORT"];

/// Returns the verb and the effect of a dangerous request, and the request that counts the keys it would delete.
fn danger(request: &str) -> Option<(&'static str, &'static str, Option<String>)> {
    let request = line::parse(request.as_bytes()).ok()??;
    let command = help::command(std::str::from_utf8(request.verb).ok()?)?;
    if !command.has(Flag::Dangerous) {
        return None;
    }
    let arguments = request.arguments(None).ok()?;
    let (effect, count, options) = match command.scope {
        Scope::Prefix(place) => {
            let prefix = line::quote(std::str::from_utf8(arguments.get(place)?).ok()?);
            let effect = "deletes every key with this prefix";
            (effect, Some(format!("COUNT {prefix}")), place + 1)
        }
        Scope::Nothing => ("stops the server for everybody", None, 0),
        _ => ("deletes every key", Some("COUNT".to_owned()), 0),
    };
    let is_harmless = |word: &[u8]| HARMLESS.iter().any(|name| word.eq_ignore_ascii_case(name));
    let mut options = arguments.iter().skip(options);
    (!options.any(|word| is_harmless(word))).then_some((command.name, effect, count))
}

/// Asks for confirmation if a request is dangerous and not forced.
///
/// # Errors
/// [`ClientError::Usage`] if there is no terminal to ask on; as [`Connection::ask`].
pub fn confirm(
    connection: &mut Connection,
    request: &str,
    is_forced: bool,
    in_transaction: bool,
) -> Result<Confirmation, ClientError> {
    let Some((verb, effect, count)) = danger(request).filter(|_| !is_forced) else {
        return Ok(Confirmation::Given);
    };
    // In a transaction, the server would queue the request that counts.
    let keys = match count.filter(|_| !in_transaction) {
        None => String::new(),
        Some(count) => match connection.ask_with(&count, Patience::WhileAlive)? {
            Line::Count(0) => return Ok(Confirmation::Given),
            Line::Count(keys) => format!(": {}", counted(keys.unsigned_abs(), "key")),
            _ => String::new(),
        },
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(ClientError::Usage(format!(
            "{verb} {effect}{keys}; where nobody can be asked, say --force before it"
        )));
    }
    if is_input_waiting() {
        tell(&format!(
            "{verb} {effect}{keys}. What was typed ahead does not answer whether to go on: enter the command again."
        ));
        return Ok(Confirmation::Refused);
    }
    match ask(&format!("{verb} {effect}{keys}. Type yes to go on: ")) {
        Ok(Answer::Line(answer)) if answer.trim().eq_ignore_ascii_case("yes") => {
            Ok(Confirmation::Given)
        }
        Ok(Answer::Line(_)) => Ok(Confirmation::Refused),
        Ok(Answer::Interrupted) => Err(ClientError::Dismissed),
        Err(error) => Err(ClientError::terminal(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_requests_need_confirmation_and_no_others() {
        for (request, count) in [
            ("clear", Some("COUNT")),
            ("FLUSHALL ASYNC", Some("COUNT")),
            ("DELPREFIX user:", Some("COUNT user:")),
            ("delprefix \"a b\"", Some("COUNT \"a b\"")),
        ] {
            assert_eq!(
                danger(request).and_then(|(.., count)| count).as_deref(),
                count,
                "{request}"
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
