//! `latency`: how long a PING takes to be answered, second by second.
//!
//! In: PINGs, one after the other. Out: a row for each interval: how many there were, and how long they took.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use super::Rows;
use crate::connection::{Connection, is_interrupted, pause};
use crate::error::ClientError;
use crate::render::Outcome;

/// Between one PING and the next: whoever measures should not be what is measured.
const PAUSE: Duration = Duration::from_millis(10);

/// How long some PINGs took, in order.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Asks once.
    pub fn ask(&mut self, connection: &mut Connection) -> Result<(), ClientError> {
        let began = Instant::now();
        connection.ask("PING")?;
        self.0.push(began.elapsed());
        Ok(())
    }

    /// The time in which this share of them was answered, in milliseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "they are few"
    )]
    pub fn quantile_ms(&mut self, share: f64) -> Option<f64> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        let place = (last as f64 * share).round() as usize;
        Some(self.0[place].as_secs_f64() * 1e3)
    }
}

/// Tells.
pub fn run(
    connection: &mut Connection,
    rows: &Rows,
    interval: Duration,
) -> Result<Outcome, ClientError> {
    let mut out = io::stdout();
    writeln!(
        out,
        "     pings       min       p50       p90       p99       max  (ms)"
    )
    .map_err(ClientError::output)?;
    for number in 0.. {
        if (rows.count > 0 && number == rows.count) || is_interrupted() {
            break;
        }
        let (mut times, until) = (Times::default(), Instant::now() + interval);
        while Instant::now() < until && !is_interrupted() {
            times.ask(connection)?;
            pause(PAUSE);
        }
        let pings = times.0.len();
        let shown: String = [0.0, 0.5, 0.9, 0.99, 1.0]
            .into_iter()
            .filter_map(|share| times.quantile_ms(share))
            .map(|ms| format!("{ms:>10.3}"))
            .collect();
        writeln!(out, "{pings:>10}{shown}").map_err(ClientError::output)?;
    }
    Ok(Outcome::Done)
}
