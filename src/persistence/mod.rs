//! What survives a crash: a data folder with a snapshot (`store.json`) and the journals of every change since.
//!
//! In: changes, and the pairs to save. Out: the same, after a restart. What each level promises is said at [`Durability`].
//!
//! `files` is all that is asked of a disk. `folder` locks and renames, `snapshot` and `journal` are the two formats. To read:
//! `read` a whole folder, `chunks` a file on all cores, `scan` one journal, `replay` all of them; `mend` does what a crash asks for. To write:
//! `writer` is the live journal, `segment` the file that it writes to, `rotation` the way to the next one, `fault` and
//! `window` what is wrong and what waits. `feed` shows what has been changed to those who follow, by `reread`ing the
//! journals. A save goes: begin a new journal; write all pairs beside, shard
//! by shard, while changes go on; sync; bring the journal to the disk up to the last change that the snapshot may hold, so
//! that no later change can be kept without an earlier one; rename; sync the folder; remove the older journals. Replaying
//! the new journal over the snapshot, which may hold some of its changes already, ends in the same state, because records
//! hold absolute values.
//!
//! # The rules, and the tests that fail when one is broken
//!
//! A fuzzy snapshot with a rotated journal is right only if each of these is kept; every one has been broken by some store
//! before this one. (A test of the house looks whether these tests are there.)
//!
//! ```text
//!  1 records hold results, not deltas         rules::an_older_journal_over_a_newer_snapshot_ends_in_the_same_state
//!  2 journal order is memory order            concurrency::two_racing_puts_of_one_key_are_replayed_in_the_order_of_memory
//!  3 rotation: in the older journals and in   concurrency::eight_writers_of_their_own_keys_lose_nothing_while_the_server_saves
//!    memory before the scan, or in neither
//!  4 journal N is on disk before N+1 counts   power::wherever_the_power_goes_all_that_was_promised_is_read_back_and_no_hole_is
//!  5 the snapshot is renamed once the journal power_faults::whichever_operation_fails_what_was_acknowledged_is_kept_and_the_server_mends
//!    is synced past the end of its scan
//!  6 aside, sync, rename, sync the folder,    power::wherever_the_power_goes_all_that_was_promised_is_read_back_and_no_hole_is
//!    and only then remove
//!  7 several keys are one record, and so is a rules::a_request_that_changes_several_keys_is_one_record
//!    transaction; CLEAR is one, in order;     rules::a_transaction_is_one_record
//!    expiry is a delete                       concurrency::a_clear_among_puts_leaves_in_memory_what_a_restart_gives_back
//!                                             rules::a_pair_that_expires_is_recorded_as_deleted
//!  8 what is missing is missed                restart::a_journal_without_the_store_that_it_continues_stops_the_start
//!                                             restart::a_gap_in_the_journals_stops_the_start
//!  9 a tear is cut off, damage is not         restart::a_torn_tail_is_set_aside_told_of_and_cut_off
//!                                             restart::damage_before_whole_records_stops_the_start_with_file_and_line
//!                                             tear::a_hole_of_zeros_that_a_later_mark_says_was_on_disk_is_damage
//! 10 recovery survives a crash in its middle  power::a_second_cut_during_the_recovery_loses_nothing_either
//! 11 a failed save keeps all, is retried and  rules::a_save_that_fails_is_told_of_and_tried_again_until_it_succeeds
//!    told of
//! 12 after a failed sync the file is never    power_faults::whichever_operation_fails_what_was_acknowledged_is_kept_and_the_server_mends
//!    trusted again                            tear::a_doubt_outlives_a_kill_and_is_saved_away_before_changes_are_taken
//! 13 half a record is cut back; reads go on   disk::a_disk_that_takes_no_more_refuses_changes_until_it_does
//! 14 only what is synced is acknowledged; an  power::wherever_the_power_goes_all_that_was_promised_is_read_back_and_no_hole_is
//!    idle tail is synced by the clock         rules::an_idle_tail_is_synced_by_the_clock
//! 15 a slow sync delays nobody who did not    slow::under_everysec_nobody_waits_for_a_slow_sync_and_the_window_is_told_of
//!    ask for it, and the window is told of    slow::under_always_a_slow_sync_holds_up_the_change_and_those_who_see_it_only
//! 16 what a power cut takes back is said      house::every_promise_is_written_where_people_read_it
//! 17 who follows is shown what is safe, all   feed::what_a_follower_was_shown_is_kept_when_the_power_goes
//!    of it, and where some is gone, that      feed::followers_go_on_across_saves_while_changes_are_made
//!                                             feed::what_was_dropped_after_a_loss_of_trust_is_told_of_as_gone
//! ```

pub mod chunks;
mod fault;
mod feed;
pub mod files;
mod folder;
mod inspect;
mod journal;
mod mend;
mod progress;
mod read;
mod replay;
mod reread;
mod rotation;
mod scan;
mod segment;
pub mod snapshot;
mod watermark;
mod window;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

pub use feed::{FollowError, Follower};
pub use folder::FolderError;
pub use inspect::Inspection;
pub use journal::{RECORD_BYTES_MAX, Record, Records};
pub use progress::Progress;
pub use replay::{Finding, ReplayError};
pub use reread::{Changes, OwnedChange};
pub use snapshot::SnapshotError;

use chunks::Load;
use files::Files;
use folder::Folder;
use read::read;
use replay::Replayed;
use snapshot::Saved;
use writer::Writer;

use crate::model::entry::Entry;
use crate::model::{Change, Key, UnixMs, now_ms};

/// How often what was written is synced under `everysec`: half of what is promised, the other half is the disk's.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// What `everysec` promises that a power cut takes at most.
pub const WINDOW: Duration = Duration::from_secs(1);

const SNAPSHOT_NAME: &str = "store.json";
const SNAPSHOT_NEW_NAME: &str = "store.json.new";

/// What is promised of a change at the moment its client reads `OK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// It has been handed to the operating system: if the server is killed, nothing is lost; if the machine loses power,
    /// at most the last second is. A reader may see a value that such a power cut then takes back. What was written is synced
    /// every half second by a thread that nobody waits for; where the disk needs more than the other half, STATS and
    /// `/health` say by how much. It costs one write for all who are ready at the same time.
    #[value(name = "everysec")]
    EverySecond,
    /// It is on the disk: nothing is lost, whatever goes down. It costs the time of a sync, which all share who wait at the
    /// same time; a read waits only if it has seen a change that is not on the disk yet.
    #[value(name = "always")]
    Always,
    /// It is in memory: whatever goes down, all changes since the last save are lost. It costs nothing.
    #[value(name = "off")]
    Off,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EverySecond => "everysec",
            Self::Always => "always",
            Self::Off => "off",
        })
    }
}

/// How a data folder is to be used.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// What is promised of a change.
    pub durability: Durability,
    /// How long changes may wait for the next save.
    pub save_interval: Duration,
    /// How often what was written is synced under `everysec`: [`SYNC_INTERVAL`], but for tests that have no time.
    pub sync_interval: Duration,
}

/// Why a data folder cannot be opened. Nothing has been changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The journals cannot be read back.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The journal cannot be written.
    #[error("cannot open the journal in {path}")]
    Journal {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What the journals hold must be saved before a server without a journal may change anything, and cannot be.
    #[error(
        "cannot save what the journals hold, which --durability off asks for before it starts: {0}"
    )]
    FirstSave(DiskFault),
    /// What could be read of a damaged folder cannot be saved.
    #[error(
        "cannot save what could be read: {0}; nothing was removed, and the damage is as it was. Make room, and repair again"
    )]
    Unmended(DiskFault),
}

/// The disk does not take changes; why, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DiskFault(String);

impl DiskFault {
    pub(crate) fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// How a save ended.
#[derive(Debug, Clone)]
pub struct SaveReport {
    /// When.
    pub ended_at: UnixMs,
    /// How long it took.
    pub seconds: f64,
    /// `ok`, or why it failed.
    pub result: String,
}

/// The state of the disk, for people and health checks.
#[derive(Debug, Clone)]
pub struct Disk {
    /// What is promised.
    pub durability: Durability,
    /// Bytes of all journals.
    pub journal_bytes: u64,
    /// How many journals.
    pub journal_segments: u64,
    /// Why changes are refused, if they are.
    pub fault: Option<String>,
    /// The age of the oldest change that is not on disk: what a power cut would take now.
    pub unsynced: Duration,
    /// The longest that any change has waited for the disk since the start.
    pub unsynced_longest: Duration,
    /// The last save, if there was one since the start.
    pub last_save: Option<SaveReport>,
}

/// A folder that was damaged.
pub struct Salvaged {
    /// What is to be saved; none if nothing was damaged.
    pub store: Option<Store>,
    /// What was damaged.
    pub findings: Vec<Finding>,
    /// The files that hold what was there before.
    pub kept: Vec<PathBuf>,
    /// What is no damage.
    pub notes: Vec<String>,
}

impl Disk {
    /// By how much the disk is too slow for what `everysec` promises, if it is; a sentence.
    #[must_use]
    pub fn late(&self) -> Option<String> {
        let late = self.unsynced.checked_sub(WINDOW)?;
        (self.durability == Durability::EverySecond).then(|| {
            format!(
                "the disk is slow: a power cut now would take the last {:.1} seconds of changes, {:.1} more than everysec promises",
                self.unsynced.as_secs_f64(),
                late.as_secs_f64()
            )
        })
    }
}

/// What a data folder keeps.
pub struct Store {
    folder: Arc<Folder>,
    durability: Durability,
    writer: Arc<Writer>,
    /// Changes since the start, those included that were replayed. All write to it, and what stands beside is read by all.
    changes: CachePadded<AtomicU64>,
    saved_changes: AtomicU64,
    last_save: Mutex<Option<SaveReport>>,
    /// What store.json looked like when it was last read or written by this server.
    known: Mutex<Option<Saved>>,
}

impl Store {
    /// Opens a data folder: locks it, loads the snapshot, replays the journals.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(
        files: Arc<dyn Files>,
        options: &Options,
        load: &dyn Load,
        progress: &Progress,
    ) -> Result<Self, StoreError> {
        let folder = Arc::new(Folder::open(files, &options.data)?);
        let started = Instant::now();
        let (known, mut replayed) = read(&folder, load, progress)?;
        replayed.mend(&folder)?;
        mend::remove_unfinished(&folder)?;
        tracing::info!(
            "loaded {} pairs in {:.3} s (changes in the journals: {})",
            load.pairs(),
            started.elapsed().as_secs_f64(),
            replayed.held.changes
        );
        Self::resume(folder, options, known, replayed)
    }

    /// Looks at a folder that no server uses, and loads what can be read; nothing is changed.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be looked at.
    pub fn check(
        files: Arc<dyn Files>,
        path: &Path,
        load: &dyn Load,
    ) -> Result<Inspection, StoreError> {
        let folder = Folder::look(files, path)?;
        inspect::inspect(&folder, load, &Progress::new())
    }

    /// Opens a folder that may be damaged, with what can be read of it, and keeps every damaged file beside it. A save must
    /// follow, which takes the place of all that was there. Nothing is changed if nothing is damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn salvage(
        files: Arc<dyn Files>,
        options: &Options,
        load: &dyn Load,
    ) -> Result<Salvaged, StoreError> {
        let folder = Arc::new(Folder::open_existing(files, &options.data)?);
        let Inspection {
            known,
            mut replayed,
            notes,
        } = inspect::inspect(&folder, load, &Progress::new())?;
        let findings = replayed.findings.clone();
        if findings.is_empty() {
            return Ok(Salvaged {
                store: None,
                findings,
                kept: Vec::new(),
                notes,
            });
        }
        let mut kept = Vec::new();
        let mut damaged: Vec<&PathBuf> = findings.iter().map(|finding| &finding.path).collect();
        damaged.dedup();
        for path in damaged {
            let aside = folder.keep(path, &mend::aside_name(path, "damaged"));
            kept.push(aside.map_err(ReplayError::unreadable(path))?);
        }
        for segment in &mut replayed.segments {
            // A second name shares the content: what is kept whole must not be cut. The save removes it with its tail.
            segment.torn &= !findings.iter().any(|finding| finding.path == segment.path);
        }
        replayed.mend(&folder)?;
        mend::remove_unfinished(&folder)?;
        Ok(Salvaged {
            store: Some(Self::resume(folder, options, known, replayed)?),
            findings,
            kept,
            notes,
        })
    }

    /// Goes on where what was read ends.
    fn resume(
        folder: Arc<Folder>,
        options: &Options,
        known: Option<Saved>,
        replayed: Replayed,
    ) -> Result<Self, StoreError> {
        let unopened = |source| StoreError::Journal {
            path: options.data.clone(),
            source,
        };
        // The first journal alone begins from nothing: with a store.json there, it must not look as if it did.
        let first_number = if known.is_some() { 2 } else { 1 };
        let is_known = known
            .as_ref()
            .is_none_or(|read| replayed.held.saved.contains(read));
        let is_damaged = !replayed.findings.is_empty();
        let changes = replayed.held.changes;
        let writer = Writer::open(
            Arc::clone(&folder),
            options.durability,
            options.sync_interval,
            replayed,
            first_number,
        );
        let writer = writer.map_err(unopened)?;
        // A journal of that record alone: it would else say that store.json holds what the journals before it do.
        let is_sound = !is_damaged && !writer.needs_save() && writer.size().1 == 1;
        if let Some(read) = known.as_ref().filter(|_| !is_known && is_sound) {
            // From now on, content that changes without the time of modification is damage to this file, too. A disk that
            // does not take the record is told of by the fault that it leaves.
            let _ = writer.record_saved(read);
        }
        Ok(Self {
            folder,
            durability: options.durability,
            writer,
            changes: CachePadded::new(AtomicU64::new(changes)),
            saved_changes: AtomicU64::new(0),
            last_save: Mutex::new(None),
            known: Mutex::new(known),
        })
    }

    /// Makes the record of a change, before any lock is taken.
    #[must_use]
    pub fn encode(&self, change: &Change<'_>) -> Option<Record> {
        (self.durability != Durability::Off).then(|| Record::of(change))
    }

    /// Takes a change; the number of its record, for `commit`. Called under the lock of its keys, so that the journal's order
    /// is memory's.
    ///
    /// # Errors
    /// [`DiskFault`], while changes are refused; the change must not be made then.
    pub fn append(&self, record: Option<Record>) -> Result<u64, DiskFault> {
        let seq = match record {
            Some(record) => self.writer.append(record)?,
            None => 0,
        };
        self.changes.fetch_add(1, Relaxed);
        Ok(seq)
    }

    /// Whether changes are taken.
    ///
    /// # Errors
    /// [`DiskFault`], while they are refused.
    pub fn admit(&self) -> Result<(), DiskFault> {
        if self.durability == Durability::Off {
            return Ok(());
        }
        self.writer.admit()
    }

    /// Notes the record of a change, which is no group.
    pub fn note(&self, change: &Change<'_>, records: &mut Records) {
        if self.durability != Durability::Off {
            records.push(change);
        }
    }

    /// Takes so many changes that were admitted and have been made; the number of the last record. Called under the locks of
    /// their keys.
    pub fn append_all(&self, changes: u64, records: Records) -> u64 {
        self.changes.fetch_add(changes, Relaxed);
        if records.count() == 0 {
            return 0;
        }
        self.writer.append_all(records)
    }

    /// The number of the last record.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.writer.appended()
    }

    /// Returns once this record, and all before it, are as safe as promised.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub async fn commit(&self, seq: u64) -> Result<(), DiskFault> {
        self.writer.commit(seq).await
    }

    /// How many changes there are that store.json does not hold.
    #[must_use]
    pub fn unsaved_changes(&self) -> u64 {
        let saved = self.saved_changes.load(Relaxed);
        self.changes.load(Relaxed).saturating_sub(saved)
    }

    /// Follows the changes of keys with a prefix, after a revision, which is the number of a record, or from now on.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn follow(&self, prefix: Key<'_>, after: Option<u64>) -> Result<Follower, FollowError> {
        self.writer.follow(prefix, after)
    }

    /// Whether there are changes that store.json does not hold.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        self.unsaved_changes() > 0
    }

    /// Whether a save is needed before changes can be taken again.
    #[must_use]
    pub fn needs_save(&self) -> bool {
        self.writer.needs_save()
    }

    /// Writes all pairs to store.json. Only one thread saves at a time: the engine's saver.
    ///
    /// # Errors
    /// [`DiskFault`]; the old store.json and all journals are kept then.
    pub fn save(&self, entries: impl Iterator<Item = Entry>) -> Result<(), DiskFault> {
        let started = Instant::now();
        let changes = self.changes.load(Relaxed);
        let saved = self.try_save(entries);
        let seconds = started.elapsed().as_secs_f64();
        let result = match &saved {
            Ok(()) => {
                self.saved_changes.store(changes, Relaxed);
                tracing::info!("saved store.json in {seconds:.3} s");
                "ok".to_owned()
            }
            Err(fault) => {
                tracing::error!(
                    "cannot save store.json: {fault}; the old one and all journals are kept"
                );
                fault.to_string()
            }
        };
        let report = SaveReport {
            ended_at: now_ms(),
            seconds,
            result,
        };
        *self
            .last_save
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(report);
        saved
    }

    fn try_save(&self, entries: impl Iterator<Item = Entry>) -> Result<(), DiskFault> {
        self.writer.rotate()?;
        let (path, new_path) = (
            self.folder.join(SNAPSHOT_NAME),
            self.folder.join(SNAPSHOT_NEW_NAME),
        );
        let failed = |error| self.cannot_write(&error);
        let mode = self.folder.stat(SNAPSHOT_NAME).ok().map(|stat| stat.mode);
        let files = self.folder.files();
        let saved = snapshot::write(files, &new_path, mode, entries).map_err(failed)?;
        self.take_place(saved, &new_path, &path).inspect_err(|_| {
            // On a full disk it must not hold the room that the journal needs.
            let _ = files.remove(&new_path);
        })?;
        self.folder.sync().map_err(failed)?;
        self.writer.drop_older().map_err(failed)
    }

    fn cannot_write(&self, error: &std::io::Error) -> DiskFault {
        let path = self.folder.join(SNAPSHOT_NAME);
        DiskFault::new(&format!("cannot write {}: {error}", path.display()))
    }

    /// Puts a new snapshot in the place of the old one.
    fn take_place(&self, saved: Saved, new_path: &Path, path: &Path) -> Result<(), DiskFault> {
        let failed = |error| self.cannot_write(&error);
        // The snapshot may hold changes up to this moment: they must be on disk before it is, or a power cut could keep a
        // later change and lose an earlier one.
        self.writer.record_saved(&saved)?;
        self.keep_foreign(path).map_err(failed)?;
        self.folder.files().rename(new_path, path).map_err(failed)?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        Ok(())
    }

    /// Keeps a store.json that somebody has put there, or has edited, since this server read or wrote it.
    fn keep_foreign(&self, path: &Path) -> std::io::Result<()> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = match (self.folder.stat(SNAPSHOT_NAME), &*known) {
            (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => true,
            (Err(error), _) => return Err(error),
            (Ok(_), None) => false,
            (Ok(there), Some(known)) => snapshot::modified(&there) == known.modified,
        };
        if is_ours {
            return Ok(());
        }
        // A second name, not a new one: there must be a store.json at every moment.
        let aside = self.folder.keep(path, "store.json.edited")?;
        tracing::warn!(
            "store.json was edited while the server ran, which reads it only at its start; the edit is kept as {}",
            aside.display()
        );
        Ok(())
    }

    /// The state of the disk.
    #[must_use]
    pub fn disk(&self) -> Disk {
        let (journal_bytes, journal_segments) = self.writer.size();
        let last_save = self
            .last_save
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let (unsynced, unsynced_longest) = self.writer.unsynced();
        Disk {
            durability: self.durability,
            unsynced,
            unsynced_longest,
            journal_bytes,
            journal_segments,
            fault: self.writer.fault(),
            last_save,
        }
    }
}
