//! The table of commands: the rows of all families in one list, and the look-up of a verb.
//!
//! In: the rows that stand above the handlers. Out: a row, or its place in the list, which counters use as an index.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::data::{expiry, follow, keys, numbers, page, pubsub, scan, strings, transaction};
use super::server::{admin, client, command_docs, config, info, slowlog, stats};
use super::spec::Command;
use crate::protocol::Dialect;

/// The families of commands, in the order of the chapters of protocol.md.
static FAMILIES: &[&[Command]] = &[
    strings::ROWS,
    numbers::ROWS,
    keys::ROWS,
    expiry::ROWS,
    scan::ROWS,
    page::ROWS,
    transaction::ROWS,
    pubsub::ROWS,
    follow::ROWS,
    client::ROWS,
    admin::ROWS,
    stats::ROWS,
    info::ROWS,
    command_docs::ROWS,
    config::ROWS,
    slowlog::ROWS,
];

/// The rows of all commands.
pub static COMMANDS: LazyLock<Vec<&'static Command>> =
    LazyLock::new(|| FAMILIES.iter().copied().flatten().collect());

/// Length of the longest verb that is looked up.
const VERB_BYTES_MAX: usize = 16;

type Places = HashMap<&'static [u8], usize, ahash::RandomState>;

/// Places in [`COMMANDS`] by verb: of the commands of the line dialect, and of those of RESP.
static PLACES: LazyLock<[Places; 2]> = LazyLock::new(|| {
    [Dialect::Line, Dialect::Resp2].map(|dialect| {
        let known = COMMANDS.iter().enumerate();
        known
            .filter(|(_, command)| command.dialects.has(dialect))
            .map(|(place, command)| (command.name.as_bytes(), place))
            .collect()
    })
});

/// Returns the place in [`COMMANDS`] of a verb in any case, if a dialect has it.
#[must_use]
pub fn place_of(verb: &[u8], dialect: Dialect) -> Option<usize> {
    let mut upper = [0; VERB_BYTES_MAX];
    let upper = upper.get_mut(..verb.len())?;
    upper.copy_from_slice(verb);
    upper.make_ascii_uppercase();
    PLACES[usize::from(dialect.is_resp())].get(&*upper).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::Dialects;

    #[test]
    fn every_command_is_found_under_its_name_in_any_case() {
        for (place, command) in COMMANDS.iter().enumerate() {
            let dialect = match command.dialects {
                Dialects::Resp => Dialect::Resp3,
                Dialects::All | Dialects::Line => Dialect::Line,
            };
            assert_eq!(place_of(command.name.as_bytes(), dialect), Some(place));
            let lower = command.name.to_lowercase();
            assert_eq!(place_of(lower.as_bytes(), dialect), Some(place), "{lower}");
            assert!(command.summary.ends_with('.'), "{lower}");
        }
        assert_eq!(place_of(b"KEYSKEYSKEYSKEYSKEYS", Dialect::Line), None);
        assert_ne!(
            place_of(b"KEYS", Dialect::Line),
            place_of(b"KEYS", Dialect::Resp2)
        );
    }
}
