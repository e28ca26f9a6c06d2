//! Commands on many keys: ALL, KEYS, SCAN, COUNT, NAMESPACES and their relatives.
//!
//! In: a prefix, a pattern or a cursor. Out: keys, pairs or counts. Promise: every pair that exists from the start of a listing to
//! its end is listed, and no other client waits for the listing.

use std::sync::Arc;

use crate::cluster::{Cluster, WalkPart};
use crate::command::acl::KeyFilter;
use crate::command::call::{Answer, Arguments, Call, Outcome, stream};
use crate::command::data::listings::{
    Count, Listed, Matching, NamespaceRows, PairRows, RowKind, matching as matching_entries,
    name_of,
};
use crate::command::data::options::number_of;
use crate::command::data::pairs::Pairs;
use crate::command::glob::Pattern;
use crate::command::refusals::bad_argument;
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::spec::{ANY, Dialects, Flag, Group, Scope};
use crate::command::stream::{Pull, Pulled, Source};
use crate::engine::{Cursor, WriteTransaction};
use crate::model::entry::Entry;
use crate::model::{Database, Key};
use crate::protocol::{ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::read("ALL", "[<prefix>]", 0..=1, all)
        .on(Scope::Prefix(0))
        .flags(&[Flag::NotInMulti, Flag::Streams])
        .only(Dialects::Line)
        .example("ALL")
        .summary("List all pairs, or those whose key has a prefix."),
    Row::read("KEYS", "[<prefix>]", 0..=1, keys)
        .on(Scope::Prefix(0))
        .flags(&[Flag::NotInMulti, Flag::Streams, Flag::WholeServer])
        .only(Dialects::Line)
        .example("KEYS user:")
        .summary("List all keys, or those with a prefix."),
    Row::read("KEYS", "<pattern>", 1..=1, matching)
        .on(Scope::Pattern(0))
        .flags(&[Flag::Streams, Flag::WholeServer])
        .only(Dialects::Resp)
        .example("KEYS user:")
        .summary("List the keys that match a pattern; for Redis clients."),
    Row::read(
        "SCAN",
        "<cursor> [MATCH <pattern>] [COUNT <number>] [TYPE <type>]",
        1..=ANY,
        scan,
    )
    .on(Scope::Keyspace)
    .flags(&[Flag::Streams])
    .example("SCAN 0 MATCH user:* COUNT 100000")
    .summary("List some keys and the cursor of the next ones; cursor 0 begins and ends the scan."),
    Row::read("COUNT", "[<prefix>]", 0..=1, count)
        .on(Scope::Prefix(0))
        .flags(&[Flag::NotInMulti, Flag::Streams])
        .example("COUNT")
        .summary("Count all keys, or those with a prefix."),
    // No scope: it reads a counter, and accesses no key.
    Row::read("DBSIZE", "", 0..=0, dbsize)
        .group(Group::Server)
        .whole()
        .example("DBSIZE")
        .summary("Count all keys, under Redis's name."),
    Row::read("NAMESPACES", "[<prefix>]", 0..=1, namespaces)
        .on(Scope::Prefix(0))
        .flags(&[Flag::NotInMulti, Flag::Streams])
        .example("NAMESPACES")
        .summary(
            "List the namespaces below a prefix, each up to the next colon, with its number \
             of keys.",
        ),
];

/// Maximum number of keys that SCAN visits for one reply, which is collected in memory. COUNT is a hint.
pub const SCAN_COUNT_MAX: usize = 10_000;
/// Default of COUNT, as in Redis.
const SCAN_COUNT: usize = 10;

fn all(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let listed = Listed::of(call, prefix_of(words)?, WalkPart::Pairs)?;
    stream(PairRows::new(&call.session.account, listed, RowKind::Item))
}

fn keys(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let listed = listed_of(call, words)?;
    stream(PairRows::new(&call.session.account, listed, RowKind::Key))
}

fn count(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let database = call.session.database();
    let is_of_database =
        |prefix: &[u8]| !database.is_default() && prefix == database.prefix().as_bytes();
    if words.first().is_none_or(|prefix| is_of_database(prefix)) {
        return dbsize(call, words);
    }
    let listed = listed_of(call, words)?;
    stream(Count(listed))
}

fn dbsize(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let database = call.session.database();
    let counted = |call: &mut Call<'_, '_>| {
        let listed = Listed::of(
            call,
            Key::parse(database.prefix().as_bytes())?,
            WalkPart::Keys,
        )?;
        stream(Count(listed))
    };
    if call.key_filter().is_some() {
        if call.transaction.is_some() {
            let message = "this user sees some of the keys, which are not counted in a transaction";
            return Err(ErrorReply::new(ErrorCode::Denied, message).with_prefix("NOPERM"));
        }
        return counted(call);
    }
    if let (Pairs::Cluster(cluster), None) = (Pairs::of(call.service)?, &call.transaction) {
        if !database.is_default() {
            return counted(call);
        }
        return stream(KeysOfCluster(Arc::clone(cluster)));
    }
    let engine = call.engine()?;
    let keys = match &mut call.transaction {
        Some(transaction) => transaction.keys_of(database),
        None => engine.database(database).keys,
    };
    call.barrier.raise(engine.latest_change());
    call.done(Reply::Count(keys))
}

fn namespaces(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let prefix = prefix_of(words)?;
    let listed = Listed::of(call, prefix, WalkPart::Keys)?;
    let is_resp = call.dialect.is_resp();
    stream(NamespaceRows::new(listed, prefix.as_bytes(), is_resp))
}

/// Parses the first argument as a prefix; without one, returns the empty prefix.
fn prefix_of<'a>(words: &'a Arguments<'_>) -> Result<Key<'a>, ErrorReply> {
    Ok(Key::parse(words.first().map_or(&b""[..], |prefix| prefix))?)
}

fn listed_of(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Result<Listed, ErrorReply> {
    Listed::of(call, prefix_of(words)?, WalkPart::Keys)
}

fn matching(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let pattern = Pattern::parse(&words[0])?;
    if call.transaction.is_some() {
        let found = in_transaction(call, pattern.prefix())?;
        let found = found
            .iter()
            .filter(|entry| pattern.matches(entry.key_bytes()));
        return answer_names(call, found);
    }
    // A prefix that cannot be a key narrows nothing: scan all keys, of which none matches.
    let prefix = Key::parse(pattern.prefix());
    let prefix = prefix.unwrap_or(Key::parse(b"").expect("an empty key"));
    let listed = Listed::of(call, prefix, WalkPart::Keys)?;
    stream(Matching::new(&call.session.account, listed, pattern))
}

fn scan(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let from = std::str::from_utf8(&words[0]).ok();
    let from = from.and_then(|cursor| cursor.parse::<u64>().ok());
    let from = from.ok_or_else(|| bad_argument("invalid cursor"))?;
    let (mut pattern, mut least, mut is_string) = (None, SCAN_COUNT, true);
    let mut options = words[1..].iter();
    while let Some(option) = options.next() {
        let word = options.next().ok_or_else(|| call.syntax_error())?;
        match &*option.to_ascii_uppercase() {
            b"MATCH" => pattern = Some(Pattern::parse(word)?),
            b"COUNT" => {
                let count = usize::try_from(number_of(word)?).unwrap_or(0);
                if count == 0 {
                    return Err(call.syntax_error());
                }
                least = count.min(SCAN_COUNT_MAX);
            }
            b"TYPE" => is_string = word.eq_ignore_ascii_case(b"string"),
            _ => return Err(call.syntax_error()),
        }
    }
    let page = ScanPage {
        from,
        least,
        pattern,
        is_string,
        filter: call.key_filter(),
        database: call.session.database(),
    };
    let Some(transaction) = &mut call.transaction else {
        return stream(page);
    };
    check_all(transaction)?;
    let (mut found, next) = transaction.page(from, least);
    page.retain(&mut found);
    if let Some(pattern) = &page.pattern {
        found.retain(|entry| pattern.matches(name_of(page.database, entry)));
    }
    page.write(call.replies, &found, next);
    Ok(Outcome::Done)
}

/// Maximum number of pairs that a transaction may look through, all of which are locked meanwhile.
pub const LOCKED_PAIRS_MAX: u64 = 1_000_000;

/// Returns the pairs with a prefix that the user of a transaction may see.
fn in_transaction(call: &mut Call<'_, '_>, prefix: &[u8]) -> Result<Vec<Entry>, ErrorReply> {
    let (filter, database) = (call.key_filter(), call.session.database());
    let transaction = call.transaction.as_mut().expect("there is one");
    check_all(transaction)?;
    if transaction.keys_of(Database::default()) > LOCKED_PAIRS_MAX {
        let message = format!(
            "a transaction or script may look through {LOCKED_PAIRS_MAX} pairs, and there are more"
        );
        return Err(ErrorReply::new(ErrorCode::TooLarge, message));
    }
    let mut found = transaction.pairs_with(prefix);
    found.retain(|entry| {
        let key = entry.key_bytes();
        key.starts_with(database.prefix().as_bytes())
            && filter.as_ref().is_none_or(|filter| filter.permits(key))
    });
    Ok(found)
}

/// Checks that a transaction has all keys: on copies of pairs of a cluster it has not.
fn check_all(transaction: &WriteTransaction<'_>) -> Result<(), ErrorReply> {
    if transaction.has_all_keys() {
        return Ok(());
    }
    Err(bad_argument(
        "not to be had in a transaction where a cluster has the data",
    ))
}

/// Answers with the names of pairs, as an array.
fn answer_names<'e>(
    call: &mut Call<'_, '_>,
    found: impl Iterator<Item = &'e Entry> + Clone,
) -> Answer {
    let database = call.session.database();
    call.replies.reply(Reply::Array(found.clone().count()));
    for entry in found {
        call.replies.reply(Reply::Key(name_of(database, entry)));
    }
    Ok(Outcome::Done)
}

/// Returns a random pair of the client's database, in a transaction.
///
/// # Errors
/// `TOO_LARGE`, if there are too many pairs to look through.
pub(super) fn random_in_transaction(call: &mut Call<'_, '_>) -> Result<Option<Entry>, ErrorReply> {
    let database = call.session.database();
    if database.is_default() && call.key_filter().is_none() {
        let transaction = call.transaction.as_mut().expect("there is one");
        check_all(transaction)?;
        return Ok(transaction.random());
    }
    let found = in_transaction(call, database.prefix().as_bytes())?;
    Ok(fastrand::choice(found))
}

/// The keys of one page of a scan, and the cursor of the next.
struct ScanPage {
    from: Cursor,
    least: usize,
    pattern: Option<Pattern>,
    /// False if only keys of a type are wanted that there is none of.
    is_string: bool,
    /// Filter of the keys that the user may see.
    filter: Option<KeyFilter>,
    database: Database,
}

impl ScanPage {
    /// Keeps the pairs that are to be shown, but for the pattern.
    fn retain(&self, page: &mut Vec<Entry>) {
        if !self.is_string {
            page.clear();
        }
        let prefix = self.database.prefix().as_bytes();
        page.retain(|entry| {
            let key = entry.key_bytes();
            let is_seen = self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.permits(key));
            key.starts_with(prefix) && is_seen
        });
    }

    fn write(&self, replies: &mut dyn Replies, page: &[Entry], next: Option<Cursor>) {
        replies.reply(Reply::Array(2));
        let cursor = next.unwrap_or(0).to_string();
        replies.reply(Reply::Value(cursor.as_bytes()));
        replies.reply(Reply::Array(page.len()));
        for entry in page {
            let name = name_of(self.database, entry);
            replies.reply(Reply::Value(name));
        }
    }
}

impl Source for ScanPage {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let pairs = Pairs::of(pull.service)?;
        let prefix = self.database.prefix().as_bytes();
        let page = pairs.page(
            self.from,
            self.least,
            (prefix, WalkPart::Keys),
            pull.barrier,
        );
        let (mut page, next) = page.await?;
        self.retain(&mut page);
        if let Some(pattern) = &self.pattern {
            page = matching_entries(page, pattern, self.database).await;
        }
        self.write(pull.replies, &page, next);
        Ok(Pulled::End)
    }
}

/// The number of keys of a cluster.
struct KeysOfCluster(Arc<Cluster>);

impl Source for KeysOfCluster {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let keys = self.0.count_keys().await?;
        pull.replies.reply(Reply::Count(keys));
        Ok(Pulled::End)
    }
}
