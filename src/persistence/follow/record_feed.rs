//! The feed of a replica: the files of the folder, if it has to copy them, then the lines of the journals as they are.
//!
//! In: the place that a replica has reached, if it has one. Out: bytes, a piece at a time. Promises: the records follow on those in the
//! files without a gap; none is shown before it is as safe as the durability says; however many replicas there are, a record is read
//! from the journal once as long as they keep up with each other.

use std::collections::VecDeque;
use std::io;
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
pub struct SharedLines(AsyncMutex<VecDeque<Lines>>);

impl SharedLines {
    /// Returns the next lines after a revision, up to the newest that may be shown; waits until there are any, and reads them if nobody
    /// has.
    async fn after(
        self: Arc<Self>,
        reader: Arc<Mutex<JournalReader>>,
        writer: Arc<Writer>,
        revision: u64,
    ) -> Result<Lines, FollowError> {
        writer.wait_for_visible(revision).await;
        let mut shared = self.0.lock().await;
        if let Some(found) = shared.iter().find(|lines| lines.after == revision) {
            return Ok(found.clone());
        }
        let safe = writer.visible_seq();
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
}

/// The feed of one replica.
pub struct RecordFeed {
    writer: Arc<Writer>,
    shared: Arc<SharedLines>,
    reader: Arc<Mutex<JournalReader>>,
    revision: u64,
    /// The lines that are being read. It outlives who waits for it.
    reading: Option<JoinHandle<Result<Lines, FollowError>>>,
    /// The files that are left to send, and how much of the first has been sent.
    files: VecDeque<Arc<Original>>,
    sent: u64,
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
            shared,
            reader: Arc::new(Mutex::new(reader)),
            revision,
            reading: None,
            files: files.into_iter().map(Arc::new).collect(),
            sent: 0,
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
        while let Some(file) = self.files.front() {
            let left = file.bytes() - self.sent;
            if left == 0 {
                self.files.pop_front();
                self.sent = 0;
                continue;
            }
            let count = FILE_BYTES.min(usize::try_from(left).unwrap_or(FILE_BYTES));
            let (file, from) = (Arc::clone(file), self.sent);
            let reading = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; count];
                let read = read_full(file.file(), &mut bytes, from)?;
                if read < count {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                Ok(bytes)
            });
            let bytes = reading.await.map_err(|_| FollowError::Stopping)??;
            self.sent += bytes.len() as u64;
            return Ok(bytes.into());
        }
        let reading = self.reading.get_or_insert_with(|| {
            let (shared, reader) = (Arc::clone(&self.shared), Arc::clone(&self.reader));
            tokio::spawn(shared.after(reader, Arc::clone(&self.writer), self.revision))
        });
        let read = reading.await;
        self.reading = None;
        let lines = read.map_err(|_| FollowError::Stopping)??;
        self.revision = lines.revision;
        Ok(lines.bytes)
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
