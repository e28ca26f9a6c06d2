//! The time that a server has to answer: `--timeout`.
//!
//! In: a number of seconds. Out: the limit of each wait, and work that is given up after it. Promise: where there is a limit, no wait for a
//! server outlasts it, whether it is for a name server, a socket, a handshake or a reply.

use std::fmt;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt::{INTERRUPT_INTERVAL, is_interrupted};

/// The limit without `--timeout`, in seconds: enough for another continent or a disk that is slow for a moment, and short enough to wait for
/// at a prompt.
pub const DEFAULT_SECONDS: f64 = 10.0;

/// The limit of all waits; `None` for none.
static LIMIT: OnceLock<Option<Duration>> = OnceLock::new();

/// Sets the limit of all waits, in seconds; 0 for none.
pub fn configure(seconds: f64) {
    let _ = LIMIT.set(limit_of(seconds));
}

/// Returns the limit of all waits.
pub fn limit() -> Option<Duration> {
    *LIMIT.get_or_init(|| limit_of(DEFAULT_SECONDS))
}

fn limit_of(seconds: f64) -> Option<Duration> {
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
}

/// The step of a conversation in which the server was silent for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The addresses of its name are looked up.
    Lookup,
    /// The socket connects.
    Connect,
    /// TLS agrees on keys.
    Handshake,
    /// A request is sent.
    Send,
    /// A reply is read: to a request with this verb, where it is known.
    Reply(Option<String>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup => f.write_str("its name is still being looked up"),
            Self::Connect => f.write_str("it accepts no connection"),
            Self::Handshake => f.write_str("the TLS handshake is not complete"),
            Self::Send => f.write_str("it does not take the request"),
            Self::Reply(None) => f.write_str("no reply comes"),
            Self::Reply(Some(verb)) => write!(f, "no reply to {verb} comes"),
        }
    }
}

/// Why a wait has ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The limit is reached.
    Late,
    /// Ctrl-C was pressed.
    Interrupted,
}

/// Does work that may block in the system on another thread, and waits for it; what is given up goes on there until the program ends.
pub fn within<T: Send + 'static>(
    limit: Option<Duration>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GivenUp> {
    let (sender, done) = sync_channel(1);
    thread::spawn(move || drop(sender.send(work())));
    let began = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
        match done.recv_timeout(left.unwrap_or(INTERRUPT_INTERVAL).min(INTERRUPT_INTERVAL)) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => panic!("the work has panicked on its thread"),
            Err(RecvTimeoutError::Timeout) if is_interrupted() => return Err(GivenUp::Interrupted),
            Err(RecvTimeoutError::Timeout) if left.is_some_and(|left| left.is_zero()) => {
                return Err(GivenUp::Late);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_is_late_is_given_up_and_work_in_time_is_not() {
        let limit = Some(Duration::from_millis(50));
        let began = Instant::now();
        let late = within(limit, || thread::sleep(Duration::from_secs(60)));
        assert_eq!(late, Err(GivenUp::Late));
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(within(Some(Duration::from_secs(60)), || 7), Ok(7));
        assert_eq!(within(None, || 7), Ok(7));
    }

    #[test]
    fn zero_seconds_are_no_limit() {
        assert_eq!(limit_of(0.0), None);
        assert_eq!(limit_of(0.5), Some(Duration::from_millis(500)));
    }
}
