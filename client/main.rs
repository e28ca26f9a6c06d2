//! `pykv-cli`: a terminal client of `PyKV`.
//!
//! In: a command on the command line, lines on standard input, or a person at the prompt. Out: replies on standard output,
//! faults on standard error. Promises: a word of the command line reaches the server exactly as it is; the exit status is 0
//! for done, 1 if the server refused something, 2 if it could not be talked to or the program was called wrongly.

mod bench;
mod complete;
mod confirm;
mod connection;
mod error;
mod health;
mod help;
mod known_keys;
mod live;
mod pager;
mod pipe;
mod render;
mod repl;
mod reply;
mod settings;
mod style;
mod table;
mod tools;

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use pykv::command::{COMMANDS, place_of};
use pykv::error::error_chain;
use pykv::protocol::Dialect;
use pykv::protocol::line::quote;

use crate::confirm::Consent;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::live::watch::{self, Watch};
use crate::live::{Rows, latency, stat, top};
use crate::render::{Format, Forms, Outcome, Renderer};
use crate::settings::Server;
use crate::tools::diff::{self, Diff};
use crate::tools::export::{self, Export};
use crate::tools::import::{self, Import};
use crate::tools::keyspace::{self, Keys};

const EXAMPLES: &str = "\
Examples:
  pykv-cli                                    a prompt, with history and completion
  pykv-cli PUT greeting hello there           one command, then done
  pykv-cli GET greeting
  pykv-cli PUT page - < index.html            the value from standard input, as it is
  pykv-cli ALL user: | cut -f1                rows of key, tab, value for other programs
  pykv-cli --json ALL user: | jq keys         or JSON, or --csv
  pykv-cli -r 5 -i 0.5 STATS                  five times, half a second apart
  pykv-cli < commands.txt                     one command per line
  pykv-cli --pipe < commands.resp             as fast as it goes, replies only counted
  pykv-cli import store.json                  every pair of a JSON object; .gz as well
  pykv-cli import redis://db.example:6379     or of a Redis server
  pykv-cli export backup.json.gz              all pairs; .jsonl and .csv as well
  pykv-cli diff backup.json.gz                which keys differ from those of the file
  pykv-cli namespaces                         what takes the room
  pykv-cli top                                the server on one screen; also stat, latency, monitor, watch
  pykv-cli health                             whether all is well, for who watches over it
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
    override_usage = "pykv-cli [OPTIONS] [COMMAND [ARGS]...]\n       pykv-cli [OPTIONS] import FILE\n       pykv-cli [OPTIONS] export [FILE]\n       pykv-cli [OPTIONS] health | bench | completions SHELL | man",
    disable_help_subcommand = true,
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
struct Flags {
    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    forms: Forms,

    /// Tell how long each answer took
    #[arg(long)]
    time: bool,

    /// Show long answers at once, and not in a pager
    #[arg(long)]
    no_pager: bool,

    /// Ask for a command so many times; 0: until Ctrl-C
    #[arg(short, long, value_name = "TIMES", default_value_t = 1)]
    repeat: u64,

    /// So many seconds between one time and the next
    #[arg(short, long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    interval: f64,

    /// Delete much without asking
    #[arg(long)]
    force: bool,

    /// Send standard input as it is, lines or RESP, and count the replies
    #[arg(long)]
    pipe: bool,

    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Store every pair of a file (JSON, JSON lines, CSV) or of another server
    #[command(alias = "IMPORT")]
    Import(Import),
    /// Write all pairs to a file (JSON, JSON lines, CSV) or to another server
    #[command(alias = "EXPORT")]
    Export(Export),
    /// Tell which keys differ on two servers, or on a server and in a file
    Diff(Diff),
    /// List keys as they come
    #[command(name = "scan")]
    Scan(Keys),
    /// List the longest values
    Bigkeys(Keys),
    /// List namespaces with their keys and bytes, as bars
    Namespaces(Keys),
    /// Show the server on one screen, live
    Top,
    /// Tell a row of figures each second, or as -i says
    Stat(Rows),
    /// Tell how long a PING takes, each second, or as -i says
    Latency(Rows),
    /// Show every request that the server executes
    Monitor,
    /// Show the changes of keys as they are made
    Watch(Watch),
    /// Tell whether the server does all that it promises
    Health,
    /// Measure how fast the server, or one of Redis, answers; it stores keys that begin with `bench:`
    #[command(alias = "BENCH")]
    Bench(bench::Load),
    /// Write what lets a shell complete this program's words
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual page, for man
    Man,
    #[command(external_subcommand)]
    Request(Vec<String>),
}

/// A number of seconds that can be waited.
fn seconds(text: &str) -> Result<f64, String> {
    const DAY: f64 = 86_400.0;
    match text.parse() {
        Ok(seconds) if (0.0..=DAY).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0 to 86400 is needed".to_owned()),
    }
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
    match &flags.task {
        Some(Task::Completions { shell }) => {
            clap_complete::generate(*shell, &mut Flags::command(), "pykv-cli", &mut io::stdout());
            return Ok(Outcome::Done);
        }
        Some(Task::Man) => {
            let manual = clap_mangen::Man::new(Flags::command());
            manual
                .render(&mut io::stdout())
                .map_err(ClientError::output)?;
            return Ok(Outcome::Done);
        }
        _ => {}
    }
    let format = Format::of_output(flags.forms);
    let out = BufWriter::new(io::stdout());
    let mut renderer = Renderer::new(out, format, !flags.no_pager);
    renderer.is_timed = flags.time;
    if let Some(Task::Request(words)) = &flags.task
        && words[0].eq_ignore_ascii_case("HELP")
    {
        // No server is needed for that.
        let topic = words.get(1).map(String::as_str);
        return renderer.local("HELP", &help::lines(topic));
    }
    let address = flags.server.address()?;
    let open = || Connection::open(&address);
    if !matches!(&flags.task, None | Some(Task::Request(_) | Task::Bench(_))) {
        connection::heed_interrupts();
    }
    match &flags.task {
        None if flags.pipe => pipe::insert(&mut open()?, io::stdin()),
        None if io::stdin().is_terminal() => repl::run(&address, renderer, flags.force),
        None => pipe::run(&mut open()?, io::stdin(), &mut renderer),
        Some(Task::Import(asked)) => import::run(&address, asked),
        Some(Task::Export(asked)) => export::run(&address, asked),
        Some(Task::Diff(asked)) => diff::run(&address, asked),
        Some(Task::Scan(asked)) => keyspace::scan(&address, asked, format),
        Some(Task::Bigkeys(asked)) => keyspace::bigkeys(&address, asked, format),
        Some(Task::Namespaces(asked)) => keyspace::namespaces(&address, asked, format),
        Some(Task::Top) => top::run(&address, live::interval(flags.interval)),
        Some(Task::Stat(rows)) => {
            stat::run(&mut open()?, rows, live::interval(flags.interval), format)
        }
        Some(Task::Latency(rows)) => {
            latency::run(&mut open()?, rows, live::interval(flags.interval))
        }
        Some(Task::Monitor) => match renderer.answer(&mut open()?, "MONITOR") {
            // Whoever watches has seen enough.
            Err(error) if error.is_interrupt() => Ok(Outcome::Done),
            ended => ended,
        },
        Some(Task::Watch(asked)) => watch::run(&mut open()?, asked),
        Some(Task::Health) => health::run(&mut open()?, format),
        Some(Task::Bench(load)) => bench::run(&address, load, flags.forms.json),
        Some(Task::Request(words)) => ask(flags, &mut renderer, &mut open()?, words),
        Some(Task::Completions { .. } | Task::Man) => unreachable!("it has been done"),
    }
}

/// Asks for one command, as often as that is wanted.
fn ask<W: Write>(
    flags: &Flags,
    renderer: &mut Renderer<W>,
    connection: &mut Connection,
    words: &[String],
) -> Result<Outcome, ClientError> {
    let request = request_of(&with_input(words)?)?;
    if confirm::consent(connection, &request, flags.force, false)? == Consent::Refused {
        render::tell("Nothing was done.");
        return Ok(Outcome::Done);
    }
    if flags.repeat == 1 {
        return renderer.answer(connection, &request);
    }
    connection::heed_interrupts();
    let mut outcome = Outcome::Done;
    let mut left = flags.repeat;
    loop {
        if renderer.answer(connection, &request)? == Outcome::Refused {
            outcome = Outcome::Refused;
        }
        left = left.wrapping_sub(1);
        if left == 0 || !connection::pause(Duration::from_secs_f64(flags.interval)) {
            return Ok(outcome);
        }
    }
}

/// The words of a command, standard input in the place of a last one that is `-`: what a value may be.
fn with_input(words: &[String]) -> Result<Cow<'_, [String]>, ClientError> {
    let takes_value = words.first().and_then(|verb| help::command(verb));
    let takes_value = takes_value.is_some_and(|command| command.usage.contains("<value>"));
    if !takes_value || words.len() < 3 || words.last().is_none_or(|word| word != "-") {
        return Ok(Cow::Borrowed(words));
    }
    let mut value = Vec::new();
    let read = io::stdin().read_to_end(&mut value);
    read.map_err(ClientError::file("read", "standard input"))?;
    let value = String::from_utf8(value).map_err(|_| {
        let reason = "standard input is no text (UTF-8), and a line carries text only: store it by HTTP or a Redis client";
        ClientError::Usage(reason.to_owned())
    })?;
    let mut words = words.to_vec();
    *words.last_mut().expect("there are three") = value;
    Ok(Cow::Owned(words))
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
    let mut text = format!("Error: {}", error_chain(error));
    if matches!(error, ClientError::Connect { .. }) {
        text += "; is pykv-server running?";
    }
    render::tell_fault(&text);
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
        Flags::command().debug_assert();
    }
}
