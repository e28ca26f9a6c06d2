//! The same requests, made by chance, to a local server and to one over a cluster: the same replies, but for what one table explains.
//!
//! In: how the scenario is run, and `PYKV_COMPARISON_SEED` for plays that have failed. Out: how much was compared, or the first replies
//! that differ, of each kind one, with the seed of its play.

mod differences;
mod on_keys;
mod play;
mod pools;
#[path = "../../whole/comparison/reply.rs"]
#[allow(dead_code, reason = "whole/comparison/ shares it and uses more")]
mod reply;
mod requests;
mod wire;

use std::collections::BTreeMap;

use pykv::command::{COMMANDS, Clustered, Command, Scope};

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::server::TestServer;
use differences::DIFFERENCES;
use play::{Count, Play, Tally};
use requests::Requests;
use wire::Wire;

/// How many requests are sent, and how many of them in one play.
const REQUESTS: usize = 3_000;
const LONG_REQUESTS: usize = 200_000;
const PLAY_REQUESTS: usize = 100;
/// How many kinds of failures are enough.
const FAILURES_MAX: usize = 20;

/// Letters by which the kind of a failure is told.
const KIND_LETTERS: usize = 24;

/// The dialects in turn.
const WIRES: [Wire; 4] = [Wire::Line, Wire::Resp2, Wire::Line, Wire::Resp3];

/// Plays until so many requests were compared.
pub fn comparison(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server is asked".to_owned());
    }
    let cluster = setup.cluster(3, 0);
    let pykv = Pykv::start(&cluster, &["--durability", "fast", "--split-multi-key"]);
    let local = TestServer::start();
    let servers = [local.addr(), pykv.addr()];
    let requests = if setup.is_long {
        LONG_REQUESTS
    } else {
        REQUESTS
    };
    let seed = std::env::var("PYKV_COMPARISON_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000) * 4);
    let mut tally = Tally::default();
    let mut failures: BTreeMap<String, String> = BTreeMap::new();
    let mut play_seed = seed;
    while compared(&tally) < requests && failures.len() < FAILURES_MAX {
        // The dialect is that of the seed, so that a play can be repeated alone.
        let wire = WIRES[usize::try_from(play_seed % 4).unwrap_or(0)];
        let mut random = fastrand::Rng::with_seed(play_seed);
        let steps = Requests::steps(&mut random, wire, PLAY_REQUESTS);
        let play = Play::new(servers, wire, &mut tally);
        let play = play.map_err(|error| format!("a server takes no client: {error}"))?;
        if let Err(failure) = play.run(&steps) {
            let kind = kind_of(&failure);
            let shown = format!("seed {play_seed}, {wire:?}: {failure}");
            failures.entry(kind).or_insert(shown);
            // A failure counts for the requests that it has left out.
            tally.commands.entry("(failed)").or_default().same += PLAY_REQUESTS;
        }
        play_seed += 1;
    }
    tally.commands.remove("(failed)");
    if setup.is_long {
        show(&tally);
    }
    let explained: usize = tally.reasons.values().sum();
    let figures = format!(
        "{} requests from seed {seed} on, {explained} of them answered otherwise {:?}, {} kinds of failures",
        compared(&tally),
        tally.reasons,
        failures.len()
    );
    if pykv.log().contains("panicked at") {
        return Err(format!("{figures}\n{}", pykv.log()));
    }
    let mut failures: Vec<String> = failures.into_values().collect();
    let unused = DIFFERENCES
        .iter()
        .filter(|row| setup.is_long && !tally.reasons.contains_key(row.reason));
    failures.extend(unused.map(|row| format!("no reply differs because of: {}", row.reason)));
    if failures.is_empty() {
        return Ok(figures);
    }
    Err(format!("{figures}\n{}", failures.join("\n")))
}

/// What failures of one kind have in common: the verb, and the letters with which both replies begin.
fn kind_of(failure: &str) -> String {
    let verb = failure.split_whitespace().next().unwrap_or_default();
    let letters = failure.lines().skip(1).take(2).map(|line| {
        let letters = line.chars().filter(char::is_ascii_alphabetic);
        letters.take(KIND_LETTERS).collect::<String>()
    });
    let letters: Vec<String> = letters.collect();
    format!("{} {letters:?}", verb.to_ascii_uppercase())
}

fn compared(tally: &Tally) -> usize {
    let counts = tally.commands.values();
    counts.map(|count| count.same + count.explained).sum()
}

/// Prints how often each command was compared.
fn show(tally: &Tally) {
    println!(
        "{:<14} {:<10} {:>8} {:>9}",
        "command", "execution", "same", "otherwise"
    );
    for (name, Count { same, explained }) in &tally.commands {
        let mut rows = COMMANDS.iter().copied();
        let command = rows.find(|command| command.name == *name);
        let execution = command.map_or("", execution);
        println!("{name:<14} {execution:<10} {same:>8} {explained:>9}");
    }
}

/// How a command is executed over a cluster, in the words of protocol.md.
fn execution(command: &Command) -> &'static str {
    match (command.clustered, command.scope) {
        (Clustered::Native { .. }, _) => "native",
        (Clustered::Emulated, _) | (_, Scope::Queued) => "emulated",
        (Clustered::Refused(..), _) => "refused",
        (Clustered::Whole, _) => "whole",
        (Clustered::Here, _) => "here",
    }
}
