//! The examples of protocol.md, played on the server over a cluster.
//!
//! In: protocol.md. Out: how many examples are answered as they stand there, and how many otherwise, for a reason that is known. An
//! example whose reply differs for no such reason, or that is said to differ and does not, fails.

use std::collections::{BTreeMap, BTreeSet};

use pykv::command::{COMMANDS, Clustered, Dialects};

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::server::TestClient;

const LAW: &str = include_str!("../../protocol.md");

/// What a reply to a command on all pairs says within a transaction.
const NOT_IN_A_TRANSACTION: &str = "where a cluster has the data";

/// A request that is answered otherwise over a cluster.
struct Exception {
    /// The heading of the chapter that has the example.
    chapter: &'static str,
    request: &'static str,
    /// The beginnings that the reply over a cluster may have.
    actual: &'static [&'static str],
    #[allow(dead_code, reason = "for whoever reads the list")]
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        chapter: "#### `FOLLOW <prefix> [FROM <revision>]`",
        request: "UNFOLLOW",
        actual: &["ERR NO_FEED "],
        reason: "it is the reply to FOLLOW, which the example passes over",
    },
    Exception {
        chapter: "#### `MEMORY USAGE <key> [SAMPLES <number>] | STATS | DOCTOR | MALLOC-STATS | PURGE`",
        request: "MEMORY USAGE name",
        actual: &["COUNT "],
        reason: "a node tells what its own memory is",
    },
    Exception {
        chapter: "#### `OBJECT ENCODING <key> | REFCOUNT <key> | IDLETIME <key> | FREQ <key>`",
        request: "OBJECT IDLETIME age",
        actual: &["COUNT "],
        reason: "a node keeps it without a cap on memory, too",
    },
    Exception {
        chapter: "#### `STATS`",
        request: "STATS",
        actual: &["END ", "STAT data_bytes null"],
        reason: "the number of keys is that of the last second, and nodes do not tell their bytes of data",
    },
];

/// An example, and the heading above it.
struct Example {
    chapter: &'static str,
    text: &'static str,
}

/// A reply that is not the one of the example.
struct Difference {
    request: String,
    expected: String,
    actual: String,
}

/// Plays all examples.
pub fn examples(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server is asked".to_owned());
    }
    let cluster = setup.cluster(3, 0);
    let pykv = Pykv::start(&cluster, &["--durability", "fast", "--split-multi-key"]);
    let examples = examples_of(LAW);
    let mut failures = Vec::new();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut met = BTreeSet::new();
    for example in &examples {
        let cleared = pykv.line_connection().ask("CLEAR");
        assert_eq!(cleared, "OK", "CLEAR");
        let Err(difference) = play(pykv.line_connection(), example.text) else {
            continue;
        };
        let listed = EXCEPTIONS.iter().position(|exception| {
            exception.chapter == example.chapter
                && exception.request == difference.request
                && (exception.actual.iter()).any(|actual| difference.actual.starts_with(actual))
        });
        met.extend(listed);
        let reason = refusal(&difference).or(listed.map(|_| "listed"));
        match reason {
            Some(reason) => *reasons.entry(reason).or_default() += 1,
            None => failures.push(format!(
                "{}: {} is answered {:?}, not {:?}, in\n{}",
                example.chapter,
                difference.request,
                difference.actual,
                difference.expected,
                example.text
            )),
        }
    }
    let unmet = EXCEPTIONS.iter().enumerate();
    let unmet = unmet.filter(|(place, _)| !met.contains(place));
    failures.extend(unmet.map(|(_, exception)| {
        format!(
            "{}: {} is said to differ, and does not",
            exception.chapter, exception.request
        )
    }));
    let differing: usize = reasons.values().sum();
    let figures = format!(
        "{} examples, {} as they stand, {reasons:?}, {} failures",
        examples.len(),
        examples.len() - differing - failures.len(),
        failures.len()
    );
    if pykv.log().contains("panicked at") {
        return Err(format!("{figures}\n{}", pykv.log()));
    }
    if failures.is_empty() && differing < examples.len() {
        return Ok(figures);
    }
    Err(format!(
        "{figures}\n{}\n{}",
        failures.join("\n"),
        pykv.log()
    ))
}

fn examples_of(law: &'static str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut chapter = "";
    let mut place = 0;
    for line in law.split_inclusive('\n') {
        place += line.len();
        if line.starts_with('#') {
            chapter = line.trim();
        }
        if line.trim_end() == "```pykv" {
            let text = law[place..].split("\n```").next();
            examples.push(Example {
                chapter,
                text: text.expect("a block has an end"),
            });
        }
    }
    examples
}

/// Why a reply over a cluster may differ, if its error says so and its command may have it.
fn refusal(difference: &Difference) -> Option<&'static str> {
    let verb = difference.request.split(' ').next().unwrap_or_default();
    let mut rows = COMMANDS.iter();
    let command = rows.find(|command| {
        command.dialects != Dialects::Resp && command.name.eq_ignore_ascii_case(verb)
    })?;
    let actual = &*difference.actual;
    let is_refused = matches!(command.clustered, Clustered::Refused(..));
    if actual.starts_with("ERR CROSS_SLOT ") {
        return Some("CROSS_SLOT");
    }
    if actual.starts_with("ERR NO_FEED ") && is_refused {
        return Some("NO_FEED");
    }
    if actual.starts_with("ERR DENIED a cluster has the data") && is_refused {
        return Some("DENIED");
    }
    let is_queued = actual.starts_with("ERR ARGS ") && actual.ends_with(NOT_IN_A_TRANSACTION);
    (is_queued && command.is_on_keyspace()).then_some("not in a transaction")
}

/// Plays one example up to the first reply that differs: those after it may differ for the same reason.
fn play(mut client: TestClient, example: &str) -> Result<(), Difference> {
    let mut lines = example.lines().peekable();
    let mut request = "";
    let differs = |request: &str, expected: &str, actual: Option<String>| Difference {
        request: request.to_owned(),
        expected: expected.to_owned(),
        actual: actual.unwrap_or_else(|| "nothing".to_owned()),
    };
    while let Some(line) = lines.next() {
        if let Some(sent) = line.strip_prefix("C: ") {
            request = sent;
            client.send(sent);
        } else if line == "S: ..." {
            let expected = lines.next_if(|line| line.starts_with("S: "));
            let expected = expected.map(|line| &line[3..]);
            loop {
                let reply = client.try_reply();
                let is_it = |reply: &String| match expected {
                    Some(expected) => reply == expected,
                    None => reply.starts_with("END "),
                };
                if reply.as_ref().is_some_and(is_it) {
                    break;
                }
                let is_last =
                    |reply: &String| reply.starts_with("END ") || reply.starts_with("ERR ");
                if reply.as_ref().is_none_or(is_last) {
                    return Err(differs(request, expected.unwrap_or("END"), reply));
                }
            }
        } else if let Some(expected) = line.strip_prefix("S: ") {
            let reply = client.try_reply();
            let is_it = |reply: &String| match expected.strip_suffix("...") {
                Some(beginning) => reply.starts_with(beginning),
                None => reply == expected,
            };
            if !reply.as_ref().is_some_and(is_it) {
                return Err(differs(request, expected, reply));
            }
        } else {
            panic!("{line:?} begins with neither `C: ` nor `S: `");
        }
    }
    if example.contains("C: QUIT") || example.contains("S: ERR DENIED") {
        let rest = client.rest();
        if !rest.is_empty() {
            return Err(differs(request, "the end of the connection", Some(rest)));
        }
        return Ok(());
    }
    let pong = client.try_ask("PING");
    if pong.as_deref() == Some("PONG") {
        Ok(())
    } else {
        Err(differs(request, "nothing more", pong))
    }
}
