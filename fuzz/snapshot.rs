//! Fuzzes the snapshot reader against serde_json.
//!
//! In: the bytes of a store.json. Out: nothing, or a panic. It holds that the readers, by lines and for any layout, take what
//! serde_json takes as one object of keys and values within their limits, and give the same pairs, the last one of each key;
//! and that what was read is written so that it is read back.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pykv_fuzz::codec::json;
use pykv_fuzz::folder::{self, Contents};
use pykv_fuzz::members::Members;
use pykv_fuzz::model::{Key, Value};
use pykv_fuzz::pairs::{Map, Pairs, entries, key_of};
use pykv_fuzz::persistence::{Progress, SnapshotKeys, StoreError, read_snapshot, write_snapshot};
use pykv_fuzz::simulated_disk::{DATA, SimulatedDisk};

fuzz_target!(|input: &[u8]| {
    let contents = Contents::from([("store.json".to_owned(), input.to_vec())]);
    let read = folder::check(&contents);
    let expected = expected(input);
    match (read, expected) {
        (Ok(pairs), Some(expected)) => {
            assert_eq!(pairs, expected);
            check_written(&pairs);
        }
        (Err((_, StoreError::Snapshot(_))), None) => {}
        (read, expected) => panic!("{read:?} in the place of {expected:?}"),
    }
});

/// What plain JSON says.
fn expected(input: &[u8]) -> Option<Map> {
    let text = input.strip_prefix("\u{feff}".as_bytes()).unwrap_or(input);
    let Members(members) = serde_json::from_slice(text).ok()?;
    let mut map = Map::new();
    for (key, raw) in members {
        let loaded = json::read_value(raw.get()).ok()?;
        let key = key_of(&key);
        Key::parse(&key).ok()?;
        Value::parse(&loaded.bytes).ok()?;
        map.insert(key, (loaded.bytes.into_owned(), loaded.expires_at));
    }
    Some(map)
}

/// A snapshot of these pairs is what is said of it, and holds them.
fn check_written(pairs: &Map) {
    let disk = SimulatedDisk::new();
    let path = Path::new(DATA).join("store.json");
    let entries = entries(pairs).into_iter();
    let written = write_snapshot(&*disk, &path, None, entries).expect("a disk that takes all");
    let again = Pairs::default();
    let read = read_snapshot(
        &*disk,
        &path,
        &SnapshotKeys::default(),
        &again,
        &Progress::new(),
    );
    let read = read.expect("what was written");
    assert_eq!(read, Some(written));
    assert_eq!(&again.end(), pairs);
}
