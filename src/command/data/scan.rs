//! Commands on many keys: ALL, KEYS, SCAN, COUNT, NAMESPACES and their relatives.
//!
//! In: a prefix, a pattern or a cursor. Out: keys, pairs or counts. Promise: every pair that exists from the start of a listing to
//! its end is listed, and no other client waits for the listing.

use std::sync::Arc;

use crate::cluster::{Cluster, WalkPart};
use crate::command::acl::KeyFilter;
use crate::command::call::{Answer, Arguments, Call, stream};
use crate::command::data::listings::{
    Count, Listed, Matching, NamespaceRows, PairRows, RowKind, matching as matching_entries,
};
use crate::command::data::options::number_of;
use crate::command::data::pairs::Pairs;
use crate::command::glob::Pattern;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::{ANY, Dialects, Flag, Group, Scope};
use crate::command::stream::{Pull, Pulled, Source};
use crate::engine::Cursor;
use crate::model::Key;
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
        .flags(&[Flag::NotInMulti, Flag::Streams, Flag::WholeServer])
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
    .flags(&[Flag::NotInMulti, Flag::Streams])
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
    if words.is_empty() {
        return dbsize(call, words);
    }
    let listed = listed_of(call, words)?;
    stream(Count(listed))
}

fn dbsize(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if call.key_filter().is_some() {
        if call.transaction.is_some() {
            let message = "this user sees some of the keys, which are not counted in a transaction";
            return Err(ErrorReply::new(ErrorCode::Denied, message).with_prefix("NOPERM"));
        }
        return stream(Count(listed_of(call, words)?));
    }
    if let (Pairs::Cluster(cluster), None) = (Pairs::of(call.service)?, &call.transaction) {
        return stream(KeysOfCluster(Arc::clone(cluster)));
    }
    let engine = call.engine()?;
    let keys = match &mut call.transaction {
        Some(transaction) => transaction.keys(),
        None => engine.keys(),
    };
    call.barrier.raise(engine.latest_change());
    call.done(Reply::Count(keys))
}

fn namespaces(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let prefix = prefix_of(words)?;
    let listed = Listed::of(call, prefix, WalkPart::Keys)?;
    let is_resp = call.dialect.is_resp();
    stream(NamespaceRows::new(listed, prefix.as_str(), is_resp))
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
    stream(ScanPage {
        from,
        least,
        pattern,
        is_string,
        filter: call.key_filter(),
    })
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
}

impl Source for ScanPage {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let pairs = Pairs::of(pull.service)?;
        let page = pairs.page(self.from, self.least, (b"", WalkPart::Keys), pull.barrier);
        let (mut page, next) = page.await?;
        if !self.is_string {
            page.clear();
        }
        if let Some(filter) = &self.filter {
            page.retain(|entry| filter.permits(entry.key_bytes()));
        }
        if let Some(pattern) = &self.pattern {
            page = matching_entries(page, pattern).await;
        }
        pull.replies.reply(Reply::Array(2));
        let cursor = next.unwrap_or(0).to_string();
        pull.replies.reply(Reply::Value(cursor.as_bytes()));
        pull.replies.reply(Reply::Array(page.len()));
        for entry in &page {
            pull.replies.reply(Reply::Value(entry.key_bytes()));
        }
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
