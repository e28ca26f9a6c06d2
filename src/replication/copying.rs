//! Copies of all pairs of another server.
//!
//! In: a connection whose feed begins with files. Out: the same pairs here. Promises: the files are complete before anything is replaced; what is
//! being replaced is not shown to clients.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::link::Link;
use super::status::Replication;
use crate::engine::{Engine, Progress};
use crate::error::error_chain;
use crate::persistence::is_data_file;

/// Name of the folder in the data folder into which the files are copied.
const COPY_NAME: &str = "replica.copy";
/// Bytes that are read at a time.
const COPY_BYTES: usize = 256 << 10;

/// Removes what an earlier run has left.
pub fn remove_copy(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder.join(COPY_NAME));
}

/// Receives files, name and length in bytes, into a folder of the data folder. Returns it.
///
/// # Errors
/// Those of the connection and the disk; a file that is none of a data folder.
pub async fn receive(
    link: &mut Link,
    files: &[(String, u64)],
    folder: &Path,
    status: &Replication,
) -> io::Result<PathBuf> {
    remove_copy(folder);
    let copy = folder.join(COPY_NAME);
    std::fs::create_dir(&copy)?;
    let mut room = vec![0; COPY_BYTES];
    for (name, bytes) in files {
        if !is_data_file(name) {
            return Err(io::Error::other(format!("it sends a file {name:?}")));
        }
        let mut file = std::fs::File::create(copy.join(name))?;
        let mut left = *bytes;
        while left > 0 {
            let most = usize::try_from(left).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
            let count = link.bytes(&mut room[..most]).await?;
            tokio::task::block_in_place(|| file.write_all(&room[..count]))?;
            left -= count as u64;
            status.note_alive();
        }
    }
    Ok(copy)
}

/// Replaces all pairs by those of a copy, saves them, and shows them to clients. It cannot be left half done.
///
/// # Errors
/// A sentence: the pairs have to be replaced again then, and are not shown.
pub async fn adopt(
    engine: Arc<Engine>,
    status: Arc<Replication>,
    copy: PathBuf,
) -> Result<(), String> {
    status.set_closed(true);
    let (target, folder) = (Arc::clone(&engine), copy.clone());
    let adopting = tokio::task::spawn_blocking(move || target.adopt(&folder, &Progress::new()));
    let adopted = adopting.await;
    let adopted = adopted.map_err(|_| "the server is stopping".to_owned())?;
    adopted.map_err(|error| error_chain(&error))?;
    let saved = engine.save().await;
    saved.map_err(|fault| fault.to_string())?;
    status.set_closed(false);
    std::fs::remove_dir_all(&copy).map_err(|error| error.to_string())?;
    Ok(())
}
