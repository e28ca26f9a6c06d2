//! The database of a client: its requests name keys without the prefix that these have in the store.
//!
//! In: a database, a request. Out: the request with the stored keys, and the way back for those who are shown it. Promises: a request
//! is written anew once, before anything looks at its keys, so that permissions, locks and clusters know the stored keys alone; database 0
//! costs one comparison.

use std::borrow::Cow;

use super::refusals::bad_argument;
use super::service::Service;
use super::spec::{Arguments, Command, Scope};
use crate::model::Database;
use crate::protocol::ErrorReply;
use crate::protocol::resp::whole_number;

/// Puts the prefix of a database before the keys, the prefix or the pattern among the arguments of a request: the words from `start` on.
#[cold]
pub(super) fn name_keys(
    database: Database,
    command: &Command,
    words: &mut Vec<Cow<'_, [u8]>>,
    start: usize,
) {
    // Without the argument all keys are meant: those of the database.
    if let Scope::Prefix(place) = command.scope
        && words.len() == start + place
    {
        words.push(Cow::Borrowed(b""));
    }
    for place in places(command, &words[start..]) {
        let word = &mut words[start + place];
        *word = Cow::Owned(database.key_of(word));
    }
}

/// Returns the arguments of a request as its client has sent them.
#[must_use]
#[cold]
pub(super) fn as_sent<'a>(
    database: Database,
    command: &Command,
    arguments: &'a Arguments<'_>,
) -> Vec<Cow<'a, [u8]>> {
    let mut words: Vec<Cow<'a, [u8]>> = arguments
        .iter()
        .map(|word| Cow::Borrowed(&**word))
        .collect();
    for place in places(command, arguments) {
        words[place] = Cow::Borrowed(database.name_of(&arguments[place]));
    }
    words
}

/// Returns the places of the keys, the prefix or the pattern among the arguments.
fn places(command: &Command, arguments: &Arguments<'_>) -> Vec<usize> {
    match command.scope {
        Scope::Keys(_) => command.key_places(arguments).collect(),
        Scope::Prefix(place) | Scope::Pattern(place) => {
            (place..arguments.len().min(place + 1)).collect()
        }
        Scope::Nothing | Scope::Keyspace | Scope::Queued | Scope::Channels(_) => Vec::new(),
    }
}

/// Parses the number of a database.
///
/// # Errors
/// `ARGS`, if it is no number, or the server has no such database.
pub(super) fn numbered(service: &Service, word: &[u8]) -> Result<Database, ErrorReply> {
    let number = whole_number(word);
    let number = number.ok_or_else(|| bad_argument("value is not an integer or out of range"))?;
    if i32::try_from(number).is_err() {
        return Err(bad_argument(
            "value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    let number = usize::try_from(number).ok();
    let number = number.filter(|number| *number < service.setup.databases);
    let database = number.and_then(Database::new);
    database.ok_or_else(|| bad_argument("DB index is out of range"))
}
