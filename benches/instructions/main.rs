//! How many instructions a request takes, from its bytes to its reply: a figure that is the same on every run and every
//! machine of a kind, so that a change which makes it dearer is seen at once, and by itself.
//!
//! In: nothing; needs Debian's valgrind. Out: a table of instructions for each request, beside the most that each may take; status
//! 1 if one takes more. Method: callgrind counts this program twice, with many requests and with few; the difference is theirs.
//!
//!     cargo bench --bench instructions

#[path = "../common/requests.rs"]
mod requests;
#[path = "../common/script.rs"]
mod script;

use std::hint::black_box;
use std::process::{Command, ExitCode};

use pykv::engine::Eviction;
use pykv::model::Database;
use pykv::persistence::Durability;

use requests::{
    Caller, PIPELINE, Request, batch, input_of, key, resp_get, resp_set, served, value,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: usize = 10_000;
const FEW_BATCHES: usize = 100;
const MANY_BATCHES: usize = 1100;

/// What is counted: its name, its requests, whether they are executed, and the most instructions that one may take. Raise a
/// limit only for something that is worth it to every user; lower it when something has become cheaper.
const CASES: &[(&str, Request, Way, u64)] = &[
    ("read RESP GET", resp_get, Way::Read, 470),
    ("read RESP SET", resp_set, Way::Read, 565),
    ("read line GET", line_get, Way::Read, 585),
    ("read line PUT", line_put, Way::Read, 745),
    ("RESP GET", resp_get, Way::Execute(Durability::Off), 1460),
    ("RESP SET", resp_set, Way::Execute(Durability::Off), 1640),
    (
        "RESP SET, recorded",
        resp_set,
        Way::Execute(Durability::EverySecond),
        2710,
    ),
    ("line GET", line_get, Way::Execute(Durability::Off), 1680),
    ("line PUT", line_put, Way::Execute(Durability::Off), 1800),
    (
        "RESP GET, lru cap",
        resp_get,
        Way::Capped(Eviction::AllKeysLru),
        1460,
    ),
    (
        "RESP GET, lfu cap",
        resp_get,
        Way::Capped(Eviction::AllKeysLfu),
        1460,
    ),
    (
        "RESP GET, smart cap",
        resp_get,
        Way::Capped(Eviction::AllKeysSmart),
        1460,
    ),
    (
        "RESP EVAL",
        resp_eval,
        Way::Execute(Durability::Off),
        17_500,
    ),
    ("RESP GET alone", resp_get, Way::Alone, 2500),
    ("RESP SET alone", resp_set, Way::Alone, 2720),
];

/// How far requests are taken.
#[derive(Clone, Copy)]
enum Way {
    /// They are read and looked up in the table of commands.
    Read,
    /// They are executed, with this durability; nothing is written to a file.
    Execute(Durability),
    /// They are executed without a journal, under a cap that is not reached, with this policy of eviction.
    Capped(Eviction),
    /// They are executed one at a time, without a journal.
    Alone,
}

impl Way {
    /// Number of requests that arrive together.
    fn pipeline(self) -> usize {
        match self {
            Self::Read | Self::Execute(_) | Self::Capped(_) => PIPELINE,
            Self::Alone => 1,
        }
    }
}

fn line_get(number: usize) -> String {
    format!("GET {}\n", key(number))
}

fn line_put(number: usize) -> String {
    format!("PUT {} {}\n", key(number), value())
}

/// A script that releases a lock which somebody else has.
fn resp_eval(number: usize) -> String {
    let mut text = String::new();
    script::add_request(&mut text, &key(number));
    text
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, case, batches] = &*arguments
        && word == "--work"
    {
        let case: usize = case.parse().expect("the number of a case");
        work(case, batches.parse().expect("a number of batches"));
        return ExitCode::SUCCESS;
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs this, too, unoptimized.
        println!("instructions: nothing is counted but by `cargo bench --bench instructions`");
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is missing: install Debian's package valgrind");
        return ExitCode::FAILURE;
    }
    println!(
        "{:20} {:>12} {:>8}",
        "instructions for a", "each", "at most"
    );
    let mut is_dearer = false;
    for (case, (name, _, _, most)) in CASES.iter().enumerate() {
        let requests = ((MANY_BATCHES - FEW_BATCHES) * PIPELINE) as u64;
        let each = (counted(case, MANY_BATCHES) - counted(case, FEW_BATCHES)) / requests;
        let verdict = if each > *most { "  too many" } else { "" };
        is_dearer |= each > *most;
        println!("{name:20} {each:>12} {most:>8}{verdict}");
    }
    if is_dearer {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The instructions of this program when it makes so many batches of a case.
fn counted(case: usize, batches: usize) -> u64 {
    let this = std::env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--work", &case.to_string(), &batches.to_string()])
        .output()
        .expect("valgrind is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let total = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, total)| total.trim().parse().ok());
    total.unwrap_or_else(|| panic!("callgrind has not told a total: {said}"))
}

fn work(case: usize, batches: usize) {
    let (_, request, way, _) = CASES[case];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut caller = match way {
        Way::Read => None,
        Way::Execute(_) | Way::Capped(_) | Way::Alone => {
            let (durability, eviction) = match way {
                Way::Execute(durability) => (durability, None),
                Way::Capped(eviction) => (Durability::Off, Some(eviction)),
                Way::Read | Way::Alone => (Durability::Off, None),
            };
            let service = served(folder.path(), durability, eviction);
            let mut caller = Caller::new(&service);
            for first in (0..KEYS).step_by(PIPELINE) {
                caller.execute(&of_keys(resp_set, first, PIPELINE));
            }
            Some((service, caller))
        }
    };
    // Made before, so that it is not counted.
    let pipeline = way.pipeline();
    let made: Vec<String> = (0..KEYS)
        .step_by(pipeline)
        .map(|first| of_keys(request, first, pipeline))
        .collect();
    for sent in made.iter().cycle().take(batches * PIPELINE / pipeline) {
        match &mut caller {
            Some((service, caller)) => {
                if let Way::Capped(_) = way {
                    // As the server does every few milliseconds: the first use of a pair in a tick is recorded.
                    service.memory_cap().note_time();
                }
                black_box(caller.execute(sent));
            }
            None => {
                let mut input = input_of(sent);
                let arrived = black_box(input.batch(Database::default(), false));
                assert_eq!(arrived.requests.len(), PIPELINE);
                arrived.release();
            }
        }
    }
}

fn of_keys(request: Request, first: usize, count: usize) -> String {
    batch(request, (first..first + count).map(|number| number % KEYS))
}
