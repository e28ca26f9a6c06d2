//! Memory of a process.
//!
//! In: the number of a process. Out: a figure of its memory.
//! Source: proc_pid_status(5).

use crate::Failure;

/// Returns the bytes that a line of a process's status says, such as `VmRSS:` for what it holds, and `VmHWM:` for the most it ever did.
///
/// # Errors
/// If there is no such process, or no such line.
pub fn bytes(process: u32, line: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let rest = status.lines().find_map(|found| found.strip_prefix(line));
    let number = rest.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number
        .map(|kilobytes| kilobytes << 10)
        .ok_or_else(|| format!("no {line} of process {process}").into())
}
