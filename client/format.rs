//! The form of the output: for people, for programs, or as JSON or CSV.
//!
//! In: `--json`, `--csv`, `--raw`; whether standard output is a terminal. Out: one `Format`.

use std::io::{self, IsTerminal as _};

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tables and colours, on a terminal.
    People,
    /// Lines for programs.
    Plain,
    /// Lines, but of a value its bytes and nothing else.
    Raw,
    /// One JSON document per reply, each on its line.
    Json,
    /// Rows of CSV (RFC 4180).
    Csv,
}

/// The flags that choose the form.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
pub struct FormatFlags {
    /// Print JSON, one document per reply
    #[arg(long)]
    pub json: bool,

    /// Print rows of CSV; those of ALL can be imported again
    #[arg(long)]
    csv: bool,

    /// Print exactly the bytes of a value (status 3 if there is none), and all else as for a program, even on a terminal
    #[arg(long)]
    raw: bool,
}

impl FormatFlags {
    /// Returns the chosen form; without a flag, the one that suits standard output.
    pub fn format(self) -> Format {
        match self {
            Self { json: true, .. } => Format::Json,
            Self { csv: true, .. } => Format::Csv,
            Self { raw: true, .. } => Format::Raw,
            _ if io::stdout().is_terminal() => Format::People,
            _ => Format::Plain,
        }
    }
}
