//! The busiest keys, from a sample of the requests that a server executes.
//!
//! In: MONITOR, for a moment. Out: keys, and about how many requests per second name them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::reply::Line;

/// The length of a sample. It is short, as the server reports every request meanwhile.
const SAMPLE: Duration = Duration::from_millis(50);
/// The time in which the server has to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The most requests of a sample.
const REQUESTS_MAX: usize = 5_000;

/// Takes a sample.
pub fn take(address: &Address) -> Result<Vec<(String, f64)>, ClientError> {
    let mut connection = Connection::open_within(address, CONNECT_TIMEOUT)?;
    connection.ask("MONITOR")?;
    let (began, mut counts) = (Instant::now(), HashMap::new());
    let until = began + SAMPLE;
    for _ in 0..REQUESTS_MAX {
        match connection.line_until(until) {
            Some(Line::Event(_, payloads)) => {
                let request = payloads
                    .first()
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or_default();
                if let Some(key) = key_of(request) {
                    *counts.entry(key).or_insert(0.0) += 1.0;
                }
            }
            _ => break,
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(counts
        .into_iter()
        .map(|(key, count)| (key, count / seconds))
        .collect())
}

/// Returns the key of a request as MONITOR shows it: the second of the quoted words.
fn key_of(request: &str) -> Option<String> {
    let words = request.split_once("] ")?.1;
    let key = words.split("\" \"").nth(1)?;
    Some(key.trim_end_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_request_is_its_second_word() {
        for (request, key) in [
            ("1795491949.2 [0 127.0.0.1:47952] \"get\" \"a\"", Some("a")),
            ("1.2 [0 http] \"set\" \"a b\" \"x\"", Some("a b")),
            ("1.2 [0 127.0.0.1:1] \"ping\"", None),
            ("", None),
        ] {
            assert_eq!(key_of(request).as_deref(), key, "{request}");
        }
    }
}
