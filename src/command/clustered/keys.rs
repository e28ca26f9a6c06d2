//! The keys of requests where a cluster has the data: which may come together.
//!
//! In: commands and their arguments. Out: keys and their slot, or an error.

use crate::cluster::slot_of;
use crate::command::refusals::bad_argument;
use crate::command::spec::{Arguments, ChannelUse, Clustered, Command, Flag, Scope};
use crate::model::Key;
use crate::protocol::{ErrorCode, ErrorReply};

/// Checks that a command can be part of a transaction where a cluster has the data: it is on keys, or on nothing.
///
/// # Errors
/// `ARGS`: it cannot.
pub(super) fn check_transactional(command: &Command) -> Result<(), ErrorReply> {
    let is_publishing = command.scope == Scope::Channels(ChannelUse::Publish);
    let is_whole = matches!(command.clustered, Clustered::Whole);
    // What no transaction takes is refused as everywhere.
    let is_on_all = is_whole && !command.has(Flag::NotInMulti);
    if is_on_all || is_publishing {
        return Err(bad_argument(format!(
            "{} is not to be had in a transaction where a cluster has the data",
            command.name
        )));
    }
    Ok(())
}

/// Returns the keys of a request, and their slot; `None` if it has no keys.
///
/// # Errors
/// `TOO_LARGE` or `TEXT` for what is no key, `CROSS_SLOT` for keys of several slots.
pub(super) fn keys_and_slot<'a>(
    command: &Command,
    arguments: &'a Arguments<'_>,
) -> Result<Option<(Vec<Key<'a>>, u16)>, ErrorReply> {
    let keys = command.keys(arguments).map(Key::parse);
    let keys = keys.collect::<Result<Vec<Key<'a>>, _>>()?;
    let Some(slot) = one_slot(keys.iter().map(|key| key.as_bytes()))? else {
        return Ok(None);
    };
    Ok(Some((keys, slot)))
}

/// Returns the slot of keys; `None` if there are none.
///
/// # Errors
/// `CROSS_SLOT`, if they are of several.
pub(super) fn one_slot<'k>(
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Option<u16>, ErrorReply> {
    let mut slot = None;
    for key in keys {
        let own = slot_of(key);
        if *slot.get_or_insert(own) != own {
            return Err(ErrorReply::new(
                ErrorCode::CrossSlot,
                "Keys in request don't hash to the same slot; keys with the same part in braces, as {user1}:name, do",
            ));
        }
    }
    Ok(slot)
}
