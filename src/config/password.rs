//! The password of the default user, as the settings give it.
//!
//! In: a file, or the variable `PYKV_PASSWORD`. Out: the password. Promise: an empty password is refused, as it would be one by accident.

use std::io;
use std::path::PathBuf;

use crate::codec::bom::BOM;

/// Variable with the password itself.
const VARIABLE: &str = "PYKV_PASSWORD";

/// A password cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("cannot read the password file {0}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// There is none.
    #[error("{0} is empty: write the password into it, or leave it out")]
    Empty(String),
    /// There are two.
    #[error("there are two passwords: --password-file, and the variable {VARIABLE}; leave one out")]
    Two,
}

/// Reads the password: the first line of the file, or the variable.
///
/// # Errors
/// [`PasswordError`].
pub(super) fn read(file: Option<PathBuf>) -> Result<Option<String>, PasswordError> {
    let variable = std::env::var(VARIABLE).ok();
    let (password, source) = match (file, variable) {
        (Some(_), Some(_)) => return Err(PasswordError::Two),
        (Some(path), None) => {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|error| PasswordError::Unreadable(path.clone(), error))?;
            let text = text.strip_prefix(BOM).unwrap_or(&text);
            let line = text.lines().next().unwrap_or_default().to_owned();
            (line, path.display().to_string())
        }
        (None, Some(password)) => (password, format!("the variable {VARIABLE}")),
        (None, None) => return Ok(None),
    };
    if password.is_empty() {
        return Err(PasswordError::Empty(source));
    }
    Ok(Some(password))
}
