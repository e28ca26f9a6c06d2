//! A file as chunks of whole lines, read and applied by all cores.
//!
//! In: a file of lines. Out: its changes, applied to a [`Load`]. Promises: changes of one key are applied in the order of the
//! file, however many threads read it; memory is bounded by the chunks in work.
//!
//! It goes in rounds. In each, every thread reads one chunk into a batch, which the load divides into as many parts as there
//! are threads; then every thread applies its part of each batch, in the order of the file. So no two threads change the same
//! part of the data, and each part is visited once per chunk: that made loading half as fast again.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::progress::Progress;
use super::sink::{Batch, Load, Work};
use crate::persistence::disk::{File, read_full};

/// Bytes of a chunk: enough work for a thread, and little memory. (A fuzzer's files are short, and must be divided, too.)
const CHUNK_BYTES: usize = if cfg!(fuzzing) { 64 } else { 8 << 20 };

/// Part of the cap on the memory of the data, if there is one, that a chunk has at most: each thread holds one, and what it says.
const CHUNK_PARTS_MIN: u64 = 128;
/// Fewest bytes of a chunk.
const CHUNK_BYTES_MIN: u64 = 256 << 10;

/// Bytes read at a time in search of the end of a line.
const PROBE_BYTES: usize = if cfg!(fuzzing) { 16 } else { 4 << 10 };

/// The most threads that read at one time; each holds a chunk.
const THREADS_MAX: usize = 16;

/// A part of a file: whole lines, except for the last of the file, and for a piece of a line over the limit.
#[derive(Debug)]
pub struct Chunk {
    /// Its offset in the file.
    pub offset: u64,
    /// The lines, with their line feeds.
    pub bytes: Vec<u8>,
}

/// A file, divided into chunks.
pub struct Chunks<'a> {
    file: Arc<dyn File>,
    offset: u64,
    /// The length of the file.
    end: u64,
    line_bytes_max: usize,
    /// The length of a chunk in bytes, but for the rest of its last line.
    chunk_bytes: u64,
    progress: &'a Progress,
}

impl<'a> Chunks<'a> {
    /// Divides a file from an offset to its end.
    ///
    /// # Errors
    /// Any error of the operating system while asking for the length.
    pub fn new(
        file: Arc<dyn File>,
        offset: u64,
        line_bytes_max: usize,
        progress: &'a Progress,
    ) -> io::Result<Self> {
        Ok(Self {
            end: file.stat()?.bytes,
            file,
            offset,
            line_bytes_max,
            chunk_bytes: CHUNK_BYTES as u64,
            progress,
        })
    }

    /// Makes the chunks shorter where the data may take so little memory.
    fn fit(&mut self, memory_bytes_max: u64) {
        let fitting = (memory_bytes_max / CHUNK_PARTS_MIN).max(CHUNK_BYTES_MIN);
        self.chunk_bytes = self.chunk_bytes.min(fitting);
    }

    /// Returns the offset of the next chunk.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the length of the file in bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Finds the place of the next chunk. Only its end is read here; the thread that gets it reads it beside the others.
    fn next(&mut self) -> io::Result<Option<Range<u64>>> {
        let start = self.offset;
        if start >= self.end {
            return Ok(None);
        }
        let least = start.saturating_add(self.chunk_bytes).min(self.end);
        let most = least.saturating_add(self.line_bytes_max as u64);
        let mut end = least;
        let mut probe = [0; PROBE_BYTES];
        while end < self.end && end <= most {
            let count = read_full(&*self.file, &mut probe, end)?;
            if let Some(at) = memchr::memchr(b'\n', &probe[..count]) {
                end += at as u64 + 1;
                break;
            }
            if count == 0 {
                // The file has become shorter.
                break;
            }
            end += count as u64;
        }
        self.offset = end.min(self.end);
        Ok(Some(start..self.offset))
    }

    fn read(&self, place: Range<u64>) -> io::Result<Chunk> {
        let length = usize::try_from(place.end - place.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let count = read_full(&*self.file, &mut bytes, place.start)?;
        bytes.truncate(count);
        self.progress.add(count as u64);
        Ok(Chunk {
            offset: place.start,
            bytes,
        })
    }
}

/// The decision on a chunk that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Its changes are applied, and reading goes on.
    Continue,
    /// Its changes are applied, and reading ends.
    ApplyAndStop,
    /// Reading ends before it.
    Stop,
}

/// Reads chunks on all cores. `read` adds the changes of one chunk to a batch and returns a report of it, on any thread;
/// `decide` gets the reports in the order of the file.
///
/// # Errors
/// Any error of the operating system while reading the file.
pub fn read_on_all_cores<R: Send>(
    chunks: &mut Chunks<'_>,
    load: &dyn Load,
    read: impl Fn(&Chunk, &mut dyn Batch<'_>) -> R + Sync,
    mut decide: impl FnMut(R) -> Decision,
) -> io::Result<()> {
    let threads = threads();
    if let Some(bytes) = load.memory_bytes_max() {
        chunks.fit(bytes);
    }
    loop {
        let mut round = Vec::with_capacity(threads);
        while round.len() < threads
            && let Some(place) = chunks.next()?
        {
            round.push(place);
        }
        if round.is_empty() {
            return Ok(());
        }
        let read = |place| {
            let mut batch = load.batch();
            let report = read(&chunks.read(place)?, &mut *batch);
            io::Result::Ok((batch.divide(threads), report))
        };
        let mut decision = Decision::Continue;
        let mut work: Vec<Vec<Work<'_>>> = std::iter::repeat_with(Vec::new).take(threads).collect();
        for chunk in on_all(round, &read) {
            let (parts, report) = chunk?;
            decision = decide(report);
            if decision == Decision::Stop {
                break;
            }
            for (own, part) in work.iter_mut().zip(parts) {
                own.push(part);
            }
            if decision == Decision::ApplyAndStop {
                break;
            }
        }
        on_all(work, &|parts: Vec<Work<'_>>| {
            for apply in parts {
                apply();
            }
        });
        if decision != Decision::Continue {
            return Ok(());
        }
    }
}

fn threads() -> usize {
    // A fuzzer does the same on every machine.
    if cfg!(fuzzing) {
        return 2;
    }
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX))
}

/// Runs each piece of work on a thread of its own, the first on this one. Returns the results in order.
fn on_all<W: Send, R: Send>(work: Vec<W>, run: &(impl Fn(W) -> R + Sync)) -> Vec<R> {
    if cfg!(fuzzing) {
        // A fuzzer reads thousands of files a second: it divides the work, and does all of it on this thread.
        return work.into_iter().map(run).collect();
    }
    let mut work = work.into_iter();
    let Some(first) = work.next() else {
        return Vec::new();
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = work.map(|work| scope.spawn(|| run(work))).collect();
        let mut results = vec![run(first)];
        results.extend(
            others
                .into_iter()
                .map(|other| other.join().expect("a thread that reads does not panic")),
        );
        results
    })
}
