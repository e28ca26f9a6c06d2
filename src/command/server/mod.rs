//! Commands on the server and on connections.
//!
//! One file for each family: its rows of the table above its handlers.

pub mod acl;
pub mod admin;
pub mod auth;
pub mod backup;
pub mod client;
pub mod command_docs;
pub mod config;
pub mod debug;
pub mod figures;
pub mod info;
pub mod members;
pub mod memory;
pub mod replication;
pub mod slowlog;
pub mod stats;
pub mod tracking;
