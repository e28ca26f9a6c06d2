//! `pykv-cli`: a terminal client of `PyKV`.
//!
//! In: a command on the command line, lines on standard input, or a person at the prompt. Out: replies on standard output,
//! faults on standard error. Promises: a word of the command line reaches the server exactly as it is; the exit status is 0
//! for done, 1 if the server refused something, 2 if it could not be talked to or the program was called wrongly.

mod bench;
mod complete;
mod connection;
mod error;
mod export;
mod import;
mod pipe;
mod render;
mod repl;
mod reply;
mod table;

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pykv::causes::with_causes;
use pykv::command::{COMMANDS, place_of};
use pykv::protocol::Dialect;
use pykv::protocol::line::quote;

use crate::connection::{Address, Connection};
use crate::error::ClientError;
use crate::render::{Format, Outcome, Renderer};

const EXAMPLES: &str = "\
Examples:
  pykv-cli                                    a prompt, with history and completion
  pykv-cli PUT greeting hello there           one command, then done
  pykv-cli GET greeting
  pykv-cli ALL user: | cut -f1                rows of key, tab, value for other programs
  pykv-cli --json ALL user: | jq keys         or JSON
  pykv-cli < commands.txt                     one command per line
  pykv-cli import store.json                  every pair of a JSON object; .gz as well
  pykv-cli export backup.json.gz
  pykv-cli bench --clients 50 -P 16           how fast the server answers
  pykv-cli -u pykv://db.example:7878 STATS    another server";

const EXITS: &str = "\
With no command: a prompt on a terminal, else commands from standard input, one per line.
Everything after a command's name is data, even if it begins with `-`. `pykv-cli HELP` lists the commands.

Exit status: 0 done (`Key not found` included), 1 the server answered ERR, 2 it could not be talked to, or wrong usage.";

/// A terminal client of `PyKV`.
#[derive(Debug, Parser)]
#[command(
    name = "pykv-cli",
    version,
    about = "The terminal client of PyKV, a key-value server for people who want to see their data.",
    before_help = EXAMPLES,
    after_help = EXITS,
    help_template = "{before-help}{about}\n\n{usage-heading} {usage}\n\n{all-args}{after-help}\n",
    override_usage = "pykv-cli [OPTIONS] [COMMAND [ARGS]...]\n       pykv-cli [OPTIONS] import FILE\n       pykv-cli [OPTIONS] export [FILE]\n       pykv-cli [OPTIONS] bench [OPTIONS]",
    disable_help_subcommand = true,
)]
struct Flags {
    /// The server: pykv://host:port
    #[arg(
        short,
        long,
        env = "PYKV_URL",
        default_value = "pykv://127.0.0.1:7878",
        hide_env_values = true
    )]
    url: String,

    /// Answer in JSON: one document per reply
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Store every pair of a JSON object, such as a store.json
    #[command(alias = "IMPORT")]
    Import {
        /// The file, gzipped or not; `-` is standard input
        file: String,
    },
    /// Write all pairs as one JSON object
    #[command(alias = "EXPORT")]
    Export {
        /// The file, gzipped if its name ends in .gz; standard output if it is left out or `-`
        file: Option<String>,
    },
    /// Measure how fast the server, or one of Redis, answers; it stores keys that begin with `bench:`
    #[command(alias = "BENCH")]
    Bench(bench::Load),
    #[command(external_subcommand)]
    Request(Vec<String>),
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(flags: &Flags) -> Result<Outcome, ClientError> {
    let address: Address = flags.url.parse()?;
    let mut renderer = Renderer::new(BufWriter::new(io::stdout()), Format::of_output(flags.json));
    match &flags.task {
        None if io::stdin().is_terminal() => repl::run(address, renderer),
        None => pipe::run(&mut Connection::open(&address)?, io::stdin(), &mut renderer),
        Some(Task::Import { file }) => {
            connection::heed_interrupts();
            import::run(&mut Connection::open(&address)?, file)
        }
        Some(Task::Export { file }) => {
            connection::heed_interrupts();
            export::run(&mut Connection::open(&address)?, file.as_deref())
        }
        Some(Task::Bench(load)) => bench::run(&address, load, flags.json),
        Some(Task::Request(words)) => {
            let request = request_of(words)?;
            renderer.answer(&mut Connection::open(&address)?, &request)
        }
    }
}

/// The request line of the words of a command line: each word is one argument, whatever it holds. Words beyond a command's
/// last argument belong to it, if it is one that takes the rest of a line.
fn request_of(words: &[String]) -> Result<String, ClientError> {
    let (verb, arguments) = words
        .split_first()
        .expect("clap hands on a command with its name");
    // Only the arguments can be quoted: a verb with a line feed in it would be two requests.
    if verb.is_empty()
        || verb.contains(|character: char| character.is_whitespace() || character.is_control())
    {
        return Err(ClientError::Usage(format!(
            "{verb:?} is not the name of a command; each argument is a word of its own"
        )));
    }
    let rest_at = place_of(verb.as_bytes(), Dialect::Line)
        .and_then(|place| COMMANDS[place].rest_at)
        .filter(|place| *place < arguments.len());
    let (single, rest) = arguments.split_at(rest_at.unwrap_or(arguments.len()));
    let rest = Some(rest.join(" ")).filter(|_| rest_at.is_some());
    let quoted = single.iter().chain(&rest).map(|argument| quote(argument));
    Ok([Cow::Borrowed(verb.as_str())]
        .into_iter()
        .chain(quoted)
        .collect::<Vec<_>>()
        .join(" "))
}

/// Tells a fault with its causes.
fn report(error: &ClientError) {
    let mut text = format!("Error: {}", with_causes(error));
    if matches!(error, ClientError::Connect { .. }) {
        text += "; is pykv-server running?";
    }
    render::tell(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        request_of(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn words_are_quoted_where_the_server_would_read_something_else() {
        for (words, line) in [
            (&["GET", "a"][..], "GET a"),
            (&["GET", "a b"], "GET \"a b\""),
            (&["GET", ""], "GET \"\""),
            (&["PUT", "a", "\"q\""], "PUT a \"\\\"q\\\"\""),
            (&["PUT", "a", "1\nQUIT"], "PUT a \"1\\nQUIT\""),
            (
                &["put", "greeting", "hello", "there"],
                "put greeting \"hello there\"",
            ),
            (&["PUT", "a"], "PUT a"),
            (&["PUT", "a", ""], "PUT a \"\""),
            (&["PUT"], "PUT"),
            (&["DEL", "a", "b c"], "DEL a \"b c\""),
            (&["NOSUCH", "a b"], "NOSUCH \"a b\""),
        ] {
            assert_eq!(request(words).as_deref(), Ok(line));
        }
    }

    #[test]
    fn a_verb_is_one_word() {
        for verb in ["", " ", "PING\nCLEAR", "GET a", "A\u{1b}"] {
            assert!(
                request(&[verb])
                    .expect_err(verb)
                    .contains("is not the name of a command"),
                "{verb:?}"
            );
        }
    }

    #[test]
    fn the_flags_are_well_defined() {
        use clap::CommandFactory as _;
        Flags::command().debug_assert();
    }
}
