//! Fuzzes the journal reader.
//!
//! In: a data folder, written as text that people and a fuzzer can change (see [`folder_of`]). Out: nothing, or a panic. It
//! holds what `folder` says of every folder; and of one with a single journal, that a start gives the changes up to the first
//! bad line, or all, exactly as a plain reading of the format has them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pykv_fuzz::codec::json;
use pykv_fuzz::folder::{self, Contents};
use pykv_fuzz::members::Members;
use pykv_fuzz::model::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use pykv_fuzz::pairs::{Map, key_of};
use pykv_fuzz::persistence::SnapshotFingerprint;
use serde_json::value::RawValue;

/// No record has this number.
const SEQ_ABOVE: u64 = (1 << 53) + 1;

/// A longer line is no record.
const LINE_BYTES_MAX: usize = 7 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) + 1024;

fuzz_target!(|input: &[u8]| {
    let contents = folder_of(input);
    let started = folder::check(&contents);
    let mut files = contents.iter();
    if let (Some((name, journal)), None) = (files.next(), files.next())
        && name == "journal-1.jsonl"
        && let Some(expected) = expected(journal)
    {
        match (started, expected) {
            (Ok(pairs), (expected, Ends::Well)) | (Err((pairs, _)), (expected, Ends::Badly)) => {
                assert_eq!(pairs, expected);
            }
            (started, expected) => panic!("{started:?} in the place of {expected:?}"),
        }
    }
});

/// Makes the files of a folder from text:
///
/// ```text
/// = journal-1.jsonl                               the lines that follow are of this file; it is the one at the beginning
/// {"journal":6,"number":1,"first_seq":~           a line without its end, `,"crc":"..."}`, which is put there
/// {"put":"name","value":"Ada","seq":~             `~` is the number of the next record
/// {"saved":@                                      `@` is what store.json looks like
/// !anything                                       a line as it stands, without the first character
/// ```
///
/// The last line of the text has a line feed if there is one in the text.
fn folder_of(text: &[u8]) -> Contents {
    let saved = saved_of(text);
    let mut contents = Contents::new();
    let mut name = "journal-1.jsonl".to_owned();
    let mut next_seq = 1_u64;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (line, line_feed) = match line.strip_suffix(b"\n") {
            Some(line) => (line, &b"\n"[..]),
            None => (line, &b""[..]),
        };
        if let Some(file) = file_name(line) {
            file.clone_into(&mut name);
            contents.entry(name.clone()).or_default();
            continue;
        }
        let file = contents.entry(name.clone()).or_default();
        if name == "store.json" {
            file.extend_from_slice(line);
        } else if let Some(raw) = line.strip_prefix(b"!") {
            file.extend_from_slice(raw);
        } else {
            let mut whole = Vec::new();
            for byte in line {
                match byte {
                    b'~' => whole.extend_from_slice(next_seq.to_string().as_bytes()),
                    b'@' => whole.extend_from_slice(saved.as_bytes()),
                    _ => whole.push(*byte),
                }
            }
            if line.ends_with(b"\"seq\":~") {
                next_seq += 1;
            }
            let crc = crc32fast::hash(&whole);
            whole.extend_from_slice(format!(",\"crc\":\"{crc:08x}\"}}").as_bytes());
            file.extend_from_slice(&whole);
        }
        file.extend_from_slice(line_feed);
    }
    contents
}

/// The file that the line names, if it does.
fn file_name(line: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(line.strip_prefix(b"= ")?).ok()?;
    let is_one = name == "store.json"
        || name == "store.json.new"
        || (name.starts_with("journal-") && !name.contains('/') && name.len() <= 40);
    is_one.then_some(name)
}

/// What store.json looks like, as a record says it.
fn saved_of(text: &[u8]) -> String {
    let mut store = Vec::new();
    let mut is_in_store = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match file_name(line.strip_suffix(b"\n").unwrap_or(line)) {
            Some(name) => is_in_store = name == "store.json",
            None if is_in_store => store.extend_from_slice(line),
            None => {}
        }
    }
    folder::saved(&store)
}

/// How a journal ends.
#[derive(Debug)]
enum Ends {
    /// With its last line, or with a tear.
    Well,
    /// Before a bad line.
    Badly,
}

/// What a line says.
enum Line {
    /// Changes, and the number that they share.
    Changes(u64, Vec<Change>),
    /// No change, in versions 1 to 4 with a number.
    Saved(Option<u64>),
    Timeline,
    Mark(u64),
}

/// One change.
enum Change {
    Put(Vec<u8>, json::Loaded<'static>),
    Delete(Vec<Vec<u8>>),
    Clear,
}

impl Change {
    fn keeps_limits(&self) -> bool {
        match self {
            Self::Put(key, value) => {
                key.len() <= KEY_BYTES_MAX && value.bytes.len() <= VALUE_BYTES_MAX
            }
            Self::Delete(keys) => keys.iter().all(|key| key.len() <= KEY_BYTES_MAX),
            Self::Clear => true,
        }
    }

    fn apply(self, map: &mut Map) {
        match self {
            Self::Put(key, value) => {
                map.insert(key, (value.bytes.into_owned(), value.expires_at));
            }
            Self::Delete(keys) => map.retain(|key, _| !keys.contains(key)),
            Self::Clear => map.clear(),
        }
    }
}

/// Reads a journal as its format is described, one line after the other; `None` where another test has the say.
fn expected(journal: &[u8]) -> Option<(Map, Ends)> {
    let mut lines = journal.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next()?;
    if !is_header(first)
        || journal
            .split(|byte| *byte == b'\n')
            .any(|line| line.len() + 1 >= LINE_BYTES_MAX)
    {
        return None;
    }
    // Without them, nothing tells a hole in what was not synced from one in what was.
    let has_marks = !first.starts_with(b"{\"journal\":1,");
    let mut map = Map::new();
    let mut next_seq = 1;
    while let Some(bytes) = lines.next() {
        let line = read_line(bytes);
        let Some(line) = line else {
            let later: Vec<Line> = lines.filter_map(read_line).collect();
            let was_on_disk = later
                .iter()
                .any(|line| matches!(line, Line::Mark(synced) if *synced >= next_seq));
            let is_tear = later.is_empty() || (bytes.contains(&0) && has_marks && !was_on_disk);
            return Some((map, if is_tear { Ends::Well } else { Ends::Badly }));
        };
        let seq = match &line {
            Line::Mark(_) | Line::Timeline | Line::Saved(None) => continue,
            Line::Changes(seq, _) | Line::Saved(Some(seq)) => *seq,
        };
        if seq != next_seq {
            return Some((map, Ends::Badly));
        }
        next_seq += 1;
        if let Line::Changes(_, changes) = line {
            if !changes.iter().all(Change::keeps_limits) {
                return Some((map, Ends::Badly));
            }
            for change in changes {
                change.apply(&mut map);
            }
        }
    }
    Some((map, Ends::Well))
}

/// The line without its checksum and line feed, if it has both and the checksum is right.
fn whole(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (summed, _) = line.split_at_checked(line.len().checked_sub(18)?)?;
    let crc = crc32fast::hash(summed.as_bytes());
    (line == format!("{summed},\"crc\":\"{crc:08x}\"}}")).then_some(summed)
}

fn is_header(line: &[u8]) -> bool {
    whole(line).is_some_and(|line| {
        [1, 2, 3, 4, 5, 6]
            .iter()
            .any(|version| line == format!("{{\"journal\":{version},\"number\":1,\"first_seq\":1"))
    })
}

fn read_line(line: &[u8]) -> Option<Line> {
    let object = format!("{}}}", whole(line)?);
    let Members(mut members) = serde_json::from_str(&object).ok()?;
    let [synced, seq, saved, group] =
        ["synced", "seq", "saved", "group"].map(|name| take(&mut members, name));
    let timeline = ["timeline", "from", "own"].map(|name| take(&mut members, name));
    let change = read_change(members)?;
    let number = |raw: &RawValue| serde_json::from_str::<u64>(raw.get()).ok();
    let seq = match seq.map(number) {
        Some(None | Some(0 | SEQ_ABOVE..)) => return None,
        seq => seq.flatten(),
    };
    if let [None, None, None] = timeline {
    } else {
        let others = change.is_some() || [&group, &saved, &synced].iter().any(|one| one.is_some());
        let [Some(id), Some(from), Some(own)] = timeline else {
            return None;
        };
        serde_json::from_str::<String>(id.get()).ok()?;
        number(from)?;
        serde_json::from_str::<bool>(own.get()).ok()?;
        return (!others && seq.is_none()).then_some(Line::Timeline);
    }
    Some(match (change, group, saved, synced, seq) {
        (None, None, None, Some(synced), None) => Line::Mark(number(synced)?),
        (Some(change), None, None, None, Some(seq)) => Line::Changes(seq, vec![change]),
        (None, Some(group), None, None, Some(seq)) => {
            let members: Vec<Members<'_>> = serde_json::from_str(group.get()).ok()?;
            let changes = members
                .into_iter()
                .map(|Members(members)| read_change(members)?);
            Line::Changes(seq, changes.collect::<Option<_>>()?)
        }
        (None, None, Some(saved), None, seq) => {
            serde_json::from_str::<SnapshotFingerprint>(saved.get()).ok()?;
            Line::Saved(seq)
        }
        _ => return None,
    })
}

/// Takes the member of this name out, if it is there and not null.
fn take<'a>(members: &mut Vec<(String, &'a RawValue)>, name: &str) -> Option<&'a RawValue> {
    let at = members.iter().position(|(there, _)| there == name)?;
    Some(members.remove(at).1).filter(|raw| raw.get() != "null")
}

/// The change that these members are, or that they are none; `None` if they are anything else.
#[expect(
    clippy::option_option,
    reason = "no change, and one that cannot be read, are two things"
)]
fn read_change(mut members: Vec<(String, &RawValue)>) -> Option<Option<Change>> {
    let [put, value, del, reason, clear, keys] =
        ["put", "value", "del", "reason", "clear", "keys"].map(|name| take(&mut members, name));
    let keys = keys.map(|keys| serde_json::from_str::<String>(keys.get()));
    let is_encoded = keys.is_some();
    let has_keys = put.is_some() || del.is_some();
    if keys.is_some_and(|keys| !has_keys || keys.ok().as_deref() != Some("base64")) {
        return None;
    }
    let key_of = |text: String| {
        if is_encoded {
            key_of(&text)
        } else {
            text.into_bytes()
        }
    };
    // Evicted or deleted, the keys are gone.
    let reason = reason.map(|reason| serde_json::from_str::<String>(reason.get()));
    if reason.is_some_and(|reason| del.is_none() || reason.ok().as_deref() != Some("evicted")) {
        return None;
    }
    if !members.is_empty() {
        return None;
    }
    Some(match (put, value, del, clear) {
        (None, None, None, None) => None,
        (Some(key), Some(value), None, None) => {
            let loaded = json::read_value(value.get()).ok()?;
            let loaded = json::Loaded {
                bytes: loaded.bytes.into_owned().into(),
                expires_at: loaded.expires_at,
            };
            Some(Change::Put(
                key_of(serde_json::from_str(key.get()).ok()?),
                loaded,
            ))
        }
        (None, None, Some(keys), None) => {
            let keys: Vec<String> = serde_json::from_str(keys.get()).ok()?;
            Some(Change::Delete(keys.into_iter().map(key_of).collect()))
        }
        (None, None, None, Some(clear)) if clear.get() == "true" => Some(Change::Clear),
        _ => return None,
    })
}
