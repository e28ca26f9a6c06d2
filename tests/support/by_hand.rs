//! Data folders made by hand: journals with the right checksums, and what a folder holds, byte for byte.
//!
//! In: lines, folders. Out: journals as a server writes them, so that a test can leave out, damage or add what it wants.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A line of a journal, from its text up to the checksum.
pub fn line(body: &str) -> String {
    format!(
        "{body},\"crc\":\"{:08x}\"}}\n",
        crc32fast::hash(body.as_bytes())
    )
}

/// The first line of a journal of the present format.
pub fn header(number: u64, first_seq: u64) -> String {
    header_of(6, number, first_seq)
}

/// The first line of a journal of any format.
pub fn header_of(format: u64, number: u64, first_seq: u64) -> String {
    line(&format!(
        "{{\"journal\":{format},\"number\":{number},\"first_seq\":{first_seq}"
    ))
}

/// The record that a key has a value.
pub fn put(seq: u64, key: &str, value: &str) -> String {
    line(&format!(
        "{{\"put\":\"{key}\",\"value\":\"{value}\",\"seq\":{seq}"
    ))
}

/// The mark that all up to this record was on disk.
pub fn mark(synced: u64) -> String {
    line(&format!("{{\"synced\":{synced}"))
}

/// A file: its name, its time of modification, its number, its bytes.
pub type Held = (String, (i64, i64), u64, Vec<u8>);

/// All that a folder holds, in the order of the names.
pub fn held(folder: &Path) -> Vec<Held> {
    let files = std::fs::read_dir(folder).expect("the folder");
    let mut held: Vec<Held> = files
        .map(|file| {
            let file = file.expect("a file");
            let known = file.metadata().expect("what the system knows of it");
            (
                file.file_name().to_string_lossy().into_owned(),
                (known.mtime(), known.mtime_nsec()),
                known.ino(),
                std::fs::read(file.path()).expect("a file"),
            )
        })
        .collect();
    held.sort_unstable();
    held
}
