//! The configuration file: settings under the names of their flags, in TOML (<https://toml.io>).
//!
//! In: a file. Out: the settings in it, as texts for the parsers of their flags. Promise: a name that is no setting is refused, not
//! ignored, with the name that may have been meant.

use std::borrow::Cow;
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
    /// A value of a list is neither a string nor an array of strings.
    #[error("{0} is neither a string nor an array of strings")]
    ListType(String),
}

/// Reads the settings of a file: the name and the texts of each. `settings` are those that there are, and whether each is a list.
///
/// # Errors
/// [`FileError`].
pub(super) fn read(
    path: &Path,
    settings: &[(&str, bool)],
) -> Result<Vec<(String, Vec<String>)>, FileError> {
    let text = std::fs::read_to_string(path).map_err(FileError::Unreadable)?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| FileError::Malformed(error.to_string()))?;
    let read = table.into_iter().map(|(name, value)| {
        let Some((_, is_list)) = settings.iter().find(|(known, _)| *known == name) else {
            let near = nearest(&name, settings.iter().map(|(name, _)| *name));
            let near = near.map(|near| format!(", did you mean {near}?"));
            let suggestion = near.unwrap_or_default();
            return Err(FileError::Unknown { name, suggestion });
        };
        match value {
            Value::String(text) => Ok((name, vec![text])),
            Value::Integer(number) if !is_list => Ok((name, vec![number.to_string()])),
            Value::Boolean(is_on) if !is_list => Ok((name, vec![is_on.to_string()])),
            Value::Array(values) if *is_list && !values.is_empty() => {
                let texts = values.into_iter().map(|value| match value {
                    Value::String(text) => Ok(text),
                    _ => Err(FileError::ListType(name.clone())),
                });
                Ok((name.clone(), texts.collect::<Result<_, _>>()?))
            }
            _ if *is_list => Err(FileError::ListType(name)),
            _ => Err(FileError::Type(name)),
        }
    });
    read.collect()
}

/// Returns a text as a string of the file.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

/// Returns texts as an array of the file.
pub(super) fn array<'t>(texts: impl Iterator<Item = Cow<'t, str>>) -> String {
    let texts = texts.map(|text| Value::String(text.into_owned()));
    Value::Array(texts.collect()).to_string()
}

fn nearest<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let typed = typed.replace('_', "-");
    let distances = names.map(|name| (strsim::damerau_levenshtein(&typed, name), name));
    let (distance, name) = distances.min()?;
    (distance <= DISTANCE_MAX).then_some(name)
}
