//! Tools that read or write many pairs: `import`, `export`, `diff`, `scan`, `bigkeys`, `namespaces`.
//!
//! In: servers of PyKV or Redis, files of JSON, JSON lines or CSV. Out: pairs. Promise: bounded memory for any number of pairs, except that
//! `diff` keeps a file's pairs.

pub mod diff;
pub mod export;
pub mod import;
pub mod keyspace;
mod pair;
mod resp;
mod store;
