//! The number and interval of the rows of `stat` and `latency`.

use std::time::Duration;

/// The flags of a tool that prints rows.
#[derive(Debug, clap::Args)]
pub struct Rows {
    /// Stop after N rows; 0: at Ctrl-C
    #[arg(short = 'n', long, value_name = "N", default_value_t = 0)]
    count: u64,
}

impl Rows {
    /// Returns the numbers of the rows, from 0.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        0..if self.count == 0 {
            u64::MAX
        } else {
            self.count
        }
    }
}

/// Returns the interval between rows; one second unless `-i` sets it.
pub fn interval(seconds: f64) -> Duration {
    Duration::from_secs_f64(if seconds > 0.0 { seconds } else { 1.0 })
}
