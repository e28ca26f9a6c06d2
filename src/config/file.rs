//! The configuration file: settings under the names of their flags, in TOML (<https://toml.io>).
//!
//! In: a file. Out: the settings in it, as texts for the parsers of their flags. Promise: a name that is no setting is refused, not
//! ignored, with the name that may have been meant.

use std::io;
use std::path::Path;

use toml::{Table, Value};

/// Maximum number of changed characters between a wrong name and the one that is suggested.
const DISTANCE_MAX: usize = 3;

/// A configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// The system refuses it.
    #[error("cannot read it")]
    Unreadable(#[source] io::Error),
    /// It is no TOML.
    #[error("it is no TOML: {0}")]
    Malformed(String),
    /// A name is no setting.
    #[error("unknown setting {name}{suggestion}; `pykv-server --help` lists all")]
    Unknown {
        /// Name.
        name: String,
        /// The name that may have been meant, as a part of a sentence, or nothing.
        suggestion: String,
    },
    /// A value is of another type.
    #[error("{0} is no string, number, true or false")]
    Type(String),
}

/// Reads the settings of a file: the name and the text of each. `names` are those that there are.
///
/// # Errors
/// [`FileError`].
pub(super) fn read(path: &Path, names: &[&str]) -> Result<Vec<(String, String)>, FileError> {
    let text = std::fs::read_to_string(path).map_err(FileError::Unreadable)?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| FileError::Malformed(error.to_string()))?;
    let settings = table.into_iter().map(|(name, value)| {
        if !names.contains(&&*name) {
            let near = nearest(&name, names).map(|near| format!(", did you mean {near}?"));
            let suggestion = near.unwrap_or_default();
            return Err(FileError::Unknown { name, suggestion });
        }
        match value {
            Value::String(text) => Ok((name, text)),
            Value::Integer(number) => Ok((name, number.to_string())),
            Value::Boolean(is_on) => Ok((name, is_on.to_string())),
            _ => Err(FileError::Type(name)),
        }
    });
    settings.collect()
}

/// Returns a text as a string of the file.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

fn nearest<'n>(typed: &str, names: &[&'n str]) -> Option<&'n str> {
    let typed = typed.replace('_', "-");
    let distances = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, name), *name));
    let (distance, name) = distances.min()?;
    (distance <= DISTANCE_MAX).then_some(name)
}
