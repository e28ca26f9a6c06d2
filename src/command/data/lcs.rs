//! The longest common subsequence of two values: LCS.
//!
//! In: two keys, options. Out: the subsequence, its length, or the ranges of bytes that match. Promise: among several longest ones it is
//! that of Redis. The time grows with the product of the lengths, which has a limit.
//! Source: <https://redis.io/docs/latest/commands/lcs/>.

use std::borrow::Cow;

use crate::command::call::{Answer, Arguments, Call, Outcome, keys_of};
use crate::command::data::options::number_of;
use crate::command::long_work;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::KeyFlag::{Access, ReadOnly};
use crate::command::spec::{ANY, Flag, KeySpec};
use crate::model::VALUE_BYTES_MAX;
use crate::model::entry::Entry;
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[Row::read_string(
    "LCS",
    "<key> <key> [LEN] [IDX] [MINMATCHLEN <length>] [WITHMATCHLEN]",
    2..=ANY,
    lcs,
)
.on_keys(&[KeySpec::range(0, Some(1), &[ReadOnly, Access])])
.flags(&[Flag::Slow])
.example("LCS a b LEN")
.summary("Find the longest common subsequence of the bytes of two values.")];

/// Maximum number of bytes of the table of lengths that Redis makes, which has four of them for each pair of places in the two values.
/// It may be as large as a value there, and so here, although less memory is needed: a table of this size takes 0.1 seconds.
const TABLE_BYTES_MAX: usize = VALUE_BYTES_MAX;

fn lcs(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let keys = keys_of(&words[..2])?;
    let found = call.read_all(&keys)?;
    let options = Options::parse(call, &words[2..])?;
    let [a, b] = [&found[0], &found[1]].map(|entry| {
        let value = entry.as_ref().map(Entry::value_bytes);
        value.unwrap_or_default()
    });
    let table_bytes = (a.len() + 1).saturating_mul(4 * (b.len() + 1));
    if table_bytes > TABLE_BYTES_MAX {
        let message = "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        return Err(bad_argument(message));
    }
    let common = long_work::execute(table_bytes, || Common::of(a, b));
    if options.gets_ranges {
        return show_ranges(call, &options, &common);
    }
    if options.gets_length {
        return call.done(Reply::Count(common.bytes as u64));
    }
    let matches = common.matches.iter().rev();
    let text: Vec<u8> = matches
        .flat_map(|found| &a[found.a..found.a + found.bytes])
        .copied()
        .collect();
    call.done(Reply::Value(&text))
}

/// Replies with the ranges of bytes that match, from the last one to the first.
fn show_ranges(call: &mut Call<'_, '_>, options: &Options, common: &Common) -> Answer {
    let is_shown = |found: &&Match| found.bytes as u64 >= options.match_bytes_min;
    let shown: Vec<&Match> = common.matches.iter().filter(is_shown).collect();
    let replies = &mut *call.replies;
    replies.reply(Reply::Map(2));
    replies.reply(Reply::Value(b"matches"));
    replies.reply(Reply::Array(shown.len()));
    for found in shown {
        replies.reply(Reply::Array(2 + usize::from(options.gets_match_lengths)));
        for start in [found.a, found.b] {
            replies.reply(Reply::Array(2));
            replies.reply(Reply::Count(start as u64));
            replies.reply(Reply::Count((start + found.bytes - 1) as u64));
        }
        if options.gets_match_lengths {
            replies.reply(Reply::Count(found.bytes as u64));
        }
    }
    replies.reply(Reply::Value(b"len"));
    replies.reply(Reply::Count(common.bytes as u64));
    Ok(Outcome::Done)
}

/// The options of LCS.
#[derive(Debug, Default)]
struct Options {
    /// LEN.
    gets_length: bool,
    /// IDX.
    gets_ranges: bool,
    /// WITHMATCHLEN.
    gets_match_lengths: bool,
    /// MINMATCHLEN.
    match_bytes_min: u64,
}

impl Options {
    /// Parses options.
    ///
    /// # Errors
    /// `ARGS` for unknown options, and for both LEN and IDX.
    fn parse(call: &Call<'_, '_>, words: &[Cow<'_, [u8]>]) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match &*word.to_ascii_uppercase() {
                b"LEN" => options.gets_length = true,
                b"IDX" => options.gets_ranges = true,
                b"WITHMATCHLEN" => options.gets_match_lengths = true,
                b"MINMATCHLEN" => {
                    let number = words.next().ok_or_else(|| call.syntax_error())?;
                    options.match_bytes_min = u64::try_from(number_of(number)?).unwrap_or(0);
                }
                _ => return Err(call.syntax_error()),
            }
        }
        if options.gets_length && options.gets_ranges {
            let message = "If you want both the length and indexes, please just use IDX.";
            return Err(bad_argument(message));
        }
        Ok(options)
    }
}

/// Range of bytes that two values have in common.
#[derive(Debug, PartialEq, Eq)]
struct Match {
    /// Its offset in the first value.
    a: usize,
    /// Its offset in the second value.
    b: usize,
    bytes: usize,
}

/// A longest common subsequence.
#[derive(Debug, PartialEq, Eq)]
struct Common {
    bytes: usize,
    /// Its parts, from the last one to the first.
    matches: Vec<Match>,
}

impl Common {
    /// Finds the longest common subsequence of two values, from their ends, as Redis does.
    fn of(a: &[u8], b: &[u8]) -> Self {
        let columns = b.len();
        // The lengths for the beginnings of `a` and `b`, of which only one row is kept; and for each pair of places a bit that says
        // whether the subsequence is longer without the byte of `a` than without that of `b`.
        let mut row = vec![0_u32; columns + 1];
        let mut is_up = vec![0_u64; (a.len() * columns).div_ceil(64)];
        for (i, byte) in a.iter().enumerate() {
            let (mut diagonal, mut left) = (0, 0);
            for (j, other) in b.iter().enumerate() {
                let up = row[j + 1];
                let place = i * columns + j;
                is_up[place / 64] |= u64::from(up > left) << (place % 64);
                left = if byte == other {
                    diagonal + 1
                } else {
                    up.max(left)
                };
                diagonal = up;
                row[j + 1] = left;
            }
        }
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (a.len(), columns);
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match matches.last_mut() {
                    Some(last) if last.a == i + 1 && last.b == j + 1 => {
                        (last.a, last.b) = (i, j);
                        last.bytes += 1;
                    }
                    _ => matches.push(Match {
                        a: i,
                        b: j,
                        bytes: 1,
                    }),
                }
                continue;
            }
            let place = (i - 1) * columns + j - 1;
            if is_up[place / 64] >> (place % 64) & 1 == 1 {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        Self {
            bytes: row[columns] as usize,
            matches,
        }
    }
}
