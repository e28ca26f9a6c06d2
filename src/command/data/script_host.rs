//! What a script asks of the server: its commands, under the locks or on the copies of its run.
//!
//! In: the words of commands. Out: their replies in RESP. Promises: a command passes the same checks as one of the client by itself; what
//! others would see at once, such as a message, waits for the end of the script.

use std::borrow::Cow;

use crate::command::call::{Answer, Call, Outcome};
use crate::command::database::name_keys;
use crate::command::observation;
use crate::command::permission;
use crate::command::reply_sink::Replies;
use crate::command::scripts::LongRun;
use crate::command::spec::{Access, ChannelUse, Clustered, Command, Flag, Group, Scope};
use crate::engine::WriteTransaction;
use crate::lua::{Host, Stop};
use crate::model::entry::Entry;
use crate::model::{Database, Key};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

/// What a script needs that it does not have.
#[derive(Debug)]
pub enum Wanted {
    /// These keys, which it did not declare.
    Keys(Vec<Box<[u8]>>),
    /// All keys.
    All,
}

/// The host of a script that is being executed.
pub struct ScriptHost<'h, 'c, 'e, 'l> {
    call: &'h mut Call<'c, 'e>,
    locks: &'h mut WriteTransaction<'l>,
    is_read_only: bool,
    /// Dialect of the replies to the script.
    dialect: Dialect,
    /// The run, of a script that works on copies.
    run: Option<&'h LongRun>,
    refusal: Option<Result<Wanted, ErrorReply>>,
    /// Database of the client, to which the script returns at its end.
    database: Database,
    /// Number of notices that waited for the commit before.
    deferred_before: usize,
    reports_change: bool,
}

impl<'h, 'c, 'e, 'l> ScriptHost<'h, 'c, 'e, 'l> {
    /// Makes the host of a script that is executed under these locks; on copies, if it is a long run.
    pub fn new(
        call: &'h mut Call<'c, 'e>,
        locks: &'h mut WriteTransaction<'l>,
        is_read_only: bool,
        run: Option<&'h LongRun>,
    ) -> Self {
        call.session.is_in_script = true;
        Self {
            database: call.session.database(),
            deferred_before: call.session.deferred.len(),
            call,
            locks,
            is_read_only,
            dialect: Dialect::Resp2,
            run,
            refusal: None,
            reports_change: false,
        }
    }

    /// Returns why the script could not go on: what it wants, or the error for its client.
    pub fn take_refusal(&mut self) -> Result<Wanted, ErrorReply> {
        self.refusal.take().unwrap_or(Ok(Wanted::All))
    }

    /// Answers the client of the script.
    pub fn answer(&mut self, answer: impl FnOnce(&mut Call<'c, 'e>) -> Answer) -> Answer {
        answer(self.call)
    }

    /// Ends the work of the host. The notices of a script that has not come to its end are dropped.
    pub fn end(self, has_ended: bool) {
        self.call.session.is_in_script = false;
        self.call.session.select(self.database);
        self.call.reports_change |= self.reports_change;
        if !has_ended {
            self.call.session.deferred.truncate(self.deferred_before);
        }
    }

    /// Finds a command that a script may execute.
    fn find(&self, words: &[Cow<'_, [u8]>]) -> Result<(usize, &'static Command), &'static str> {
        let commands = self.call.service.commands;
        let place = commands.place_of(&words[0], Dialect::Resp2);
        let place = place.ok_or("Unknown Redis command called from script")?;
        let (command, given) = (commands[place], words.len() - 1);
        if !command.arity.contains(&given) || (command.takes_pairs() && !given.is_multiple_of(2)) {
            return Err("Wrong number of args calling Redis command from script");
        }
        let is_publishing = command.scope == Scope::Channels(ChannelUse::Publish);
        // The messages of a cluster are sent by its nodes.
        let is_elsewhere = is_publishing && self.call.service.cluster().is_some();
        if !is_for_scripts(command) || is_elsewhere {
            return Err("This Redis command is not allowed from script");
        }
        Ok((place, command))
    }

    /// Takes the keys of a command.
    ///
    /// # Errors
    /// If the script has to begin again with them.
    fn take_keys(&mut self, command: &Command, arguments: &[Cow<'_, [u8]>]) -> Result<(), Stop> {
        let is_on_all =
            matches!(command.clustered, Clustered::Whole) || command.has(Flag::OtherDatabase);
        if is_on_all && !self.locks.has_all_keys() {
            self.refusal = Some(Ok(Wanted::All));
            return Err(Stop::Again);
        }
        // A word that is no key is refused by the command.
        let keys = command
            .keys(arguments)
            .filter_map(|key| Key::parse(key).ok());
        let keys: smallvec::SmallVec<[Key<'_>; 2]> = keys.collect();
        if self.locks.try_take(&keys) {
            return Ok(());
        }
        if let (Some(run), Ok(engine)) = (self.run, self.call.engine()) {
            for key in keys {
                if !self.locks.try_take(&[key]) {
                    run.add_keys(std::iter::once(key.as_bytes()));
                    let found = engine.read_all(&[key], false, self.call.barrier);
                    self.locks.add_copy(key, found.into_iter().next().flatten());
                }
            }
            return Ok(());
        }
        let keys = keys.iter().map(|key| key.as_bytes().into());
        self.refusal = Some(Ok(Wanted::Keys(keys.collect())));
        Err(Stop::Again)
    }

    fn execute(
        &mut self,
        (place, command): (usize, &'static Command),
        words: &[Cow<'_, [u8]>],
        replies: &mut ScriptReplies<'_>,
    ) -> Result<(), ErrorReply> {
        let arguments = &words[1..];
        if command.is_write() {
            if self.is_read_only {
                let message = "Write commands are not allowed from read-only scripts.";
                return Err(ErrorReply::new(ErrorCode::Args, message));
            }
            self.call.service.check_writable()?;
        }
        let dialect = replies.dialect;
        let mut inner = self.call.part(
            self.locks,
            (place, command, &words[0]),
            Some((dialect, replies)),
        );
        let answer = inner.perform(arguments);
        let is_refused_by_data = inner.is_refused_by_data;
        self.reports_change |= (inner.reports_change && answer.is_ok()) || is_refused_by_data;
        match answer {
            Ok(Outcome::Done) => Ok(()),
            Ok(_) => unreachable!("what ends otherwise is not for scripts"),
            Err(error) => {
                let commands = self.call.service.commands;
                let id = commands.id_of(place, arguments);
                let stats = &self.call.service.stats;
                stats.count_failure(id, observation::failure_of(&error));
                Err(error)
            }
        }
    }
}

/// Returns true if a script may execute a command: it acts on pairs at one moment, publishes, or tells of the server.
fn is_for_scripts(command: &Command) -> bool {
    let unfit = [
        Flag::NotInScripts,
        Flag::NotInMulti,
        Flag::ImmediateInMulti,
        Flag::Secret,
        Flag::Blocks,
    ];
    !unfit.iter().any(|flag| command.has(*flag))
        && command.group != Group::Transactions
        && match command.access {
            Access::Read | Access::Write | Access::Connection => true,
            Access::PubSub => command.scope == Scope::Channels(ChannelUse::Publish),
            Access::Admin => false,
        }
}

impl Host for ScriptHost<'_, '_, '_, '_> {
    fn call(&mut self, words: &[Cow<'_, [u8]>], reply: &mut Vec<u8>) -> Result<(), Stop> {
        let (place, command) = match self.find(words) {
            Ok(row) => row,
            Err(message) => {
                reply.extend_from_slice(format!("-ERR {message}\r\n").as_bytes());
                return Ok(());
            }
        };
        let mut named = Vec::new();
        let database = self.call.session.database();
        let words = if database.is_default() {
            words
        } else {
            named.extend(words.iter().map(|word| Cow::Borrowed(&**word)));
            name_keys(database, command, &mut named, 1);
            &named
        };
        self.take_keys(command, &words[1..])?;
        let id = self.call.service.commands.id_of(place, &words[1..]);
        self.call.tally.command(id);
        let dialect = self.dialect;
        let mut replies = ScriptReplies {
            out: reply,
            dialect,
        };
        if let Err(error) = self.execute((place, command), words, &mut replies) {
            reply.clear();
            dialect.write(reply, Reply::Error(&error));
        }
        if let Err(error) = self.locks.check_size() {
            self.refusal = Some(Err(error.into()));
            return Err(Stop::Again);
        }
        Ok(())
    }

    fn set_resp3(&mut self, is_resp3: bool) {
        self.dialect = if is_resp3 {
            Dialect::Resp3
        } else {
            Dialect::Resp2
        };
    }

    fn permits(&mut self, words: &[Cow<'_, [u8]>]) -> Result<bool, String> {
        let commands = self.call.service.commands;
        let place = commands.place_of(&words[0], Dialect::Resp2);
        let place = place.ok_or("Invalid command passed to redis.acl_check_cmd()")?;
        let row = (place, commands[place]);
        let call = &mut *self.call;
        Ok(permission::permits(
            call.service,
            call.session,
            row,
            &words[1..],
        ))
    }

    fn log(&mut self, level: i64, line: &[u8]) {
        /// Maximum length of a line in the log, in bytes.
        const LINE_BYTES_MAX: usize = 1024;
        let line = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]);
        match level {
            0 | 1 => tracing::debug!("a script says: {line}"),
            2 => tracing::info!("a script says: {line}"),
            _ => tracing::warn!("a script says: {line}"),
        }
    }
}

/// Replies to the commands of a script, in RESP.
struct ScriptReplies<'a> {
    out: &'a mut Vec<u8>,
    dialect: Dialect,
}

impl Replies for ScriptReplies<'_> {
    fn reply(&mut self, reply: Reply<'_>) {
        self.dialect.write(self.out, reply);
    }

    fn long_value(&mut self, entry: Entry) {
        self.reply(Reply::Found(entry.value()));
    }

    fn long_item(&mut self, _name: &[u8], entry: Entry) {
        self.reply(Reply::Found(entry.value()));
    }

    fn is_full(&self) -> bool {
        false
    }

    fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    fn bytes(&self) -> usize {
        self.out.len()
    }

    fn truncate(&mut self, bytes: usize) {
        self.out.truncate(bytes);
    }
}
