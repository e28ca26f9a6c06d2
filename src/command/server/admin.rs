//! Administration: saves, the clock, the shutdown.
//!
//! In: requests. Out: statuses and numbers. Promise: none of these commands loses data.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome, stream};
use crate::command::clients::Client;
use crate::command::data::options::number_of;
use crate::command::refusals::bad_argument;
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::signals::Signal;
use crate::command::spec::{ANY, Dialects, Flag, Group, Scope};
use crate::command::stream::{Pull, Pulled, Source, Stream};
use crate::engine::Engine;
use crate::model::now_ms;
use crate::protocol::{ErrorCode, ErrorReply, Reply};

/// Why nothing is saved here where a cluster has the data.
pub(super) const ELSEWHERE: &str =
    "a cluster has the data (--engine), whose nodes save it; `pykv-cli export` writes it to a file";

pub(in crate::command) const ROWS: &[Row] = &[
    Row::admin("SAVE", "", 0..=0, save)
        .on(Scope::Keyspace)
        .flags(&[Flag::NotInMulti])
        .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
        .example("SAVE")
        .summary("Write all pairs to store.json now; answers when they are safely on disk."),
    Row::admin("BGSAVE", "[SCHEDULE]", 0..=ANY, bgsave)
        .on(Scope::Keyspace)
        .flags(&[Flag::NotInMulti])
        .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
        .example("BGSAVE")
        .summary("Begin to write all pairs to store.json; answers at once."),
    Row::admin("BGREWRITEAOF", "", 0..=0, bgrewriteaof)
        .on(Scope::Keyspace)
        .flags(&[Flag::NotInMulti, Flag::NotInScripts])
        .only(Dialects::Resp)
        .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
        .example("BGREWRITEAOF")
        .summary("Begin to write all pairs to store.json, which replaces the journal; answers at once."),
    Row::admin("LASTSAVE", "", 0..=0, lastsave)
        .flags(&[Flag::LoadingOk])
        .example("LASTSAVE")
        .summary("Return when store.json was last written, in seconds since 1970."),
    Row::connection("TIME", "", 0..=0, time)
        .group(Group::Server)
        .flags(&[Flag::LoadingOk])
        .example("TIME")
        .summary(
            "Return the time: seconds since 1970, and the microseconds of the current second.",
        ),
    Row::connection("WAIT", "<replicas> <ms>", 2..=2, wait)
        .group(Group::Generic)
        .flags(&[Flag::Slow, Flag::Blocks])
        .example("WAIT 1 100")
        .summary(
            "Wait until so many replicas have all changes, or for so long; answers how many have.",
        ),
    Row::connection("WAITAOF", "<here> <replicas> <ms>", 3..=3, waitaof)
        .group(Group::Generic)
        .flags(&[Flag::Slow, Flag::Blocks])
        .only(Dialects::Resp)
        .example("WAITAOF 1 0 100")
        .summary(
            "Wait until all changes are on this disk (1) and so many replicas have them, or for so long; answers which is so.",
        ),
    Row::admin(
        "SHUTDOWN",
        "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        0..=ANY,
        shutdown,
    )
    .flags(&[
        Flag::LoadingOk,
        Flag::NotInMulti,
        Flag::Dangerous,
        Flag::Slow,
    ])
    .example("SHUTDOWN ABORT")
    .summary("Stop the server: it answers the requests it has received, saves, and exits."),
];

fn save(_call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    stream(Save)
}

/// The reply to SAVE.
pub(super) struct Save;

impl Source for Save {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        pull.service.save().await?;
        pull.replies.reply(Reply::Ok);
        Ok(Pulled::End)
    }
}

fn bgsave(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let is_known = |word: &[u8]| word.eq_ignore_ascii_case(b"SCHEDULE");
    if words.len() > 1 || words.iter().any(|word| !is_known(word)) {
        return Err(call.syntax_error());
    }
    begin_save(call)?;
    call.done(Reply::Status("Background saving started"))
}

fn bgrewriteaof(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    begin_save(call)?;
    call.done(Reply::Status(
        "Background append only file rewriting started",
    ))
}

/// Begins a save.
///
/// # Errors
/// `ARGS` if one is going on; `BUSY` while the data is being loaded.
fn begin_save(call: &Call<'_, '_>) -> Result<(), ErrorReply> {
    let engine = Arc::clone(call.service.engine()?);
    let saving = Arc::clone(&call.service.saving_since_ms);
    let begun = saving.compare_exchange(0, now_ms(), AcqRel, Acquire);
    if begun.is_err() {
        return Err(bad_argument("Background save already in progress"));
    }
    tokio::spawn(async move {
        // LASTSAVE, STATS and INFO show the result.
        let _ = engine.save().await;
        saving.store(0, Release);
    });
    Ok(())
}

fn lastsave(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    call.done(Reply::Count(call.service.last_save_seconds()))
}

fn time(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let (seconds, us) = now.map_or((0, 0), |now| {
        (now.as_secs(), u64::from(now.subsec_micros()))
    });
    call.replies.reply(Reply::Array(2));
    for number in [seconds, us] {
        call.replies
            .reply(Reply::Value(number.to_string().as_bytes()));
    }
    Ok(Outcome::Done)
}

fn wait(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let replicas = number_of(&words[0])?;
    let timeout = number_of(&words[1])
        .map_err(|_| bad_argument("timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| bad_argument("timeout is negative"))?;
    // Nobody waits under the locks of a transaction, nor at a place that is kept for administration.
    let is_waiting = replicas > 0 && call.transaction.is_none() && call.session.reserved.is_none();
    let Some(client) = call.session.client.clone().filter(|_| is_waiting) else {
        let revision = call.service.revision();
        let having = call.service.replication.having(revision);
        return call.done(Reply::Count(having));
    };
    let time = (timeout > 0).then(|| Duration::from_millis(timeout));
    Ok(Outcome::Stream(Box::new(Stream::idle(Wait {
        client,
        replicas: replicas.unsigned_abs(),
        revision: call.service.revision(),
        time,
    }))))
}

/// The reply to WAIT.
struct Wait {
    client: Arc<Client>,
    replicas: u64,
    /// The last record that they must have.
    revision: u64,
    /// Time after which it ends; without one, it ends with the client.
    time: Option<Duration>,
}

impl Source for Wait {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let signals = self.client.signals();
        let mut timer = pin!(self.time.map(tokio::time::sleep));
        self.client.is_waiting.store(true, Relaxed);
        let replication = &pull.service.replication;
        let mut reached = pin!(replication.wait_for(self.replicas, self.revision));
        poll_fn(|context| {
            let is_over = [Signal::HungUp, Signal::Draining, Signal::Unblocked];
            if is_over.into_iter().any(|signal| signals.has(signal)) {
                return Poll::Ready(());
            }
            if reached.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            match timer.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(context),
                None => Poll::Pending,
            }
        })
        .await;
        self.client.is_waiting.store(false, Relaxed);
        check_unblocked(&self.client)?;
        let having = replication.having(self.revision);
        pull.replies.reply(Reply::Count(having));
        Ok(Pulled::End)
    }
}

/// Interval at which WAITAOF looks whether the changes are on disk.
const DISK_LOOK_INTERVAL: Duration = Duration::from_millis(5);

fn waitaof(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let out_of_range = || bad_argument("value is out of range, must be positive");
    let here = u64::try_from(number_of(&words[0])?).ok();
    let here = here
        .filter(|here| *here <= 1)
        .ok_or_else(|| bad_argument("value is out of range, value must between 0 and 1"))?;
    let replicas = u64::try_from(number_of(&words[1])?).map_err(|_| out_of_range())?;
    let timeout = number_of(&words[2])
        .map_err(|_| bad_argument("timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| bad_argument("timeout is negative"))?;
    let engine = Arc::clone(call.service.engine()?);
    if here == 1 && !engine.has_journal() {
        return Err(bad_argument(
            "WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    let revision = call.service.revision();
    let is_waiting = call.transaction.is_none() && call.session.reserved.is_none();
    let Some(client) = call.session.client.clone().filter(|_| is_waiting) else {
        let is_here = engine.synced() >= revision;
        let having = call.service.replication.having(revision);
        return answer_waitaof(call.replies, is_here, having);
    };
    let until = (timeout > 0).then(|| Instant::now() + Duration::from_millis(timeout));
    Ok(Outcome::Stream(Box::new(Stream::idle(WaitForDisk {
        client,
        engine,
        here: here == 1,
        replicas,
        revision,
        until,
    }))))
}

fn answer_waitaof(replies: &mut dyn Replies, is_here: bool, having: u64) -> Answer {
    replies.reply(Reply::Array(2));
    replies.reply(Reply::Count(is_here.into()));
    replies.reply(Reply::Count(having));
    Ok(Outcome::Done)
}

/// The reply to WAITAOF.
struct WaitForDisk {
    client: Arc<Client>,
    engine: Arc<Engine>,
    /// True if the changes must be on this disk.
    here: bool,
    /// Number of replicas that must have them.
    replicas: u64,
    /// The last record that must be there.
    revision: u64,
    /// Time at which it ends; without one, it ends with the client.
    until: Option<Instant>,
}

impl Source for WaitForDisk {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let signals = self.client.signals();
        self.client.is_waiting.store(true, Relaxed);
        let (is_here, having) = loop {
            let is_here = self.engine.synced() >= self.revision;
            let having = pull.service.replication.having(self.revision);
            let is_reached = (is_here || !self.here) && having >= self.replicas;
            let is_over = self.until.is_some_and(|until| Instant::now() >= until);
            let is_ended = [Signal::HungUp, Signal::Draining, Signal::Unblocked];
            if is_reached || is_over || is_ended.into_iter().any(|signal| signals.has(signal)) {
                break (is_here, having);
            }
            tokio::time::sleep(DISK_LOOK_INTERVAL).await;
        };
        self.client.is_waiting.store(false, Relaxed);
        check_unblocked(&self.client)?;
        let _ = answer_waitaof(pull.replies, is_here, having);
        Ok(Pulled::End)
    }
}

/// Checks that a client does not wait for an error by CLIENT UNBLOCK.
///
/// # Errors
/// That error.
fn check_unblocked(client: &Client) -> Result<(), ErrorReply> {
    let is_unblocked = client.signals().take(Signal::Unblocked);
    if is_unblocked && client.is_unblocked_by_error.load(Relaxed) {
        let message = "client unblocked via CLIENT UNBLOCK";
        return Err(bad_argument(message).with_prefix("UNBLOCKED"));
    }
    Ok(())
}

fn shutdown(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    for word in words {
        match &*word.to_ascii_uppercase() {
            // Without a save, changes stay in the journal, so that NOSAVE loses nothing, either.
            b"NOSAVE" | b"SAVE" | b"NOW" | b"FORCE" => {}
            b"ABORT" => return Err(bad_argument("No shutdown in progress.")),
            _ => return Err(call.syntax_error()),
        }
    }
    audit::called(call, "");
    call.service.setup.shutdown.cancel();
    if !call.dialect.is_resp() {
        // Redis does not reply, and its clients expect no reply.
        call.replies.reply(Reply::Ok);
    }
    Ok(Outcome::Close)
}
