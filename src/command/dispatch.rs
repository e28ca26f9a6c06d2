//! The dispatcher: executes requests, for every interface.
//!
//! In: prepared requests of a session. Out: replies in a sink, or a stream of them. Promises: every request is answered and counted
//! once; a request of a transaction or a batch passes the same checks as a single one.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

use super::call::{Call, Outcome};
use super::data::transaction::{self, TransactionRequest};
use super::observation::Status;
use super::permission;
use super::prepare::{Prepared, RequestBatch};
use super::refusals::{bad_argument, wrong_arity};
use super::reply_sink::Replies;
use super::service::Service;
use super::session::{Session, check_transactional};
use super::spec::Command;
use super::table::{COMMANDS, HANDLERS};
use crate::engine::{Barrier, LockedBatch};
use crate::metrics::counters::Tally;
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
        let mut is_refused_by_data = false;
        let answer = match self.admit(dialect, batch, request) {
            Err(error) => {
                let command = batch.row(request).map(|(_, command)| command);
                Err(self.session.note_refusal(command, error))
            }
            Ok(row) if self.session.is_queueing(row.1) => {
                // Checked again when EXEC executes it, as permissions may change before.
                match permission::check(self.service, self.session, row, arguments) {
                    Err(error) => Err(self.session.note_refusal(Some(row.1), error)),
                    Ok(()) => {
                        let queued = self.session.queue(row, arguments, replies);
                        queued.map(|()| Outcome::Done)
                    }
                }
            }
            Ok((place, command)) => {
                let mut call = Call {
                    service: self.service,
                    session: self.session,
                    tally: self.tally,
                    barrier: self.barrier,
                    replies,
                    command,
                    place,
                    handlers: &HANDLERS,
                    dialect,
                    transaction: None,
                    locked,
                    status,
                    reports_change,
                    is_refused_by_data,
                };
                let answer = call.perform(arguments);
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
            Err(error) => self.refuse(&error, is_refused_by_data, replies),
        }
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
        let admitted: Result<Vec<TransactionRequest<'_>>, ErrorReply> = requests
            .iter()
            .map(|request| {
                let arguments = batch.arguments(request);
                let (place, command) = self.admit(dialect, batch, request)?;
                check_transactional(command)?;
                Ok(TransactionRequest {
                    place,
                    command,
                    arguments: Cow::Borrowed(arguments),
                })
            })
            .collect();
        let place = COMMANDS
            .place_of(b"EXEC", dialect)
            .expect("a row of the table");
        let mut call = Call {
            service: self.service,
            session: self.session,
            tally: self.tally,
            barrier: self.barrier,
            replies,
            command: COMMANDS[place],
            place,
            handlers: &HANDLERS,
            dialect,
            transaction: None,
            locked: None,
            status: Status::Ok,
            reports_change: false,
            is_refused_by_data: false,
        };
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

    fn refuse(
        &mut self,
        error: &ErrorReply,
        reports_change: bool,
        replies: &mut dyn Replies,
    ) -> Executed {
        self.tally.errors += 1;
        replies.reply(Reply::Error(error));
        Executed {
            outcome: Outcome::Done,
            status: Status::Refused(error.code),
            reports_change,
        }
    }

    /// Counts a request and checks what does not depend on the data: that the command exists, takes that many arguments and is
    /// allowed while subscribed.
    ///
    /// # Errors
    /// The error found by the preparation, or `ARGS`.
    #[inline(always)]
    fn admit(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        request: &Prepared,
    ) -> Result<(usize, &'static Command), ErrorReply> {
        self.tally.requests += 1;
        let row = batch.row(request);
        if let Some((place, _)) = row {
            self.tally.command(place);
        }
        let (place, command) = match (&request.error, row) {
            (None, Some(row)) => row,
            (Some(error), _) => return Err((**error).clone()),
            (None, None) => unreachable!("a request for no command has an error"),
        };
        if let Some(client) = &self.session.client {
            client.command.store(place + 1, Relaxed);
        }
        if self.session.blocks_while_subscribed(command, dialect) {
            let name = command.name.to_lowercase();
            return Err(bad_argument(format!(
                "Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            )));
        }
        let given = batch.arguments(request).len();
        if command.takes_pairs() && !given.is_multiple_of(2) {
            return Err(wrong_arity(command, given, dialect));
        }
        Ok((place, command))
    }
}
