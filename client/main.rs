//! `pykv-cli`: the terminal client of `PyKV`.
//!
//! In: a command on the command line, lines on standard input, or a user at the prompt. Out: replies on standard output, errors on standard
//! error. Promises: a word of the command line reaches the server unchanged; the exit status is 0 for success, 1 if the server refused
//! something, 2 if it could not be reached or the usage or the input is wrong, 3 if `--raw` finds no value.
//!
//! A command goes down this list and its reply comes back up. No module names one on a line above its own, and no file one that names
//! it; `tests/whole/house` reads this list and checks every file.
//!
//! ```text
//! main                            flags -> a task; its outcome -> the exit status
//! prompt                          lines with history, completion and hints
//! tool                            the tools, by name
//! bench bulk live pipe tools      one task each, from its flags to its output
//! render                          replies -> tables, plain rows, JSON or CSV
//! confirm known_keys request      confirmation, keys for completion, requests with their commands
//! help settings pager progress    the command table, choice of the server, long output, bars
//! connection input                requests -> replies, one after the other; an input -> requests
//! error                           failures, and the exit status of each
//! stream                          bytes to a server and back
//! tls                             sessions of TLS: whom to trust, records
//! address reply format place      addresses of servers, lines of replies, forms of output, places of an input
//! deadline question               the time that a server has to answer; questions to the user
//! interrupt terminal style units  Ctrl-C; text for terminals: safe, coloured, in units
//! ```

mod address;
mod bench;
mod bulk;
mod confirm;
mod connection;
mod deadline;
mod error;
mod format;
mod help;
mod input;
mod interrupt;
mod known_keys;
mod live;
mod pager;
mod pipe;
mod place;
mod progress;
mod prompt;
mod question;
mod render;
mod reply;
mod request;
mod settings;
mod stream;
mod style;
mod terminal;
mod tls;
mod tool;
mod tools;
mod units;

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use pykv::model::VALUE_BYTES_MAX;
use pykv::protocol::line::{LINE_BYTES_MAX, quote};

use crate::confirm::{Confirmation, confirm};
use crate::connection::Connection;
use crate::error::{ClientError, Outcome, report};
use crate::format::FormatFlags;
use crate::live::rows::interval;
use crate::render::Renderer;
use crate::request::Request;
use crate::settings::{Server, seconds};
use crate::terminal::tell;
use crate::tool::Tool;

const EXAMPLES: &str = "\
Examples:
  pykv-cli                                    prompt with history and completion
  pykv-cli PUT greeting hello there           one command
  pykv-cli GET greeting
  pykv-cli PUT page - < index.html            value from standard input, any bytes
  pykv-cli --raw GET page > index.html        the same bytes again
  pykv-cli ALL user: | cut -f1                rows of key, tab and value
  pykv-cli --json ALL user: | jq keys         JSON
  pykv-cli --csv ALL user: > users.csv        CSV, for a spreadsheet or `import`
  pykv-cli -r 5 -i 0.5 STATS                  repeat 5 times, every 0.5 s
  pykv-cli < commands.txt                     one command per line
  pykv-cli --pipe < commands.resp             bulk load; replies are only counted
  pykv-cli import store.json                  all pairs of a file; also .jsonl, .csv, .gz
  pykv-cli import redis://db.example:6379     or of a Redis server
  pykv-cli export backup.json.gz              all pairs; also .jsonl, .csv
  pykv-cli diff backup.json.gz                keys that differ from the file
  pykv-cli namespaces                         keys and bytes per namespace
  pykv-cli top                                live screen; also stat, latency, monitor, watch
  pykv-cli health                             health check for monitoring
  pykv-cli -u pykv://a,b,c cluster            members of a cluster, and who leads
  pykv-cli bench --clients 50 -P 16           throughput and latency
  pykv-cli -u pykv://db.example:7878 STATS    another server; pykvs:// with TLS";

const EXITS: &str = "\
Without a command: a prompt on a terminal, else commands from standard input, one per line. An input that ends inside a
request is cut: that request is not sent (a last line without a line feed only if it changes nothing and not with --pipe).
Everything after the name of a command is data, even if it begins with `-`. `pykv-cli HELP` lists the commands.

Exit status: 0 success (`Key not found` included), 1 error reply, broken file of an import, a difference (diff) or a reason (health),
2 server not reachable or silent, wrong usage, an output that cannot be written or an input of requests that is cut, 3 no such key, with
--raw, 130 Ctrl-C.";

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
    format: FormatFlags,

    /// Show the duration of each reply
    #[arg(long)]
    time: bool,

    /// Do not show long replies in a pager
    #[arg(long)]
    no_pager: bool,

    /// Repeat the command N times; 0: until Ctrl-C
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    repeat: u64,

    /// Interval of --repeat [default: 0], and of top, stat and latency [default: 1]
    #[arg(short, long, value_name = "SECONDS", default_value_t = 0.0, hide_default_value = true, value_parser = seconds)]
    interval: f64,

    /// Run dangerous commands without confirmation
    #[arg(long)]
    force: bool,

    /// Bulk load: send the requests of standard input, lines or RESP, and count the replies
    #[arg(long)]
    pipe: bool,

    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    #[command(flatten)]
    Tool(Tool),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
    #[command(external_subcommand)]
    Request(Vec<String>),
}

fn main() -> ExitCode {
    style::respect_no_color();
    match parsed().and_then(|flags| run(&flags)) {
        Ok(outcome) => ExitCode::from(outcome.exit_status()),
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(error.exit_status())
        }
    }
}

/// Parses the command line. Prints errors, help and the version, and exits then.
///
/// # Errors
/// [`ClientError::File`] if standard output takes no help.
fn parsed() -> Result<Flags, ClientError> {
    Flags::try_parse().map_err(|error| {
        let printed = error.print().and_then(|()| io::stdout().flush());
        match printed {
            // Behind standard error there is nowhere to report to.
            Err(failure) if !error.use_stderr() => ClientError::output(failure),
            _ => std::process::exit(error.exit_code()),
        }
    })
}

/// Prints a text, which is all that there is to do.
fn print_only(text: &[u8]) -> Result<Outcome, ClientError> {
    let mut out = io::stdout().lock();
    out.write_all(text)
        .and_then(|()| out.flush())
        .map_err(ClientError::output)?;
    Ok(Outcome::Done)
}

fn run(flags: &Flags) -> Result<Outcome, ClientError> {
    let mut text = Vec::new();
    match &flags.task {
        Some(Task::Completions { shell }) => {
            clap_complete::generate(*shell, &mut Flags::command(), "pykv-cli", &mut text);
            return print_only(&text);
        }
        Some(Task::Man) => {
            let manual = clap_mangen::Man::new(Flags::command());
            manual.render(&mut text).expect("memory takes everything");
            return print_only(&text);
        }
        _ => {}
    }
    let format = flags.format.format();
    let out = BufWriter::new(io::stdout());
    let mut renderer = Renderer::new(out, format, !flags.no_pager);
    renderer.is_timed = flags.time;
    if let Some(Task::Request(words)) = &flags.task
        && words[0].eq_ignore_ascii_case("HELP")
    {
        // Help needs no server.
        return renderer.help(words.get(1).map(String::as_str));
    }
    let address = flags.server.address()?;
    let open = || Connection::open(&address);
    match &flags.task {
        None if flags.pipe => bulk::run(&mut open()?, io::stdin()),
        None if io::stdin().is_terminal() => prompt::run(&address, renderer, flags.force),
        None => pipe::run(&mut open()?, io::stdin(), &mut renderer),
        Some(Task::Tool(tool)) => tool.run(&address, format, interval(flags.interval)),
        Some(Task::Request(words)) => ask(flags, &mut renderer, &mut open()?, words),
        Some(Task::Completions { .. } | Task::Man) => unreachable!("handled before"),
    }
}

/// Sends one command, repeatedly with `--repeat`.
fn ask<W: Write>(
    flags: &Flags,
    renderer: &mut Renderer<W>,
    connection: &mut Connection,
    words: &[String],
) -> Result<Outcome, ClientError> {
    let request = match input_place(words) {
        Some(place) => input_request(words, place)?,
        None => Request::Line(request_of(words)?),
    };
    if let Request::Line(line) = &request
        && confirm(connection, line, flags.force, false)? == Confirmation::Refused
    {
        tell("Nothing was done.");
        return Ok(Outcome::Done);
    }
    if flags.repeat == 1 {
        renderer.is_only_reply = true;
        return renderer.answer(connection, &request);
    }
    interrupt::catch();
    let mut outcome = Outcome::Done;
    let mut left = flags.repeat;
    loop {
        outcome = outcome.max(renderer.answer(connection, &request)?);
        left = left.wrapping_sub(1);
        if left == 0 || !interrupt::sleep(Duration::from_secs_f64(flags.interval)) {
            return Ok(outcome);
        }
    }
}

/// Returns the place of the word `-` that stands for standard input: the value of a command, or the last one.
fn input_place(words: &[String]) -> Option<usize> {
    let command = help::command(words.first()?)?;
    let first = command
        .usage
        .split(' ')
        .position(|word| word == "<value>")?
        + 1;
    // Where the value takes the rest of the line, `-` may be a word of it.
    let is_whole = command.rest_at.is_none_or(|rest| rest + 2 == words.len());
    let is_input = |place: &usize| words.get(*place).is_some_and(|word| word == "-");
    let mut places = [first, (words.len() - 1).max(first)].into_iter();
    places.find(is_input).filter(|_| is_whole)
}

/// Returns the request of some words, one of which stands for standard input: as a line where one can carry it, else in RESP.
fn input_request(words: &[String], place: usize) -> Result<Request, ClientError> {
    let mut value = Vec::new();
    // One byte more tells that there is more; the rest stays where it is.
    let mut input = io::stdin().take(VALUE_BYTES_MAX as u64 + 1);
    let read = input.read_to_end(&mut value);
    read.map_err(ClientError::file("read", "standard input"))?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(ClientError::Usage(format!(
            "standard input has more than the {VALUE_BYTES_MAX} bytes that a value may have; nothing was sent"
        )));
    }
    if let Ok(text) = std::str::from_utf8(&value) {
        let mut words = words.to_vec();
        text.clone_into(&mut words[place]);
        let line = request_of(&words)?;
        if line.len() <= LINE_BYTES_MAX {
            return Ok(Request::Line(line));
        }
    }
    let mut words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    words[place] = &value;
    Ok(Request::in_resp(&words))
}

/// Returns the request line of some words. Each is one argument, whatever it contains; words beyond the last argument of a command belong
/// to that argument if it takes the rest of a line.
fn request_of(words: &[String]) -> Result<String, ClientError> {
    let (verb, arguments) = words
        .split_first()
        .expect("clap hands on a command with its name");
    // A verb cannot be quoted: one with a line feed would be two requests.
    if verb.is_empty()
        || verb.contains(|character: char| character.is_whitespace() || character.is_control())
    {
        return Err(ClientError::Usage(format!(
            "{verb:?} is not the name of a command; each argument is a word of its own"
        )));
    }
    let rest_at = help::command(verb)
        .and_then(|command| command.rest_at)
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
    fn the_flags_are_consistent() {
        Flags::command().debug_assert();
    }
}
