//! The tools, which the command line and the prompt have in common.
//!
//! In: words, the first of which names a tool. Out: its outcome. Promise: a tool does the same at both, with connections of its own: one
//! that fails halfway leaves no replies that nobody reads.

use std::io::{self, BufWriter};
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::address::Address;
use crate::bench::{self, Load};
use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::format::Format;
use crate::interrupt;
use crate::live::rows::Rows;
use crate::live::watch::{self, Watch};
use crate::live::{cluster, health, latency, stat, top};
use crate::render::Renderer;
use crate::request::Request;
use crate::tools::diff::{self, Diff};
use crate::tools::export::{self, Export};
use crate::tools::import::{self, Import};
use crate::tools::keyspace::{self, KeyRange};

/// A tool with its arguments.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Import the pairs of a file (JSON, JSON lines, CSV) or of another server
    #[command(alias = "IMPORT")]
    Import(Import),
    /// Export the pairs to a file (JSON, JSON lines, CSV) or to another server
    #[command(alias = "EXPORT")]
    Export(Export),
    /// Compare two servers, or a server and a file
    Diff(Diff),
    /// List keys, unsorted
    #[command(name = "scan")]
    Scan(KeyRange),
    /// List the longest values
    Bigkeys(KeyRange),
    /// List namespaces with their keys and bytes
    Namespaces(KeyRange),
    /// Show a live screen of the server
    Top,
    /// Print one row of statistics per interval
    Stat(Rows),
    /// Print one row of PING latencies per interval
    Latency(Rows),
    /// Print every request that the server executes
    Monitor,
    /// Print changes of keys as they happen
    Watch(Watch),
    /// Check the health of the server; the exit status says the result
    Health,
    /// Show the members of a cluster whose log etcd keeps: who leads, how far each is
    Cluster,
    /// Measure throughput and latency of a server, also of Redis; stores keys with the prefix `bench:`
    #[command(alias = "BENCH")]
    Bench(Load),
}

/// The words of a tool as they are typed at the prompt.
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_help_subcommand = true)]
struct Typed {
    #[command(subcommand)]
    tool: Tool,
}

impl Tool {
    /// Parses words that were typed at the prompt.
    ///
    /// # Errors
    /// The text for the user: what is wrong, or the help if it was asked for.
    pub fn parse(words: &[String]) -> Result<Self, clap::Error> {
        Typed::try_parse_from(words).map(|typed| typed.tool)
    }

    /// Runs the tool on a server.
    ///
    /// # Errors
    /// Those of the tool.
    pub fn run(
        &self,
        address: &Address,
        format: Format,
        interval: Duration,
    ) -> Result<Outcome, ClientError> {
        interrupt::catch();
        let open = || Connection::open(address);
        match self {
            Self::Import(options) => import::run(address, options),
            Self::Export(options) => export::run(address, options),
            Self::Diff(options) => diff::run(address, options),
            Self::Scan(options) => keyspace::scan(address, options, format),
            Self::Bigkeys(options) => keyspace::bigkeys(address, options, format),
            Self::Namespaces(options) => keyspace::namespaces(address, options, format),
            Self::Top => top::run(address, interval),
            Self::Stat(rows) => stat::run(&mut open()?, rows, interval, format),
            Self::Latency(rows) => latency::run(&mut open()?, rows, interval),
            Self::Monitor => monitor(&mut open()?, format),
            Self::Watch(options) => watch::run(&mut open()?, options),
            Self::Health => health::run(&mut open()?, format),
            Self::Cluster => cluster::run(&mut open()?, format),
            Self::Bench(load) => bench::run(address, load, format == Format::Json),
        }
    }
}

fn monitor(connection: &mut Connection, format: Format) -> Result<Outcome, ClientError> {
    let mut renderer = Renderer::new(BufWriter::new(io::stdout()), format, false);
    match renderer.answer(connection, &Request::line("MONITOR")) {
        Err(error) if error.is_interrupt() => Ok(Outcome::Done),
        ended => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::TOOLS;

    #[test]
    fn the_names_of_the_tools_are_those_that_are_suggested() {
        let command = Tool::augment_subcommands(clap::Command::new(""));
        let names: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(names, TOOLS.map(|(name, _)| name));
    }

    #[test]
    fn the_words_of_a_tool_are_those_of_the_command_line() {
        let parse = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            Tool::parse(&words)
        };
        assert!(matches!(parse("stat -n 3"), Ok(Tool::Stat(_))));
        assert!(matches!(
            parse("import a.csv --prefix b"),
            Ok(Tool::Import(_))
        ));
        assert!(parse("import").is_err() && parse("scna").is_err());
    }
}
