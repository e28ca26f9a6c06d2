//! The API below `/api/v1`: keys with expiry and conditions, batches, listings, export and import.
//!
//! In: HTTP. Out: JSON; errors as problem documents (RFC 9457). Each endpoint builds the requests of commands and turns their
//! replies into a response.

pub mod backup;
pub mod batch;
pub mod body;
pub mod commands;
pub mod condition;
pub mod deletion;
pub mod export;
pub mod import;
pub mod keys;
pub mod listing;
pub mod namespaces;
pub mod offload;
pub mod stats;
