//! Commands on memory: what a pair takes, what all of it is used for, and how a pair was used.
//!
//! In: keys. Out: numbers, and sentences. Promise: none of them is a use of the pair that it looks at.
//! Source: <https://redis.io/docs/latest/commands/memory-stats/>, <https://redis.io/docs/latest/commands/object-idletime/>.

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::data::native_forms;
use crate::command::data::options::number_of;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::{ANY, Access, Flag, Group, KeyFlag, KeySpec, NativeReply, Subcommand};
use crate::command::subcommands::other_subcommand;
use crate::engine::Eviction;
use crate::metrics::process::{resident_bytes, resident_bytes_max};
use crate::model::Key;
use crate::model::entry::Entry;
use crate::protocol::resp::whole_number;
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::read(
        "MEMORY",
        "USAGE <key> [SAMPLES <number>] | STATS | DOCTOR | MALLOC-STATS | PURGE",
        1..=ANY,
        memory,
    )
    .group(Group::Server)
    .on_keys(&[KeySpec::at(1, &[KeyFlag::ReadOnly])])
    .native_if(NativeReply::Count, native_forms::asks_for_usage)
    .subcommands(&MEMORY_SUBCOMMANDS)
    .flags(&[Flag::Looks])
    .example("MEMORY USAGE name")
    .summary("Say what takes memory: a pair, or everything."),
    Row::read(
        "OBJECT",
        "ENCODING <key> | REFCOUNT <key> | IDLETIME <key> | FREQ <key>",
        1..=ANY,
        object,
    )
    .on_keys(&[KeySpec::at(1, &[KeyFlag::ReadOnly])])
    .native_if(NativeReply::Count, native_forms::asks_for_uses)
    .subcommands(&OBJECT_SUBCOMMANDS)
    .flags(&[Flag::Looks])
    .example("OBJECT ENCODING age")
    .summary("Return how Redis would store a value, or how a pair was used under a cap on memory."),
];

const MEMORY_SUBCOMMANDS: [Subcommand; 6] = [
    Subcommand::new(
        "USAGE",
        Access::Read,
        "Count the bytes that a pair takes in memory.",
    ),
    Subcommand::new(
        "STATS",
        Access::Connection,
        "Say what the memory of the process is used for.",
    ),
    Subcommand::new(
        "DOCTOR",
        Access::Connection,
        "Say in sentences whether memory is used well.",
    ),
    Subcommand::new(
        "MALLOC-STATS",
        Access::Connection,
        "Say what the allocator holds.",
    ),
    Subcommand::new(
        "PURGE",
        Access::Connection,
        "Return unused memory to the system, which the allocator also does by itself.",
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
        "Return the seconds since a pair was last used, while there is a cap on memory.",
    ),
    Subcommand::new(
        "FREQ",
        Access::Read,
        "Return how often a pair is used, where the policy of eviction goes by that.",
    ),
    Subcommand::HELP,
];

/// Returns the pair of a key.
///
/// # Errors
/// `TOO_LARGE` or `TEXT` if it is not a valid key, `BUSY` while the data is being loaded.
pub(super) fn entry_of(call: &mut Call<'_, '_>, key: &[u8]) -> Result<Option<Entry>, ErrorReply> {
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
        (b"STATS", []) => memory_stats(call),
        (b"DOCTOR", []) => {
            let advice = advice(call)?;
            call.done(Reply::Text(&advice))
        }
        (b"MALLOC-STATS", []) => {
            let resident = resident_bytes().unwrap_or(0);
            let peak = resident_bytes_max().unwrap_or(0);
            let text = format!(
                "jemalloc\nresident: {resident}\nresident, at most: {peak}\ndata: {}\n",
                call.engine()?.memory_bytes()
            );
            call.done(Reply::Text(&text))
        }
        // Its threads purge what is unused for seconds.
        (b"PURGE", []) => call.done(Reply::Ok),
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
        b"IDLETIME" => {
            let is_lfu = call.service.memory_cap().eviction().is_lfu();
            let used = call.engine()?.use_of(&entry);
            match used {
                Some(_) if is_lfu => Err(bad_argument(
                    "An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
                     policies at runtime LRU and LFU data will take some time to adjust.",
                )),
                Some(used) => call.done(Reply::Count(used.idle_ms / 1000)),
                None => Err(bad_argument(
                    "it is kept only under a cap on memory when a pair was last used: --max-memory sets one",
                )),
            }
        }
        _ => match call
            .engine()?
            .use_of(&entry)
            .and_then(|used| used.frequency)
        {
            Some(frequency) => call.done(Reply::Count(frequency.into())),
            None => Err(bad_argument(
                "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            )),
        },
    }
}

/// Returns the encoding in which Redis would store a value.
pub(super) fn encoding_of(value: &[u8]) -> &'static [u8] {
    const EMBEDDED_BYTES_MAX: usize = 44;
    if whole_number(value).is_some() {
        b"int"
    } else if value.len() <= EMBEDDED_BYTES_MAX {
        b"embstr"
    } else {
        b"raw"
    }
}

/// A figure of MEMORY STATS.
enum Stat {
    Count(u64),
    /// A ratio or a percentage.
    Real(f64),
}

#[expect(
    clippy::cast_precision_loss,
    reason = "two digits after the point are shown"
)]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn memory_stats(call: &mut Call<'_, '_>) -> Answer {
    let engine = call.engine()?;
    let resident = resident_bytes().unwrap_or(0);
    let peak = resident_bytes_max().unwrap_or(0);
    let scripts = call.service.scripts.size().1 as u64;
    let (memory, data, keys) = (engine.memory_bytes(), engine.data_bytes(), engine.keys());
    let clients = call.service.client_memory.bytes() as u64;
    let cap = call.service.memory_cap();
    let startup = cap.program_bytes();
    let stats = [
        ("peak.allocated", Stat::Count(peak)),
        ("total.allocated", Stat::Count(memory)),
        ("startup.allocated", Stat::Count(startup)),
        // What is not here takes nothing.
        ("replication.backlog", Stat::Count(0)),
        ("clients.slaves", Stat::Count(0)),
        ("clients.normal", Stat::Count(clients)),
        ("cluster.links", Stat::Count(0)),
        ("aof.buffer", Stat::Count(0)),
        ("lua.caches", Stat::Count(scripts)),
        ("functions.caches", Stat::Count(0)),
        ("overhead.total", Stat::Count(memory.saturating_sub(data))),
        ("keys.count", Stat::Count(keys)),
        (
            "keys.bytes-per-key",
            Stat::Count(memory.saturating_sub(startup) / keys.max(1)),
        ),
        ("dataset.bytes", Stat::Count(data)),
        (
            "dataset.percentage",
            Stat::Real(share(data, memory) * 100.0),
        ),
        ("peak.percentage", Stat::Real(share(resident, peak) * 100.0)),
        // The allocator is not asked: what is counted is allocated, and all that is resident is its.
        ("allocator.allocated", Stat::Count(memory)),
        ("allocator.active", Stat::Count(resident)),
        ("allocator.resident", Stat::Count(resident)),
        (
            "allocator-fragmentation.ratio",
            Stat::Real(share(resident, memory)),
        ),
        (
            "allocator-fragmentation.bytes",
            Stat::Count(resident.saturating_sub(memory)),
        ),
        ("allocator-rss.ratio", Stat::Real(1.0)),
        ("allocator-rss.bytes", Stat::Count(0)),
        ("rss-overhead.ratio", Stat::Real(1.0)),
        ("rss-overhead.bytes", Stat::Count(0)),
        ("fragmentation", Stat::Real(share(resident, memory))),
        (
            "fragmentation.bytes",
            Stat::Count(resident.saturating_sub(memory)),
        ),
        ("maxmemory", Stat::Count(cap.bytes())),
        ("maxmemory.limit", Stat::Count(cap.limit().min(cap.bytes()))),
        ("evicted.keys", Stat::Count(engine.evicted())),
    ];
    call.replies.reply(Reply::Map(stats.len()));
    for (name, stat) in stats {
        call.replies.reply(Reply::Value(name.as_bytes()));
        match stat {
            Stat::Count(count) => call.replies.reply(Reply::Count(count)),
            Stat::Real(real) => {
                let text = format!("{real:.2}");
                call.replies.reply(Reply::Double(&text));
            }
        }
    }
    Ok(Outcome::Done)
}

/// Part of the cap from which on the data is called nearly full, in percent.
const NEARLY_FULL_PERCENT: u64 = 90;
/// Ratio of resident memory to counted memory from which on it is worth a sentence, in percent, and the bytes below which it is not.
const FRAGMENTED_PERCENT: u64 = 125;
const FRAGMENTED_BYTES_MIN: u64 = 64 << 20;

/// Returns what is to be said of the use of memory.
fn advice(call: &Call<'_, '_>) -> Result<String, ErrorReply> {
    let engine = call.engine()?;
    let (cap, memory) = (call.service.memory_cap(), engine.memory_bytes());
    let resident = resident_bytes().unwrap_or(0);
    let mut sentences = vec![format!(
        "The data takes {memory} bytes of memory, the process {resident}."
    )];
    if !cap.is_set() {
        sentences.push("There is no cap: --max-memory sets one.".to_owned());
    } else if memory * 100 < cap.bytes() * NEARLY_FULL_PERCENT {
        sentences.push(format!("The cap of {} bytes leaves room.", cap.bytes()));
    } else if cap.eviction() == Eviction::NoEviction {
        sentences.push(format!(
            "The cap of {} bytes is nearly reached, and nothing is evicted: changes that need memory are refused. Delete pairs, raise \
             --max-memory, or choose an --eviction.",
            cap.bytes()
        ));
    } else {
        sentences.push(format!(
            "The cap of {} bytes is nearly reached: {} pairs were evicted by {} since the start.",
            cap.bytes(),
            engine.evicted(),
            cap.eviction().name()
        ));
    }
    if cap.is_set() && cap.limit() < cap.bytes() {
        sentences.push(format!(
            "As the allocator holds more than the pairs take, they are held to {} bytes.",
            cap.limit()
        ));
    }
    if memory > FRAGMENTED_BYTES_MIN && resident * 100 > memory * FRAGMENTED_PERCENT {
        sentences.push(
            "The process holds a quarter more than the data takes: pairs of other lengths were there before, or clients hold memory \
             (STATS client_memory_bytes)."
                .to_owned(),
        );
    }
    sentences.push(
        "MEMORY STATS and INFO memory have the numbers, MEMORY USAGE those of a pair.".to_owned(),
    );
    Ok(sentences.join(" "))
}
