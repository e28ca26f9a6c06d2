//! The feed of a replica: the files of the folder, if it has to copy them, then the lines of the journals as they are.
//!
//! In: the place that a replica has reached, if it has one. Out: bytes, a piece at a time. Promises: the records follow on those in the
//! files without a gap; none is shown before it is as safe as the durability says; however many replicas there are, a record is read
//! from the journal once as long as they keep up with each other.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;

use super::error::FollowError;
use super::journal_reader::JournalReader;
use crate::model::Key;
use crate::persistence::backup::Original;
use crate::persistence::disk::read_full;
use crate::persistence::journal::Writer;

/// Bytes of a file that are sent at a time.
const FILE_BYTES: usize = 256 << 10;
/// Bytes of lines that are kept for other replicas.
const SHARED_BYTES_MAX: usize = 8 << 20;

/// Lines of records that follow on a revision.
#[derive(Debug, Clone)]
struct Lines {
    after: u64,
    revision: u64,
    bytes: Bytes,
}

/// The last lines that were read for any replica, oldest first.
#[derive(Debug, Default)]
pub struct SharedLines {
    lines: AsyncMutex<VecDeque<Lines>>,
    /// Times that the journals became those of another history. Changes under the lock of `lines`.
    history: AtomicU64,
}

impl SharedLines {
    /// Returns the next lines after a revision, up to the newest that may be shown; reads them if nobody has.
    async fn after(
        &self,
        reader: &Arc<Mutex<JournalReader>>,
        writer: &Arc<Writer>,
        (history, revision): (u64, u64),
    ) -> Result<Lines, FollowError> {
        writer.wait_for_visible(revision).await;
        let mut shared = self.lines.lock().await;
        if history != self.history() {
            // What its reader has open is of the history before.
            return Err(FollowError::Ahead {
                after: revision,
                newest: writer.visible_seq(),
            });
        }
        if let Some(found) = shared.iter().find(|lines| lines.after == revision) {
            return Ok(found.clone());
        }
        let (reader, safe) = (Arc::clone(reader), writer.visible_seq());
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read_lines(revision, safe)
        });
        let read = reading.await.map_err(|_| FollowError::Stopping)??;
        let lines = Lines {
            after: revision,
            revision: read.revision,
            bytes: read.bytes.into(),
        };
        shared.push_back(lines.clone());
        let mut kept: usize = shared.iter().map(|lines| lines.bytes.len()).sum();
        while kept > SHARED_BYTES_MAX
            && let Some(oldest) = shared.pop_front()
        {
            kept -= oldest.bytes.len();
        }
        Ok(lines)
    }

    /// Returns how often the journals became those of another history.
    pub fn history(&self) -> u64 {
        self.history.load(Relaxed)
    }

    /// Forgets the lines, which are of another history than the journals now, and ends the feeds.
    pub fn restart(&self) {
        let mut lines = self.lines.blocking_lock();
        lines.clear();
        self.history.fetch_add(1, Relaxed);
    }
}

/// Bytes, and the revision that they reach if they are lines.
type Piece = (Bytes, Option<u64>);

/// The feed of one replica.
pub struct RecordFeed {
    writer: Arc<Writer>,
    shared: Arc<SharedLines>,
    reader: Arc<Mutex<JournalReader>>,
    /// The history that the reader reads.
    history: u64,
    revision: u64,
    /// The files that are left to send, and how much of the first has been sent.
    files: VecDeque<Arc<Original>>,
    sent: u64,
    /// The piece that is being read. It outlives the wait for it, which every wake-up of the connection cancels.
    reading: Option<JoinHandle<Result<Piece, FollowError>>>,
}

impl RecordFeed {
    pub(super) fn new(
        writer: Arc<Writer>,
        shared: Arc<SharedLines>,
        revision: u64,
        files: Vec<Original>,
    ) -> Self {
        writer.retained().add_follower();
        let all = Key::parse(b"").expect("the empty key is a key");
        let reader = JournalReader::new(Arc::clone(&writer), all, revision);
        Self {
            writer,
            history: shared.history(),
            shared,
            reader: Arc::new(Mutex::new(reader)),
            revision,
            files: files.into_iter().map(Arc::new).collect(),
            sent: 0,
            reading: None,
        }
    }

    /// Returns the revision up to which all records have been sent.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the files that are left to send: name and length in bytes of each.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        let files = self.files.iter();
        files
            .map(|file| (file.name().to_owned(), file.bytes()))
            .collect()
    }

    /// Returns true if files are left to send.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Returns the revision up to which records may be sent.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.writer.visible_seq()
    }

    /// Returns the next piece; waits until there is one. Cancelling the wait loses none.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn next(&mut self) -> Result<Bytes, FollowError> {
        while self.files.front().is_some_and(|file| file.bytes() == 0) {
            self.files.pop_front();
        }
        let reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.begin_reading(),
        };
        let piece = self.reading.insert(reading).await;
        self.reading = None;
        let (bytes, revision) = piece.map_err(|_| FollowError::Stopping)??;
        if let Some(revision) = revision {
            self.revision = revision;
        } else {
            self.sent += bytes.len() as u64;
            if self
                .files
                .front()
                .is_some_and(|file| file.bytes() == self.sent)
            {
                self.files.pop_front();
                self.sent = 0;
            }
        }
        Ok(bytes)
    }

    fn begin_reading(&self) -> JoinHandle<Result<Piece, FollowError>> {
        let Some(file) = self.files.front() else {
            let (shared, reader) = (Arc::clone(&self.shared), Arc::clone(&self.reader));
            let writer = Arc::clone(&self.writer);
            let place = (self.history, self.revision);
            return tokio::spawn(async move {
                let lines = shared.after(&reader, &writer, place).await?;
                Ok((lines.bytes, Some(lines.revision)))
            });
        };
        let left = file.bytes() - self.sent;
        let count = FILE_BYTES.min(usize::try_from(left).unwrap_or(FILE_BYTES));
        let (file, from) = (Arc::clone(file), self.sent);
        tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; count];
            if read_full(file.file(), &mut bytes, from)? < count {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            Ok((bytes.into(), None))
        })
    }
}

impl Drop for RecordFeed {
    fn drop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.abort();
        }
        self.writer.retained().remove_follower();
    }
}
