//! The data folder: its lock, and the few file operations that must be done in one order to be safe.
//!
//! In: paths. Out: files that are where they are said to be, also after a power cut. Promises: one server to a folder;
//! `publish` and `remove` return once the folder itself is on disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another server has it.
    #[error(
        "data folder {path} is in use by another pykv-server{holder}; stop it, or choose another folder with --data"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other's process id, where it is known.
        holder: String,
    },
    /// The system refuses.
    #[error("data folder {path}: cannot {action}")]
    Unusable {
        /// The folder, or a file in it.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl FolderError {
    pub(super) fn unusable(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unusable {
            path,
            action,
            source,
        }
    }
}

/// A data folder that nobody else uses. The lock goes with the process, however it ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if there is none, and locks it.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        make(path).map_err(FolderError::unusable(path, "make the folder"))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(FolderError::unusable(&lock_path, "open the lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                let holder = holder
                    .trim()
                    .parse::<u32>()
                    .map(|pid| format!(" (process {pid})"))
                    .unwrap_or_default();
                return Err(FolderError::InUse {
                    path: path.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(FolderError::unusable(&lock_path, "lock it")(source));
            }
        }
        // Who holds it is a help to people, nothing that anything relies on.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// A file in the folder.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of the files in the folder.
    ///
    /// # Errors
    /// [`FolderError::Unusable`].
    pub fn names(&self) -> Result<Vec<String>, FolderError> {
        let read = || -> io::Result<Vec<String>> {
            fs::read_dir(&self.path)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect()
        };
        read().map_err(FolderError::unusable(&self.path, "list the folder"))
    }

    /// Gives a file, whose content is on disk already, its final name, in the place of what had it.
    ///
    /// # Errors
    /// What the system said.
    pub fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        self.sync()
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A name in the folder that nothing has yet: the one given, or it with a number.
    #[must_use]
    pub fn free_name(&self, name: &str) -> PathBuf {
        let numbered = (2..).map(|n| self.join(&format!("{name}-{n}")));
        std::iter::once(self.join(name))
            .chain(numbered)
            .find(|path| !path.exists())
            .expect("the numbers do not end")
    }

    /// Brings the names of the files to the disk.
    ///
    /// # Errors
    /// What the system said.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Makes a folder and those above it, and brings each new name to the disk.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if path.exists() {
        return Err(io::Error::other("it is a file, not a folder"));
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    make(parent)?;
    fs::create_dir(path)?;
    File::open(parent)?.sync_all()
}
