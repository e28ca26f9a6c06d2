//! BACKUP: a copy of the data folder while the server runs.
//!
//! In: the folder of the backup, on the server's machine. Out: OK once the copy is complete and on the disk. Promises: one backup
//! is made at a time; one that has begun is finished even if its client leaves.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};

use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, stream};
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::server::admin::ELSEWHERE;
use crate::command::spec::{Flag, Scope};
use crate::command::stream::{Pull, Pulled, Source};
use crate::error::error_chain;
use crate::persistence::BackupError;
use crate::protocol::{ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[Row::admin("BACKUP", "<folder>", 1..=1, backup)
    .on(Scope::Keyspace)
    .flags(&[Flag::NotInMulti])
    .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
    .example("BACKUP /var/backups/pykv-monday")
    .summary("Copy the data folder to a new folder on the server's machine; answers when the copy is safely on disk.")];

fn backup(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let folder = PathBuf::from(OsStr::from_bytes(&words[0]));
    if !folder.is_absolute() {
        return Err(bad_argument(format!(
            "the folder of a backup is named from the root, such as /var/backups/pykv, and {} would begin in the folder where \
             the server was started",
            folder.display()
        )));
    }
    audit::called(call, &folder.display().to_string());
    let turn = Turn::take(&call.service.backing_up)?;
    let begun = Some((folder, turn));
    stream(Backup { begun })
}

/// The reply to BACKUP.
struct Backup {
    /// Taken when the copy begins.
    begun: Option<(PathBuf, Turn)>,
}

impl Source for Backup {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let (folder, turn) = self.begun.take().expect("it is pulled once");
        let engine = Arc::clone(pull.service.engine()?);
        // A task of its own: the next backup waits for its end, not for its client.
        let copying = tokio::spawn(async move {
            let made = engine.back_up(folder.clone()).await;
            drop(turn);
            match &made {
                Ok(report) => tracing::info!(
                    "backup in {}: {} bytes in {} files",
                    folder.display(),
                    report.bytes,
                    report.files
                ),
                Err(error) => tracing::warn!("{}", error_chain(error)),
            }
            made
        });
        copying.await.expect("a copy does not panic")?;
        pull.replies.reply(Reply::Ok);
        Ok(Pulled::End)
    }
}

/// The turn of the one backup that is made at a time, until it is dropped.
struct Turn(Arc<AtomicBool>);

impl Turn {
    /// Takes the turn.
    ///
    /// # Errors
    /// `BUSY` while another backup is made.
    fn take(taken: &Arc<AtomicBool>) -> Result<Self, ErrorReply> {
        if taken.swap(true, AcqRel) {
            let reason = "another backup is being made, and one is made at a time; try again later";
            return Err(ErrorReply::new(ErrorCode::Busy, reason));
        }
        Ok(Self(Arc::clone(taken)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

impl From<BackupError> for ErrorReply {
    fn from(error: BackupError) -> Self {
        let code = match error {
            BackupError::Occupied { .. } | BackupError::Unfinished { .. } => ErrorCode::Args,
            BackupError::Unsteady { .. } => ErrorCode::Busy,
            _ => ErrorCode::Disk,
        };
        Self::new(code, error_chain(&error))
    }
}
