//! A file as chunks of whole lines, and the changes that many chunks hold, made by all cores.
//!
//! In: a file of lines. Out: its changes, applied. Promises: changes of one key are applied in the order of the file,
//! however many threads read it; memory is bounded by the chunks that are in work.
//!
//! It goes in rounds. In each, every thread reads one chunk into changes, sorted into as many lanes as there are threads, by
//! key; then every thread applies one lane of all these chunks, in the order of the file. So no key has two threads.

use std::io;
use std::sync::Arc;

use super::files::{File, read_full};
use super::progress::Progress;
use crate::record::{Entry, Key, Value};

/// What is read at a time: enough work for a thread, and little memory.
const CHUNK_BYTES: usize = 4 << 20;

/// The most threads that read at one time; each holds a chunk.
const THREADS_MAX: usize = 16;

/// One change, with the hash of its key.
#[derive(Debug)]
pub enum Op {
    /// The key now has this value.
    Put(u64, Entry),
    /// The key is gone.
    Delete(u64, Box<str>),
    /// Every key is gone.
    Clear,
}

/// Takes what is read back from disk, from several threads at once.
pub trait Load: Sync {
    /// The hash of a key, by which `lane` and `apply` find its place.
    fn hash(&self, key: Key<'_>) -> u64;
    /// Which of so many lanes a key belongs to.
    fn lane(&self, hash: u64, lanes: usize) -> usize;
    /// About so many pairs will come: room for them is made at once rather than in steps.
    fn expect(&self, pairs: u64);
    /// Applies changes of one lane, in this order.
    fn apply(&self, lane: usize, lanes: usize, changes: Vec<Op>);
    /// How many pairs there are.
    fn pairs(&self) -> u64;
}

/// The changes of one chunk, by lane.
pub struct Changes<'a> {
    load: &'a dyn Load,
    lanes: Vec<Vec<Op>>,
}

impl<'a> Changes<'a> {
    /// None yet.
    #[must_use]
    pub fn new(load: &'a dyn Load, lanes: usize) -> Self {
        Self {
            load,
            lanes: std::iter::repeat_with(Vec::new).take(lanes).collect(),
        }
    }

    /// The key now has this value.
    pub fn put(&mut self, key: Key<'_>, value: Value<'_>) {
        let hash = self.load.hash(key);
        let lane = self.load.lane(hash, self.lanes.len());
        self.lanes[lane].push(Op::Put(hash, Entry::new(key, value)));
    }

    /// The key is gone.
    pub fn delete(&mut self, key: Key<'_>) {
        let hash = self.load.hash(key);
        let lane = self.load.lane(hash, self.lanes.len());
        self.lanes[lane].push(Op::Delete(hash, key.as_str().into()));
    }

    /// Every key is gone.
    pub fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.push(Op::Clear);
        }
    }

    /// Applies them, on this thread.
    pub fn apply(self) {
        let lanes = self.lanes.len();
        for (lane, changes) in self.lanes.into_iter().enumerate() {
            self.load.apply(lane, lanes, changes);
        }
    }
}

/// A part of a file: whole lines, but for the last of the file, and for a piece of a line over the limit.
#[derive(Debug)]
pub struct Chunk {
    /// Where in the file it begins.
    pub offset: u64,
    /// The lines, with their line feeds.
    pub bytes: Vec<u8>,
}

/// A file, chunk by chunk.
pub struct Chunks<'a> {
    file: Arc<dyn File>,
    offset: u64,
    rest: Vec<u8>,
    line_bytes_max: usize,
    progress: &'a Progress,
}

impl<'a> Chunks<'a> {
    /// From this offset to the end.
    #[must_use]
    pub fn new(
        file: Arc<dyn File>,
        offset: u64,
        line_bytes_max: usize,
        progress: &'a Progress,
    ) -> Self {
        Self {
            file,
            offset,
            rest: Vec::new(),
            line_bytes_max,
            progress,
        }
    }

    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let mut bytes = std::mem::take(&mut self.rest);
        let offset = self.offset - bytes.len() as u64;
        loop {
            let before = bytes.len();
            bytes.resize(before + CHUNK_BYTES, 0);
            let count = read_full(&*self.file, &mut bytes[before..], self.offset)?;
            bytes.truncate(before + count);
            self.offset += count as u64;
            self.progress.add(count as u64);
            if let Some(at) = memchr::memrchr(b'\n', &bytes[before..]) {
                self.rest.extend_from_slice(&bytes[before + at + 1..]);
                bytes.truncate(before + at + 1);
            } else if count == CHUNK_BYTES && bytes.len() <= self.line_bytes_max {
                continue;
            }
            return Ok((!bytes.is_empty()).then_some(Chunk { offset, bytes }));
        }
    }
}

/// What is to be done with a chunk that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Apply its changes, and go on.
    GoOn,
    /// Apply its changes, and stop.
    Last,
    /// Stop before it.
    LeaveOut,
}

/// Reads chunks on all cores. `read` makes the changes of one chunk and a report of it; `check` is then shown the reports in
/// the order of the file, and decides.
///
/// # Errors
/// What the system said of the file.
pub fn in_rounds<R: Send>(
    chunks: &mut Chunks<'_>,
    load: &dyn Load,
    read: impl Fn(&Chunk, &mut Changes<'_>) -> R + Sync,
    mut check: impl FnMut(R) -> Verdict,
) -> io::Result<()> {
    let threads =
        std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
    let read = |chunk: Chunk| {
        let mut changes = Changes::new(load, threads);
        let report = read(&chunk, &mut changes);
        (changes.lanes, report)
    };
    loop {
        let mut round = Vec::with_capacity(threads);
        while round.len() < threads
            && let Some(chunk) = chunks.next()?
        {
            round.push(chunk);
        }
        if round.is_empty() {
            return Ok(());
        }
        let mut verdict = Verdict::GoOn;
        let mut lanes: Vec<Vec<Vec<Op>>> = std::iter::repeat_with(Vec::new).take(threads).collect();
        for (changes, report) in on_all(round, &read) {
            verdict = check(report);
            if verdict == Verdict::LeaveOut {
                break;
            }
            for (lane, changes) in lanes.iter_mut().zip(changes) {
                lane.push(changes);
            }
            if verdict == Verdict::Last {
                break;
            }
        }
        let work = lanes.into_iter().enumerate().collect();
        on_all(work, &|(lane, parts): (usize, Vec<Vec<Op>>)| {
            for changes in parts {
                load.apply(lane, threads, changes);
            }
        });
        if verdict != Verdict::GoOn {
            return Ok(());
        }
    }
}

/// Does each piece of work on a thread of its own, the first on this one; the results, in order.
fn on_all<W: Send, R: Send>(work: Vec<W>, run: &(impl Fn(W) -> R + Sync)) -> Vec<R> {
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
