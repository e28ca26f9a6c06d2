//! One command, asked for by a route.
//!
//! In: a verb and its arguments. Out: its answer, or the problem that refuses it. Promise: the answer is given once
//! what it tells of is as safe as `--durability` says.

use super::problem::Problem;
use crate::command::{Batch, Dispatcher, Next, Service, Session};
use crate::engine::{Barrier, Scan};
use crate::metrics::counters::Tally;
use crate::model::entry::Entry;
use crate::protocol::{Dialect, ErrorReply, Replies, Reply, Request};

/// What a command has answered.
pub enum Answer {
    /// Done.
    Ok,
    /// A value.
    Value(Vec<u8>),
    /// The entry of a value that is too long to be copied.
    LongValue(Entry),
    /// There is no such key.
    NotFound,
    /// How many.
    Count(u64),
    /// The pairs to be shown.
    Scan(Scan),
    /// The server's figures.
    Stats(Figures),
}

/// Figures by name, in their order.
type Figures = serde_json::Map<String, serde_json::Value>;

/// Keeps the replies of one command.
#[derive(Default)]
struct Kept {
    answer: Option<Answer>,
    error: Option<ErrorReply>,
    stats: Figures,
}

impl Replies for Kept {
    fn speak(&mut self, _dialect: Dialect) {}

    fn mark(&self) -> usize {
        0
    }

    fn take_back(&mut self, _since: usize) {
        self.answer = None;
    }

    fn reply(&mut self, reply: Reply<'_>) {
        match reply {
            Reply::Ok => self.answer = Some(Answer::Ok),
            Reply::Value(value) => self.answer = Some(Answer::Value(value.to_vec())),
            Reply::NotFound => self.answer = Some(Answer::NotFound),
            Reply::Count(count) => self.answer = Some(Answer::Count(count)),
            Reply::Stat(name, figure) => drop(self.stats.insert(name.to_owned(), figure.to_json())),
            Reply::Error(error) => self.error = Some(error.clone()),
            Reply::End(_) => self.answer = Some(Answer::Stats(std::mem::take(&mut self.stats))),
            _ => unreachable!("no route asks for a command that answers this"),
        }
    }
}

/// Executes one command, and waits until what it did is safe.
///
/// # Errors
/// Why it was not done.
pub async fn ask(service: &Service, verb: &str, words: &[&[u8]]) -> Result<Answer, Problem> {
    let mut tally = Tally::begin();
    let mut kept = Kept::default();
    let mut barrier = Barrier::default();
    let mut batch = Batch::default();
    let request = batch.prepare(&Request::split(verb, words));
    let mut dispatcher = Dispatcher {
        service,
        session: &mut Session::default(),
        tally: &mut tally,
        barrier: &mut barrier,
    };
    let executed = dispatcher.execute(Dialect::Line, &batch, &request, None, &mut kept);
    let committed = service.commit(barrier).await;
    if let (Err(error), true) = (committed, executed.is_change && kept.error.is_none()) {
        tally.errors += 1;
        kept.error = Some(error);
    }
    service.stats.add(&mut tally);
    if let Some(error) = kept.error {
        return Err(error.into());
    }
    Ok(match executed.next {
        Next::Value(entry) => Answer::LongValue(entry),
        Next::Scan(scan, _) => Answer::Scan(scan),
        _ => kept.answer.expect("a command that is done has answered"),
    })
}
