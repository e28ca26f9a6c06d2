//! Persistence: a data folder with a snapshot (`store.json`) and the journals of every change since.
//!
//! In: changes, and the pairs to save. Out: the same, after a restart. The promise of each level is at [`Durability`]. Under
//! `everysec` a power cut may take the last second of changes.
//! A reader may see a value that such a power cut then takes back, as reads do not wait for the sync.
//!
//! Each folder names only those above it, and each file only those before it:
//!
//! ```text
//! disk        files that a test can make fail; the data folder, its lock and its renames
//! durability  the three levels
//! format      lines of the journal, and the snapshot: what is written, and what a line says
//! recovery    reading a folder back on all cores, telling damage from a crash, mending what a crash leaves
//! journal     the live journal: append, commit, sync; from one file to the next; the health of the disk
//! follow      changes, as they become safe, for those who follow them
//! backup      a copy of the folder at one moment, for a restore
//! ```
//!
//! A save goes: begin a new journal; write all pairs beside, part by part, while changes go on; sync; bring the journal to
//! the disk up to the last change that the snapshot may hold, so that no later change can be kept without an earlier one;
//! rename; sync the folder; remove the older journals. Replaying the new journal over the snapshot, which may hold some of its
//! changes already, ends in the same state, because records hold absolute values.
//!
//! # The rules, and the tests that fail when one is broken
//!
//! A fuzzy snapshot with a rotated journal is right only if each of these is kept; every one has been broken by some store
//! before this one. (A test checks that the tests named here exist.)
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
//!  8 a missing file is noticed                restart::a_journal_without_the_store_that_it_continues_stops_the_start
//!                                             restart::a_gap_in_the_journals_stops_the_start
//!  9 a torn tail is cut off, damage is not    restart::a_torn_tail_is_set_aside_told_of_and_cut_off
//!                                             restart::damage_before_whole_records_stops_the_start_with_file_and_line
//!                                             tear::a_hole_of_zeros_that_a_later_mark_says_was_on_disk_is_damage
//! 10 recovery survives a crash in its middle  power::a_second_cut_during_the_recovery_loses_nothing_either
//! 11 a failed save keeps all, is retried and  rules::a_save_that_fails_is_told_of_and_tried_again_until_it_succeeds
//!    reported
//! 12 after a failed sync the file is never    power_faults::whichever_operation_fails_what_was_acknowledged_is_kept_and_the_server_mends
//!    trusted again                            tear::a_doubt_outlives_a_kill_and_is_saved_away_before_changes_are_taken
//! 13 half a record is cut back; reads go on   disk::a_disk_that_takes_no_more_refuses_changes_until_it_does
//! 14 only what is synced is acknowledged; an  power::wherever_the_power_goes_all_that_was_promised_is_read_back_and_no_hole_is
//!    idle tail is synced by the clock         rules::an_idle_tail_is_synced_by_the_clock
//! 15 a slow sync delays nobody who did not    slow::under_everysec_nobody_waits_for_a_slow_sync_and_the_window_is_told_of
//!    ask for it, and the delay is reported    slow::under_always_a_slow_sync_holds_up_the_change_and_those_who_see_it_only
//! 16 what a power cut takes back is said      house::every_promise_is_written_where_people_read_it
//! 17 followers are shown what is safe, all    feed::what_a_follower_was_shown_is_kept_when_the_power_goes
//!    of it, and are told where some is gone   feed::followers_go_on_across_saves_while_changes_are_made
//!                                             feed::what_was_dropped_after_a_loss_of_trust_is_told_of_as_gone
//! 18 the lock is on the folder, not a name,   exclusion::a_second_server_is_refused_whatever_becomes_of_the_lock_file
//!    and a lost journal acknowledges nothing  exclusion::a_server_that_has_lost_its_journal_acknowledges_nothing_more
//! 19 a reply that nothing had to be done      unconfirmed::no_command_that_changes_pairs_tells_of_what_the_disk_has_not_taken
//!    waits for the state, or fails with it    slow::under_always_a_slow_sync_holds_up_the_change_and_those_who_see_it_only
//! 20 what a file is is looked at once it is   irregular::what_is_no_regular_file_stops_the_start_in_words
//!    open; no link is written through         irregular::nothing_is_written_through_a_link_or_a_second_name
//! 21 what is created is for its user alone,   private::what_the_server_creates_is_for_its_user_alone
//!    or as the file that it replaces          private::a_mode_that_a_person_gave_is_that_of_the_files_that_follow
//! 22 a backup is what a kill at one moment    backup::a_backup_under_load_holds_what_was_acknowledged_and_no_half_transaction
//!    would leave, whole or not there          backup::a_save_that_comes_after_the_names_were_listed_is_not_copied_by_half
//!                                             backup::whichever_operation_fails_a_backup_is_whole_or_absent
//! ```

mod backup;
mod disk;
mod durability;
mod follow;
mod format;
mod journal;
mod recovery;
mod snapshot_file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

pub use backup::{BackupError, BackupReport, USERS_NAME, back_up, is_data_file};
pub use disk::{
    DiskFault, FaultKind, File, FileReader, Files, FolderError, Stat, System, append_all,
};
pub use durability::{Durability, SYNC_INTERVAL};
pub use follow::{Changes, FollowError, Follower, OwnedChange, RecordFeed};
pub use format::{
    Line, ParsedChange, Payload, RECORD_BYTES_MAX, Records, SnapshotFingerprint, Timeline,
    read_line,
};
pub use recovery::{
    Batch, Finding, Inspection, Load, Progress, ReplayError, SnapshotError, StoreError, Work,
};

pub use journal::{BootTime, LogGate, LoggedLines};

#[cfg(fuzzing)]
pub use format::{modified, write_snapshot};
#[cfg(fuzzing)]
pub use recovery::{SnapshotKeys, read_snapshot};

use disk::Folder;
use durability::UNSYNCED_AGE_MAX;
use follow::Followers;
use journal::Writer;
use recovery::{Replayed, Trust, inspect, mend, read_folder};
use snapshot_file::SnapshotFile;

use crate::model::entry::Entry;
use crate::model::{Change, Key, UnixMs, now_ms};

/// The use of a data folder.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// The promise for each change.
    pub durability: Durability,
    /// The longest that a change waits for the next save.
    pub save_interval: Duration,
    /// The interval of syncs under `everysec`: [`SYNC_INTERVAL`], except in tests.
    pub sync_interval: Duration,
    /// True if the folder is a copy of another server's, whose records alone are added.
    pub is_copy: bool,
    /// What the order of store.json depends on, if it is to be that of other servers; a secret, as with it keys can be chosen that are
    /// slow to find.
    pub order: Option<[u64; 4]>,
}

/// The result of a save.
#[derive(Debug, Clone)]
pub struct SaveReport {
    /// The time of its end.
    pub ended_at: UnixMs,
    /// Its duration in seconds.
    pub seconds: f64,
    /// `ok`, or why it failed.
    pub result: String,
}

/// The state of the disk, for people and health checks.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The promise for each change.
    pub durability: Durability,
    /// Bytes of all journals.
    pub journal_bytes: u64,
    /// Number of journals.
    pub journal_segments: u64,
    /// The reason why changes are refused, if they are.
    pub fault: Option<String>,
    /// Age of the oldest change that is not on disk: what a power cut would take now.
    pub unsynced: Duration,
    /// The longest that any change has waited for the disk since the start.
    pub unsynced_longest: Duration,
    /// The last save since the start, if there was one.
    pub last_save: Option<SaveReport>,
}

impl Disk {
    /// Returns by how much the disk is too slow for the promise of `everysec`, if it is; a sentence.
    #[must_use]
    pub fn late(&self) -> Option<String> {
        let late = self.unsynced.checked_sub(UNSYNCED_AGE_MAX)?;
        (self.durability == Durability::EverySecond).then(|| {
            format!(
                "the disk is slow: a power cut now would take the last {:.1} seconds of changes, {:.1} more than everysec promises",
                self.unsynced.as_secs_f64(),
                late.as_secs_f64()
            )
        })
    }
}

/// A folder that was read past its damage.
pub struct Salvaged {
    /// The store to save; `None` if nothing was damaged.
    pub store: Option<Store>,
    /// The damage.
    pub findings: Vec<Finding>,
    /// The files that hold what was there before.
    pub kept: Vec<PathBuf>,
    /// Notes on what a start mends by itself and what is no fault; a sentence each.
    pub notes: Vec<String>,
}

/// An open data folder.
pub struct Store {
    durability: Durability,
    writer: Arc<Writer>,
    followers: Followers,
    snapshot: SnapshotFile,
    /// Changes since the start, including those that were replayed. Every change writes to it, so it has a cache line of its
    /// own.
    changes: CachePadded<AtomicU64>,
    /// Of these, the changes that store.json holds.
    saved_changes: AtomicU64,
    last_save: Mutex<Option<SaveReport>>,
    /// Held during a save, and while other data takes the place of all pairs.
    saving: Mutex<()>,
    /// True while the pairs are not those of the journals, until all have been replaced, or loaded anew: they must not be saved.
    is_replacing: AtomicBool,
}

impl Store {
    /// Opens a data folder: locks it, loads the snapshot, replays the journals, and mends what a crash has left.
    ///
    /// # Errors
    /// [`StoreError::Folder`] if the folder cannot be used or is in use; [`StoreError::Snapshot`] and [`StoreError::Replay`] if
    /// what is in it is damaged, missing or unreadable; [`StoreError::Journal`] if the journal cannot be continued.
    pub fn open(
        files: Arc<dyn Files>,
        options: &Options,
        load: &dyn Load,
        progress: &Progress,
    ) -> Result<Self, StoreError> {
        let folder = Arc::new(Folder::open(files, &options.data)?);
        folder.lock_target(format::SNAPSHOT_NAME)?;
        let started = Instant::now();
        let (snapshot, mut replayed) = read_folder(&folder, load, progress)?;
        mend(&folder, &mut replayed)?;
        tracing::info!(
            "loaded {} pairs in {:.3} s (changes in the journals: {})",
            load.pairs(),
            started.elapsed().as_secs_f64(),
            replayed.contents.changes
        );
        Self::resume(folder, options, snapshot, replayed)
    }

    /// Inspects a folder that no server uses, and loads what can be read; nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Folder`] if there is no such folder or it is in use; [`StoreError::Snapshot`] and [`StoreError::Replay`] if
    /// a file cannot be read at all, or was written by a newer server.
    pub fn check(
        files: Arc<dyn Files>,
        path: &Path,
        load: &dyn Load,
    ) -> Result<Inspection, StoreError> {
        let folder = Folder::look(files, path)?;
        inspect(&folder, load, &Progress::new())
    }

    /// Opens a folder that may be damaged, with what can be read of it, and keeps every damaged file under a second name. A
    /// save must follow, which replaces all that was there. Nothing is changed if nothing is damaged.
    ///
    /// # Errors
    /// As [`Store::check`]; [`StoreError::Replay`] also if a damaged file cannot be kept, and [`StoreError::Journal`] if the
    /// journal cannot be continued.
    pub fn salvage(
        files: Arc<dyn Files>,
        options: &Options,
        load: &dyn Load,
    ) -> Result<Salvaged, StoreError> {
        let folder = Arc::new(Folder::open_existing(files, &options.data)?);
        folder.lock_target(format::SNAPSHOT_NAME)?;
        let mut inspection = inspect(&folder, load, &Progress::new())?;
        let findings = inspection.findings().to_vec();
        if findings.is_empty() {
            return Ok(Salvaged {
                store: None,
                findings,
                kept: Vec::new(),
                notes: inspection.notes,
            });
        }
        let kept = inspection.keep_damaged(&folder)?;
        let Inspection {
            snapshot,
            mut replayed,
            notes,
        } = inspection;
        mend(&folder, &mut replayed)?;
        Ok(Salvaged {
            store: Some(Self::resume(folder, options, snapshot, replayed)?),
            findings,
            kept,
            notes,
        })
    }

    /// Continues where what was read ends.
    fn resume(
        folder: Arc<Folder>,
        options: &Options,
        snapshot: Option<SnapshotFingerprint>,
        replayed: Replayed,
    ) -> Result<Self, StoreError> {
        // Journal 1 alone begins with an empty store: beside a store.json, no journal may look as if it did.
        let first_number = if snapshot.is_some() { 2 } else { 1 };
        let is_recorded = snapshot
            .as_ref()
            .is_none_or(|read| replayed.contents.saved.contains(read));
        let is_damaged = replayed.trust() == Trust::Damaged;
        let changes = replayed.contents.changes;
        let writer = journal::open(
            Arc::clone(&folder),
            options.durability,
            options.sync_interval,
            replayed,
            first_number,
        )
        .map_err(|source| StoreError::Journal {
            path: options.data.clone(),
            source,
        })?;
        // With older journals, the record would say that store.json holds what they do.
        let is_alone = writer.extent().segments == 1;
        if let Some(read) = &snapshot
            && !is_recorded
            && !is_damaged
            && !writer.needs_save()
            && is_alone
        {
            // From now on, content that changes without the time of modification is damage to this file, too. If the disk does
            // not take the record, the fault that it leaves reports that.
            let _ = writer.record_saved(read, writer.gate().term());
        }
        Ok(Self {
            snapshot: SnapshotFile::new(folder, snapshot),
            durability: options.durability,
            followers: Followers::new(Arc::clone(&writer)),
            writer,
            changes: CachePadded::new(AtomicU64::new(changes)),
            saved_changes: AtomicU64::new(0),
            last_save: Mutex::new(None),
            saving: Mutex::default(),
            is_replacing: AtomicBool::new(false),
        })
    }

    /// Encodes the record of a change, before any lock is taken; `None` without a journal.
    #[must_use]
    pub fn encode(&self, change: &Change<'_>) -> Option<Records> {
        (self.durability != Durability::Off).then(|| Records::of(change))
    }

    /// Takes a change. Returns the number of its record, for `commit`. Called under the lock of its keys, so that the journal's
    /// order is memory's.
    ///
    /// # Errors
    /// [`DiskFault`], while changes are refused; the change must not be made then.
    pub fn append(&self, record: Option<Records>) -> Result<u64, DiskFault> {
        let seq = match record {
            Some(record) => self.writer.append(record)?,
            None => 0,
        };
        self.changes.fetch_add(1, Relaxed);
        Ok(seq)
    }

    /// Takes a record of another server, as [`Self::append`] takes a change, whoever leads.
    ///
    /// # Errors
    /// [`DiskFault`], while the disk takes no changes.
    pub fn append_foreign(&self, record: Records) -> Result<u64, DiskFault> {
        let seq = self.writer.append_foreign(record)?;
        self.changes.fetch_add(1, Relaxed);
        Ok(seq)
    }

    /// Checks that changes are taken.
    ///
    /// # Errors
    /// [`DiskFault`], while they are refused.
    pub fn admit(&self) -> Result<(), DiskFault> {
        if self.durability == Durability::Off {
            return Ok(());
        }
        self.writer.admit()
    }

    /// Encodes the record of a change, which is no group, behind others.
    pub fn note(&self, change: &Change<'_>, records: &mut Records) {
        if self.durability != Durability::Off {
            records.push(change);
        }
    }

    /// Takes changes that were admitted and have been made. Returns the number of the last record. Called under the locks of
    /// their keys.
    pub fn append_all(&self, changes: u64, records: Records) -> u64 {
        self.changes.fetch_add(changes, Relaxed);
        if records.count() == 0 {
            return 0;
        }
        self.writer.append_all(records)
    }

    /// Returns the number of the last record.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.writer.appended()
    }

    /// Returns whether this record of a term, and all before it, are as safe as promised by now.
    #[must_use]
    #[inline(always)]
    pub fn is_safe(&self, seq: u64, term: u64) -> bool {
        self.writer.is_safe(seq, term)
    }

    /// Returns once this record of a term, and all before it, are as safe as promised.
    ///
    /// # Errors
    /// [`DiskFault`], if changes are refused before that, or the log does not get it.
    pub async fn commit(&self, seq: u64, term: u64) -> Result<(), DiskFault> {
        self.writer.commit(seq, term).await
    }

    /// Returns the gate before the log that several servers share.
    #[must_use]
    pub fn gate(&self) -> &Arc<LogGate> {
        self.writer.gate()
    }

    /// Takes the records that have been appended, which the log is to get. To be called by one task alone.
    #[must_use]
    pub fn take_for_log(&self) -> LoggedLines {
        self.writer.take_for_log()
    }

    /// Notes that the log has these records; see [`Durability::Replicated`].
    pub fn note_logged(&self, lines: &LoggedLines) {
        self.writer.note_logged(lines);
    }

    /// Takes changes of clients no more, and discards those that the log does not have. Returns true if there were any: the pairs must be
    /// loaded anew then. The locks of all keys must be held.
    pub fn follow_log(&self) -> bool {
        // Before the term ends, as a save that has begun by then is of no use, and one that begins after it must not.
        self.is_replacing.store(true, Relaxed);
        let has_more = self.writer.follow_log();
        self.is_replacing.store(has_more, Relaxed);
        has_more
    }

    /// Lets `clear` remove all pairs, and loads those again that the folder has: all that the log has, and no more.
    ///
    /// # Errors
    /// [`StoreError`], if the folder cannot be read; [`StoreError::FirstSave`], if it has not all.
    pub fn reload(
        &self,
        clear: impl FnOnce(),
        load: &dyn Load,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        let _no_save = self.pause_saves();
        self.is_replacing.store(true, Relaxed);
        clear();
        let (_, replayed) = read_folder(self.snapshot.folder(), load, progress)?;
        if replayed.next_seq != self.appended() + 1 {
            return Err(StoreError::FirstSave(DiskFault::new(
                "the folder does not have all that the log has",
            )));
        }
        self.is_replacing.store(false, Relaxed);
        Ok(())
    }

    /// Returns the last record that is on this disk.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.writer.synced()
    }

    /// Returns the number of changes that store.json does not hold.
    #[must_use]
    pub fn unsaved_changes(&self) -> u64 {
        let saved = self.saved_changes.load(Relaxed);
        self.changes.load(Relaxed).saturating_sub(saved)
    }

    /// Follows the changes of keys with a prefix, after a revision, which is the number of a record, or from now on.
    ///
    /// # Errors
    /// [`FollowError::Off`] without a journal, [`FollowError::Ahead`] if there is no such revision yet, and
    /// [`FollowError::Gone`] if the changes after it are not kept any more.
    pub fn follow(&self, prefix: Key<'_>, after: Option<u64>) -> Result<Follower, FollowError> {
        self.followers.follow(prefix, after)
    }

    /// Returns the feed of a replica: what follows on record `after` of a timeline, or all.
    ///
    /// # Errors
    /// [`FollowError`]; [`FollowError::Ahead`] and [`FollowError::Gone`] if the replica has to copy all.
    pub fn feed_replica(&self, place: Option<(&str, u64)>) -> Result<RecordFeed, FollowError> {
        if let Some((timeline, after)) = place {
            return self.followers.resume(timeline, after);
        }
        let folder = self.snapshot.folder();
        self.followers.copy(|| {
            let files = backup::open_at_one_moment(folder.files(), folder.path());
            let mut files =
                files.map_err(|error| FollowError::Unreadable(io::Error::other(error)))?;
            files.retain(|file| file.name() != USERS_NAME);
            Ok(files)
        })
    }

    /// Returns the timelines of the records, oldest first.
    #[must_use]
    pub fn timelines(&self) -> Vec<Timeline> {
        self.writer.timelines()
    }

    /// Returns the name of the newest timeline, if there is any.
    #[must_use]
    pub fn newest_timeline(&self) -> Option<String> {
        self.writer.newest_timeline()
    }

    /// Lets the records from the next one on be of another timeline, if they are of any. If the journal does not take that, they are of
    /// none, and replicas copy all anew.
    pub fn begin_another_timeline(&self) {
        if !self.timelines().is_empty() && self.begin_timeline().is_err() {
            self.writer.forget_timelines();
        }
    }

    /// Lets the records from the next one on be of a timeline of this server.
    ///
    /// # Errors
    /// [`DiskFault`], if the journal does not take that.
    pub fn begin_timeline(&self) -> Result<(), DiskFault> {
        self.writer.begin_timeline()
    }

    /// Lets the records from a number on be of a timeline of another server.
    ///
    /// # Errors
    /// [`DiskFault`], if the journal does not take that.
    pub fn copy_timeline(&self, timeline: Timeline) -> Result<(), DiskFault> {
        self.writer.add_timeline(Timeline {
            is_own: false,
            ..timeline
        })
    }

    /// Lets `clear` remove all pairs, loads the copy of another server's folder, and continues its records. Changes are refused until all
    /// pairs have been saved; none is saved before all are loaded.
    ///
    /// # Errors
    /// [`StoreError`], if the copy cannot be read; [`StoreError::FirstSave`], if the journal cannot be begun anew.
    pub fn adopt(
        &self,
        copy: &Path,
        clear: impl FnOnce(),
        load: &dyn Load,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        let _no_save = self.pause_saves();
        self.is_replacing.store(true, Relaxed);
        clear();
        let folder = Folder::look(Arc::new(System), copy)?;
        let (_, replayed) = read_folder(&folder, load, progress)?;
        let mut timelines = replayed.contents.timelines;
        for timeline in &mut timelines {
            timeline.is_own = false;
        }
        journal::restart_at(&self.writer, replayed.next_seq, timelines)
            .map_err(StoreError::FirstSave)?;
        self.followers.end_feeds();
        self.is_replacing.store(false, Relaxed);
        self.changes.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Returns true if there are changes that store.json does not hold.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        self.unsaved_changes() > 0
    }

    /// Returns true if changes are refused until a save.
    #[must_use]
    pub fn needs_save(&self) -> bool {
        self.writer.needs_save()
    }

    /// Writes all pairs to store.json.
    ///
    /// # Errors
    /// [`DiskFault`], if any of its steps fails; the old store.json and all journals are kept then. [`FaultKind::Replacing`], of which
    /// nothing is reported, if the pairs may have been, or be, what the log has not: it has to be done anew.
    pub fn save(&self, entries: impl Iterator<Item = Entry>) -> Result<(), DiskFault> {
        let _one = self.pause_saves();
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
            Err(fault) if fault.kind == FaultKind::Replacing => return saved,
            Err(fault) => {
                tracing::error!(
                    "cannot save store.json: {fault}; the old one and all journals are kept"
                );
                fault.to_string()
            }
        };
        *self.last_save() = Some(SaveReport {
            ended_at: now_ms(),
            seconds,
            result,
        });
        saved
    }

    /// Waits for the end of a save, and lets none begin while the guard is held.
    fn pause_saves(&self) -> MutexGuard<'_, ()> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_save(&self, entries: impl Iterator<Item = Entry>) -> Result<(), DiskFault> {
        // In this order: who sees the term in which pairs are loaded anew sees that they are.
        let term = self.gate().term();
        if self.is_replacing.load(Relaxed) {
            return Err(DiskFault::replacing());
        }
        let failed = |error: io::Error| {
            let path = self.snapshot.path();
            DiskFault::new(&format!("cannot write {}: {error}", path.display()))
        };
        journal::rotate(&self.writer)?;
        let written = self.snapshot.write_beside(entries).map_err(failed)?;
        // The snapshot may hold changes up to this moment: they must be on disk before it is, or a power cut could keep a later
        // change and lose an earlier one.
        self.writer
            .record_saved(&written.fingerprint, term)
            .and_then(|()| self.snapshot.publish(&written).map_err(failed))
            .inspect_err(|_| self.snapshot.discard(&written))?;
        journal::remove_older(&self.writer).map_err(failed)
    }

    /// Copies the folder into another one: every change that was acknowledged before, unless there is no journal; then, those of
    /// the last save.
    ///
    /// # Errors
    /// [`BackupError`]; [`BackupError::Fault`] while changes are refused.
    pub fn back_up(&self, to: &Path) -> Result<BackupReport, BackupError> {
        self.writer.check_folder();
        self.writer.admit().map_err(BackupError::Fault)?;
        let folder = self.snapshot.folder();
        backup::copy_folder(folder.files(), folder.path(), to)
    }

    fn last_save(&self) -> MutexGuard<'_, Option<SaveReport>> {
        self.last_save
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state of the disk.
    #[must_use]
    pub fn disk(&self) -> Disk {
        let (unsynced, unsynced_longest) = self.writer.unsynced();
        let extent = self.writer.extent();
        Disk {
            durability: self.durability,
            unsynced,
            unsynced_longest,
            journal_bytes: extent.bytes,
            journal_segments: extent.segments,
            fault: self.writer.fault(),
            last_save: self.last_save().clone(),
        }
    }
}
