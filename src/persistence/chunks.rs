//! A file as chunks of whole lines, and the changes that many chunks hold, made by all cores.
//!
//! In: a file of lines. Out: its changes, applied. Promises: changes of one key are applied in the order of the file,
//! however many threads read it; memory is bounded by the chunks that are in work.
//!
//! It goes in rounds. In each, every thread reads one chunk into changes, sorted by the shard of their key; then every thread
//! applies the changes of its share of the shards, chunk after chunk in the order of the file. So no shard has two threads,
//! and each is locked, and its part of the memory visited, once a chunk: that made it half as fast again.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::files::{File, read_full};
use super::progress::Progress;
use crate::model::entry::Entry;
use crate::model::{Key, Value};

/// What is read at a time: enough work for a thread, and little memory. (A fuzzer's files are short, and are to be cut, too.)
const CHUNK_BYTES: usize = if cfg!(fuzzing) { 64 } else { 8 << 20 };

/// How far the end of a line is looked for at a time.
const PROBE_BYTES: usize = if cfg!(fuzzing) { 16 } else { 4 << 10 };

/// The most threads that read at one time; each holds a chunk.
const THREADS_MAX: usize = 16;

/// One change, with the hash of its key.
#[derive(Debug)]
pub struct Op {
    /// The hash, as [`Load::hash`] makes it.
    pub hash: u64,
    /// The pair; of one that is deleted the key counts.
    pub entry: Entry,
    /// Whether the key is gone, rather than has this value.
    pub is_delete: bool,
}

/// Takes what is read back from disk, from several threads at once.
pub trait Load: Sync {
    /// How many shards there are.
    fn shards(&self) -> usize;
    /// The hash of a key.
    fn hash(&self, key: Key<'_>) -> u64;
    /// The shard of the key with this hash.
    fn shard_of(&self, hash: u64) -> usize;
    /// About so many pairs will come: room for them is made at once rather than in steps.
    fn expect(&self, pairs: u64);
    /// Takes everything out of one shard.
    fn clear(&self, shard: usize);
    /// Applies changes of one shard, in this order.
    fn apply(&self, shard: usize, changes: Vec<Op>);
    /// How many pairs there are.
    fn pairs(&self) -> u64;
}

/// The changes of one chunk.
pub struct Changes<'a> {
    load: &'a dyn Load,
    /// Whether every key is gone before these.
    clears: bool,
    ops: Vec<(usize, Op)>,
}

impl<'a> Changes<'a> {
    /// None yet.
    #[must_use]
    pub fn new(load: &'a dyn Load) -> Self {
        Self {
            load,
            clears: false,
            ops: Vec::new(),
        }
    }

    /// The key now has this value.
    pub fn put(&mut self, key: Key<'_>, value: Value<'_>) {
        self.push(key, Entry::new(key, value), false);
    }

    /// The key is gone.
    pub fn delete(&mut self, key: Key<'_>) {
        let empty = Value::parse(b"").expect("nothing is short enough");
        self.push(key, Entry::new(key, empty), true);
    }

    fn push(&mut self, key: Key<'_>, entry: Entry, is_delete: bool) {
        let hash = self.load.hash(key);
        let op = Op {
            hash,
            entry,
            is_delete,
        };
        self.ops.push((self.load.shard_of(hash), op));
    }

    /// Every key is gone, and all that was changed before counts no more.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.clears = true;
    }

    /// Applies them, on this thread.
    pub fn apply(self) {
        let load = self.load;
        for share in self.shared_out(1) {
            share.apply(load);
        }
    }

    /// Sorts them by shard, each key's in their order, and deals the shards out.
    fn shared_out(self, threads: usize) -> Vec<Share> {
        let shards = self.load.shards();
        let mut counts = vec![0; shards];
        for (shard, _) in &self.ops {
            counts[*shard] += 1;
        }
        let mut next = Vec::with_capacity(shards);
        let mut start = 0;
        for count in &counts {
            next.push(start);
            start += count;
        }
        let mut sorted: Vec<Option<Op>> = std::iter::repeat_with(|| None)
            .take(self.ops.len())
            .collect();
        for (shard, op) in self.ops {
            sorted[next[shard]] = Some(op);
            next[shard] += 1;
        }
        let mut sorted = sorted.into_iter();
        (0..threads)
            .map(|thread| {
                let (from, to) = (shards * thread / threads, shards * (thread + 1) / threads);
                let counts = counts[from..to].to_vec();
                let len = counts.iter().sum();
                Share {
                    clears: self.clears,
                    first_shard: from,
                    counts,
                    changes: sorted.by_ref().take(len).collect(),
                }
            })
            .collect()
    }
}

/// The changes of one chunk in some shards, by shard.
struct Share {
    clears: bool,
    first_shard: usize,
    /// How many changes each shard has.
    counts: Vec<usize>,
    changes: Vec<Option<Op>>,
}

impl Share {
    fn apply(self, load: &dyn Load) {
        let mut changes = self.changes.into_iter().flatten();
        for (place, count) in self.counts.into_iter().enumerate() {
            let shard = self.first_shard + place;
            if self.clears {
                load.clear(shard);
            }
            if count > 0 {
                load.apply(shard, changes.by_ref().take(count).collect());
            }
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

/// A file, divided into chunks.
pub struct Chunks<'a> {
    file: Arc<dyn File>,
    offset: u64,
    /// The length of the file.
    end: u64,
    line_bytes_max: usize,
    progress: &'a Progress,
}

impl<'a> Chunks<'a> {
    /// From this offset to the end.
    ///
    /// # Errors
    /// What the system said.
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
            progress,
        })
    }

    /// How far it has come.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the file.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where the next chunk is. Only its end is looked at here: who reads it does so beside the others.
    fn next(&mut self) -> io::Result<Option<Range<u64>>> {
        let start = self.offset;
        if start >= self.end {
            return Ok(None);
        }
        let least = start.saturating_add(CHUNK_BYTES as u64).min(self.end);
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
                // It has become shorter.
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
    let threads = threads();
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
            let mut changes = Changes::new(load);
            let report = read(&chunks.read(place)?, &mut changes);
            io::Result::Ok((changes.shared_out(threads), report))
        };
        let mut verdict = Verdict::GoOn;
        let mut work: Vec<Vec<Share>> = std::iter::repeat_with(Vec::new).take(threads).collect();
        for part in on_all(round, &read) {
            let (shares, report) = part?;
            verdict = check(report);
            if verdict == Verdict::LeaveOut {
                break;
            }
            for (own, share) in work.iter_mut().zip(shares) {
                own.push(share);
            }
            if verdict == Verdict::Last {
                break;
            }
        }
        on_all(work, &|shares: Vec<Share>| {
            for share in shares {
                share.apply(load);
            }
        });
        if verdict != Verdict::GoOn {
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

/// Does each piece of work on a thread of its own, the first on this one; the results, in order.
fn on_all<W: Send, R: Send>(work: Vec<W>, run: &(impl Fn(W) -> R + Sync)) -> Vec<R> {
    if cfg!(fuzzing) {
        // A fuzzer reads thousands of files a second: it divides the work, and does it all itself.
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
