//! The live journal: the file that changes are appended to, and the way from one to the next.
//!
//! In: records, under the locks of their keys. Out: journals that hold them in that order, as safe as the durability says.
//! `writer` appends, commits and syncs; `rotation` changes the file; `open` begins; `health` is the state of the disk, and
//! `log_gate` stands before the log that several servers share.

mod direct_write;
mod health;
mod log_gate;
mod open;
mod open_journal;
mod pending;
mod retained;
mod rotation;
mod segment;
mod unsynced_age;
mod watermark;
mod workers;
mod writer;

pub use log_gate::{BootTime, LogGate};
pub use open::open;
pub use open_journal::JournalFile;
pub use rotation::{remove_older, restart_at, rotate};
pub use writer::{LoggedLines, Writer};
