//! Processor time of a process.
//!
//! In: the number of a process. Out: its user and its system time.
//! Source: proc_pid_stat(5).

use crate::Failure;

/// Returns the seconds of a processor that a process has used so far, user and system.
///
/// # Errors
/// If there is no such process.
pub fn seconds(process: u32) -> Result<(f64, f64), Failure> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name stands in brackets, and may hold blanks.
    let (_, rest) = stat.rsplit_once(')').ok_or("no such process")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || -> Result<f64, Failure> {
        let ticks: f64 = fields.next().ok_or("no such figure")?.parse()?;
        Ok(ticks / TICKS_PER_SECOND)
    };
    Ok((next()?, next()?))
}
