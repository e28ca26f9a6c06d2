//! Administration: saves, memory use, the clock, the shutdown.
//!
//! In: requests. Out: statuses and numbers. Promise: none of these commands loses data.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome, stream};
use crate::command::clients::Client;
use crate::command::data::options::number_of;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::signals::Signal;
use crate::command::spec::{ANY, Access, Flag, Group, KeyFlag, KeySpec, Scope, Subcommand};
use crate::command::stream::{Pull, Pulled, Source, Stream};
use crate::command::subcommands::other_subcommand;
use crate::model::entry::Entry;
use crate::model::{Key, now_ms};
use crate::protocol::resp::whole_number;
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::admin("SAVE", "", 0..=0, save)
        .on(Scope::Keyspace)
        .flags(&[Flag::NotInMulti])
        .example("SAVE")
        .summary("Write all pairs to store.json now; answers when they are safely on disk."),
    Row::admin("BGSAVE", "[SCHEDULE]", 0..=ANY, bgsave)
        .on(Scope::Keyspace)
        .flags(&[Flag::NotInMulti])
        .example("BGSAVE")
        .summary("Begin to write all pairs to store.json; answers at once."),
    Row::admin("LASTSAVE", "", 0..=0, lastsave)
        .flags(&[Flag::LoadingOk])
        .example("LASTSAVE")
        .summary("Return when store.json was last written, in seconds since 1970."),
    Row::read(
        "MEMORY",
        "USAGE <key> [SAMPLES <number>] | DOCTOR",
        1..=ANY,
        memory,
    )
    .group(Group::Server)
    .on_keys(&[KeySpec::at(1, &[KeyFlag::ReadOnly])])
    .subcommands(&MEMORY_SUBCOMMANDS)
    .example("MEMORY USAGE name")
    .summary("Count the bytes that a pair takes in memory."),
    Row::read(
        "OBJECT",
        "ENCODING <key> | REFCOUNT <key> | IDLETIME <key> | FREQ <key>",
        1..=ANY,
        object,
    )
    .on_keys(&[KeySpec::at(1, &[KeyFlag::ReadOnly])])
    .subcommands(&OBJECT_SUBCOMMANDS)
    .example("OBJECT ENCODING age")
    .summary("Return how Redis would store a value."),
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
        .summary("Wait until so many replicas have all changes, or for so long; there are none, so 0 is the answer."),
    Row::admin(
        "SHUTDOWN",
        "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        0..=ANY,
        shutdown,
    )
    .flags(&[Flag::LoadingOk, Flag::NotInMulti, Flag::Dangerous, Flag::Slow])
    .example("SHUTDOWN ABORT")
    .summary("Stop the server: it answers the requests it has received, saves, and exits."),
];

const MEMORY_SUBCOMMANDS: [Subcommand; 3] = [
    Subcommand::new(
        "USAGE",
        Access::Read,
        "Count the bytes that a pair takes in memory.",
    ),
    Subcommand::new(
        "DOCTOR",
        Access::Connection,
        "Say where memory use is shown.",
    ),
    Subcommand::HELP,
];

const OBJECT_SUBCOMMANDS: [Subcommand; 5] = [
    Subcommand::new(
        "ENCODING",
        Access::Read,
        "Return how Redis would store a value.",
    ),
    Subcommand::new(
        "REFCOUNT",
        Access::Read,
        "Return 1, as no two keys share a value.",
    ),
    Subcommand::new(
        "IDLETIME",
        Access::Read,
        "Known to Redis clients; refused, as access times are not kept.",
    ),
    Subcommand::new(
        "FREQ",
        Access::Read,
        "Known to Redis clients; refused, as accesses are not counted.",
    ),
    Subcommand::HELP,
];

fn save(_call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    stream(Save)
}

/// The reply to SAVE.
struct Save;

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
    call.done(Reply::Status("Background saving started"))
}

fn lastsave(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    call.done(Reply::Count(call.service.last_save_seconds()))
}

/// Returns the pair of a key.
///
/// # Errors
/// `TOO_LARGE` or `TEXT` if it is not a valid key, `BUSY` while the data is being loaded.
fn entry_of(call: &mut Call<'_, '_>, key: &[u8]) -> Result<Option<Entry>, ErrorReply> {
    let key = Key::parse(key)?;
    call.change(&[key], |transaction| Ok(transaction.get(key)))
}

fn memory(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"USAGE", [key, options @ ..]) => {
            match options {
                [] => {}
                [word, samples] if word.eq_ignore_ascii_case(b"SAMPLES") => {
                    number_of(samples)?;
                }
                _ => return Err(call.syntax_error()),
            }
            match entry_of(call, key)? {
                Some(entry) => call.done(Reply::Count(entry.memory_bytes() as u64)),
                None => call.done(Reply::NotFound),
            }
        }
        (b"DOCTOR", []) => call.done(Reply::Text(
            "INFO memory tells how much there is; MEMORY USAGE what a pair takes of it.",
        )),
        _ => other_subcommand(call, words),
    }
}

fn object(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let (word @ (b"ENCODING" | b"REFCOUNT" | b"IDLETIME" | b"FREQ"), [key]) =
        (&*words[0].to_ascii_uppercase(), &words[1..])
    else {
        return other_subcommand(call, words);
    };
    let Some(entry) = entry_of(call, key)? else {
        return call.done(Reply::NotFound);
    };
    match word {
        b"ENCODING" => call.done(Reply::Value(encoding_of(entry.value_bytes()))),
        b"REFCOUNT" => call.done(Reply::Count(1)),
        b"IDLETIME" => Err(bad_argument("it is not kept when a key was last looked at")),
        _ => Err(bad_argument(
            "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        )),
    }
}

/// Returns the encoding in which Redis would store a value.
fn encoding_of(value: &[u8]) -> &'static [u8] {
    const EMBEDDED_BYTES_MAX: usize = 44;
    if whole_number(value).is_some() {
        b"int"
    } else if value.len() <= EMBEDDED_BYTES_MAX {
        b"embstr"
    } else {
        b"raw"
    }
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
        return call.done(Reply::Count(0));
    };
    let time = (timeout > 0).then(|| Duration::from_millis(timeout));
    Ok(Outcome::Stream(Box::new(Stream::idle(Wait {
        client,
        time,
    }))))
}

/// The reply to WAIT.
struct Wait {
    client: Arc<Client>,
    /// Time after which it ends; without one, it ends with the client.
    time: Option<Duration>,
}

impl Source for Wait {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let signals = self.client.signals();
        let mut timer = pin!(self.time.map(tokio::time::sleep));
        self.client.is_waiting.store(true, Relaxed);
        poll_fn(|context| {
            if signals.has(Signal::HungUp) || signals.has(Signal::Draining) {
                return Poll::Ready(());
            }
            match timer.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(context),
                None => Poll::Pending,
            }
        })
        .await;
        self.client.is_waiting.store(false, Relaxed);
        pull.replies.reply(Reply::Count(0));
        Ok(Pulled::End)
    }
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
