//! The two formats on disk: the journal, line by line, and the snapshot.
//!
//! In: changes and pairs, or lines. Out: lines, or what they say. Promise: a format is described once, in `journal` and
//! `snapshot`, where its constants stand.

mod fingerprint;
mod journal;
mod line;
mod line_reader;
mod record;
mod snapshot;

pub use fingerprint::{Checksummed, Comparison, SnapshotFingerprint, modified};
pub use journal::{
    Header, JournalName, RECORD_BYTES_MAX, Timeline, VERSION, read_header, write_header,
    write_mark, write_saved, write_timeline,
};
pub use line::{Line, ParsedChange, Payload, read_line};
pub use line_reader::LineReader;
pub use record::Records;
pub use snapshot::{LINE_BYTES_MAX, SNAPSHOT_NAME, provisional_path, write_snapshot};
