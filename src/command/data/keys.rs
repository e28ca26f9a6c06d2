//! Commands on whole pairs: DEL, EXISTS, RENAME, COPY, CLEAR and their relatives.
//!
//! In: keys. Out: counts and statuses. Promise: a request on several keys is atomic, except DELPREFIX, which deletes in chunks.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cluster::{Cluster, WalkPart};
use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, keys_of, stream};
use crate::command::data::listings::{Count, Deletion, DeletionReply, Listed, RandomKey, name_of};
use crate::command::data::native_forms;
use crate::command::data::pairs::Pairs;
use crate::command::data::scan::random_in_transaction;
use crate::command::database::numbered;
use crate::command::key_events::Event;
use crate::command::limits::KEYS_PER_REQUEST_MAX;
use crate::command::observation::Status;
use crate::command::permission;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::KeyFlag::{
    Access, Delete, Insert, Overwrite, ReadOnly, ReadWrite, Remove, Update,
};
use crate::command::spec::{ANY, Flag, Group, KeySpec, NativeReply, Scope};
use crate::command::stream::{Pull, Pulled, Source};
use crate::model::{Database, Key, Value};
use crate::protocol::{ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::write("DEL", "<key> [<key> ...]", 1..=KEYS_PER_REQUEST_MAX, del)
        .on_keys(&[KeySpec::all(&[Remove, Delete])])
    .native(NativeReply::Deleted)
        .flags(&[Flag::Slow])
        .example("DEL a")
        .summary("Delete keys; answers the number of deleted keys."),
    Row::write("UNLINK", "<key> [<key> ...]", 1..=KEYS_PER_REQUEST_MAX, del)
        .on_keys(&[KeySpec::all(&[Remove, Delete])])
    .native(NativeReply::Deleted)
        .example("UNLINK a b")
        .summary("The same as DEL; both free long values in the background."),
    Row::write("DELPREFIX", "<prefix> [DRYRUN]", 1..=2, delprefix)
        .on(Scope::Prefix(0))
        .flags(&[Flag::NotInMulti, Flag::Streams, Flag::Dangerous])
        .example("DELPREFIX user:")
        .summary("Delete all keys with a prefix, or only count them; answers their number."),
    Row::read(
        "EXISTS",
        "<key> [<key> ...]",
        1..=KEYS_PER_REQUEST_MAX,
        exists,
    )
    .on_keys(&[KeySpec::all(&[ReadOnly])])
    .native(NativeReply::Count)
    .flags(&[Flag::Looks])
        .example("EXISTS c")
    .summary("Count the given keys that exist."),
    Row::read(
        "TOUCH",
        "<key> [<key> ...]",
        1..=KEYS_PER_REQUEST_MAX,
        exists,
    )
    .on_keys(&[KeySpec::all(&[ReadOnly])])
    .native(NativeReply::Count)
    .flags(&[Flag::Touches])
    .example("TOUCH a b")
    .summary("Count the given keys that exist, as a use of them: under a cap on memory, they are evicted later."),
    Row::read("TYPE", "<key>", 1..=1, type_of)
        .on_keys(&[KeySpec::at(0, &[ReadOnly])])
    .native(NativeReply::Status)
        .flags(&[Flag::Looks])
        .example("TYPE a")
        .summary("Return the type of a value: \"string\", or \"none\" if there is no such key."),
    Row::write("RENAME", "<key> <new key>", 2..=2, rename)
        .on_keys(&[
            KeySpec::at(0, &[ReadWrite, Access, Delete]),
            KeySpec::at(1, &[Overwrite, Update]),
        ])
    .native(NativeReply::Ok)
        .flags(&[Flag::Slow])
        .stores_as(Event::RENAME_TO).deletes_as(Event::RENAME_FROM)
        .example("RENAME draft final")
        .summary("Rename a key; a pair under the new key is overwritten."),
    Row::write("RENAMENX", "<key> <new key>", 2..=2, renamenx)
        .on_keys(&[
            KeySpec::at(0, &[ReadWrite, Access, Delete]),
            KeySpec::at(1, &[Overwrite, Insert]),
        ])
    .native(NativeReply::Count)
        .stores_as(Event::RENAME_TO).deletes_as(Event::RENAME_FROM)
        .example("RENAMENX a b")
        .summary(
            "Rename a key if the new key does not exist; answers 1 if it was renamed, else 0.",
        ),
    Row::write("COPY", "<key> <new key> [DB <number>] [REPLACE]", 2..=ANY, copy)
        .on_keys(&[
            KeySpec::at(0, &[ReadOnly, Access]),
            KeySpec::at(1, &[Overwrite, Update]),
        ])
    .native_if(NativeReply::Count, native_forms::has_two_arguments)
        .flags(&[Flag::GrowsMemory, Flag::Slow, Flag::OtherDatabase])
        .stores_as(Event::COPY_TO)
        .example("COPY a b")
        .summary("Copy a pair to another key; answers 1 if it was copied, else 0."),
    Row::write("MOVE", "<key> <number>", 2..=2, move_to_database)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
        .refused_in_cluster(ErrorCode::Denied, "a cluster has the data (--engine): the keys of two databases are in different slots")
        .flags(&[Flag::OtherDatabase])
        .stores_as(Event::MOVE_TO).deletes_as(Event::MOVE_FROM)
        .example("MOVE final 1")
        .summary("Move a pair to another database, under the same name; answers 1 if it was moved, else 0."),
    Row::write("CLEAR", "", 0..=0, clear)
        .group(Group::Server)
        .on(Scope::Keyspace)
        .flags(&[Flag::Dangerous])
        .example("CLEAR")
        .summary("Delete every key; in another database than 0, every key of that."),
    Row::write("FLUSHDB", "[ASYNC | SYNC]", 0..=ANY, flushdb)
        .group(Group::Server)
        .on(Scope::Keyspace)
        .flags(&[Flag::Dangerous])
        .example("FLUSHDB")
        .summary("Delete the keys of the database; of database 0 those that belong to no other."),
    Row::write("FLUSHALL", "[ASYNC | SYNC]", 0..=ANY, flushall)
        .group(Group::Server)
        .on(Scope::Keyspace)
        .flags(&[Flag::Dangerous])
        .example("FLUSHALL ASYNC")
        .summary("Delete every key of all databases."),
    Row::read("RANDOMKEY", "", 0..=0, randomkey)
        .on(Scope::Keyspace)
        .example("RANDOMKEY")
        .summary("Return a random key."),
];

fn del(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let keys = keys_of(words)?;
    let deleted = call.change(&keys, |transaction| {
        let deleted = keys.iter().filter(|key| transaction.delete(**key));
        Ok(deleted.count())
    })?;
    if deleted == 0 {
        call.status = Status::NotFound;
    }
    call.done(Reply::Count(deleted as u64))
}

fn delprefix(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let prefix = Key::parse(&words[0])?;
    let is_dry_run = match words.get(1) {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"DRYRUN") => true,
        Some(_) => return Err(call.syntax_error()),
    };
    if prefix.as_bytes().is_empty() {
        return Err(bad_argument(
            "every key begins with an empty prefix; CLEAR deletes every key",
        ));
    }
    let listed = Listed::of(call, prefix, WalkPart::Keys)?;
    if is_dry_run {
        call.reports_change = call.service.marks_reads();
        return stream(Count(listed));
    }
    audit::called(call, "");
    stream(Deletion {
        listed,
        reply: DeletionReply::Count,
    })
}

fn exists(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let keys = keys_of(words)?;
    let there = call.read_all(&keys)?.iter().flatten().count();
    call.done(Reply::Count(there as u64))
}

fn type_of(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let is_there = call.change(&[key], |transaction| Ok(transaction.get(key).is_some()))?;
    if !is_there {
        call.note_missing(key);
    }
    call.done(Reply::Status(if is_there { "string" } else { "none" }))
}

fn rename(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    move_pair(call, words, true)?;
    call.done(Reply::Ok)
}

fn renamenx(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let is_moved = move_pair(call, words, false)?;
    call.done(Reply::Count(is_moved.into()))
}

fn move_pair(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    replaces: bool,
) -> Result<bool, ErrorReply> {
    let (from, to) = (Key::parse(&words[0])?, Key::parse(&words[1])?);
    call.change(&[from, to], |transaction| {
        let entry = transaction.get(from);
        let entry = entry.ok_or_else(|| bad_argument("no such key"))?;
        if from == to {
            return Ok(replaces);
        }
        if !replaces && transaction.get(to).is_some() {
            return Ok(false);
        }
        transaction.delete(from);
        transaction.put(to, entry.value());
        Ok(true)
    })
}

fn copy(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let (from, to) = (Key::parse(&words[0])?, Key::parse(&words[1])?);
    let (mut replaces, mut database) = (false, call.session.database());
    let mut options = words[2..].iter();
    while let Some(option) = options.next() {
        match &*option.to_ascii_uppercase() {
            b"REPLACE" => replaces = true,
            b"DB" => {
                let word = options.next().ok_or_else(|| call.syntax_error())?;
                database = numbered(call.service, word)?;
            }
            _ => return Err(call.syntax_error()),
        }
    }
    let moved = in_database(call, words, 1, database)?;
    let to = moved.as_deref().map_or(Ok(to), Key::parse)?;
    if from == to {
        return Err(bad_argument("source and destination objects are the same"));
    }
    let is_copied = call.change(&[from, to], |transaction| {
        let Some(entry) = transaction.get(from) else {
            return Ok(None);
        };
        if !replaces && transaction.get(to).is_some() {
            return Ok(Some(false));
        }
        let value: Value<'_> = entry.value();
        transaction.put(to, value);
        Ok(Some(true))
    })?;
    if is_copied.is_none() {
        call.note_missing(from);
    }
    call.done(Reply::Count((is_copied == Some(true)).into()))
}

/// Returns the stored key that the name at a place of the arguments has in a database; `None` in the client's own.
///
/// # Errors
/// `DENIED`, if the user may not access it.
fn in_database(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    place: usize,
    database: Database,
) -> Result<Option<Vec<u8>>, ErrorReply> {
    let own = call.session.database();
    if database == own {
        return Ok(None);
    }
    if call.service.cluster().is_some() {
        return Err(bad_argument(
            "a cluster has the data: the keys of two databases are in different slots",
        ));
    }
    let key = database.key_of(own.name_of(&words[place]));
    let mut named: Vec<Cow<'_, [u8]>> = words.iter().map(|word| Cow::Borrowed(&**word)).collect();
    named[place] = Cow::Borrowed(&key);
    let row = (call.place, call.command);
    permission::check(call.service, call.session, row, &named)?;
    Ok(Some(key))
}

fn move_to_database(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let from = Key::parse(&words[0])?;
    let database = numbered(call.service, &words[1])?;
    let Some(to) = in_database(call, words, 0, database)? else {
        return Err(bad_argument("source and destination objects are the same"));
    };
    let to = Key::parse(&to)?;
    let is_moved = call.change(&[from, to], |transaction| {
        let Some(entry) = transaction.get(from) else {
            return Ok(false);
        };
        if transaction.get(to).is_some() {
            return Ok(false);
        }
        transaction.delete(from);
        transaction.put(to, entry.value());
        Ok(true)
    })?;
    call.done(Reply::Count(is_moved.into()))
}

fn clear(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if call.session.database().is_default() {
        return clear_all(call, words);
    }
    clear_database(call)
}

/// Deletes the keys of the client's database: of database 0 those that belong to no other, as these would be lost unseen.
fn clear_database(call: &mut Call<'_, '_>) -> Answer {
    let database = call.session.database();
    if let Some(transaction) = &mut call.transaction {
        transaction.clear_database(database);
        audit::called(call, "");
        return call.done(Reply::Ok);
    }
    audit::called(call, "");
    let prefix = Key::parse(database.prefix().as_bytes())?;
    let listed = Listed::of(call, prefix, WalkPart::Keys)?;
    stream(Deletion {
        listed: listed.of_database_alone(),
        reply: DeletionReply::Ok,
    })
}

fn clear_all(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    if let Some(transaction) = &mut call.transaction {
        transaction.clear();
    } else if let Pairs::Cluster(cluster) = Pairs::of(call.service)? {
        audit::called(call, "");
        return stream(Flush(Arc::clone(cluster)));
    } else {
        let mut transaction = call.engine()?.begin_on_all();
        call.barrier.raise(transaction.seen());
        transaction.clear();
        let (notices, by) = (&call.service.notices, call.client_id());
        transaction.commit(call.barrier, |changes| notices.invalidate(changes, by))?;
    }
    audit::called(call, "");
    call.done(Reply::Ok)
}

/// Checks the arguments of FLUSHDB and FLUSHALL: memory is freed in the background either way.
fn check_mode(call: &Call<'_, '_>, words: &Arguments<'_>) -> Result<(), ErrorReply> {
    let is_known = |word: &[u8]| matches!(&*word.to_ascii_uppercase(), b"ASYNC" | b"SYNC");
    if words.len() > 1 || words.iter().any(|word| !is_known(word)) {
        return Err(call.syntax_error());
    }
    Ok(())
}

fn flushall(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    check_mode(call, words)?;
    clear_all(call, words)
}

fn flushdb(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    check_mode(call, words)?;
    let is_only = call.engine().is_ok_and(|engine| engine.has_one_database());
    if call.session.database().is_default() && is_only {
        return clear_all(call, words);
    }
    clear_database(call)
}

fn randomkey(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let database = call.session.database();
    if call.transaction.is_some() {
        return match random_in_transaction(call)? {
            Some(entry) => call.done(Reply::Value(name_of(database, &entry))),
            None => call.done(Reply::NotFound),
        };
    }
    if call.key_filter().is_some() || !database.is_default() {
        let every = Key::parse(database.prefix().as_bytes())?;
        return stream(RandomKey(Listed::of(call, every, WalkPart::Keys)?));
    }
    if let Pairs::Cluster(cluster) = Pairs::of(call.service)? {
        return stream(RandomOfCluster(Arc::clone(cluster)));
    }
    match call.engine()?.random(call.barrier) {
        Some(entry) => call.done(Reply::Value(entry.key_bytes())),
        None => call.done(Reply::NotFound),
    }
}

/// The key of a random pair of a cluster.
struct RandomOfCluster(Arc<Cluster>);

impl Source for RandomOfCluster {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        match self.0.random_key().await? {
            Some(key) => pull.replies.reply(Reply::Value(&key)),
            None => pull.replies.reply(Reply::NotFound),
        }
        Ok(Pulled::End)
    }
}

/// The deletion of every key of a cluster.
struct Flush(Arc<Cluster>);

impl Source for Flush {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        self.0.flush().await?;
        pull.replies.reply(Reply::Ok);
        Ok(Pulled::End)
    }
}
