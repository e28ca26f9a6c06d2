//! What goes on at a server, as it goes on: `stat`, `latency`, `watch`, `top`.
//!
//! In: a connection. Out: rows, or a screen, until Ctrl-C or as many as were asked for. Promise: whoever watches costs the server little:
//! one request in each interval, and more only where it is said.

pub mod figures;
pub mod latency;
pub mod stat;
pub mod top;
pub mod watch;

use std::time::Duration;

/// How often something is told.
#[derive(Debug, clap::Args)]
pub struct Rows {
    /// End after so many rows; 0: at Ctrl-C
    #[arg(short = 'n', long, default_value_t = 0)]
    pub count: u64,
}

/// How long one row is of, where it is not said.
pub fn interval(seconds: f64) -> Duration {
    if seconds > 0.0 {
        Duration::from_secs_f64(seconds)
    } else {
        Duration::from_secs(1)
    }
}
