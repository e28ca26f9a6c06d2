//! The command `pykv-server backup`.
//!
//! In: the settings of a server, which may be running, and the folder of the backup. Out: a line on standard output, once the
//! backup is complete and on the disk.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::persistence::{BackupError, Files, Options, System, back_up as copy};
use crate::stdout::{StdoutError, print};

/// There is no backup, or it cannot be told that there is one.
#[derive(Debug, thiserror::Error)]
pub enum BackupCommandError {
    /// The backup cannot be made.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The result cannot be written.
    #[error("the backup is complete, but this cannot be said")]
    Output(#[from] StdoutError),
}

/// Makes a backup of the data folder of these options.
///
/// # Errors
/// [`BackupCommandError`].
pub fn back_up(options: &Options, to: &Path) -> Result<ExitCode, BackupCommandError> {
    let files: Arc<dyn Files> = Arc::new(System);
    let made = copy(&files, &options.data, options.durability, to)?;
    print(&format!(
        "{} is a backup of {}: {} bytes in {} files\n",
        to.display(),
        options.data.display(),
        made.bytes,
        made.files
    ))?;
    Ok(ExitCode::SUCCESS)
}
