//! Scripts: EVAL, EVALSHA and SCRIPT.
//!
//! In: a script in Lua, its keys and arguments. Out: what it returns. Promises: nobody sees a part of what a script does, and its changes
//! are one record of the journal; a script that takes longer than a moment holds no locks, so that others go on.
//! Source: <https://redis.io/docs/latest/develop/programmability/eval-intro/>.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::data::options::number_of;
use crate::command::data::script_host::{ScriptHost, Wanted};
use crate::command::data::transaction::{finish, long_reply};
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::scripts::{LongRun, StoredScript, flags_of};
use crate::command::spec::KeyFlag::{Access as AccessFlag, ReadOnly, ReadWrite, Update};
use crate::command::spec::{ANY, Access, Flag, Group, KeySpec, Subcommand};
use crate::command::subcommands::other_subcommand;
use crate::command::version::REDIS_VERSION;
use crate::engine::{Engine, FetchedPairs, WriteTransaction};
use crate::lua::{Failure, Machine, Returned, Script, Stop, Words};
use crate::model::{Database, Key, StoppedClock};
use crate::protocol::{ErrorCode, ErrorReply, Reply};

const USAGE: &str = "<script> <number of keys> [<key> ...] [<argument> ...]";
const USAGE_SHA1: &str = "<sha1> <number of keys> [<key> ...] [<argument> ...]";

pub(in crate::command) const ROWS: &[Row] = &[
    Row::script(Access::Write, "EVAL", USAGE, |call, words| {
        eval(call, words, false)
    })
    .on_keys(&[KeySpec::counted(1, &[ReadWrite, AccessFlag, Update])])
    .flags(&[Flag::NotInScripts, Flag::Slow])
    .example("EVAL \"return ARGV[1] .. '!'\" 0 hello")
    .summary("Execute a script in Lua, whose commands are executed as one."),
    Row::script(Access::Write, "EVALSHA", USAGE_SHA1, |call, words| {
        evalsha(call, words, false)
    })
    .on_keys(&[KeySpec::counted(1, &[ReadWrite, AccessFlag, Update])])
    .flags(&[Flag::NotInScripts, Flag::Slow])
    .example("EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0")
    .summary("Execute a script that the server knows, by the SHA-1 of its text."),
    Row::script(Access::Read, "EVAL_RO", USAGE, |call, words| {
        eval(call, words, true)
    })
    .on_keys(&[KeySpec::counted(1, &[ReadOnly, AccessFlag])])
    .flags(&[Flag::NotInScripts, Flag::Slow])
    .example("EVAL_RO \"return redis.call('GET', KEYS[1])\" 1 a")
    .summary("Execute a script that changes no pairs."),
    Row::script(Access::Read, "EVALSHA_RO", USAGE_SHA1, |call, words| {
        evalsha(call, words, true)
    })
    .on_keys(&[KeySpec::counted(1, &[ReadOnly, AccessFlag])])
    .flags(&[Flag::NotInScripts, Flag::Slow])
    .example("EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0")
    .summary("Execute a script that the server knows, and that changes no pairs."),
    Row::connection(
        "SCRIPT",
        "LOAD <script> | EXISTS <sha1> [<sha1> ...] | SHOW <sha1> | FLUSH [ASYNC | SYNC] | KILL | DEBUG NO",
        1..=ANY,
        script,
    )
    .group(Group::Scripting)
    .subcommands(&SUBCOMMANDS)
    .flags(&[Flag::NotInScripts, Flag::LoadingOk])
    .example("SCRIPT LOAD \"return 1\"")
    .summary("Load a script, look for scripts, forget them, or end those that run for long."),
];

const SUBCOMMANDS: [Subcommand; 7] = [
    Subcommand::new(
        "LOAD",
        Access::Connection,
        "Keep a script; answers its SHA-1.",
    ),
    Subcommand::new(
        "EXISTS",
        Access::Connection,
        "Say which scripts the server knows.",
    ),
    Subcommand::new("SHOW", Access::Connection, "Return the text of a script."),
    Subcommand::new("FLUSH", Access::Connection, "Forget all scripts.").destructive(),
    Subcommand::new(
        "KILL",
        Access::Connection,
        "End the scripts that run for long; they have changed nothing.",
    ),
    Subcommand::new(
        "DEBUG",
        Access::Connection,
        "Execute scripts without a debugger, as always.",
    ),
    Subcommand::HELP,
];

/// The longest that a script runs under the locks of its keys; then it begins again without them.
const LOCKED_TIME_MAX: Duration = Duration::from_millis(5);
/// The longest that a script runs under the locks of all keys, or in a transaction, which cannot begin again without them.
pub const ALL_LOCKED_TIME_MAX: Duration = Duration::from_millis(500);
/// Number of times that a script begins again with more keys, before it locks all.
const MORE_KEYS_MAX: usize = 8;

fn script(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let scripts = &call.service.scripts;
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"LOAD", [text]) => {
            let script = StoredScript::of(text);
            let (_, compiled) = flags_of(text)?;
            let script_of = Script {
                sha1: &script.sha1,
                text: compiled,
            };
            let checked = Machine::with(REDIS_VERSION, |machine| machine.check(script_of));
            checked
                .map_err(internal)?
                .map_err(|failure| refusal_of(&script, failure))?;
            scripts.load(text)?;
            call.done(Reply::Value(script.sha1.as_bytes()))
        }
        (b"EXISTS", sha1s) if !sha1s.is_empty() => {
            call.replies.reply(Reply::Array(sha1s.len()));
            for sha1 in sha1s {
                let is_known = scripts.get(sha1).is_some();
                call.replies.reply(Reply::Count(u64::from(is_known)));
            }
            Ok(Outcome::Done)
        }
        (b"SHOW", [sha1]) => {
            let script = scripts.get(sha1).ok_or_else(unknown_script)?;
            call.done(Reply::Value(&script.text))
        }
        (b"FLUSH", mode) => {
            let is_mode = |mode: &[u8]| {
                [&b"ASYNC"[..], b"SYNC"]
                    .iter()
                    .any(|known| mode.eq_ignore_ascii_case(known))
            };
            if mode.len() > 1 || !mode.iter().all(|mode| is_mode(mode)) {
                return Err(bad_argument("SCRIPT FLUSH only support SYNC|ASYNC option"));
            }
            scripts.clear();
            call.done(Reply::Ok)
        }
        (b"KILL", []) => {
            if scripts.kill() == 0 {
                return Err(
                    bad_argument("No scripts in execution right now.").with_prefix("NOTBUSY")
                );
            }
            call.done(Reply::Ok)
        }
        (b"DEBUG", [mode]) => match &*mode.to_ascii_uppercase() {
            b"NO" => call.done(Reply::Ok),
            b"YES" | b"SYNC" => Err(bad_argument("there is no debugger for scripts here")),
            _ => Err(bad_argument("Use SCRIPT DEBUG YES/SYNC/NO")),
        },
        _ => other_subcommand(call, words),
    }
}

fn unknown_script() -> ErrorReply {
    bad_argument("No matching script. Please use EVAL.").with_prefix("NOSCRIPT")
}

fn internal(message: String) -> ErrorReply {
    ErrorReply::new(ErrorCode::Internal, message)
}

fn eval(call: &mut Call<'_, '_>, words: &Arguments<'_>, is_read_only: bool) -> Answer {
    let script = call.service.scripts.keep(&words[0]);
    execute(call, &script, &words[1..], is_read_only)
}

fn evalsha(call: &mut Call<'_, '_>, words: &Arguments<'_>, is_read_only: bool) -> Answer {
    let script = call
        .service
        .scripts
        .get(&words[0])
        .ok_or_else(unknown_script)?;
    execute(call, &script, &words[1..], is_read_only)
}

/// A script with its keys and arguments.
struct Run<'a> {
    script: &'a StoredScript,
    /// What Lua compiles.
    text: &'a [u8],
    keys: &'a Arguments<'a>,
    arguments: &'a Arguments<'a>,
    is_read_only: bool,
    /// Database of the client, by which the script knows the keys.
    database: Database,
}

fn execute(
    call: &mut Call<'_, '_>,
    script: &StoredScript,
    words: &Arguments<'_>,
    is_read_only: bool,
) -> Answer {
    let (flags, text) = flags_of(&script.text)?;
    let count = number_of(&words[0])?;
    let (count, words) = (usize::try_from(count), &words[1..]);
    let count = count.map_err(|_| bad_argument("Number of keys can't be negative"))?;
    if count > words.len() {
        return Err(bad_argument(
            "Number of keys can't be greater than number of args",
        ));
    }
    let (keys, arguments) = words.split_at(count);
    let run = Run {
        script,
        text,
        keys,
        arguments,
        is_read_only: is_read_only || flags.is_read_only,
        database: call.session.database(),
    };
    if let Some(locks) = call.transaction.take() {
        return run.as_part(call, locks);
    }
    call.release_locks();
    if call.is_within_cap() {
        return call.within_cap(0, |call| run.alone(call));
    }
    run.alone(call)
}

/// What has come of an execution.
enum Attempt {
    /// The script has come to its end, or was refused.
    Ended(Answer),
    /// It has to begin again.
    Again(Wanted),
    /// Its time is over.
    TimeOver,
}

impl Run<'_> {
    /// Executes the script by itself.
    fn alone(&self, call: &mut Call<'_, '_>) -> Answer {
        let engine = call.engine()?;
        let mut began = None;
        let mut more: Vec<Box<[u8]>> = Vec::new();
        let mut has_all = false;
        loop {
            has_all |= more.len() > MORE_KEYS_MAX;
            let mut locks = if has_all {
                engine.begin_on_all()
            } else {
                let named = self
                    .keys
                    .iter()
                    .map(|key| &**key)
                    .chain(more.iter().map(|key| &**key));
                // A word that is no key is refused by the command that uses it.
                let keys: Vec<Key<'_>> = named.filter_map(|key| Key::parse(key).ok()).collect();
                engine.begin(&keys)
            };
            let limit = if has_all {
                ALL_LOCKED_TIME_MAX
            } else {
                LOCKED_TIME_MAX
            };
            let start = call.replies.bytes();
            // Once it has the locks, however long it has waited for them.
            let begins = Instant::now();
            let began = *began.get_or_insert(begins);
            let mut host = ScriptHost::new(call, &mut locks, self.is_read_only, None);
            let attempt = self.attempt(&mut host, Some(begins + limit), None);
            host.end(matches!(attempt, Attempt::Ended(_)));
            match attempt {
                Attempt::Ended(answer) => {
                    call.barrier.raise(locks.seen());
                    return conclude(call, locks, start, answer);
                }
                Attempt::Again(Wanted::Keys(keys)) => more.extend(keys),
                Attempt::Again(Wanted::All) => has_all = true,
                Attempt::TimeOver => {
                    drop(locks);
                    return self.without_locks(call, engine, began);
                }
            }
        }
    }

    /// Executes the script as a part of a transaction, or of a decision on copies.
    fn as_part(&self, call: &mut Call<'_, '_>, locks: &mut WriteTransaction<'_>) -> Answer {
        let until = Instant::now() + ALL_LOCKED_TIME_MAX;
        let savepoint = locks.savepoint();
        let deferred_before = call.session.deferred.len();
        let mut host = ScriptHost::new(call, locks, self.is_read_only, None);
        let attempt = self.attempt(&mut host, Some(until), None);
        host.end(matches!(attempt, Attempt::Ended(_)));
        let answer = match attempt {
            Attempt::Ended(answer) => answer,
            Attempt::Again(_) => Err(bad_argument(
                "Script attempted to access a non local key in a cluster node",
            )),
            Attempt::TimeOver => Err(bad_argument(format!(
                "a script in a transaction may take {} ms",
                ALL_LOCKED_TIME_MAX.as_millis()
            ))),
        };
        if answer.is_err() && !matches!(&answer, Err(error) if error.code == ErrorCode::Script) {
            locks.roll_back_to(savepoint);
            call.session.deferred.truncate(deferred_before);
        }
        answer
    }

    /// Executes the script on copies of the pairs that it uses, and makes its changes if these are still the same.
    fn without_locks(&self, call: &mut Call<'_, '_>, engine: &Engine, began: Instant) -> Answer {
        let service = call.service;
        let keys = self.keys.iter().map(|key| &**key);
        let guard = service.scripts.begin(began, keys)?;
        tokio::task::block_in_place(|| {
            loop {
                let start = call.replies.bytes();
                let mut copies = WriteTransaction::on_fetched(FetchedPairs::default());
                let run: Option<&LongRun> = Some(&guard.run);
                let mut host = ScriptHost::new(call, &mut copies, self.is_read_only, run);
                let attempt = self.attempt(&mut host, None, run);
                host.end(matches!(attempt, Attempt::Ended(_)));
                match attempt {
                    Attempt::Ended(answer) => {
                        let pairs = copies.into_fetched();
                        let used: Vec<&[u8]> = pairs.changes().map(|(key, _, _)| key).collect();
                        let used = used
                            .iter()
                            .map(|key| Key::parse(key).expect("it was a key"));
                        let used: Vec<Key<'_>> = used.collect();
                        let mut locks = engine.begin(&used);
                        locks.set_use(false);
                        let is_same = pairs.changes().all(|(key, before, _)| {
                            let key = Key::parse(key).expect("it was a key");
                            match (before, locks.get(key)) {
                                (Some(before), Some(now)) => before.is_same(&now),
                                (None, None) => true,
                                _ => false,
                            }
                        });
                        if !is_same {
                            call.replies.truncate(start);
                            continue;
                        }
                        for (key, _, after) in pairs.changes() {
                            match after {
                                None => {}
                                Some(Some(entry)) => drop(locks.put_entry(entry.clone())),
                                Some(None) => {
                                    let key = Key::parse(key).expect("it was a key");
                                    locks.delete(key);
                                }
                            }
                        }
                        call.barrier.raise(locks.seen());
                        return conclude(call, locks, start, answer);
                    }
                    Attempt::Again(_) => {
                        return Err(bad_argument(format!(
                            "a script that uses all keys may take {} ms",
                            ALL_LOCKED_TIME_MAX.as_millis()
                        )));
                    }
                    Attempt::TimeOver => {
                        return Err(script_error(&self.killed()));
                    }
                }
            }
        })
    }

    fn killed(&self) -> String {
        let sha1 = &self.script.sha1;
        format!("ERR Script killed by user with SCRIPT KILL. script: {sha1}.")
    }

    /// Executes the script once, at one time, and writes its reply.
    fn attempt(
        &self,
        host: &mut ScriptHost<'_, '_, '_, '_>,
        until: Option<Instant>,
        run: Option<&LongRun>,
    ) -> Attempt {
        let _clock = StoppedClock::stop();
        let script = Script {
            sha1: &self.script.sha1,
            text: self.text,
        };
        let killed = run.map(|run| run.killed.clone());
        let keys: Vec<Cow<'_, [u8]>>;
        let words = Words {
            keys: if self.database.is_default() {
                self.keys
            } else {
                let names = self.keys.iter().map(|key| self.database.name_of(key));
                keys = names.map(Cow::Borrowed).collect();
                &keys
            },
            arguments: self.arguments,
        };
        let executed = Machine::with(REDIS_VERSION, |machine| {
            machine.execute(script, words, (until, killed), host)
        });
        match executed {
            Err(message) => Attempt::Ended(Err(internal(message))),
            Ok(Ok(returned)) => Attempt::Ended(host.answer(|call| write_reply(call, &returned))),
            Ok(Err(Failure::Stopped(Stop::Again))) => match host.take_refusal() {
                Ok(wanted) => Attempt::Again(wanted),
                Err(error) => Attempt::Ended(Err(error)),
            },
            Ok(Err(Failure::Stopped(Stop::TimeOver | Stop::Killed))) => Attempt::TimeOver,
            Ok(Err(failure)) => Attempt::Ended(Err(refusal_of(self.script, failure))),
        }
    }
}

/// Commits the changes of a script, also of one that has raised an error, as in Redis.
fn conclude(
    call: &mut Call<'_, '_>,
    locks: WriteTransaction<'_>,
    start: usize,
    answer: Answer,
) -> Answer {
    let is_raised = matches!(&answer, Err(error) if error.code == ErrorCode::Script);
    let (outcome, raised) = match answer {
        Err(error) if is_raised => (Ok(Outcome::Done), Some(error)),
        answer => (answer, None),
    };
    let reports_change = call.reports_change;
    let done = finish(call, locks, start, outcome)?;
    match raised {
        None => Ok(done),
        Some(error) => {
            call.is_refused_by_data = reports_change;
            Err(error)
        }
    }
}

/// Returns the error for a script that has not returned anything, in Redis's words.
fn refusal_of(script: &StoredScript, failure: Failure) -> ErrorReply {
    let sha1 = &script.sha1;
    match failure {
        Failure::Syntax(message) => {
            bad_argument(format!("Error compiling script (new function): {message}"))
        }
        Failure::Raised { error, place } => {
            let text = String::from_utf8_lossy(&error);
            script_error(&match place {
                Some(place) => format!("{text} script: {sha1}, on {place}."),
                None => format!("{text} script: {sha1}."),
            })
        }
        Failure::Stopped(_) => unreachable!("it begins again, or has ended"),
    }
}

/// Returns an error of a script: its text begins with a code of its own.
fn script_error(text: &str) -> ErrorReply {
    ErrorReply::new(ErrorCode::Script, text)
}

/// Writes what a script has returned.
///
/// # Errors
/// An error that it has returned; `TOO_LARGE`.
fn write_reply(call: &mut Call<'_, '_>, returned: &Returned) -> Answer {
    let start = call.replies.bytes();
    if let Returned::Error(text) = returned {
        return Err(script_error(&String::from_utf8_lossy(text)));
    }
    write(call, returned);
    match long_reply(call.replies.bytes() - start) {
        Some(error) => {
            call.replies.truncate(start);
            Err(error)
        }
        None => Ok(Outcome::Done),
    }
}

fn write(call: &mut Call<'_, '_>, returned: &Returned) {
    match returned {
        Returned::Nil => call.replies.reply(Reply::NotFound),
        Returned::Integer(number) => call.replies.reply(Reply::Signed(*number)),
        Returned::Bulk(bytes) => call.replies.reply(Reply::Value(bytes)),
        Returned::Status(text) => call
            .replies
            .reply(Reply::Status(&String::from_utf8_lossy(text))),
        Returned::Error(text) => {
            let error = script_error(&String::from_utf8_lossy(text));
            call.replies.reply(Reply::Error(&error));
        }
        Returned::Double(text) => call.replies.reply(Reply::Double(text)),
        Returned::Array(elements) => {
            call.replies.reply(Reply::Array(elements.len()));
            for element in elements {
                write(call, element);
            }
        }
        Returned::Map(pairs) => {
            call.replies.reply(Reply::Map(pairs.len()));
            for (name, value) in pairs {
                write(call, name);
                write(call, value);
            }
        }
    }
}
