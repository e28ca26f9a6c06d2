//! What holds for every data folder, whatever is in it.
//!
//! In: the files of a folder. Out: how a start takes it, and the pairs. Promises: looking at a folder and starting on it agree
//! on what is damaged and what is there; a folder that was refused is as it was; one that was mended, saved or repaired is
//! sound, and holds the same pairs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::pairs::{Map, Pairs, entries};
use crate::persistence::{
    Durability, Files, Finding, Options, Progress, SnapshotFingerprint, Store, StoreError, modified,
};
use crate::simulated_disk::{DATA, SimulatedDisk};

/// The content of files by name.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// What was read: all pairs, or those before the first fault.
pub type Start = Result<Map, (Map, StoreError)>;

/// A disk whose data folder holds these files.
fn disk_with(contents: &Contents) -> Arc<SimulatedDisk> {
    let disk = SimulatedDisk::new();
    let files: &dyn Files = &*disk;
    files.make_folder(Path::new(DATA)).expect("an empty disk");
    // The snapshot first: its time of modification is the same whatever stands beside it.
    if let Some(store) = contents.get("store.json") {
        disk.write("store.json", store);
    }
    for (name, bytes) in contents.iter().filter(|(name, _)| *name != "store.json") {
        disk.write(name, bytes);
    }
    disk
}

/// All files but the lock.
fn contents_of(disk: &SimulatedDisk) -> Contents {
    let mut names = Files::names(disk, Path::new(DATA)).expect("the folder");
    names.retain(|name| name != "lock");
    let files = names.into_iter().map(|name| {
        let bytes = disk.read(&name).expect("a file");
        (name, bytes)
    });
    files.collect()
}

/// What a journal says of a store.json with this content.
///
/// # Panics
/// Never: the disk takes all.
#[must_use]
pub fn saved(store: &[u8]) -> String {
    let disk = disk_with(&Contents::from([("store.json".to_owned(), store.to_vec())]));
    let stat = Files::stat(&*disk, &Path::new(DATA).join("store.json")).expect("a file");
    let saved = SnapshotFingerprint {
        bytes: stat.bytes,
        crc: format!("{:08x}", crc32fast::hash(store)),
        modified: modified(&stat),
    };
    serde_json::to_string(&saved).expect("three plain fields are always JSON")
}

fn options() -> Options {
    Options {
        data: PathBuf::from(DATA),
        // Without a thread that writes: what is tested here is reading.
        durability: Durability::Off,
        save_interval: Duration::MAX,
        sync_interval: Duration::MAX,
        is_copy: false,
        order: None,
    }
}

fn open(disk: &Arc<SimulatedDisk>) -> (Map, Result<Store, StoreError>) {
    let pairs = Pairs::default();
    let files: Arc<dyn Files> = Arc::clone(disk) as _;
    let store = Store::open(files, &options(), &pairs, &Progress::new());
    (pairs.end(), store)
}

fn look(disk: &Arc<SimulatedDisk>) -> Result<(Map, Vec<Finding>), StoreError> {
    let pairs = Pairs::default();
    let files: Arc<dyn Files> = Arc::clone(disk) as _;
    let inspection = Store::check(files, Path::new(DATA), &pairs)?;
    Ok((pairs.end(), inspection.findings().to_vec()))
}

fn assert_sound(disk: &Arc<SimulatedDisk>, expected: &Map) {
    let (pairs, findings) = look(disk).expect("a folder that can be read");
    assert_eq!(findings, []);
    assert_eq!(&pairs, expected);
}

/// Saves as the engine does, and looks at what is there then.
fn save(disk: &Arc<SimulatedDisk>, store: Store, pairs: &Map) {
    let saved = store.save(entries(pairs).into_iter());
    saved.expect("a disk that takes all");
    drop(store);
    assert_sound(disk, pairs);
}

/// Checks a folder; how a start takes it.
///
/// # Errors
/// Why a start does not take it, and what it had read by then.
///
/// # Panics
/// If anything does not hold.
pub fn check(contents: &Contents) -> Start {
    let disk = disk_with(contents);
    let looked = look(&disk);
    let again = look(&disk);
    match (&looked, &again) {
        (Ok(looked), Ok(again)) => assert_eq!(looked, again),
        _ => assert!(looked.is_err() && again.is_err()),
    }
    assert_eq!(&contents_of(&disk), contents, "looking changes nothing");
    let (pairs, opened) = open(&disk);
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            assert_eq!(&contents_of(&disk), contents, "nothing was changed");
            if let Ok((found, findings)) = looked {
                assert_ne!(findings, [], "{error}");
                repair(&disk, &found);
            }
            return Err((pairs, error));
        }
    };
    assert_eq!(
        looked.expect("a start takes it"),
        (pairs.clone(), Vec::new())
    );
    if store.needs_save() {
        save(&disk, store, &pairs);
    } else {
        drop(store);
        // What a crash may have left was mended.
        assert_sound(&disk, &pairs);
        save(&disk, open_again(&disk, &pairs), &pairs);
    }
    drop(open_again(&disk, &pairs));
    Ok(pairs)
}

fn open_again(disk: &Arc<SimulatedDisk>, expected: &Map) -> Store {
    let (pairs, opened) = open(disk);
    assert_eq!(&pairs, expected);
    opened.expect("a folder that was taken before")
}

fn repair(disk: &Arc<SimulatedDisk>, expected: &Map) {
    let pairs = Pairs::default();
    let files: Arc<dyn Files> = Arc::clone(disk) as _;
    let salvaged = Store::salvage(files, &options(), &pairs).expect("a disk that takes all");
    let pairs = pairs.end();
    assert_eq!(&pairs, expected);
    save(disk, salvaged.store.expect("a damaged folder"), &pairs);
}
