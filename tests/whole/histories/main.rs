//! `histories`: many clients, `kill -9` at any moment, and a checker that finds every write that was lost.
//!
//! Goal: what the clients see of each key is linearizable, across all kills: every acknowledged change is there, and nothing
//! else is. Method: the real server under a random load, killed at random moments, at its calls of the system, and while it
//! starts; `checker` decides key by key. Before it is believed, it must find what is wrong with a server that is broken on
//! purpose.
//!
//! In: flags. Out: the seed, the totals in one line, and status 1 after a failure, with the history and the folder. The
//! seed repeats what is asked and when to kill, but not how the threads of the machine run.

mod checker;
mod excerpt;
mod history;
mod load;
#[path = "../../support/server.rs"]
#[allow(dead_code, reason = "tests/main.rs shares it and uses more")]
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};

use history::{Failure, Kind};
use server::{Stopped, is_skipped};

/// What an ordinary run must find out first, and how long each may take. `AcknowledgeEarly` belongs here as soon as the
/// server knows PYKV_BREAK.
const BROKEN: &[Broken] = &[Broken::NoJournal, Broken::AcknowledgeEarly];
const BROKEN_SECONDS: u64 = 10;

/// Looks for writes that kill -9 loses.
#[derive(Parser)]
struct Flags {
    /// How long to look.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// What the random numbers begin with [default: a random one].
    #[arg(long)]
    seed: Option<u64>,
    /// Only look at a server that is broken like this: status 0 if that is found.
    #[arg(long, value_enum)]
    expect_violation: Option<Broken>,
    /// Nothing is done unless "histories" contains one of these, as with other tests.
    filter: Vec<String>,
}

/// A way in which a server loses what it has acknowledged.
#[derive(Clone, Copy, ValueEnum)]
enum Broken {
    /// It writes nothing down.
    NoJournal,
    /// It writes down what it has acknowledged already.
    AcknowledgeEarly,
}

/// What has been done.
#[derive(Default)]
pub struct Totals {
    operations: usize,
    kills: BTreeMap<String, usize>,
    /// Histories of one key, in how many folders.
    histories: usize,
    folders: usize,
    undecided: usize,
    violations: usize,
}

fn main() -> ExitCode {
    let Some(flags) = flags() else {
        return ExitCode::SUCCESS;
    };
    let seed = flags.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("histories: seed {seed}");
    let can_trace = !is_skipped("strace");
    let run = |broken, seconds| look(seed, broken, seconds, can_trace);
    let is_good = match flags.expect_violation {
        Some(broken) => is_found_out(broken, run(Some(broken), flags.seconds)),
        None => {
            let is_found_out = |&broken| is_found_out(broken, run(Some(broken), BROKEN_SECONDS));
            BROKEN.iter().all(is_found_out) && is_well(run(None, flags.seconds), seed)
        }
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The flags, unless others than this test were asked for. What cargo hands to every test is taken and ignored.
fn flags() -> Option<Flags> {
    let mut command = Flags::command();
    for flag in [
        "nocapture",
        "no-capture",
        "quiet",
        "exact",
        "include-ignored",
        "show-output",
        "ignored",
        "list",
    ] {
        command = command.arg(
            Arg::new(flag)
                .long(flag)
                .hide(true)
                .action(ArgAction::SetTrue),
        );
    }
    for option in ["test-threads", "skip", "color", "format"] {
        command = command.arg(Arg::new(option).long(option).hide(true));
    }
    let matches = command
        .mut_arg("quiet", |quiet| quiet.short('q'))
        .get_matches();
    let is_elsewhere = matches.get_flag("ignored") || matches.get_flag("list");
    let flags = Flags::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut filters = flags.filter.iter();
    let is_meant = flags.filter.is_empty() || filters.any(|filter| "histories".contains(filter));
    (is_meant && !is_elsewhere).then_some(flags)
}

/// Histories one after the other until the time is over or one fails.
fn look(
    seed: u64,
    broken: Option<Broken>,
    seconds: u64,
    can_trace: bool,
) -> (Totals, Result<(), Failure>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut totals = Totals::default();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let stopped = folder(broken, &mut random);
        let result = history::run(stopped, random.fork(), end, can_trace, &mut totals);
        if result.is_err() {
            return (totals, result);
        }
    }
    (totals, Ok(()))
}

/// An empty folder for a server that saves by itself as often as it can.
fn folder(broken: Option<Broken>, random: &mut fastrand::Rng) -> Stopped {
    let durability = match broken {
        Some(Broken::NoJournal) => "off",
        _ => ["everysec", "always"][random.usize(..2)],
    };
    let stopped = Stopped::new(&["--durability", durability, "--save-interval", "1"]);
    match broken {
        Some(Broken::AcknowledgeEarly) => stopped.with_env("PYKV_BREAK", "acknowledge-early"),
        _ => stopped,
    }
}

/// Whether the server that is broken on purpose has been found out, and what shows it.
fn is_found_out(broken: Broken, (totals, result): (Totals, Result<(), Failure>)) -> bool {
    let is_found_out = matches!(&result, Err(failure) if failure.kind == Kind::Violation);
    let text = result.map_or_else(|failure| failure.text, |()| "nothing was found".to_owned());
    let value = broken.to_possible_value().expect("none is skipped");
    let negation = if is_found_out { "" } else { "NOT " };
    println!("{text}");
    println!(
        "histories: the server with {} is {negation}found out: {totals}",
        value.get_name()
    );
    is_found_out
}

/// Whether the server has been killed and has done nothing wrong. If it has, its folder is kept.
fn is_well((totals, result): (Totals, Result<(), Failure>), seed: u64) -> bool {
    let is_well = result.is_ok() && totals.histories > 0 && !totals.kills.is_empty();
    if let Err(failure) = result {
        println!("{}\n{}", failure.text, failure.stopped.log());
        println!("histories: kept {}", failure.stopped.keep().display());
    }
    let word = if is_well { "well" } else { "FAILED" };
    println!("histories: {word}, seed {seed}: {totals}");
    is_well
}

impl fmt::Display for Totals {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let kinds: Vec<String> = self
            .kills
            .iter()
            .map(|(how, count)| format!("{how} {count}"))
            .collect();
        write!(
            out,
            "{} operations, {} kills ({}), {} histories checked in {} folders, {} undecided, {} violations",
            self.operations,
            self.kills.values().sum::<usize>(),
            kinds.join(", "),
            self.histories,
            self.folders,
            self.undecided,
            self.violations
        )
    }
}
