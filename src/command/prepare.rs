//! Preparation of the requests that have arrived together: look-up of their commands and decoding of their arguments, before any
//! is executed.
//!
//! In: requests of any dialect. Out: for each its command and its arguments. Promises: only the text of a string with escapes is
//! copied, and no request has an allocation of its own; the error of a request is kept until it is executed.

use std::borrow::Cow;

use super::database::name_keys;
use super::limits::BATCHABLE_BYTES_MAX;
use super::lookup::{CommandList, VERB_BYTES_MAX};
use super::refusals::wrong_arity;
use super::spec::{Arguments, ChannelUse, Command, Flag, Scope};
use super::table::COMMANDS;
use crate::model::Database;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Request, Words};
use crate::spare::Spare;

/// A request that can be executed: its command and its arguments are known.
#[derive(Debug)]
pub struct Prepared {
    /// Place of its command in the table, if there is such a command.
    place: Option<u16>,
    /// Range of its arguments among the words of the batch.
    start: u32,
    end: u32,
    /// True if its verb stands before the arguments: in RESP. On a line it is left out, as hardly anybody looks at it.
    has_verb: bool,
    /// True if the requests behind it may name keys of another database.
    pub selects_database: bool,
    /// Access to its key, if it can share the locks of a batch.
    role: Option<BatchRole>,
    /// The error that it is answered with. Boxed, as it is rare and would triple the size of a request.
    pub(super) error: Option<Box<ErrorReply>>,
}

/// Access to the key of a request that shares the locks of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchRole {
    /// Reads the value.
    Read,
    /// Stores a value.
    Write,
}

thread_local! {
    static SPARE: Spare<Words<'static>> = const { Spare::empty() };
}

/// Removes all words, and keeps their memory for words of any lifetime.
#[inline(always)]
fn recycle<'a>(mut words: Words<'_>) -> Words<'a> {
    words.clear();
    // Collected in place.
    let none = words.into_iter().map(|_| unreachable!("no word is left"));
    none.collect()
}

/// Words of the requests that have arrived together.
#[derive(Debug)]
pub struct RequestBatch<'a> {
    /// All commands. Here, as the static list checks at each access that it has been made.
    commands: &'static CommandList,
    words: Words<'a>,
    last: &'a mut LastCommand,
    /// Database whose keys the requests name.
    database: Database,
}

/// The command that a client has sent last: most repeat one command, and to compare two verbs is faster than a look-up.
#[derive(Debug, Default)]
pub struct LastCommand {
    /// The verb as it was sent, and its length; 0 if there is none.
    verb: [u8; VERB_BYTES_MAX],
    length: usize,
    is_resp: bool,
    place: u16,
}

impl LastCommand {
    #[inline(always)]
    fn is(&self, verb: &[u8], is_resp: bool) -> bool {
        self.length > 0 && self.verb[..self.length] == *verb && self.is_resp == is_resp
    }
}

impl<'a> RequestBatch<'a> {
    /// Makes an empty batch with room for about that many requests of a client that has sent this command last.
    #[must_use]
    #[inline(always)]
    pub fn of_about(requests: usize, last: &'a mut LastCommand, database: Database) -> Self {
        const WORDS_EXPECTED: usize = 3;
        let mut words = recycle(Spare::take(&SPARE));
        words.reserve(WORDS_EXPECTED * requests);
        Self {
            commands: &COMMANDS,
            words,
            last,
            database,
        }
    }

    /// Ends the batch. Its memory is kept for the next one.
    #[inline(always)]
    pub fn release(self) {
        Spare::keep(&SPARE, recycle(self.words));
    }

    /// Prepares a request of the line dialect.
    #[must_use]
    #[inline(always)]
    pub fn prepare(&mut self, request: &Request<'a>) -> Prepared {
        let start = self.words.len();
        let Some(place) = self.place_of(request.verb, Dialect::Line) else {
            let verb = String::from_utf8_lossy(request.verb);
            let verb: String = verb.chars().take(40).collect();
            let message = format!("there is no command '{verb}'; HELP lists them");
            let error = ErrorReply::new(ErrorCode::Unknown, message);
            return self.prepared(None, start, false, Some(error));
        };
        let command = self.commands[usize::from(place)];
        let split = request.split_into(command.rest_at, &mut self.words);
        let error = split.err();
        let error = error.or_else(|| self.check_arity(command, start, Dialect::Line));
        self.prepared(Some(place), start, false, error)
    }

    /// Prepares a request of Redis, whose words, the verb first, `read` appends to those of the batch; `None` if it has no words.
    #[inline(always)]
    pub fn prepare_resp<R>(
        &mut self,
        read: impl FnOnce(&mut Words<'a>) -> R,
    ) -> (R, Option<Prepared>) {
        let verb_at = self.words.len();
        let read = read(&mut self.words);
        let place = match self.words.get(verb_at) {
            None => return (read, None),
            Some(Cow::Borrowed(verb)) => self.place_of(verb, Dialect::Resp2),
            // A verb in quotes.
            Some(Cow::Owned(verb)) => narrow(self.commands.place_of(verb, Dialect::Resp2)),
        };
        let start = verb_at + 1;
        let error = match place {
            Some(place) => {
                self.check_arity(self.commands[usize::from(place)], start, Dialect::Resp2)
            }
            None => Some(unknown_to_redis(&self.words[verb_at], &self.words[start..])),
        };
        (read, Some(self.prepared(place, start, true, error)))
    }

    #[inline]
    fn place_of(&mut self, verb: &[u8], dialect: Dialect) -> Option<u16> {
        if self.last.is(verb, dialect.is_resp()) {
            return Some(self.last.place);
        }
        self.look_up(verb, dialect)
    }

    // Apart, so that the comparison above is inlined.
    #[cold]
    fn look_up(&mut self, verb: &[u8], dialect: Dialect) -> Option<u16> {
        let place = narrow(self.commands.place_of(verb, dialect))?;
        self.last.verb[..verb.len()].copy_from_slice(verb);
        self.last.length = verb.len();
        self.last.is_resp = dialect.is_resp();
        self.last.place = place;
        Some(place)
    }

    #[inline(always)]
    fn check_arity(
        &self,
        command: &'static Command,
        start: usize,
        dialect: Dialect,
    ) -> Option<ErrorReply> {
        let given = self.words.len() - start;
        (!command.arity.contains(&given)).then(|| wrong_arity(command, given, dialect))
    }

    #[inline(always)]
    fn prepared(
        &mut self,
        place: Option<u16>,
        start: usize,
        has_verb: bool,
        error: Option<ErrorReply>,
    ) -> Prepared {
        let narrow = |place: usize| u32::try_from(place).expect("a batch has fewer words");
        let command = place.map(|place| self.commands[usize::from(place)]);
        let command = command.filter(|_| error.is_none());
        if !self.database.is_default()
            && let Some(command) = command
        {
            name_keys(self.database, command, &mut self.words, start);
        }
        Prepared {
            role: command.and_then(|command| role_of(command, &self.words[start..])),
            selects_database: command.is_some_and(|command| command.has(Flag::SelectsDatabase)),
            place,
            has_verb,
            start: narrow(start),
            end: narrow(self.words.len()),
            error: error.map(Box::new),
        }
    }

    /// Returns the command of a request and its place in the table, if there is such a command.
    #[must_use]
    #[inline(always)]
    pub fn row(&self, request: &Prepared) -> Option<(usize, &'static Command)> {
        let place = usize::from(request.place?);
        Some((place, self.commands[place]))
    }

    /// Returns the arguments of a request.
    #[must_use]
    #[inline(always)]
    pub(super) fn arguments(&self, request: &Prepared) -> &Arguments<'a> {
        &self.words[request.start as usize..request.end as usize]
    }

    /// Returns the verb of a request for a command: in RESP as it was sent, of a line the command's name.
    #[inline(always)]
    pub(super) fn verb(&self, request: &Prepared, command: &Command) -> &[u8] {
        if request.has_verb {
            &self.words[request.start as usize - 1]
        } else {
            command.name.as_bytes()
        }
    }

    /// Returns the verb of a request in RESP for a command that is not here.
    pub(super) fn unknown_verb(&self, request: &Prepared) -> Option<&[u8]> {
        let is_unknown = request.place.is_none() && request.has_verb;
        is_unknown.then(|| &*self.words[request.start as usize - 1])
    }

    /// Returns true if a request publishes a message.
    #[must_use]
    pub fn is_publishing(&self, request: &Prepared) -> bool {
        let row = self.row(request).filter(|_| request.error.is_none());
        row.is_some_and(|(_, command)| command.scope == Scope::Channels(ChannelUse::Publish))
    }

    /// Returns the number of words.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// Returns the bytes of memory that a request may need for what it stores.
    #[must_use]
    pub fn room_bytes(&self, request: &Prepared) -> u64 {
        let row = self.row(request);
        row.map_or(0, |(_, command)| {
            command.room_bytes(self.arguments(request))
        })
    }

    /// Returns the keys of a request.
    pub fn keys(&self, request: &Prepared) -> impl Iterator<Item = &[u8]> {
        let row = self.row(request).filter(|_| request.error.is_none());
        let arguments = self.arguments(request);
        row.into_iter()
            .flat_map(|(_, command)| command.keys(arguments))
    }

    /// Returns the key of a request that can share the locks of a batch: its first argument.
    #[must_use]
    #[inline(always)]
    pub fn key(&self, request: &Prepared) -> &[u8] {
        &self.arguments(request)[0]
    }
}

fn narrow(place: Option<usize>) -> Option<u16> {
    place.map(|place| u16::try_from(place).expect("there are not so many commands"))
}

#[inline(always)]
fn role_of(command: &Command, arguments: &Arguments<'_>) -> Option<BatchRole> {
    let is_simple = command.batchable == Some(arguments.len())
        && arguments.iter().map(|word| word.len()).sum::<usize>() <= BATCHABLE_BYTES_MAX;
    let part = if command.is_write() {
        BatchRole::Write
    } else {
        BatchRole::Read
    };
    is_simple.then_some(part)
}

impl Prepared {
    /// Returns true if it is answered with an error that is known before its execution.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        self.error.is_some()
    }

    /// Returns the number of its arguments.
    #[must_use]
    pub fn argument_count(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Returns the access to its key, if it can share the locks of a batch.
    #[must_use]
    pub fn role(&self) -> Option<BatchRole> {
        self.role
    }
}

/// Returns Redis's error for an unknown command: the verb and its first arguments, cut off after 128 bytes.
fn unknown_to_redis(verb: &[u8], words: &Arguments<'_>) -> ErrorReply {
    let shown = |bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(128)];
        String::from_utf8_lossy(bytes).into_owned()
    };
    let mut arguments = String::new();
    for argument in words {
        if arguments.len() >= 128 {
            break;
        }
        arguments += &format!("'{}' ", shown(argument));
    }
    // A verb that is not UTF-8 is shown as one replacement character.
    let verb = std::str::from_utf8(verb).unwrap_or("\u{fffd}");
    let verb = shown(verb.as_bytes());
    ErrorReply::new(
        ErrorCode::Unknown,
        format!("unknown command '{verb}', with args beginning with: {arguments}"),
    )
}
