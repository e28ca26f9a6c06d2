//! `bench`: throughput and latency of a server.
//!
//! In: a server of PyKV or Redis, and a load. Out: measurements on standard output. Promises: each reply is matched with its request; an error
//! counts as an error, not as speed; a latency runs from the moment a request was due, so that a server that stalls cannot hide it by
//! delaying the requests that follow.

mod client;
mod load;
mod report;
mod wire;

use std::io::{self, IsTerminal as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use self::client::{Measured, TICK, drive};
use self::load::{Phase, Run};
use crate::address::Address;
use crate::connection::connect;
use crate::deadline::{self, Step};
use crate::error::{ClientError, Outcome};
use crate::interrupt::{self, is_interrupted};
use crate::progress::progress_bar;
use crate::stream::Stream;

pub use self::load::Load;

/// The open files besides the connections: of the terminal and of the threads.
const OTHER_FILES: u64 = 1024;

/// Runs the load, and prints the measurements.
///
/// # Errors
/// [`ClientError::Usage`] if the load is impossible; `Connect`, `Lost` or `Silent` if a connection fails; `Foreign` if the server speaks another
/// protocol; `Refused` if it refuses to store the keys; `Interrupted` if Ctrl-C comes before the measuring.
pub fn run(address: &Address, load: &Load, is_json: bool) -> Result<Outcome, ClientError> {
    load.check()?;
    interrupt::catch();
    // A client has two handles of its connection. If the limit cannot be raised, connecting fails with the reason.
    let _ = rlimit::increase_nofile_limit(2 * load.clients + OTHER_FILES);
    let mut streams = (0..load.clients)
        .map(|_| connect(address, deadline::limit()))
        .collect::<Result<Vec<_>, _>>()?;
    if load.fill {
        let (filled, _) = phase(address, load, Phase::Fill, &mut streams)?;
        if let Some(error) = filled.first_error {
            return Err(ClientError::refused(&error));
        }
        if is_interrupted() {
            return Err(ClientError::Interrupted);
        }
    }
    let (measured, elapsed) = phase(address, load, Phase::Measure, &mut streams)?;
    report::show(address, load, &measured, elapsed, is_json).map_err(ClientError::output)?;
    Ok(Outcome::done_if(measured.errors == 0))
}

/// Runs a phase with all clients; returns the measurements, and the time it took.
fn phase(
    address: &Address,
    load: &Load,
    phase: Phase,
    streams: &mut [Stream],
) -> Result<(Measured, Duration), ClientError> {
    let run = Run::new(load, address, phase);
    let share = streams
        .len()
        .div_ceil(usize::try_from(load.threads).unwrap_or(1));
    let (results, ended) = channel();
    thread::scope(|scope| {
        for (place, streams) in streams.chunks(share).enumerate() {
            let (run, results): (_, Sender<_>) = (&run, results.clone());
            scope.spawn(move || {
                // The receiver is gone once another thread has failed.
                let _ = results.send(drive(run, place * share, streams));
            });
        }
        drop(results);
        let bar = bar(&run);
        let mut all = Measured::new();
        let (mut failure, mut interrupted_after) = (None, None);
        let mut silence = Silence::default();
        loop {
            match ended.recv_timeout(TICK) {
                Ok(Ok(measured)) => all.add(&measured),
                Ok(Err(error)) => {
                    run.is_over.store(true, Relaxed);
                    failure.get_or_insert(error);
                }
                Err(RecvTimeoutError::Timeout) if is_interrupted() => {
                    run.is_over.store(true, Relaxed);
                    interrupted_after.get_or_insert_with(|| run.began.elapsed());
                }
                Err(RecvTimeoutError::Timeout) => {
                    bar.set_position(run.answered.load(Relaxed));
                    if silence.is_too_long(&run) {
                        run.is_over.store(true, Relaxed);
                        let step = Step::Reply(None);
                        let silent = ClientError::silent(address, deadline::limit(), step);
                        failure.get_or_insert(silent);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        bar.finish_and_clear();
        // The time after Ctrl-C does not count: nothing is sent, and the last replies may take long.
        let elapsed = interrupted_after.unwrap_or_else(|| run.began.elapsed());
        failure.map_or(Ok((all, elapsed)), Err)
    })
}

/// The time since the latest reply while replies are due.
struct Silence {
    since: Instant,
    answered: u64,
}

impl Default for Silence {
    fn default() -> Self {
        let (since, answered) = (Instant::now(), 0);
        Self { since, answered }
    }
}

impl Silence {
    /// Looks at a run; returns whether none of its clients has been answered for longer than the limit.
    fn is_too_long(&mut self, run: &Run<'_>) -> bool {
        let answered = run.answered.load(Relaxed);
        if answered != self.answered || run.sent.load(Relaxed) == answered {
            let since = Instant::now();
            *self = Self { since, answered };
        }
        deadline::limit().is_some_and(|limit| self.since.elapsed() >= limit)
    }
}

fn bar(run: &Run<'_>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let action = match run.phase {
        Phase::Fill => "filling",
        Phase::Measure => "measuring",
    };
    let requests = Some(run.requests).filter(|requests| *requests < u64::MAX);
    let counts = match requests {
        Some(_) => "{bar:30} {percent:>3}%  {human_pos} of {human_len} requests",
        None => "{human_pos} requests",
    };
    progress_bar(requests, &format!("{action} {counts}  {{per_sec}}"))
}
