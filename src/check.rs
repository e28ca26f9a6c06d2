//! The commands `pykv-server check` and `repair`.
//!
//! In: a data folder that no server uses. Out: a report on standard output, one line for each fault, and an exit status: 0 if
//! the folder is sound, or is now; 1 if it is not.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::engine::Engine;
use crate::persistence::{Finding, StoreError, System};
use crate::stdout::{StdoutError, print};

/// There is no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The folder cannot be read or repaired.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The report cannot be written.
    #[error(transparent)]
    Output(#[from] StdoutError),
}

/// Checks a folder; nothing in it is changed.
///
/// # Errors
/// [`CheckError::Store`], if the folder cannot be read or is in use; [`CheckError::Output`], if standard output takes nothing.
pub fn check(folder: &Path) -> Result<ExitCode, CheckError> {
    let (pairs, inspection) = Engine::check(Arc::new(System), folder)?;
    let mut report = list_of(&inspection.notes, inspection.findings());
    let name = folder.display();
    let changes = inspection.changes();
    if inspection.findings().is_empty() {
        report += &format!(
            "{name} is sound: {}; the journals hold {} since the last save\n",
            count(pairs, "pair"),
            count(changes, "change")
        );
        print(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    report += &format!(
        "{name} is damaged ({}): no server starts on it, and nothing was changed. {} can be read. Put a copy in its \
         place, or run `pykv-server repair {name}`, which goes on without what is lost and keeps all that it removes\n",
        faults(inspection.findings()),
        count(pairs, "pair")
    );
    print(&report)?;
    Ok(ExitCode::FAILURE)
}

/// Repairs a folder: what can be read is saved, what was there before is kept beside it.
///
/// # Errors
/// [`CheckError::Store`], if the folder cannot be read, is in use, or cannot be written; [`CheckError::Output`], if standard
/// output takes nothing.
pub fn repair(folder: &Path) -> Result<ExitCode, CheckError> {
    let (pairs, salvaged) = Engine::repair(Arc::new(System), folder)?;
    let mut report = list_of(&salvaged.notes, &salvaged.findings);
    let name = folder.display();
    if salvaged.findings.is_empty() {
        report += &format!(
            "{name} is sound: {}; nothing was changed\n",
            count(pairs, "pair")
        );
        print(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    for path in &salvaged.kept {
        report += &format!("what was damaged is kept as {}\n", path.display());
    }
    report += &format!(
        "{name} is mended ({}): store.json holds {}\n",
        faults(&salvaged.findings),
        count(pairs, "pair")
    );
    print(&report)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the lines of a report that say what was found.
fn list_of(notes: &[String], findings: &[Finding]) -> String {
    let mut report = String::new();
    for note in notes {
        report += &format!("{note}\n");
    }
    for finding in findings {
        let Finding {
            path,
            line,
            reason,
            lost,
        } = finding;
        let line = line.map_or(String::new(), |line| format!("line {line}: "));
        let path = path.display();
        report += &format!("{path}: {line}{reason}; lost: {lost}\n");
    }
    report
}

fn faults(findings: &[Finding]) -> String {
    count(findings.len() as u64, "fault")
}

/// Returns a number with its noun, in the plural where it should be.
fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
