//! PAGE: pairs page by page, for browsing.
//!
//! In: a cursor, a prefix, a text to search for. Out: the beginnings of pairs, and the cursor of the next page. Promises: a walk
//! from cursor to cursor shows every pair that exists from its start to its end; no request searches for longer than
//! [`SEARCH_TIME_MAX`], whatever the number of pairs and matches.

use std::time::{Duration, Instant};

use memchr::memmem;

use super::listings::name_of;
use super::options::number_of;
use super::pairs::Pairs;
use crate::cluster::WalkPart;
use crate::command::acl::KeyFilter;
use crate::command::call::{Answer, Arguments, Call, stream};
use crate::command::refusals::bad_argument;
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::spec::{ANY, Flag, Scope};
use crate::command::stream::{Pull, Pulled, Source};
use crate::engine::Cursor;
use crate::model::entry::Entry;
use crate::model::{Database, KEY_BYTES_MAX, Key, is_text};
use crate::protocol::{ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[Row::read(
    "PAGE",
    "<cursor> [PREFIX <prefix>] [SEARCH <text>] [LIMIT <number>]",
    1..=ANY,
    page,
)
.on(Scope::Keyspace)
.flags(&[Flag::NotInMulti, Flag::Streams])
.example("PAGE 0 PREFIX user: LIMIT 2")
.summary(
    "List some pairs, with size and expiry, and the cursor of the next page; 0 \
     begins and ends.",
)];

/// Default number of pairs of a page.
pub const PAGE_PAIRS: usize = 50;
/// Maximum number of pairs of a page, which is collected in memory.
pub const PAGE_PAIRS_MAX: usize = 1_000;
/// Maximum number of bytes of a value that are shown; GET reads the rest.
const SHOWN_BYTES_MAX: usize = 256;
/// Maximum duration of a search, so that a person sees a page at once.
const SEARCH_TIME_MAX: Duration = Duration::from_millis(40);
/// Maximum length of a text to search for in bytes: that of a key, as a whole key may be searched for.
pub const SEARCH_BYTES_MAX: usize = KEY_BYTES_MAX;
/// Number of bytes of a value that are searched before the task yields.
const SEARCHED_BYTES_AT_A_TIME: usize = 1 << 20;
/// Maximum number of pairs that are searched before the task yields.
const PAIRS_AT_A_TIME: usize = 1_000;

fn page(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let cursor = std::str::from_utf8(&words[0]).ok();
    let cursor = cursor.and_then(|cursor| cursor.parse().ok());
    let cursor = cursor.ok_or_else(|| bad_argument("invalid cursor"))?;
    let database = call.session.database();
    let (mut prefix, mut text, mut limit) = (database.key_of(b""), &b""[..], PAGE_PAIRS);
    let mut options = words[1..].iter();
    while let Some(option) = options.next() {
        let word = options.next().ok_or_else(|| call.syntax_error())?;
        match &*option.to_ascii_uppercase() {
            b"PREFIX" => prefix = database.key_of(Key::parse(word)?.as_bytes()),
            b"SEARCH" if word.len() > SEARCH_BYTES_MAX => {
                return Err(ErrorReply::new(
                    ErrorCode::TooLarge,
                    format!(
                        "the text to search for has {} bytes, and may have {SEARCH_BYTES_MAX}",
                        word.len()
                    ),
                ));
            }
            b"SEARCH" => text = word,
            b"LIMIT" => {
                let number = usize::try_from(number_of(word)?).unwrap_or(0);
                limit = Some(number)
                    .filter(|number| (1..=PAGE_PAIRS_MAX).contains(number))
                    .ok_or_else(|| bad_argument(format!("LIMIT is 1 to {PAGE_PAIRS_MAX}")))?;
            }
            _ => return Err(call.syntax_error()),
        }
    }
    stream(PageSource {
        cursor,
        prefix: prefix.into(),
        search: Search::new(text),
        limit,
        filter: call.key_filter(),
        database,
    })
}

/// The source of a page.
struct PageSource {
    cursor: Cursor,
    prefix: Box<[u8]>,
    search: Search,
    limit: usize,
    /// Filter of the keys that the user may see.
    filter: Option<KeyFilter>,
    database: Database,
}

impl Source for PageSource {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let FoundPage {
            entries,
            next,
            searched,
        } = self.find(pull).await?;
        let replies = &mut *pull.replies;
        replies.reply(Reply::Array(3));
        replies.reply(Reply::Value(next.unwrap_or(0).to_string().as_bytes()));
        replies.reply(Reply::Count(searched));
        replies.reply(Reply::Array(entries.len()));
        for entry in &entries {
            show(name_of(self.database, entry), entry, replies);
        }
        Ok(Pulled::End)
    }
}

fn show(name: &[u8], entry: &Entry, replies: &mut dyn Replies) {
    let bytes = entry.value_bytes();
    let is_text = is_text(bytes);
    let mut end = bytes.len().min(SHOWN_BYTES_MAX);
    // Do not cut a character: bytes after its first one are 10xxxxxx (RFC 3629, section 3).
    while is_text && end < bytes.len() && bytes[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    replies.reply(Reply::Array(5));
    replies.reply(Reply::Value(name));
    replies.reply(Reply::Status(if is_text { "text" } else { "binary" }));
    replies.reply(Reply::Count(bytes.len() as u64));
    let expires_at = entry.expires_at();
    replies.reply(Reply::Signed(expires_at.map_or(-1, u64::cast_signed)));
    replies.reply(Reply::Value(&bytes[..end]));
}

/// Result of a search.
struct FoundPage {
    entries: Vec<Entry>,
    next: Option<Cursor>,
    /// Number of pairs that were searched.
    searched: u64,
}

impl PageSource {
    async fn find(&self, pull: &mut Pull<'_>) -> Result<FoundPage, ErrorReply> {
        let pairs = Pairs::of(pull.service)?;
        let began = Instant::now();
        let (mut entries, mut searched): (Vec<Entry>, u64) = (Vec::new(), 0);
        let mut next = Some(self.cursor);
        // The prefix and the text may be whole keys: look these up first, so that they are found at once in any amount of data.
        // The walk skips them later.
        let is_filtered = !(self.prefix.is_empty() && self.search.text.is_empty());
        let typed = [
            self.prefix.to_vec(),
            self.database.key_of(&self.search.text),
        ];
        if self.cursor == 0 && is_filtered {
            for key in typed.iter().filter_map(|key| Key::parse(key).ok()) {
                let found = pairs.get(key, pull.barrier).await?;
                searched += 1;
                if let Some(entry) = found.filter(|entry| self.may_see(entry))
                    && self.matches(&entry).await
                    && !entries
                        .iter()
                        .any(|one| one.key_bytes() == entry.key_bytes())
                {
                    entries.push(entry);
                }
            }
        }
        // Every request advances at least once. Few pairs are searched at a time while many match, so that few are searched in vain.
        let mut reached = self.cursor;
        let mut least = self.limit.min(PAIRS_AT_A_TIME);
        while let Some(position) = next
            && (position == self.cursor
                || entries.len() < self.limit && began.elapsed() < SEARCH_TIME_MAX)
        {
            let before = entries.len();
            let page = pairs.page(
                position,
                least,
                (&self.prefix, WalkPart::Pairs),
                pull.barrier,
            );
            let (page, following) = page.await?;
            next = following;
            for entry in page {
                let at = pairs.position_of(&entry);
                // Pairs of one cursor, which are very rare, stay on one page.
                if entries.len() >= self.limit && at > reached {
                    next = Some(at);
                    break;
                }
                reached = at;
                if !self.may_see(&entry) {
                    continue;
                }
                searched += 1;
                let was_shown = is_filtered && typed.iter().any(|key| key == entry.key_bytes());
                if !was_shown && self.matches(&entry).await {
                    entries.push(entry);
                }
            }
            if entries.len() == before {
                least = (least * 2).min(PAIRS_AT_A_TIME);
            }
            tokio::task::yield_now().await;
        }
        Ok(FoundPage {
            entries,
            next,
            searched,
        })
    }

    fn may_see(&self, entry: &Entry) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|filter| filter.permits(entry.key_bytes()))
    }

    async fn matches(&self, entry: &Entry) -> bool {
        entry.key_bytes().starts_with(&self.prefix)
            && (self.search.is_in(name_of(self.database, entry)).await
                || self.search.is_in(entry.value_bytes()).await)
    }
}

/// A text to search for in keys and values, ignoring the case of the letters A to Z.
struct Search {
    text: Box<[u8]>,
    /// Finds the text in lower case.
    finder: memmem::Finder<'static>,
    /// True if the text has letters; without any, nothing is copied to be searched.
    has_letters: bool,
}

impl Search {
    fn new(text: &[u8]) -> Self {
        Self {
            text: text.into(),
            finder: memmem::Finder::new(&text.to_ascii_lowercase()).into_owned(),
            has_letters: text.iter().any(u8::is_ascii_alphabetic),
        }
    }

    /// Searches part by part, each with the beginning of the next, so that a text across the end of a part is found.
    async fn is_in(&self, bytes: &[u8]) -> bool {
        let Some(overlap) = self.text.len().checked_sub(1) else {
            return true;
        };
        for start in (0..bytes.len()).step_by(SEARCHED_BYTES_AT_A_TIME) {
            if start > 0 {
                tokio::task::yield_now().await;
            }
            let end = bytes.len().min(start + SEARCHED_BYTES_AT_A_TIME + overlap);
            let part = &bytes[start..end];
            let found = if self.has_letters {
                self.finder.find(&part.to_ascii_lowercase())
            } else {
                self.finder.find(part)
            };
            if found.is_some() {
                return true;
            }
        }
        false
    }
}
