//! Flags of Redis that more than one benchmark uses.

/// How Redis keeps changes within a second, and never shortens its journal: no work of its own gets into what is measured.
pub const REDIS_EVERYSEC: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--auto-aof-rewrite-percentage",
    "0",
];
