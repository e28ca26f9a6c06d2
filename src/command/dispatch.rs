//! The dispatcher: executes requests, for every interface.
//!
//! In: prepared requests of a session. Out: replies in a sink, or a stream of them. Promises: every request is answered and counted
//! once; a request of a transaction or a batch passes the same checks as a single one.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::call::{Call, Outcome, ROOM_UNCHECKED, StoredExpiry};
use super::data::transaction::{self, TransactionRequest};
use super::database;
use super::lookup::CommandId;
use super::observation::{self, Status};
use super::pause::Paused;
use super::permission;
use super::prepare::{Prepared, RequestBatch};
use super::refusals::{bad_argument, wrong_arity};
use super::reply_sink::Replies;
use super::service::Service;
use super::session::{Session, check_transactional};
use super::slow_requests::Slowlog;
use super::spec::{Access, Arguments, ChannelUse, Command, Flag, Scope};
use super::table::{COMMANDS, HANDLERS};
use crate::engine::{Barrier, LockedBatch};
use crate::metrics::counters::{Failure, Tally};
use crate::protocol::{Dialect, ErrorReply, Reply};

/// The result of one request.
#[derive(Debug)]
pub struct Executed {
    /// The next step of the caller.
    pub outcome: Outcome,
    /// The result in one word.
    pub status: Status,
    /// True if the reply reports a change, made or found unnecessary: it must not be sent if the change cannot be made durable.
    pub reports_change: bool,
}

/// Executes the requests of one session.
#[derive(Debug)]
pub struct Dispatcher<'a> {
    /// State that all sessions share.
    pub service: &'a Service,
    /// State of the client.
    pub session: &'a mut Session,
    /// Counts of the executed requests.
    pub tally: &'a mut Tally,
    /// The last change that a reply depends on.
    pub barrier: &'a mut Barrier,
}

impl Dispatcher<'_> {
    /// Executes a request. `locked` is the batch whose locks it shares, if any, and its place there.
    #[inline(always)]
    pub fn execute(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        request: &Prepared,
        locked: Option<(&mut Option<LockedBatch<'_>>, usize)>,
        replies: &mut dyn Replies,
    ) -> Executed {
        let arguments = batch.arguments(request);
        let (mut status, mut reports_change) = (Status::Ok, false);
        let (mut is_refused_by_data, mut is_executed) = (false, false);
        let answer = match self.admit(dialect, batch, request) {
            Err(error) => Err(self.note_refusal(batch, request, error)),
            Ok(row) if self.session.is_queueing(row.1) => {
                // Checked again when EXEC executes it, as permissions may change before.
                match permission::check(self.service, self.session, row, arguments) {
                    Err(error) => Err(self.session.note_refusal(Some(row.1), error)),
                    Ok(()) => {
                        let verb = batch.verb(request, row.1);
                        let queued = self.session.queue(row, (verb, arguments), replies);
                        queued.map(|()| {
                            self.note_queued(row.1, arguments);
                            Outcome::Done
                        })
                    }
                }
            }
            Ok((place, command)) => {
                let verb = batch.verb(request, command);
                let mut call = Call {
                    locked,
                    ..self.call(dialect, (place, verb), replies)
                };
                let answer = call.perform(arguments);
                is_executed = true;
                (status, reports_change) = (call.status, call.reports_change);
                is_refused_by_data = call.is_refused_by_data;
                answer
            }
        };
        match answer {
            Ok(outcome) => Executed {
                outcome,
                status,
                reports_change,
            },
            Err(error) => {
                let stage = if is_executed {
                    observation::failure_of(&error)
                } else {
                    Failure::Rejected
                };
                self.count_failure(batch, request, stage);
                self.refuse(&error, is_refused_by_data, replies)
            }
        }
    }

    /// Returns true if a request waits while clients are paused: CLIENT UNPAUSE never does.
    #[cold]
    #[must_use]
    pub fn is_paused(&self, batch: &RequestBatch<'_>, request: &Prepared) -> bool {
        let (Some(paused), Some((_, command))) = (self.service.pause.paused(), batch.row(request))
        else {
            return false;
        };
        let words = batch.arguments(request);
        let is_end = command.name == "CLIENT"
            && matches!(words, [word] if word.eq_ignore_ascii_case(b"UNPAUSE"));
        match paused {
            Paused::All => !is_end,
            Paused::Writes if self.session.is_queueing(command) => false,
            Paused::Writes if command.scope == Scope::Queued => self.session.queues_writes(),
            Paused::Writes => {
                command.is_write() || command.scope == Scope::Channels(ChannelUse::Publish)
            }
        }
    }

    /// Changes the database of the requests behind one that was queued, if that will.
    fn note_queued(&mut self, command: &Command, arguments: &Arguments<'_>) {
        if command.has(Flag::SelectsDatabase)
            && let [word] = arguments
            && let Ok(database) = database::numbered(self.service, word)
        {
            self.session.select(database);
        }
    }

    /// Counts a refused request for its command, if there is such a command.
    #[cold]
    fn count_failure(&self, batch: &RequestBatch<'_>, request: &Prepared, stage: Failure) {
        if let Some((place, _)) = batch.row(request) {
            let commands = self.service.commands;
            let id = commands.id_of(place, batch.arguments(request));
            self.service.stats.count_failure(id, stage);
        }
    }

    /// Counts a request of a Redis client for a command that is not here, and logs the first one.
    #[cold]
    fn note_unknown(&self, batch: &RequestBatch<'_>, request: &Prepared) {
        if let Some(verb) = batch.unknown_verb(request)
            && let Some(command) = self.service.stats.unknown.count(verb)
        {
            tracing::warn!(
                command,
                "a client asks for a command that is not here; STATS counts such requests"
            );
        }
    }

    /// Ends a lap of the clock, in which these requests were executed. If it was slow, the slow log gets it: reading the clock for
    /// each of many short requests would cost a tenth of their speed, so that they have one entry.
    #[inline(always)]
    pub fn end_lap<'r>(
        &mut self,
        batch: &RequestBatch<'_>,
        requests: impl Iterator<Item = &'r Prepared>,
    ) {
        let took = self.tally.lap();
        if let Some(took) = took.filter(|took| Slowlog::is_slow(&self.service.setup, *took)) {
            self.note_slow(batch, requests.collect(), took);
        }
    }

    #[cold]
    fn note_slow(&self, batch: &RequestBatch<'_>, mut requests: Vec<&Prepared>, took: Duration) {
        let command_of = |request: &Prepared| batch.row(request).map(|(_, command)| command);
        // Those that are observed one by one are noted by themselves.
        requests.retain(|request| {
            let command = command_of(request);
            command.is_some_and(|command| !observation::is_observed(self.service, command))
        });
        let Some((first, others)) = requests.split_first() else {
            return;
        };
        let command = command_of(first).expect("requests without a command are left out");
        let visible = self.session.visible(batch.arguments(first)).iter();
        let mut words: Vec<Cow<'_, [u8]>> = visible.map(|word| Cow::Borrowed(&**word)).collect();
        if !others.is_empty() {
            let more = format!("... ({} more requests, executed together)", others.len());
            words.push(Cow::Owned(more.into_bytes()));
        }
        let client = self.session.client.as_deref();
        let row = (command, batch.verb(first, command));
        observation::note_slow(self.service, client, row, &words, took);
    }

    /// Checks that the session may execute a command of the line dialect, without executing it.
    ///
    /// # Errors
    /// `NOAUTH` or `DENIED`.
    pub fn check(&mut self, name: &str, words: &[&[u8]]) -> Result<(), ErrorReply> {
        let place = COMMANDS.place_of(name.as_bytes(), Dialect::Line);
        let place = place.expect("a row of the table");
        let words: Vec<Cow<'_, [u8]>> = words.iter().map(|word| Cow::Borrowed(*word)).collect();
        permission::check(self.service, self.session, (place, COMMANDS[place]), &words)
    }

    /// Executes requests as one transaction, as EXEC does. If one of them is refused, nothing changes, and its error is the only
    /// reply. `is_too_long` returns the error for replies of that many bytes, if they are over the limit.
    pub fn execute_all(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        requests: &[Prepared],
        is_too_long: impl Fn(usize) -> Option<ErrorReply>,
        replies: &mut dyn Replies,
    ) -> Executed {
        let admitted = self.admit_all(dialect, batch, requests, check_transactional);
        let place = COMMANDS
            .place_of(b"EXEC", dialect)
            .expect("a row of the table");
        let mut call = self.call(dialect, (place, b"EXEC"), replies);
        let done =
            admitted.and_then(|requests| transaction::execute(&mut call, &requests, is_too_long));
        let (reports_change, is_refused_by_data) = (call.reports_change, call.is_refused_by_data);
        match done {
            Ok(()) => Executed {
                outcome: Outcome::Done,
                status: Status::Ok,
                reports_change,
            },
            Err(error) => self.refuse(&error, is_refused_by_data, replies),
        }
    }

    /// Checks the requests of a transaction before any is executed, each by `check`, too.
    ///
    /// # Errors
    /// That of the first request that is refused.
    pub(super) fn admit_all<'r>(
        &mut self,
        dialect: Dialect,
        batch: &'r RequestBatch<'_>,
        requests: &'r [Prepared],
        check: impl Fn(&Command) -> Result<(), ErrorReply>,
    ) -> Result<Vec<TransactionRequest<'r>>, ErrorReply> {
        let requests = requests.iter().map(|request| {
            let arguments = batch.arguments(request);
            let (place, command) = self.admit(dialect, batch, request)?;
            check(command)?;
            // Before room is made for them.
            permission::check(self.service, self.session, (place, command), arguments)?;
            Ok(TransactionRequest {
                place,
                command,
                verb: batch.verb(request, command),
                arguments: Cow::Borrowed(arguments),
            })
        });
        requests.collect()
    }

    /// Makes the call of the command at a place of the table, alone and not yet executed.
    #[inline(always)]
    pub(super) fn call<'c, 'e>(
        &'c mut self,
        dialect: Dialect,
        (place, verb): (usize, &'c [u8]),
        replies: &'c mut dyn Replies,
    ) -> Call<'c, 'e> {
        Call {
            service: self.service,
            session: self.session,
            tally: self.tally,
            barrier: self.barrier,
            replies,
            command: COMMANDS[place],
            place,
            verb,
            handlers: &HANDLERS,
            dialect,
            transaction: None,
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

    /// Handles the refusal of a request before its execution. Returns the error for the client.
    pub(super) fn note_refusal(
        &mut self,
        batch: &RequestBatch<'_>,
        request: &Prepared,
        error: ErrorReply,
    ) -> ErrorReply {
        let command = batch.row(request).map(|(_, command)| command);
        self.session.note_refusal(command, error)
    }

    fn refuse(
        &mut self,
        error: &ErrorReply,
        reports_change: bool,
        replies: &mut dyn Replies,
    ) -> Executed {
        self.service.stats.count_errors(error.redis_prefix(), 1);
        replies.reply(Reply::Error(error));
        Executed {
            outcome: Outcome::Done,
            status: Status::Refused(error.code),
            reports_change,
        }
    }

    /// Counts a request. Returns the number of its command or subcommand; 0 if there is none.
    #[inline(always)]
    pub(super) fn count_request(
        &mut self,
        batch: &RequestBatch<'_>,
        request: &Prepared,
    ) -> CommandId {
        self.tally.requests += 1;
        let Some((place, command)) = batch.row(request) else {
            return 0;
        };
        let mut id = place;
        // Most commands have none, and their arguments are not looked at.
        if !command.subcommands.is_empty() {
            id = self.service.commands.id_of(place, batch.arguments(request));
        }
        self.tally.command(id);
        id
    }

    /// Returns what has come of a request whose replies are in the sink, but for an error, which is added.
    pub(super) fn executed(
        &mut self,
        batch: &RequestBatch<'_>,
        request: &Prepared,
        done: Result<(Outcome, Status), ErrorReply>,
        replies: &mut dyn Replies,
    ) -> Executed {
        if let Err(error) = &done {
            self.count_failure(batch, request, observation::failure_of(error));
        }
        self.executed_all(done, replies)
    }

    /// Returns what has come of several requests whose replies are in the sink, but for an error, which is added.
    pub(super) fn executed_all(
        &mut self,
        done: Result<(Outcome, Status), ErrorReply>,
        replies: &mut dyn Replies,
    ) -> Executed {
        match done {
            Ok((outcome, status)) => Executed {
                outcome,
                status,
                reports_change: false,
            },
            Err(error) => self.refuse(&error, false, replies),
        }
    }

    /// Counts a request and checks what does not depend on the data: that the command exists, takes that many arguments and is
    /// allowed while subscribed.
    ///
    /// # Errors
    /// The error found by the preparation, or `ARGS`.
    #[inline(always)]
    pub(super) fn admit(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        request: &Prepared,
    ) -> Result<(usize, &'static Command), ErrorReply> {
        let id = self.count_request(batch, request);
        let (place, command) = match (&request.error, batch.row(request)) {
            (None, Some(row)) => row,
            (Some(error), _) => {
                self.note_unknown(batch, request);
                return Err((**error).clone());
            }
            (None, None) => unreachable!("a request for no command has an error"),
        };
        if let Some(client) = &self.session.client {
            client.command.store(id + 1, Relaxed);
        }
        if self.session.blocks_while_subscribed(command, dialect) {
            let name = command.name.to_lowercase();
            return Err(bad_argument(format!(
                "Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            )));
        }
        // The requests of a transaction are checked when they are queued, and those of a script when they are executed.
        if command.access == Access::Write && command.scope != Scope::Queued && !command.is_script()
        {
            self.service.check_writable()?;
        }
        let given = batch.arguments(request).len();
        if command.takes_pairs() && !given.is_multiple_of(2) {
            return Err(wrong_arity(command, given, dialect));
        }
        Ok((place, command))
    }
}
