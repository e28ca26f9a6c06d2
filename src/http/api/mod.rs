//! The API under `/api/v1`: keys with expiry and conditions, batches, listings, transfers.
//!
//! In: HTTP. Out: JSON; problems as RFC 9457 has them. Each endpoint builds the requests of commands and makes a response of their
//! replies.

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
