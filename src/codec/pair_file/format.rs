//! The formats of a file of pairs, and what tells of them beside the content.

use std::fmt;
use std::str::FromStr;

/// A format of a file of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object, as store.json is.
    Json,
    /// JSON Lines: one object per line, with key, value and expiry.
    Jsonl,
    /// Rows of cells below a header.
    Csv,
}

impl FromStr for FileFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, format)| *format)
            .ok_or_else(|| format!("a format is json, jsonl or csv, not {text:?}"))
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "a JSON object",
            Self::Jsonl => "JSON Lines",
            Self::Csv => "CSV",
        })
    }
}

impl FileFormat {
    /// The formats by the names that flags and queries have for them.
    pub const NAMES: [(&str, Self); 3] = [
        ("json", Self::Json),
        ("jsonl", Self::Jsonl),
        ("csv", Self::Csv),
    ];

    /// Returns the format that the extension of a file name stands for, in any case, before a `.gz` or not.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "ndjson" => Some(Self::Jsonl),
            extension => extension.parse().ok(),
        }
    }

    /// Returns the format that a media type stands for.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        match media_type.to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Json),
            "application/jsonl" | "application/x-ndjson" | "application/x-jsonlines" => {
                Some(Self::Jsonl)
            }
            "text/csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// What is known of a format before the content is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Declared {
    /// The format that was demanded: other content is refused.
    pub format: Option<FileFormat>,
    /// The format that the name of the file stands for: it decides where the content fits two formats, and nowhere else.
    pub by_name: Option<FileFormat>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_tells_the_format_in_any_case() {
        for (name, format) in [
            ("a.json", Some(FileFormat::Json)),
            ("X.Json.Gz", Some(FileFormat::Json)),
            ("a.JSONL", Some(FileFormat::Jsonl)),
            ("a.ndjson.gz", Some(FileFormat::Jsonl)),
            ("b.csv", Some(FileFormat::Csv)),
            ("X.CSV.GZ", Some(FileFormat::Csv)),
            ("a", None),
            ("a.gz", None),
            ("csv", None),
            ("a.csv.bak", None),
            ("", None),
        ] {
            assert_eq!(FileFormat::of_name(name), format, "{name}");
        }
    }
}
