//! The data folder: its lock, and the file operations that are safe only in one order.
//!
//! In: names. Out: files that are under these names also after a power cut. Promises: one server to a folder; `publish`,
//! `remove` and `keep` return once the folder itself is synced; a folder that was removed or replaced is noticed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{File, Files, Stat, append_all, read_full};

/// The file that is locked.
const LOCK_NAME: &str = "lock";

/// Bytes copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// A data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process holds the lock.
    #[error(
        "data folder {path} is in use by another pykv-server{holder}; stop it, or choose another folder with --data"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// ` (process N)`, or nothing where it is not known.
        holder: String,
    },
    /// There is no such folder.
    #[error("there is no data folder {path}")]
    Missing {
        /// Its path.
        path: PathBuf,
    },
    /// The operating system refuses an operation.
    #[error("data folder {path}: cannot {action}")]
    Unusable {
        /// The folder, or a file in it.
        path: PathBuf,
        /// The operation.
        action: &'static str,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

impl FolderError {
    pub(in crate::persistence) fn unusable(
        path: &Path,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unusable {
            path,
            action,
            source,
        }
    }
}

/// A data folder that no other process uses. The lock ends with the process, however that ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: Arc<dyn Files>,
    /// None in a folder that is inspected and has no lock file.
    lock: Mutex<Option<Lock>>,
}

/// The lock file and the folder, as they were when the lock was taken. Both stay open, so that the system cannot give their
/// inode numbers to other files: a replaced folder has another number.
#[derive(Debug)]
struct Lock {
    file: Arc<dyn File>,
    folder: Option<Arc<dyn File>>,
}

impl Folder {
    /// Creates the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// [`FolderError::InUse`] if another process has it; [`FolderError::Unusable`] if it cannot be created or locked.
    pub fn open(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        make(&*files, path).map_err(FolderError::unusable(path, "make the folder"))?;
        Self::open_existing(files, path)
    }

    /// Locks an existing folder.
    ///
    /// # Errors
    /// [`FolderError::Missing`], [`FolderError::InUse`], or [`FolderError::Unusable`] if it cannot be locked.
    pub fn open_existing(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        let folder = Self::existing(files, path)?;
        folder.hold(folder.take()?);
        Ok(folder)
    }

    /// Opens an existing folder for inspection: nothing is changed, and an existing lock file is locked meanwhile.
    ///
    /// # Errors
    /// [`FolderError::Missing`], [`FolderError::InUse`], or [`FolderError::Unusable`] if the lock file cannot be opened.
    pub fn look(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        let folder = Self::existing(files, path)?;
        if folder.stat(LOCK_NAME).is_ok() {
            folder.hold(folder.lock_with(None)?);
        }
        Ok(folder)
    }

    fn existing(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        match files.stat(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Missing {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(FolderError::unusable(path, "look at the folder")(error)),
        }
        Ok(Self {
            path: path.to_owned(),
            files,
            lock: Mutex::new(None),
        })
    }

    /// Takes the lock and writes this process's number into its file.
    fn take(&self) -> Result<Lock, FolderError> {
        self.lock_with(Some(&format!("{}\n", std::process::id())))
    }

    fn hold(&self, lock: Lock) {
        *self.locked() = Some(lock);
    }

    fn locked(&self) -> MutexGuard<'_, Option<Lock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_with(&self, text: Option<&str>) -> Result<Lock, FolderError> {
        let lock_path = self.join(LOCK_NAME);
        let file = self.files.lock(&lock_path, text).map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                let holder = error.to_string().parse::<u32>();
                return FolderError::InUse {
                    path: self.path.clone(),
                    holder: holder
                        .map(|pid| format!(" (process {pid})"))
                        .unwrap_or_default(),
                };
            }
            FolderError::unusable(&lock_path, "lock it")(error)
        })?;
        let folder = self.files.open(&self.path).ok();
        Ok(Lock { file, folder })
    }

    /// Checks that the locked folder is still the one under this path.
    ///
    /// # Errors
    /// `NotFound` if the folder or its lock file was removed or replaced; any other error of the system while asking for that.
    pub fn check(&self) -> io::Result<()> {
        let lock = self.locked();
        let ours = lock.as_ref().map(|lock| lock.file.stat()).transpose()?;
        match self.stat(LOCK_NAME) {
            Ok(there) if ours.is_none_or(|ours| ours.id == there.id) => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the data folder, or the lock in it, was removed",
            )),
        }
    }

    /// Locks the folder again after it was removed or replaced. In another folder `make_ready` runs first; the lock counts
    /// only once it has succeeded.
    ///
    /// # Errors
    /// [`FolderError::Unusable`] if there is no folder yet, [`FolderError::InUse`] if another server has it, and any error of
    /// `make_ready`.
    pub fn retake(
        &self,
        make_ready: impl FnOnce() -> Result<(), FolderError>,
    ) -> Result<(), FolderError> {
        if self.check().is_ok() {
            return Ok(());
        }
        let lock = self.take()?;
        let id = |lock: &Lock| Some(lock.folder.as_ref()?.stat().ok()?.id);
        if self.locked().as_ref().and_then(id) != id(&lock) {
            make_ready()?;
        }
        self.hold(lock);
        Ok(())
    }

    /// Returns the path of a file in the folder.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the file system of the folder.
    #[must_use]
    pub fn files(&self) -> &dyn Files {
        &*self.files
    }

    /// Returns the metadata of a file in the folder.
    ///
    /// # Errors
    /// As [`Files::stat`].
    pub fn stat(&self, name: &str) -> io::Result<Stat> {
        self.files.stat(&self.join(name))
    }

    /// Lists the names of the files in the folder.
    ///
    /// # Errors
    /// [`FolderError::Unusable`] if the folder cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, FolderError> {
        self.files
            .names(&self.path)
            .map_err(FolderError::unusable(&self.path, "list the folder"))
    }

    /// Gives a file, whose content is synced already, its final name, in place of any that has it.
    ///
    /// # Errors
    /// The error of the rename or of the folder's sync.
    pub fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)?;
        self.sync()
    }

    /// Removes a file, if it exists.
    ///
    /// # Errors
    /// The error of the removal or of the folder's sync.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        match self.files.remove(path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Keeps a file under a second name, [`aside_name`] with this ending, or copies it where there are no hard links. Returns
    /// the new path, which is synced.
    ///
    /// # Errors
    /// The error of the copy or of the folder's sync.
    pub fn keep(&self, path: &Path, ending: &str) -> io::Result<PathBuf> {
        let aside = self.free_name(&aside_name(path, ending));
        if self.files.link(path, &aside).is_err() {
            copy(&*self.files, path, 0, &aside)?;
        }
        self.sync()?;
        Ok(aside)
    }

    /// Returns a path in the folder that no file has yet: the name, or the name with a number.
    #[must_use]
    pub fn free_name(&self, name: &str) -> PathBuf {
        let numbered = (2..).map(|n| self.join(&format!("{name}-{n}")));
        std::iter::once(self.join(name))
            .chain(numbered)
            .find(|path| self.files.stat(path).is_err())
            .expect("the numbers do not end")
    }

    /// Syncs the names in the folder to the disk.
    ///
    /// # Errors
    /// As [`Files::sync_folder`].
    pub fn sync(&self) -> io::Result<()> {
        self.files.sync_folder(&self.path)
    }
}

/// Returns the name for a copy that is kept aside: the file's name, without the `.new` of a provisional one, and an ending.
#[must_use]
pub fn aside_name(path: &Path, ending: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}.{ending}", name.trim_end_matches(".new"))
}

/// Copies a file from an offset to its end, and syncs the content of the copy, not its name.
///
/// # Errors
/// The first error of opening, reading, writing or syncing.
pub fn copy(files: &dyn Files, from: &Path, offset: u64, to: &Path) -> io::Result<()> {
    let file = files.open(from)?;
    let copy = files.create(to, None)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = offset;
    loop {
        let count = read_full(&*file, &mut buffer, at)?;
        if count == 0 {
            return copy.sync_all();
        }
        append_all(&*copy, &buffer[..count])?;
        at += count as u64;
    }
}

/// Creates a folder and those above it, and syncs each new name.
fn make(files: &dyn Files, path: &Path) -> io::Result<()> {
    let missing = match files.names(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(io::Error::other("it is a file, not a folder"));
        }
        Err(error) => return Err(error),
    };
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(missing),
    };
    if parent == path {
        return Err(missing);
    }
    make(files, parent)?;
    files.make_folder(path)?;
    files.sync_folder(parent)
}
