//! Times in JSON, as RFC 3339 writes them.
//!
//! In: milliseconds since 1970, or text. Out: the other.

use crate::model::UnixMs;

/// Returns a time as RFC 3339 writes it, in UTC, to the millisecond. A time beyond its range is returned as a plain number.
#[must_use]
pub fn time(at: UnixMs) -> String {
    // Not `from_millisecond`: of the last second that can be read it accepts the first millisecond only.
    let (seconds, ms) = (at / 1000, at % 1000);
    let nanoseconds = i32::try_from(ms * 1_000_000).expect("less than a second");
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::new(seconds, nanoseconds).ok())
        .map_or_else(|| at.to_string(), |timestamp| format!("{timestamp:.3}"))
}

/// Reads a time in the form of RFC 3339. Returns `None` if it is in another form, or before 1970.
#[must_use]
pub fn read_moment(text: &str) -> Option<UnixMs> {
    let timestamp = text.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(timestamp.as_millisecond()).ok()
}
