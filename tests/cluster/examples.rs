//! The examples of protocol.md, played over a cluster.
//!
//! In: the document. Out: how many went as on one machine, and how many as the chapter on clusters says. Promise: any other difference fails,
//! and so does a difference that is listed and does not come.

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::server::TestClient;

const LAW: &str = include_str!("../../protocol.md");
/// Beginnings of errors that say that something is not to be had over a cluster.
const REFUSALS: [&str; 3] = [
    "ERR CROSS_SLOT ",
    "ERR NO_FEED ",
    "ERR DENIED a cluster has the data",
];
/// Requests whose replies differ otherwise, and why.
const LISTED: [(&str, &str); 5] = [
    ("CLEAR", "it is not allowed in a transaction"),
    ("STATS", "figures of the whole are as of the last second"),
    (
        "OBJECT IDLETIME age",
        "the nodes keep it without a cap, too",
    ),
    ("BGSAVE", "the nodes save the data"),
    ("MEMORY USAGE name", "it is what the pair takes on its node"),
];

/// How an example went.
enum Played {
    Equal,
    /// An error says that it is not to be had.
    Refused,
    /// The request that is listed.
    Listed(&'static str),
}

/// Plays all examples.
pub fn played(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server has them".to_owned());
    }
    let cluster = setup.cluster(3, 1);
    let pykv = Pykv::start(&cluster, &["--split-multi-key"]);
    let (mut equal, mut refused) = (0, 0);
    let mut listed = Vec::new();
    let mut wrong = Vec::new();
    let examples = LAW.split("\n```pykv\n").skip(1);
    for example in examples.map(|rest| rest.split("\n```").next().unwrap_or(rest)) {
        let cleared = pykv.line_connection().ask("CLEAR");
        if cleared != "OK" {
            return Err(format!("CLEAR: {cleared}\n{}", pykv.log()));
        }
        match play(pykv.line_connection(), example) {
            Ok(Played::Equal) => equal += 1,
            Ok(Played::Refused) => refused += 1,
            Ok(Played::Listed(request)) => listed.push(request),
            Err(reason) => wrong.push(reason),
        }
    }
    for (request, _) in LISTED {
        if !listed.contains(&request) {
            wrong.push(format!("{request} is listed, and does as on one machine"));
        }
    }
    let figures = format!(
        "{equal} examples as on one machine, {refused} refused as the chapter says, {} listed; {} others",
        listed.len(),
        wrong.len()
    );
    if wrong.is_empty() {
        return Ok(figures);
    }
    Err(format!("{figures}\n{}\n{}", wrong.join("\n"), pykv.log()))
}

/// Plays one example, up to the first reply that differs.
fn play(mut client: TestClient, example: &str) -> Result<Played, String> {
    let mut lines = example.lines().peekable();
    let mut request = "";
    while let Some(line) = lines.next() {
        if let Some(next) = line.strip_prefix("C: ") {
            request = next;
            client.send(request);
            continue;
        }
        let expected = line.strip_prefix("S: ").unwrap_or(line);
        // `...` stands for any rows, up to the next line that is shown.
        let is_gap = expected == "...";
        let expected = match (
            is_gap,
            lines.peek().and_then(|next| next.strip_prefix("S: ")),
        ) {
            (true, Some(after)) => {
                lines.next();
                after
            }
            (true, None) => "END ...",
            (false, _) => expected,
        };
        loop {
            let reply = client.reply();
            let is_shown = match expected.strip_suffix("...") {
                Some(beginning) => reply.starts_with(beginning),
                None => reply == expected,
            };
            if is_shown {
                break;
            }
            let is_last = reply.starts_with("END ") || reply.starts_with("ERR ");
            if is_gap && !is_last {
                continue;
            }
            if let Some((listed, _)) = LISTED.iter().find(|(listed, _)| *listed == request) {
                return Ok(Played::Listed(listed));
            }
            if REFUSALS.iter().any(|refusal| reply.starts_with(refusal)) {
                return Ok(Played::Refused);
            }
            return Err(format!("{request}: {reply:?}, and not {expected:?}"));
        }
    }
    Ok(Played::Equal)
}
