//! What a request means: the table of commands, and `execute`, which looks a request up in it and runs it on the engine.
//!
//! In: a `Request` of any dialect. Out: replies, written as they come, and `Next`: what is left to do that takes time.
//! The table drives dispatch, arity errors, HELP, COMMAND, the counters, the locks of a transaction, the client's completion
//! and hints, and the checks that protocol.md and README.md know every command. Each family of commands is a file with its
//! rows above its handlers; a new command is one row, one handler, one example in protocol.md.

mod clients;
mod data;
mod glob;
mod prepare;
mod server;
mod service;
mod session;
mod table;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::engine::{Barrier, Engine, LockedBatch, Read, Scan, WriteTransaction};
use crate::metrics::counters::Tally;
use crate::model::entry::Entry;
use crate::model::{Key, Value};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Replies, Reply};

pub use clients::{Client, Message, OUTBOX_BYTES_MAX};
pub use data::namespaces::{NAMESPACES_MAX, Namespaces};
pub use data::pubsub::{CHANNEL_BYTES_MAX, SUBSCRIPTIONS_MAX, write as write_message};
pub use data::scan::SCAN_COUNT_MAX;
pub use data::transaction::REPLY_BYTES_MAX;
pub use glob::{PATTERN_BYTES_MAX, Pattern};
use prepare::wrong_arity;
pub use prepare::{Batch, Part, Prepared};
pub use service::{Service, Setup, Usage};
pub use session::{QUEUED_BYTES_MAX, QUEUED_REQUESTS_MAX, Session};
pub use table::{Access, COMMANDS, Command, Dialects, Keys, place_of};

/// The most keys that one request may name, as many as Redis takes words: they are changed as one, under the locks of all their
/// shards at once.
pub const KEYS_PER_REQUEST_MAX: usize = 1 << 20;

/// The longest request, in bytes of its arguments, that shares the locks of a run: a long value is recorded before any lock is
/// taken.
const RUN_BYTES_MAX: usize = 4 << 10;

/// What is left to do once a request has been executed. What takes time, or an output as slow as its reader, is not done
/// inside the request: its connection does it, so that nobody else waits.
#[derive(Debug)]
pub enum Next {
    /// Nothing: the reply is written.
    Done,
    /// Send this entry's value: it is too long to be copied while its reader may be slow.
    Value(Entry),
    /// Send these values, or that they are not there, as one array: together they are too long to be copied.
    Values(Vec<Option<Entry>>),
    /// Send the pairs or keys of this scan, or count them.
    Scan(Scan, Listing),
    /// Save, then answer.
    Save,
    /// Send the changes of keys with a prefix from now on, or after a revision.
    Follow(String, Option<u64>),
    /// Send those of this prefix no more, or those of none.
    Unfollow(Option<String>),
    /// Send none any more; the reply is written.
    Reset,
    /// Close the connection; the reply is written.
    Close,
}

/// What is told of each pair of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// Key and value, then the end.
    Pairs,
    /// The key, then the end.
    Keys,
    /// Nothing, but how many there were.
    Count,
    /// The keys that match, as one array.
    Matching(Pattern),
    /// The namespaces below a prefix, each with its number of keys.
    Namespaces(String),
    /// Nothing, but how many there were: they are deleted.
    Delete,
}

/// The arguments of a request, decoded.
type Arguments<'a> = [Cow<'a, [u8]>];

/// What a handler ends with: its error is written as the reply.
type Answer = Result<Next, ErrorReply>;

/// One execution of one command.
struct Call<'a, 'e> {
    service: &'a Service,
    session: &'a mut Session,
    tally: &'a mut Tally,
    barrier: &'a mut Barrier,
    replies: &'a mut dyn Replies,
    command: &'static Command,
    dialect: Dialect,
    /// The changes of the transaction that this belongs to, if it does.
    group: Option<&'a mut WriteTransaction<'e>>,
    /// The run that this belongs to, if it does, and its place there.
    run: Option<(&'a mut Option<LockedBatch<'e>>, usize)>,
    /// Whether anything has changed.
    has_changed: bool,
}

impl<'a> Call<'a, '_> {
    /// The client, if it is one of the text port.
    fn client(&self) -> Result<Arc<Client>, ErrorReply> {
        let client = self.session.client.clone();
        client.ok_or_else(|| ErrorReply::new(ErrorCode::Denied, "this is no connection of its own"))
    }

    fn engine(&self) -> Result<&'a Engine, ErrorReply> {
        Ok(self.service.engine()?)
    }

    fn run(&mut self, arguments: &Arguments<'_>) -> Answer {
        if self.command.access != Access::Free {
            self.engine()?;
        }
        if self.service.clients.is_monitored() {
            self.show(arguments);
        }
        let is_watched = self.service.operations.is_watched();
        if !is_watched && !self.command.is_timed() {
            return (self.command.run)(self, arguments);
        }
        let misses = self.tally.misses;
        let started = Instant::now();
        let answer = (self.command.run)(self, arguments);
        let took = started.elapsed();
        if self.command.is_timed() {
            self.service.slowlog.note(self, arguments, took);
        }
        if is_watched {
            let status = match &answer {
                Err(error) => error.code.as_str(),
                Ok(_) if self.tally.misses > misses => "NOT_FOUND",
                Ok(_) => "OK",
            };
            let key = self.command.keys.of(arguments).next();
            let operations = &self.service.operations;
            operations.note(self.command.name, key, status, took);
        }
        answer
    }

    /// Shows the request to those who watch.
    fn show(&self, arguments: &Arguments<'_>) {
        // A password is nobody's business.
        if matches!(self.command.name, "AUTH" | "HELLO" | "MONITOR") {
            return;
        }
        let from = self.session.client.as_ref().map(|client| client.address);
        let words = arguments.iter().map(|word| &**word);
        let clients = &self.service.clients;
        clients.show_request(from, self.command.name, words);
    }

    fn done(&mut self, reply: Reply<'_>) -> Answer {
        self.replies.reply(reply);
        Ok(Next::Done)
    }

    /// Shows the value of a key, unless it is long and need not be copied.
    fn read(
        &mut self,
        key: Key<'_>,
        mut show: impl FnMut(&mut Self, &[u8]),
    ) -> Result<Read, ErrorReply> {
        if let Some((run, place)) = self.run.take() {
            // Taken meanwhile, as whoever is shown the value has all of the call.
            let read = run.as_ref();
            let read = read.map(|run| run.read(place, key, |value| show(self, value)));
            self.run = Some((run, place));
            if let Some(read) = read {
                return Ok(read);
            }
        }
        let Some(group) = &mut self.group else {
            let mut barrier = *self.barrier;
            let read = self
                .engine()?
                .read(key, &mut barrier, |value| show(self, value));
            self.barrier.raise(barrier);
            return Ok(read);
        };
        let entry = group.get(key);
        Ok(match entry {
            Some(entry) => {
                show(self, entry.value_bytes());
                Read::Shown
            }
            None => Read::Missing,
        })
    }

    /// Puts a value under a key.
    fn put(&mut self, key: Key<'_>, value: Value<'_>) -> Result<(), ErrorReply> {
        if let Some(group) = &mut self.group {
            group.put(key, value);
            return Ok(());
        }
        if let Some((Some(run), place)) = &mut self.run {
            run.put(*place, key, value)?;
        } else {
            self.engine()?.put(key, value, self.barrier)?;
        }
        self.has_changed = true;
        Ok(())
    }

    /// Changes pairs by what they are, in one step that nobody comes between; what `decide` has found besides. If it fails,
    /// nothing has changed.
    fn change<R>(
        &mut self,
        keys: &[Key<'_>],
        decide: impl FnOnce(&mut WriteTransaction<'_>) -> Result<R, ErrorReply>,
    ) -> Result<R, ErrorReply> {
        if let Some(group) = &mut self.group {
            let mark = group.mark();
            let found = decide(group);
            if found.is_err() {
                group.undo(mark);
            }
            return found;
        }
        if let Some(run) = self.run.take().and_then(|(run, _)| run.take()) {
            // It has the locks.
            self.barrier.raise(run.end());
        }
        let mut group = self.engine()?.begin(keys);
        // What is decided is news of the pairs, even where nothing changes.
        self.barrier.raise(group.seen());
        let found = decide(&mut group)?;
        self.has_changed = group.end(self.barrier)?;
        Ok(found)
    }

    /// That the arguments do not fit together.
    fn syntax_error(&self) -> ErrorReply {
        let message = match self.dialect {
            Dialect::Line => {
                let (name, synopsis) = (self.command.name, self.command.synopsis());
                format!("{name} does not take these arguments: {synopsis}")
            }
            Dialect::Resp2 | Dialect::Resp3 => "syntax error".to_owned(),
        };
        ErrorReply::new(ErrorCode::Args, message)
    }
}

/// That an argument is not what it should be.
fn bad_argument(message: impl Into<String>) -> ErrorReply {
    ErrorReply::new(ErrorCode::Args, message)
}

/// What is no other subcommand with its arguments: HELP, or as Redis says it, one that takes other arguments, or none.
fn other_subcommand(call: &mut Call<'_, '_>, words: &Arguments<'_>, known: &[&str]) -> Answer {
    let (word, name) = (String::from_utf8_lossy(&words[0]), call.command.name);
    let is_help = word.eq_ignore_ascii_case("HELP");
    if is_help && words.len() == 1 {
        return list_subcommands(call);
    }
    if is_help || known.iter().any(|known| word.eq_ignore_ascii_case(known)) {
        let (name, word) = (name.to_lowercase(), word.to_lowercase());
        return Err(bad_argument(format!(
            "wrong number of arguments for '{name}|{word}' command"
        )));
    }
    Err(bad_argument(format!(
        "unknown subcommand '{word}'. Try {name} HELP."
    )))
}

fn list_subcommands(call: &mut Call<'_, '_>) -> Answer {
    let Command { name, usage, .. } = call.command;
    // In brackets where the command can also stand alone.
    let usage = usage
        .strip_prefix('[')
        .and_then(|usage| usage.strip_suffix(']'))
        .unwrap_or(usage);
    let first = format!("{name} <subcommand> [<argument> ...]. Subcommands are:");
    let lines: Vec<&str> = std::iter::once(&*first)
        .chain(usage.split(" | "))
        .chain(["HELP"])
        .collect();
    call.replies.reply(Reply::Array(lines.len()));
    for line in lines {
        call.replies.reply(Reply::Status(line));
    }
    Ok(Next::Done)
}

/// As Redis says it of a few.
fn doubtful_subcommand(call: &Call<'_, '_>, word: &[u8]) -> ErrorReply {
    let (word, name) = (String::from_utf8_lossy(word), call.command.name);
    bad_argument(format!(
        "unknown subcommand or wrong number of arguments for '{word}'. Try {name} HELP."
    ))
}

fn keys_of<'a>(arguments: &'a Arguments<'_>) -> Result<Vec<Key<'a>>, ErrorReply> {
    arguments
        .iter()
        .map(|argument| Ok(Key::parse(argument)?))
        .collect()
}

/// How a request has ended.
#[derive(Debug)]
pub struct Executed {
    /// What is left to do.
    pub next: Next,
    /// Whether its reply tells of a change, which must be taken back if it cannot be made safe.
    pub is_change: bool,
}

/// Where requests are executed, one after the other: on what, for whom, and what they leave behind.
#[derive(Debug)]
pub struct Dispatcher<'a> {
    /// What they work on.
    pub service: &'a Service,
    /// What is remembered of their client.
    pub session: &'a mut Session,
    /// What they count.
    pub tally: &'a mut Tally,
    /// What their replies have to wait for.
    pub barrier: &'a mut Barrier,
}

impl Dispatcher<'_> {
    /// Executes one request: counts it, checks whether it may be done now, runs it. Every request is answered, by a reply or by
    /// what `Next` says is left to do. Where it is one of a run, this is its place in it.
    pub fn execute(
        &mut self,
        dialect: Dialect,
        batch: &Batch<'_>,
        request: &Prepared,
        run: Option<(&mut Option<LockedBatch<'_>>, usize)>,
        replies: &mut dyn Replies,
    ) -> Executed {
        let Self {
            service,
            session,
            tally,
            barrier,
        } = self;
        tally.requests += 1;
        let arguments = batch.arguments(request);
        let mut is_change = false;
        let done = match admit(session, tally, dialect, request, arguments.len()) {
            Err(error) => Err(session.refused(request.command(), error)),
            Ok(command) if session.is_queueing(command) => {
                session.queue(command, arguments, replies)
            }
            Ok(command) => {
                let mut call = Call {
                    service,
                    session,
                    tally,
                    barrier,
                    replies,
                    command,
                    dialect,
                    group: None,
                    run,
                    has_changed: false,
                };
                let done = call.run(arguments);
                is_change = call.has_changed;
                done
            }
        };
        Executed {
            is_change,
            next: done.unwrap_or_else(|error| {
                tally.errors += 1;
                replies.reply(Reply::Error(&error));
                Next::Done
            }),
        }
    }
}

/// Counts a request, and says whether it may be done now.
fn admit(
    session: &Session,
    tally: &mut Tally,
    dialect: Dialect,
    request: &Prepared,
    given: usize,
) -> Result<&'static Command, ErrorReply> {
    if let Some(place) = request.place {
        tally.command(usize::from(place));
    }
    let (place, command) = match (&request.error, request.place.zip(request.command())) {
        (None, Some(found)) => found,
        (Some(error), _) => return Err((**error).clone()),
        (None, None) => unreachable!("what is not in the table has an error"),
    };
    if let Some(client) = &session.client {
        client.command.store(usize::from(place) + 1, Relaxed);
    }
    if session.blocks_while_subscribed(command, dialect) {
        let name = command.name.to_lowercase();
        return Err(bad_argument(format!(
            "Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        )));
    }
    if command.keys == Keys::Pairs && !given.is_multiple_of(2) {
        return Err(wrong_arity(command, given, dialect));
    }
    Ok(command)
}
