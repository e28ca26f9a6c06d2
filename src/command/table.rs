//! The table of commands: the rows of all families in one list.
//!
//! In: the rows that stand above the handlers. Out: the specifications, and the handlers in the same order.

use std::sync::LazyLock;

use super::call::Handler;
use super::data::{
    bitfield, bits, dump, expiry, follow, keys, lcs, numbers, page, pubsub, scan, script, strings,
    transaction,
};
use super::lookup::CommandList;
use super::row::Row;
use super::server::{
    acl, admin, auth, backup, client, command_docs, config, debug, info, members, memory,
    replication, slowlog, stats,
};

/// Families of commands, in the order of the chapters of protocol.md.
static FAMILIES: &[&[Row]] = &[
    strings::ROWS,
    lcs::ROWS,
    numbers::ROWS,
    bits::ROWS,
    bitfield::ROWS,
    keys::ROWS,
    expiry::ROWS,
    dump::ROWS,
    scan::ROWS,
    page::ROWS,
    transaction::ROWS,
    script::ROWS,
    pubsub::ROWS,
    follow::ROWS,
    client::ROWS,
    auth::ROWS,
    acl::ROWS,
    backup::ROWS,
    admin::ROWS,
    memory::ROWS,
    stats::ROWS,
    info::ROWS,
    command_docs::ROWS,
    config::ROWS,
    slowlog::ROWS,
    members::ROWS,
    replication::ROWS,
    debug::ROWS,
];

/// Specifications of all commands.
pub static COMMANDS: LazyLock<CommandList> =
    LazyLock::new(|| CommandList::new(rows().map(|row| &row.command).collect()));

/// Handlers of all commands, in the same order.
pub(super) static HANDLERS: LazyLock<Vec<Handler>> =
    LazyLock::new(|| rows().map(|row| row.handler).collect());

fn rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::Dialects;
    use crate::protocol::Dialect;

    #[test]
    fn every_command_is_found_under_its_name_in_any_case() {
        for (place, command) in COMMANDS.iter().enumerate() {
            let dialect = match command.dialects {
                Dialects::Resp => Dialect::Resp3,
                Dialects::All | Dialects::Line => Dialect::Line,
            };
            assert_eq!(
                COMMANDS.place_of(command.name.as_bytes(), dialect),
                Some(place)
            );
            let lower = command.name.to_lowercase();
            assert_eq!(
                COMMANDS.place_of(lower.as_bytes(), dialect),
                Some(place),
                "{lower}"
            );
            assert!(command.summary.ends_with('.'), "{lower}");
        }
        assert_eq!(
            COMMANDS.place_of(b"KEYSKEYSKEYSKEYSKEYS", Dialect::Line),
            None
        );
        assert_ne!(
            COMMANDS.place_of(b"KEYS", Dialect::Line),
            COMMANDS.place_of(b"KEYS", Dialect::Resp2)
        );
    }
}
