//! A call: one execution of a command, with the checks and the observation around every handler.
//!
//! In: a command and its arguments. Out: replies, or a stream of them. Promise: every command, alone or in a transaction and from
//! any interface, is checked, shown to MONITOR, timed and observed in one place ([`Call::perform`]).

use std::sync::Arc;
use std::time::Instant;

use super::acl::KeyFilter;
use super::clients::Client;
use super::database::as_sent;
use super::key_events::{Event, KeyEvents};
use super::long_work;
use super::notices::Deferred;
use super::observation::{self, Observed, Status};
use super::permission;
use super::refusals::{bad_argument, full_for_redis};
use super::reply_sink::Replies;
use super::service::Service;
use super::session::Session;
pub(super) use super::spec::Arguments;
use super::spec::{Access, Command, Flag, Group};
use super::stream::{Source, Stream};
use crate::config::PeerAddress;
use crate::engine::{Barrier, Engine, EngineError, LockedBatch, ReadOutcome, WriteTransaction};
use crate::metrics::counters::Tally;
use crate::model::entry::Entry;
use crate::model::{Key, Value};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

/// Maximum number of keys that are read under the locks of a transaction, which is faster for few keys.
const TRANSACTION_READS_MAX: usize = 1_000;

/// Result of a handler; an error is sent as the reply.
pub(super) type Answer = Result<Outcome, ErrorReply>;

/// Executes a command.
pub(super) type Handler = fn(&mut Call<'_, '_>, &Arguments<'_>) -> Answer;

/// The next step of the caller after a handler.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing: the reply is in the sink.
    Done,
    /// Pull the reply from this stream. Boxed, as it is rare and would double the size of every result.
    Stream(Box<Stream>),
    /// Close the connection, once the reply, which is in the sink, has been sent.
    Close,
}

/// One execution of one command.
pub(super) struct Call<'a, 'e> {
    pub service: &'a Service,
    pub session: &'a mut Session,
    pub tally: &'a mut Tally,
    pub barrier: &'a mut Barrier,
    pub replies: &'a mut dyn Replies,
    pub command: &'static Command,
    /// Place of the command in the table.
    pub place: usize,
    /// Name of the command, as it was sent.
    pub verb: &'a [u8],
    /// Handlers of all commands. The table refers to the handlers, so that they cannot refer to the table.
    pub handlers: &'static [Handler],
    pub dialect: Dialect,
    /// The transaction that the call is part of, if any.
    pub transaction: Option<&'a mut WriteTransaction<'e>>,
    /// The batch whose locks the call shares, if any, and its place there.
    pub locked: Option<(&'a mut Option<LockedBatch<'e>>, usize)>,
    pub status: Status,
    /// True if the reply reports a change, made or found unnecessary: it must not be sent if the change cannot be made durable.
    pub reports_change: bool,
    /// True if the command is refused for what the data is: the same holds for that error.
    pub is_refused_by_data: bool,
    /// Bytes that room was made for under the cap on memory; [`ROOM_UNCHECKED`] for a command that may use memory as it needs it.
    pub granted_room_bytes: u64,
    /// Bytes that its changes need beyond the cap, if these are more; else 0.
    pub missing_room_bytes: u64,
    /// Expiry of the pairs that it stores.
    pub stored_expiry: StoredExpiry,
    /// False if the request is observed by those who execute the call, as a part of it is done elsewhere.
    pub is_observed_here: bool,
}

/// Expiry of the pairs that a command stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredExpiry {
    /// It gives one, or none.
    Given,
    /// They keep what they had.
    Kept,
}

/// Value of [`Call::granted_room_bytes`] where nobody asks.
pub(super) const ROOM_UNCHECKED: u64 = u64::MAX;

impl<'a> Call<'a, '_> {
    /// Checks, executes and observes the command.
    ///
    /// # Errors
    /// Those of the handler and of [`permission::check`]; `BUSY` while the data is being loaded, if the command needs it.
    #[inline(always)]
    pub fn perform(&mut self, arguments: &Arguments<'_>) -> Answer {
        let row = (self.place, self.command);
        permission::check(self.service, self.session, row, arguments)?;
        if self.command.needs_data() {
            self.service.check_ready()?;
        }
        if self.service.scripts.running() > 0 && self.transaction.is_none() {
            let limit = self.service.script_time();
            let keys = self.command.keys(arguments);
            self.service.scripts.check_keys(limit, keys)?;
        }
        if self.session.tracking.is_some() {
            self.track(arguments);
        }
        let is_of_leader = self.service.marks_reads() && self.command.is_answered_by_leader();
        if is_of_leader {
            self.service.check_readable()?;
        }
        self.reports_change = self.command.is_write() || is_of_leader;
        let handler = self.handlers[self.place];
        let is_observed =
            self.is_observed_here && observation::is_observed(self.service, self.command);
        // A script before its commands, and what executes others by itself after them, as in Redis.
        let is_script = self.command.is_script();
        if is_script && self.service.clients.is_monitored() {
            self.show_to_monitors(arguments);
        }
        let started = is_observed.then(Instant::now);
        let mut answer = if self.command.has(Flag::GrowsMemory) && self.is_within_cap() {
            let room_bytes = self.command.room_bytes(arguments);
            self.within_cap(room_bytes, |call| handler(call, arguments))
        } else {
            handler(self, arguments)
        };
        if !is_script && self.service.clients.is_monitored() {
            self.show_to_monitors(arguments);
        }
        let Some(started) = started else {
            return answer;
        };
        let visible = self.session.visible(arguments);
        let client = self.session.client.as_ref();
        let row = (self.command, self.verb);
        if let Ok(Outcome::Stream(stream)) = &mut answer {
            let id = self.service.commands.id_of(self.place, arguments);
            let observed = Observed::new(client.cloned(), id, row, visible, started);
            stream.observe(observed, self.reports_change);
            self.tally.uncount(id);
            self.service.stats.count(id);
            return answer;
        }
        let status = answer
            .as_ref()
            .map_or_else(|error| Status::Refused(error.code), |_| self.status);
        let (client, took) = (client.map(|client| &**client), started.elapsed());
        observation::note(self.service, client, row, visible, status, took);
        answer
    }

    /// Makes the call of a command that is a part of this one, under the locks of a transaction; with replies of its own, or among those of
    /// this one.
    pub fn part<'c, 'l>(
        &'c mut self,
        locks: &'c mut WriteTransaction<'l>,
        (place, command, verb): (usize, &'static Command, &'c [u8]),
        replies: Option<(Dialect, &'c mut dyn Replies)>,
    ) -> Call<'c, 'l> {
        let (dialect, replies) = replies.unwrap_or((self.dialect, &mut *self.replies));
        Call {
            service: self.service,
            session: self.session,
            tally: self.tally,
            barrier: self.barrier,
            replies,
            command,
            place,
            verb,
            handlers: self.handlers,
            dialect,
            transaction: Some(locks),
            locked: None,
            status: Status::Ok,
            reports_change: false,
            is_refused_by_data: false,
            granted_room_bytes: ROOM_UNCHECKED,
            missing_room_bytes: 0,
            stored_expiry: StoredExpiry::Given,
            is_observed_here: true,
        }
    }

    #[cold]
    fn show_to_monitors(&self, arguments: &Arguments<'_>) {
        show_to_monitors(
            self.service,
            self.session,
            self.command,
            self.verb,
            arguments,
        );
    }

    /// Notes the keys that the command is about to read, if the client tracks them.
    #[cold]
    fn track(&mut self, arguments: &Arguments<'_>) {
        let database = self.session.database();
        let Some(tracking) = &mut self.session.tracking else {
            return;
        };
        let tracks = tracking.tracks_next();
        let is_around = self.command.group == Group::Transactions || self.command.name == "CLIENT";
        if self.transaction.is_none() && !is_around {
            tracking.is_exception = false;
        }
        if tracks && self.command.access == Access::Read && !is_around {
            for key in self.command.keys(arguments) {
                let tracker = &tracking.tracker;
                self.service
                    .notices
                    .tracking
                    .note_read(tracker, key, database);
            }
        }
    }

    /// Returns the number of the client, if there is one.
    pub fn client_id(&self) -> Option<u64> {
        self.session.client.as_ref().map(|client| client.id)
    }

    /// Notes an event of a key; in a transaction, it waits for the commit.
    #[cold]
    fn note_event(&mut self, event: Event, key: Key<'_>) {
        if self.transaction.is_some() {
            let event = Deferred::Event(event, key.as_bytes().into());
            self.session.deferred.push(event);
        } else {
            self.service.notices.publish(event, key.as_bytes());
        }
    }

    /// Notes that a key was not found.
    #[inline(always)]
    pub fn note_missing(&mut self, key: Key<'_>) {
        if self.service.notices.are_wanted() {
            self.note_event(Event::KEYMISS, key);
        }
    }

    fn note_all_missing(&mut self, keys: &[Key<'_>], found: &[Option<Entry>]) {
        if self.service.notices.are_wanted() {
            for (key, _) in keys.iter().zip(found).filter(|(_, entry)| entry.is_none()) {
                self.note_event(Event::KEYMISS, *key);
            }
        }
    }

    /// Returns true if the command has to make room for what it stores: there is a cap on memory, and nobody has made room for a whole
    /// batch or transaction.
    pub fn is_within_cap(&self) -> bool {
        self.service.memory_cap().is_set() && self.locked.is_none() && self.transaction.is_none()
    }

    /// Executes requests once there is room for so many bytes, which is what their arguments tell; and again, if they turn out to need
    /// more, as SETRANGE may.
    ///
    /// # Errors
    /// `FULL`, if no room can be made; those of the requests.
    #[cold]
    pub fn within_cap<R>(
        &mut self,
        room_bytes: u64,
        execute: impl Fn(&mut Self) -> Result<R, ErrorReply>,
    ) -> Result<R, ErrorReply> {
        self.make_room(room_bytes)?;
        self.granted_room_bytes = room_bytes;
        let result = execute(self);
        self.granted_room_bytes = ROOM_UNCHECKED;
        let missing = std::mem::take(&mut self.missing_room_bytes);
        if missing == 0 {
            return result;
        }
        self.make_room(missing)?;
        execute(self)
    }

    /// Checks that the changes of a transaction keep to the cap on memory, or to the room that was made for them.
    ///
    /// # Errors
    /// `FULL`, which nobody sees: [`Self::within_cap`] makes room and executes them again.
    pub fn check_room(&mut self, transaction: &WriteTransaction<'_>) -> Result<(), ErrorReply> {
        if self.granted_room_bytes < ROOM_UNCHECKED {
            let missing = transaction.missing_room_bytes();
            if missing > self.granted_room_bytes {
                self.missing_room_bytes = missing;
                return Err(full_for_redis());
            }
        }
        Ok(())
    }

    /// Makes room for so many bytes under the cap on memory.
    ///
    /// # Errors
    /// `FULL`, if there is none; `DISK` while the disk refuses changes.
    pub fn make_room(&self, bytes: u64) -> Result<(), ErrorReply> {
        let engine = self.engine()?;
        let work = usize::try_from(bytes).unwrap_or(usize::MAX);
        let made = long_work::execute(work, || engine.make_room(bytes));
        made.map_err(|error| match error {
            EngineError::Full { .. } if self.dialect.is_resp() => full_for_redis(),
            error => error.into(),
        })
    }

    /// Returns true if reads of the command are uses of the pairs, by which evictions go.
    fn is_use(&self) -> bool {
        let is_look = self.command.has(Flag::Looks) || self.session.is_no_touch;
        !is_look || self.command.has(Flag::Touches)
    }

    /// Returns the client of the text port or the console.
    ///
    /// # Errors
    /// `DENIED` for a request from an interface without connections, such as HTTP.
    pub fn client(&self) -> Result<Arc<Client>, ErrorReply> {
        let client = self.session.client.clone();
        client.ok_or_else(|| ErrorReply::new(ErrorCode::Denied, "this is no connection of its own"))
    }

    /// Returns the engine.
    ///
    /// # Errors
    /// `BUSY` while the data is being loaded.
    #[inline(always)]
    pub fn engine(&self) -> Result<&'a Arc<Engine>, ErrorReply> {
        self.service.engine()
    }

    /// Makes an entry that is to be stored.
    pub fn entry(&self, key: Key<'_>, value: Value<'_>) -> Entry {
        let engine = self.engine().ok();
        engine.map_or_else(|| Entry::new(key, value), |engine| engine.entry(key, value))
    }

    /// Returns the filter of the keys that the user may see; `None` if it may see all.
    pub fn key_filter(&mut self) -> Option<KeyFilter> {
        let identity = &mut self.session.identity;
        identity.key_filter(&self.service.users, self.place)
    }

    /// Ends the call with one reply.
    pub fn done(&mut self, reply: Reply<'_>) -> Answer {
        self.replies.reply(reply);
        Ok(Outcome::Done)
    }

    /// Counts a read of one key as a hit or a miss.
    pub fn count_read(&mut self, is_hit: bool) {
        self.tally.read(is_hit);
        if !is_hit {
            self.status = Status::NotFound;
        }
    }

    /// Reads a key: passes its value to `show`, unless it is so long that it should not be copied.
    ///
    /// # Errors
    /// `BUSY` while the data is being loaded.
    #[inline(always)]
    pub fn read(
        &mut self,
        key: Key<'_>,
        show: impl FnMut(&mut Self, Value<'_>),
    ) -> Result<ReadOutcome, ErrorReply> {
        let read = self.look_up(key, show)?;
        if matches!(read, ReadOutcome::Missing) {
            self.note_missing(key);
        }
        Ok(read)
    }

    #[inline(always)]
    fn look_up(
        &mut self,
        key: Key<'_>,
        mut show: impl FnMut(&mut Self, Value<'_>),
    ) -> Result<ReadOutcome, ErrorReply> {
        // Every command that reads a value uses it.
        let is_use = !self.session.is_no_touch;
        if let Some((locked, place)) = self.locked.take() {
            // Taken out meanwhile, as `show` borrows the whole call.
            let read = locked
                .as_ref()
                .map(|locked| locked.read(place, key, is_use, |value| show(self, value)));
            self.locked = Some((locked, place));
            if let Some(read) = read {
                return Ok(read);
            }
        }
        let Some(transaction) = &mut self.transaction else {
            let mut barrier = *self.barrier;
            let read = self
                .engine()?
                .read(key, is_use, &mut barrier, |value| show(self, value));
            self.barrier.raise(barrier);
            return Ok(read);
        };
        // The reply is written under the locks of the transaction, so a long value is copied, too.
        transaction.set_use(is_use);
        let entry = transaction.get(key);
        Ok(match entry {
            Some(entry) => {
                show(self, entry.value());
                ReadOutcome::Shown
            }
            None => ReadOutcome::Missing,
        })
    }

    /// Reads keys, all at one moment.
    ///
    /// # Errors
    /// `BUSY` while the data is being loaded.
    pub fn read_all(&mut self, keys: &[Key<'_>]) -> Result<Vec<Option<Entry>>, ErrorReply> {
        if self.transaction.is_none() && keys.len() > TRANSACTION_READS_MAX {
            self.release_locks();
            let is_use = self.is_use();
            let found = self.engine()?.read_all(keys, is_use, self.barrier);
            self.note_all_missing(keys, &found);
            return Ok(found);
        }
        let found: Vec<Option<Entry>> = self.change(keys, |transaction| {
            Ok(keys.iter().map(|key| transaction.get(*key)).collect())
        })?;
        self.note_all_missing(keys, &found);
        Ok(found)
    }

    /// Stores a value under a key; returns true if the key did not exist.
    ///
    /// # Errors
    /// `DISK` while the disk refuses changes, `BUSY` while the data is being loaded. Nothing changes then.
    #[inline(always)]
    pub fn put(&mut self, key: Key<'_>, value: Value<'_>) -> Result<bool, ErrorReply> {
        if self.service.notices.are_wanted() {
            return self.change(&[key], |transaction| Ok(transaction.put(key, value)));
        }
        if let Some(transaction) = &mut self.transaction {
            return Ok(transaction.put(key, value));
        }
        if let Some((Some(locked), place)) = &mut self.locked {
            return Ok(locked.put(*place, key, value)?);
        }
        let is_new = self.engine()?.put(key, value, self.barrier)?;
        if self.service.notices.are_wanted() {
            // Somebody may have begun to track, and read the key, just before.
            let by = self.client_id();
            self.service.notices.tracking.invalidate(key.as_bytes(), by);
        }
        Ok(is_new)
    }

    /// Reads and changes keys atomically.
    ///
    /// # Errors
    /// Those of `decide`; `DISK` while the disk refuses changes, `TOO_LARGE` if the changes are too long for one record of the
    /// journal, `BUSY` while the data is being loaded. Nothing changes then.
    pub fn change<R>(
        &mut self,
        keys: &[Key<'_>],
        decide: impl FnOnce(&mut WriteTransaction<'_>) -> Result<R, ErrorReply>,
    ) -> Result<R, ErrorReply> {
        let is_use = self.is_use();
        let notices = &self.service.notices;
        let events = KeyEvents {
            tells_expiry: self.stored_expiry == StoredExpiry::Given,
            ..self.command.events
        };
        if let Some(transaction) = &mut self.transaction {
            let savepoint = transaction.savepoint();
            transaction.set_use(is_use);
            let found = decide(transaction);
            if found.is_err() {
                transaction.roll_back_to(savepoint);
                self.is_refused_by_data = self.reports_change;
            } else if notices.are_wanted() {
                let since = (&**transaction, savepoint);
                notices.collect(events, since, &mut self.session.deferred);
            }
            return found;
        }
        self.release_locks();
        let mut transaction = self.engine()?.begin(keys);
        transaction.set_use(is_use);
        // The reply depends on what was read even if nothing changes.
        self.barrier.raise(transaction.seen());
        let found = decide(&mut transaction)
            .inspect_err(|_| self.is_refused_by_data = self.reports_change)?;
        self.check_room(&transaction)?;
        let by = self.client_id();
        long_work::execute(transaction.changed_bytes(), || {
            transaction.commit(self.barrier, |changes| notices.tell(events, changes, by))
        })?;
        Ok(found)
    }

    /// Releases the locks that the call shares with a batch, before it takes its own.
    pub fn release_locks(&mut self) {
        if let Some(locked) = self.locked.take().and_then(|(locked, _)| locked.take()) {
            self.barrier.raise(locked.finish());
        }
    }

    /// Returns the error `ARGS`, for arguments that are unknown or contradict each other.
    pub fn syntax_error(&self) -> ErrorReply {
        let message = match self.dialect {
            Dialect::Line => {
                let (name, synopsis) = (self.command.name, self.command.synopsis());
                format!("{name} does not take these arguments: {synopsis}")
            }
            Dialect::Resp2 | Dialect::Resp3 => "syntax error".to_owned(),
        };
        bad_argument(message)
    }
}

/// Shows a request to MONITOR. Apart, as it is rare.
#[cold]
pub(super) fn show_to_monitors(
    service: &Service,
    session: &Session,
    command: &Command,
    verb: &[u8],
    arguments: &Arguments<'_>,
) {
    if command.has(Flag::NoMonitor) {
        return;
    }
    let client = session.client.as_deref();
    let from = match client.map(|client| &client.address) {
        _ if session.is_in_script => "lua".to_owned(),
        None => "http".to_owned(),
        Some(PeerAddress::Unix(path)) => format!("unix:{}", path.display()),
        Some(address) => address.to_string(),
    };
    let database = session.database();
    let sent = (!database.is_default()).then(|| as_sent(database, command, arguments));
    let words = session.visible(sent.as_deref().unwrap_or(arguments));
    // The keys decide who may see it, also those that are not shown.
    let sees = |monitor: &Client| {
        let user = service.users.get(&monitor.names().user);
        user.is_some_and(|user| user.permits_view(command, arguments))
    };
    let memory = &service.client_memory;
    service
        .clients
        .show_request(memory, (database, &from), verb, words, sees);
}

/// Ends a call with a stream of replies.
pub(super) fn stream(source: impl Source + 'static) -> Answer {
    Ok(Outcome::Stream(Box::new(Stream::new(source))))
}

/// Parses arguments as keys.
///
/// # Errors
/// `TOO_LARGE` for a key over the limit.
pub(super) fn keys_of<'a>(arguments: &'a Arguments<'_>) -> Result<Vec<Key<'a>>, ErrorReply> {
    arguments
        .iter()
        .map(|argument| Ok(Key::parse(argument)?))
        .collect()
}
