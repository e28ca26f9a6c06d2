//! DUMP and RESTORE: a value in the form in which Redis moves it from server to server.
//!
//! In: a value, or its serialized form. Out: the other one. Promises: what is dumped here can be restored by every Redis; the strings of any
//! Redis are restored here, also compressed ones; what is damaged is refused as a whole.
//!
//! Source: `rdb.c` and `cluster.c` of Redis describe the form: a type, a string, the version of the form (2 bytes) and a CRC-64 of all
//! before it (8 bytes), both with the lowest byte first.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc::{CRC_64_REDIS, Crc};

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::data::options::number_of;
use crate::command::key_events::Event;
use crate::command::long_work;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::KeyFlag::{Access, Overwrite, ReadOnly, Update};
use crate::command::spec::{ANY, Flag, KeySpec};
use crate::engine::ReadOutcome;
use crate::model::{EXPIRES_AT_MAX, Key, UnixMs, VALUE_BYTES_MAX, Value, now_ms};
use crate::protocol::{Dialect, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::read("DUMP", "<key>", 1..=1, dump)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .flags(&[Flag::Slow])
        .example("DUMP dumped")
        .summary("Return the value of a key in Redis's serialized form."),
    Row::write(
        "RESTORE",
        "<key> <ms> <serialized value> [REPLACE] [ABSTTL] [IDLETIME <seconds>] [FREQ <number>]",
        3..=ANY,
        restore,
    )
    .on_keys(&[KeySpec::at(0, &[Overwrite, Update])])
    .flags(&[Flag::GrowsMemory, Flag::Slow, Flag::WholeServer])
    .stores_as(Event::RESTORE)
    .example("RESTORE restored 0 AANvbmUGAJC+3/Sp7X2N")
    .summary("Store a value from its serialized form, with an expiry in so many milliseconds; 0 is none."),
];

/// Type of a string.
const STRING: u8 = 0;
/// Version of the form that is written: that of Redis 2.6, whose strings all later ones read.
const VERSION: u16 = 6;
/// Length of version and checksum in bytes.
const FOOTER_BYTES: usize = 10;

static CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

fn dump(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let read = call.read(key, |call, value| {
        call.replies.reply(Reply::Value(&serialize(value.bytes())));
    })?;
    call.count_read(!matches!(read, ReadOutcome::Missing));
    match read {
        ReadOutcome::Shown => {}
        ReadOutcome::Long(entry) => {
            let value = entry.value_bytes();
            let serialized = long_work::execute(value.len(), || serialize(value));
            call.replies.reply(Reply::Value(&serialized));
        }
        ReadOutcome::Missing => call.replies.reply(Reply::NotFound),
    }
    Ok(Outcome::Done)
}

fn serialize(value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![STRING];
    match u32::try_from(value.len()).expect("a value is shorter") {
        length @ ..0x40 => bytes.push(length.to_le_bytes()[0]),
        length @ 0x40..0x4000 => {
            let [high, low] = [length.to_be_bytes()[2], length.to_be_bytes()[3]];
            bytes.extend([0x40 | high, low]);
        }
        length => {
            bytes.push(0x80);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(value);
    bytes.extend(VERSION.to_le_bytes());
    let checksum = CRC.checksum(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// Options of RESTORE.
#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
}

impl Options {
    /// What is told of the uses of the pair is checked and not kept: they begin here.
    fn parse(call: &Call<'_, '_>, words: &Arguments<'_>) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        let mut words = words.iter();
        let (mut has_idle, mut has_frequency) = (false, false);
        while let Some(word) = words.next() {
            let word = word.to_ascii_uppercase();
            match &*word {
                b"REPLACE" => options.replaces = true,
                b"ABSTTL" => options.is_absolute = true,
                b"IDLETIME" if !has_frequency && words.len() > 0 => {
                    has_idle = true;
                    let seconds = words.next().map_or(Ok(0), |word| number_of(word))?;
                    if seconds < 0 {
                        return Err(bad_argument("Invalid IDLETIME value, must be >= 0"));
                    }
                }
                b"FREQ" if !has_idle && words.len() > 0 => {
                    has_frequency = true;
                    let frequency = words.next().map_or(Ok(0), |word| number_of(word))?;
                    if !(0..=255).contains(&frequency) {
                        return Err(bad_argument("Invalid FREQ value, must be >= 0 and <= 255"));
                    }
                }
                _ => return Err(call.syntax_error()),
            }
        }
        Ok(options)
    }
}

fn restore(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let options = Options::parse(call, &words[3..])?;
    let key = Key::parse(&words[0])?;
    let is_taken = !options.replaces
        && call.change(&[key], |transaction| Ok(transaction.get(key).is_some()))?;
    let busy = || bad_argument("Target key name already exists.").with_prefix("BUSYKEY");
    if is_taken {
        return Err(busy());
    }
    let expires_at = expiry_of(number_of(&words[1])?, options.is_absolute)?;
    let mut serialized = Cow::Borrowed(&*words[2]);
    if call.dialect == Dialect::Line {
        // As DUMP shows it there.
        let decoded = BASE64_STANDARD.decode(&serialized);
        serialized = Cow::Owned(decoded.map_err(|_| wrong_payload())?);
    }
    let value = long_work::execute(serialized.len(), || deserialize(&serialized))?;
    let has_expired = expires_at.is_some_and(|at| at <= now_ms());
    let value = Value::with_expiry(&value, expires_at)?;
    call.change(&[key], |transaction| {
        if !options.replaces && transaction.get(key).is_some() {
            return Err(busy());
        }
        if has_expired {
            transaction.delete(key);
        } else {
            transaction.put(key, value);
        }
        Ok(())
    })?;
    call.done(Reply::Ok)
}

/// Returns the time for a duration, or a time, in milliseconds; `None` for 0.
fn expiry_of(ms: i64, is_absolute: bool) -> Result<Option<UnixMs>, ErrorReply> {
    let ms = u64::try_from(ms).map_err(|_| bad_argument("Invalid TTL value, must be >= 0"))?;
    if ms == 0 {
        return Ok(None);
    }
    let now = if is_absolute { 0 } else { now_ms() };
    Ok(Some(now.saturating_add(ms).min(EXPIRES_AT_MAX)))
}

fn wrong_payload() -> ErrorReply {
    bad_argument("DUMP payload version or checksum are wrong")
}

/// Returns the value of a serialized form.
fn deserialize(bytes: &[u8]) -> Result<Vec<u8>, ErrorReply> {
    let end = bytes.len().checked_sub(FOOTER_BYTES);
    let end = end.ok_or_else(wrong_payload)?;
    let (body, checksum) = bytes.split_at(end + 2);
    if checksum != CRC.checksum(body).to_le_bytes() {
        return Err(wrong_payload());
    }
    let damaged = || bad_argument("Bad data format");
    let mut rest = body[..end].strip_prefix(&[STRING]).ok_or_else(damaged)?;
    let value = string_of(&mut rest).ok_or_else(damaged)?;
    if !rest.is_empty() {
        return Err(damaged());
    }
    Ok(value)
}

/// How a string is written.
enum Form {
    /// As so many bytes.
    Plain(usize),
    /// As a number of so many bytes.
    Number(usize),
    /// Compressed by LZF.
    Compressed,
}

/// Takes a string; `None` if it is damaged or too long.
fn string_of(rest: &mut &[u8]) -> Option<Vec<u8>> {
    match form_of(rest)? {
        Form::Plain(length) => take(rest, length).map(<[u8]>::to_vec),
        Form::Number(length) => {
            let bytes = take(rest, length)?;
            let is_negative = bytes.last()? & 0x80 != 0;
            let mut wide = [if is_negative { 0xff } else { 0 }; 8];
            wide[..length].copy_from_slice(bytes);
            Some(i64::from_le_bytes(wide).to_string().into_bytes())
        }
        Form::Compressed => {
            let (Form::Plain(compressed), Form::Plain(length)) = (form_of(rest)?, form_of(rest)?)
            else {
                return None;
            };
            decompress(take(rest, compressed)?, length)
        }
    }
}

fn form_of(rest: &mut &[u8]) -> Option<Form> {
    let first = take(rest, 1)?[0];
    let length = |bytes: &[u8]| {
        let length = bytes
            .iter()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        usize::try_from(length).ok()
    };
    match (first >> 6, first) {
        (0, _) => Some(Form::Plain(usize::from(first))),
        (1, _) => Some(Form::Plain(
            usize::from(first & 0x3f) << 8 | usize::from(take(rest, 1)?[0]),
        )),
        (_, 0x80) => length(take(rest, 4)?).map(Form::Plain),
        (_, 0x81) => length(take(rest, 8)?).map(Form::Plain),
        (_, 0xc0..=0xc2) => Some(Form::Number(1 << (first & 3))),
        (_, 0xc3) => Some(Form::Compressed),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

/// Decompresses LZF: runs of up to 32 bytes as they are, and references of 3 to 264 bytes to what was written up to 8 KiB before.
/// Source: <http://oldhome.schmorp.de/marc/liblzf.html>.
fn decompress(mut bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > VALUE_BYTES_MAX {
        return None;
    }
    let mut written = Vec::with_capacity(length);
    let rest = &mut bytes;
    while !rest.is_empty() {
        let control = usize::from(take(rest, 1)?[0]);
        if control < 32 {
            written.extend_from_slice(take(rest, control + 1)?);
        } else {
            let mut count = control >> 5;
            if count == 7 {
                count += usize::from(take(rest, 1)?[0]);
            }
            let back = (control & 0x1f) << 8 | usize::from(take(rest, 1)?[0]);
            let start = written.len().checked_sub(back + 1)?;
            // It may refer to what it writes itself.
            for place in start..start + count + 2 {
                written.push(written[place]);
            }
        }
        if written.len() > length {
            return None;
        }
    }
    (written.len() == length).then_some(written)
}

#[cfg(test)]
mod tests {
    use super::{CRC, deserialize, serialize};

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(CRC.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_value_of_any_length_comes_back() {
        for length in [0, 1, 63, 64, 16_383, 16_384, 100_000] {
            let value = vec![b'x'; length];
            assert_eq!(deserialize(&serialize(&value)), Ok(value), "{length}");
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_is_refused() {
        let whole = serialize(b"value");
        for end in 0..whole.len() {
            assert!(deserialize(&whole[..end]).is_err(), "{end}");
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(deserialize(&changed).is_err(), "{place}");
        }
    }
}
