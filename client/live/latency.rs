//! `latency`: the round-trip time of PING.
//!
//! In: PINGs, one after the other. Out: a row per interval, with their number and quantiles of their times.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use super::rows::Rows;
use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::interrupt::{self, is_interrupted};

/// The pause between two PINGs, so that the load of measuring is not what is measured.
const PAUSE: Duration = Duration::from_millis(10);

/// The times of some PINGs.
#[derive(Debug, Default)]
pub struct PingTimes(Vec<Duration>);

impl PingTimes {
    /// Sends a PING, and adds its time.
    pub fn measure(&mut self, connection: &mut Connection) -> Result<(), ClientError> {
        let began = Instant::now();
        connection.ask("PING")?;
        self.0.push(began.elapsed());
        Ok(())
    }

    /// Returns a quantile of the times, in milliseconds; `None` without a time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "they are few"
    )]
    pub fn quantile_ms(&mut self, quantile: f64) -> Option<f64> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        let place = (last as f64 * quantile).round() as usize;
        Some(self.0[place].as_secs_f64() * 1e3)
    }
}

/// Prints one row of latencies per interval.
///
/// # Errors
/// [`ClientError::File`] if the output fails; as [`Connection::ask`].
pub fn run(
    connection: &mut Connection,
    rows: &Rows,
    interval: Duration,
) -> Result<Outcome, ClientError> {
    let mut out = io::stdout();
    let names = "     pings       min       p50       p90       p99       max  (ms)";
    writeln!(out, "{names}").map_err(ClientError::output)?;
    for _ in rows.numbers() {
        if is_interrupted() {
            break;
        }
        let (mut times, until) = (PingTimes::default(), Instant::now() + interval);
        while Instant::now() < until && !is_interrupted() {
            times.measure(connection)?;
            interrupt::sleep(PAUSE);
        }
        let pings = times.0.len();
        let quantiles: String = [0.0, 0.5, 0.9, 0.99, 1.0]
            .into_iter()
            .filter_map(|quantile| times.quantile_ms(quantile))
            .map(|ms| format!("{ms:>10.3}"))
            .collect();
        writeln!(out, "{pings:>10}{quantiles}").map_err(ClientError::output)?;
    }
    Ok(Outcome::Done)
}
