//! Opening the live journal at a start.
//!
//! In: what the journals of the folder held. Out: a writer that continues them. Promise: a journal that is in doubt, or whose
//! damage was passed over, is not appended to: changes are refused until a save has replaced it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::direct_write::DirectWrite;
use super::health::Health;
use super::log_gate::LogGate;
use super::open_journal::{OlderJournal, OpenJournal};
use super::pending::Tail;
use super::retained::Retained;
use super::rotation::{finalize_name, start_next};
use super::segment::Segment;
use super::unsynced_age::UnsyncedAge;
use super::watermark::Watermark;
use super::workers::{Job, Workers};
use super::writer::{Writer, locked};
use crate::persistence::disk::Folder;
use crate::persistence::durability::Durability;
use crate::persistence::format::{Records, VERSION};
use crate::persistence::recovery::{Replayed, Trust};

/// Continues the journals of a folder, or starts the first one, with number `first_number`.
///
/// # Errors
/// Any error of the operating system while opening or creating the journal, or while starting a thread.
pub fn open(
    folder: Arc<Folder>,
    durability: Durability,
    sync_interval: Duration,
    mut replayed: Replayed,
    first_number: u64,
) -> io::Result<Arc<Writer>> {
    let trust = replayed.trust();
    let next_seq = replayed.next_seq;
    let last = replayed.segments.pop();
    let segment = match &last {
        Some(last) => Segment::resume(&folder, last)?,
        None => {
            let mut first = Segment::create(&folder, first_number, None)?;
            first.begin(next_seq, &replayed.contents.timelines)?;
            first
        }
    };
    // What a killed server has handed to the system is not on disk yet.
    let is_synced = last.is_none() || segment.file.sync_all().is_ok();
    let health = match trust {
        // The damage itself outlives a crash. A provisional name would make it look like a torn tail.
        Trust::Damaged if last.is_some() => {
            Health::poisoned("the folder is damaged, and is being mended")
        }
        _ => Health::default(),
    };
    let is_poisoned = !health.is_healthy();
    let timelines = std::mem::take(&mut replayed.contents.timelines);
    let writer = Arc::new(Writer {
        timelines: Mutex::new(timelines),
        open: Mutex::new(OpenJournal {
            highest: replayed.highest.max(segment.number),
            segment,
            taken: Records::default(),
            lines: Vec::new(),
            lines_seq: next_seq - 1,
            unsynced_bytes: 0,
            older: older(replayed),
        }),
        folder,
        durability,
        syncing: Mutex::new(()),
        tail: Tail::new(next_seq),
        health: CachePadded::new(health),
        gate: Arc::new(LogGate::new(next_seq - 1)),
        unsynced: UnsyncedAge::default(),
        written: Watermark::new(next_seq - 1),
        synced: Watermark::new(next_seq - 1),
        visible_seq: Watermark::new(0),
        retained: Retained::default(),
        extent: Mutex::default(),
        direct: DirectWrite::default(),
        workers: Workers::default(),
        acknowledges_early: cfg!(debug_assertions)
            && std::env::var_os("PYKV_BREAK").is_some_and(|how| how == "acknowledge-early"),
    });
    match last {
        None => finalize_name(&writer)?,
        Some(_) if is_poisoned => {}
        Some(_) if trust == Trust::InDoubt || !is_synced => {
            let doubt = io::Error::other("it is not known to be on disk");
            writer.poison("rely on", &doubt);
        }
        // An older format is not appended to.
        Some(last) if last.version < VERSION => start_next(&writer).map_err(io::Error::other)?,
        Some(_) => {}
    }
    writer.measure(&locked(&writer.open));
    writer.show_followers();
    start_threads(&writer, sync_interval)?;
    Ok(writer)
}

/// The journals that stay until a save has replaced them.
fn older(replayed: Replayed) -> Vec<OlderJournal> {
    let read = replayed
        .segments
        .into_iter()
        .map(|read| (read.path, read.bytes, Some(read.first_seq)));
    let leftover = replayed.leftover.into_iter().map(|path| (path, 0, None));
    read.chain(leftover)
        .map(|(path, bytes, first_seq)| OlderJournal {
            path,
            bytes,
            first_seq,
            file: None,
        })
        .collect()
}

fn start_threads(writer: &Arc<Writer>, interval: Duration) -> io::Result<()> {
    let write: Job<Writer> = ("pykv-write", Writer::write_waiting);
    let sync: Job<Writer> = ("pykv-sync", Writer::sync_waiting);
    let works: &[Job<Writer>] = match writer.durability {
        Durability::EverySecond | Durability::Replicated => &[write, sync],
        Durability::Always => &[sync],
        Durability::Off => &[],
    };
    writer
        .workers
        .start(writer, works, Writer::check_folder, interval)
}
