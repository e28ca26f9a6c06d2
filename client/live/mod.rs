//! Monitoring of a server: `stat`, `latency`, `watch`, `top`, `health`.
//!
//! In: a connection. Out: rows or a screen, until Ctrl-C or for as many rows as were asked for. Promise: monitoring costs the server little,
//! one STATS in each interval and a few more requests where the tool says so.

pub mod cluster;
mod figures;
pub mod health;
pub mod latency;
pub mod rows;
pub mod stat;
pub mod top;
pub mod watch;
