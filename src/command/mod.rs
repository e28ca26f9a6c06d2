//! What a request means: the table of commands, and `execute`, which looks a request up in it and runs it on the engine.
//!
//! In: a `Request` of any dialect. Out: replies, written as they come, and `Next`: what is left to do that takes time.
//! The table drives dispatch, arity errors, HELP, COMMAND, the counters, the locks of a transaction, the client's completion
//! and hints, and the checks that protocol.md and README.md know every command. Each family of commands is a file with its
//! rows above its handlers; a new command is one row, one handler, one example in protocol.md.

mod admin;
mod catalogue;
mod changes;
mod channels;
mod clients;
mod configuration;
mod connections;
mod expiry;
mod info;
mod keys;
mod listing;
mod numbers;
mod options;
mod pattern;
mod service;
mod session;
mod slowlog;
mod strings;
mod table;
mod transaction;
mod upkeep;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::engine::{Barrier, Engine, Group, Read, Scan};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Replies, Reply, Request, Words};
use crate::record::{Entry, Key, Value};
use crate::stats::Tally;

pub use channels::{CHANNEL_BYTES_MAX, SUBSCRIPTIONS_MAX, write as write_message};
pub use clients::{Client, MAIL_BYTES_MAX, Message};
pub use listing::SCAN_COUNT_MAX;
pub use pattern::{PATTERN_BYTES_MAX, Pattern};
pub use service::{Service, Setup};
pub use session::{QUEUED_BYTES_MAX, QUEUED_REQUESTS_MAX, Session};
pub use table::{Access, COMMANDS, Command, Dialects, Keys, place_of};
pub use transaction::REPLY_BYTES_MAX;

/// The most keys that one request may name, as many as Redis takes words: they are changed as one, under the locks of all their
/// shards at once.
pub const KEYS_PER_REQUEST_MAX: usize = 1 << 20;

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
    group: Option<&'a mut Group<'e>>,
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
        if !self.command.is_timed() {
            return (self.command.run)(self, arguments);
        }
        let started = Instant::now();
        let answer = (self.command.run)(self, arguments);
        self.service
            .slowlog
            .note(self, arguments, started.elapsed());
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
        match &mut self.group {
            Some(group) => group.put(key, value),
            None => {
                self.engine()?.put(key, value, self.barrier)?;
                self.has_changed = true;
            }
        }
        Ok(())
    }

    /// Changes pairs by what they are, in one step that nobody comes between; what `decide` has found besides. If it fails,
    /// nothing has changed.
    fn change<R>(
        &mut self,
        keys: &[Key<'_>],
        decide: impl FnOnce(&mut Group<'_>) -> Result<R, ErrorReply>,
    ) -> Result<R, ErrorReply> {
        if let Some(group) = &mut self.group {
            let mark = group.mark();
            let found = decide(group);
            if found.is_err() {
                group.undo(mark);
            }
            return found;
        }
        let mut group = self.engine()?.group(keys);
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

/// A request that has been looked up, and its arguments taken apart: it can be executed.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// The place of its command in the table, if there is one.
    place: Option<usize>,
    arguments: Result<Words<'a>, ErrorReply>,
}

impl Prepared<'_> {
    /// The keys that it names.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let arguments = self.arguments.as_ref();
        let named = self.place.zip(arguments.ok());
        named
            .into_iter()
            .flat_map(|(place, arguments)| COMMANDS[place].keys.of(arguments))
    }
}

/// Looks a request up, and takes its arguments apart. It does nothing yet, and is refused only once it is executed.
#[must_use]
pub fn prepare<'a>(request: &Request<'a>) -> Prepared<'a> {
    let place = match lookup(request) {
        Ok(place) => place,
        Err(error) => {
            return Prepared {
                place: None,
                arguments: Err(error),
            };
        }
    };
    let command = COMMANDS[place];
    let arguments = request.arguments(command.rest_at).and_then(|arguments| {
        if command.arity.contains(&arguments.len()) {
            Ok(arguments)
        } else {
            Err(wrong_arity(command, arguments.len(), request.dialect))
        }
    });
    Prepared {
        place: Some(place),
        arguments,
    }
}

/// Executes one request: counts it, checks whether it may be done now, runs it. Every request is answered, by a reply or by
/// what `Next` says is left to do. The barrier is raised to what its reply has to wait for.
pub fn execute(
    service: &Service,
    session: &mut Session,
    tally: &mut Tally,
    barrier: &mut Barrier,
    dialect: Dialect,
    request: &Prepared<'_>,
    replies: &mut dyn Replies,
) -> Executed {
    tally.requests += 1;
    let mut is_change = false;
    let done = match admit(session, tally, dialect, request) {
        Err(error) => {
            let command = request.place.map(|place| COMMANDS[place]);
            Err(session.refused(command, error))
        }
        Ok((command, arguments)) if session.is_queueing(command) => {
            session.queue(command, arguments, replies)
        }
        Ok((command, arguments)) => {
            let mut call = Call {
                service,
                session,
                tally,
                barrier,
                replies,
                command,
                dialect,
                group: None,
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

/// Counts a request, and says whether it may be done now.
fn admit<'a>(
    session: &Session,
    tally: &mut Tally,
    dialect: Dialect,
    request: &'a Prepared<'_>,
) -> Result<(&'static Command, &'a Arguments<'a>), ErrorReply> {
    if let Some(place) = request.place {
        tally.command(place);
    }
    let (place, arguments) = match (&request.arguments, request.place) {
        (Ok(arguments), Some(place)) => (place, arguments),
        (Err(error), _) => return Err(error.clone()),
        (Ok(_), None) => unreachable!("what is not in the table has an error"),
    };
    let command = COMMANDS[place];
    if let Some(client) = &session.client {
        client.command.store(place + 1, Relaxed);
    }
    if session.bars(command, dialect) {
        let name = command.name.to_lowercase();
        return Err(bad_argument(format!(
            "Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        )));
    }
    if !arguments.len().is_multiple_of(command.keys.step()) {
        return Err(wrong_arity(command, arguments.len(), dialect));
    }
    Ok((command, arguments))
}

fn lookup(request: &Request<'_>) -> Result<usize, ErrorReply> {
    place_of(request.verb, request.dialect).ok_or_else(|| {
        if request.dialect.is_resp() {
            return unknown_to_redis(request);
        }
        let verb: String = request.verb.chars().take(40).collect();
        ErrorReply::new(
            ErrorCode::Unknown,
            format!("there is no command '{verb}'; HELP lists them"),
        )
    })
}

/// As Redis says it: the verb and the first of its arguments, cut off after 128 bytes of them.
fn unknown_to_redis(request: &Request<'_>) -> ErrorReply {
    let shown = |bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(128)];
        String::from_utf8_lossy(bytes).into_owned()
    };
    let mut arguments = String::new();
    for argument in request.arguments(None).unwrap_or_default() {
        if arguments.len() >= 128 {
            break;
        }
        arguments += &format!("'{}' ", shown(&argument));
    }
    let verb = shown(request.verb.as_bytes());
    ErrorReply::new(
        ErrorCode::Unknown,
        format!("unknown command '{verb}', with args beginning with: {arguments}"),
    )
}

fn wrong_arity(command: &Command, given: usize, dialect: Dialect) -> ErrorReply {
    let name = command.name;
    if dialect.is_resp() {
        let name = name.to_lowercase();
        return bad_argument(format!("wrong number of arguments for '{name}' command"));
    }
    let takes = match (*command.arity.start(), *command.arity.end()) {
        (0, 0) => "no argument".to_owned(),
        (1, 1) => "1 argument".to_owned(),
        (0, 1) => "at most 1 argument".to_owned(),
        (1, usize::MAX) => "at least 1 argument".to_owned(),
        (least, usize::MAX) => format!("at least {least} arguments"),
        (least, most) if least == most => format!("{least} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    };
    let takes = match command.keys.step() {
        1 => takes,
        _ => format!("{takes}, a key and a value each"),
    };
    bad_argument(format!(
        "{name} takes {takes}, not {given}: {}",
        command.synopsis()
    ))
}
