//! The data folder: its lock, and the file operations that are safe only in one order.
//!
//! In: names. Out: files that are under these names also after a power cut. Promises: one server to a folder, by whatever path
//! each reaches it; `publish`, `remove` and `keep` return once the folder itself is synced; a folder that was removed or
//! replaced is noticed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::files::{File, Files, Stat, append_all, read_full};
use crate::error::error_chain;

/// The file that is locked besides the folder. It names the holder, and keeps out servers of older versions, which lock it alone.
const LOCK_NAME: &str = "lock";

/// The longest text of a lock file, in bytes: the number of a process.
const HOLDER_BYTES_MAX: usize = 16;

/// Bytes copied at a time.
pub const COPY_BYTES: usize = 256 << 10;

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
    /// Another process uses the file to which a link in the folder leads.
    #[error(
        "{path} is a link to a file that another pykv-server uses, as {beside} is locked; stop it, or remove the link"
    )]
    TargetInUse {
        /// The link.
        path: PathBuf,
        /// The lock file.
        beside: PathBuf,
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
    /// None before it is taken.
    lock: Mutex<Option<Lock>>,
    /// Held while the lock is checked: a lock that one thread takes keeps out another one of the same process, too.
    checking: Mutex<()>,
    /// The lock of the file elsewhere to which a link in the folder leads.
    target: OnceLock<Arc<dyn File>>,
}

/// The locks on the folder and on the file in it. Both stay open, so that the system cannot give their inode numbers to other
/// files: a replaced folder has another number.
#[derive(Debug, Clone)]
struct Lock {
    folder: Arc<dyn File>,
    /// None in a folder that is inspected and has no such file.
    file: Option<Arc<dyn File>>,
}

/// The access to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// It is changed: the lock file is created if it is missing.
    Change,
    /// Nothing in it is changed, not even the lock file.
    Inspect,
}

impl Folder {
    /// Creates the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// [`FolderError::InUse`] if another process has it; [`FolderError::Unusable`] if it cannot be created or locked.
    pub fn open(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        make(&*files, path).map_err(FolderError::unusable(path, "find or make the folder"))?;
        Self::open_existing(files, path)
    }

    /// Locks an existing folder.
    ///
    /// # Errors
    /// [`FolderError::Missing`], [`FolderError::InUse`], or [`FolderError::Unusable`] if it cannot be locked.
    pub fn open_existing(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        Self::existing(files, path, Access::Change)
    }

    /// Locks an existing folder for inspection: nothing is changed, not even its lock file.
    ///
    /// # Errors
    /// [`FolderError::Missing`], [`FolderError::InUse`], or [`FolderError::Unusable`] if it cannot be locked.
    pub fn look(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        Self::existing(files, path, Access::Inspect)
    }

    fn existing(files: Arc<dyn Files>, path: &Path, access: Access) -> Result<Self, FolderError> {
        let folder = Self {
            path: path.to_owned(),
            files,
            lock: Mutex::new(None),
            checking: Mutex::default(),
            target: OnceLock::new(),
        };
        match folder.files.stat_folder(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Missing {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(FolderError::unusable(path, "look at the folder")(error)),
        }
        folder.hold(folder.take(access)?);
        Ok(folder)
    }

    fn hold(&self, lock: Lock) {
        *self.locked() = Some(lock);
    }

    fn locked(&self) -> MutexGuard<'_, Option<Lock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks what now has the names of the folder and of the file. What is held already stays so.
    fn take(&self, access: Access) -> Result<Lock, FolderError> {
        let held = self.locked().clone();
        let (held_folder, held_file) =
            held.map_or((None, None), |lock| (Some(lock.folder), lock.file));
        let is_held = |held: &dyn File, path: &Path, found: io::Result<Stat>| {
            is_same(held, found).map_err(FolderError::unusable(path, "look at it"))
        };
        let folder = match held_folder {
            Some(held) if is_held(&*held, &self.path, self.files.stat_folder(&self.path))? => held,
            _ => {
                let folder = self.files.lock_folder(&self.path);
                folder.map_err(|error| self.refused(&self.path, error))?
            }
        };
        let path = self.join(LOCK_NAME);
        let file = match held_file {
            Some(held) if is_held(&*held, &path, self.files.stat(&path))? => Some(held),
            _ => {
                let holder = own_holder();
                let text = (access == Access::Change).then_some(&*holder);
                match self.files.lock(&path, text) {
                    Ok(file) => Some(file),
                    Err(error)
                        if error.kind() == io::ErrorKind::NotFound && access == Access::Inspect =>
                    {
                        None
                    }
                    Err(error) => return Err(self.refused(&path, error)),
                }
            }
        };
        Ok(Lock { folder, file })
    }

    /// Locks the file to which a link of this name leads, if it is one: by a file beside it, `NAME.lock`, as the file itself is
    /// replaced by each save. Two folders with links to the same file cannot be used at the same time.
    ///
    /// # Errors
    /// [`FolderError::TargetInUse`] if another server uses the file; [`FolderError::Unusable`] if it cannot be locked.
    pub fn lock_target(&self, name: &str) -> Result<(), FolderError> {
        let path = self.join(name);
        // A link to nothing is reported when it is opened.
        let Some(target) = self.files.resolve(&path).ok().filter(|it| *it != path) else {
            return Ok(());
        };
        let mut beside = target.into_os_string();
        beside.push(".lock");
        let beside = PathBuf::from(beside);
        match self.files.lock(&beside, Some(&own_holder())) {
            Ok(lock) => {
                self.target.get_or_init(|| lock);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(FolderError::TargetInUse { path, beside })
            }
            Err(error) => Err(FolderError::unusable(&beside, "lock it")(error)),
        }
    }

    fn refused(&self, path: &Path, error: io::Error) -> FolderError {
        if error.kind() == io::ErrorKind::WouldBlock {
            return FolderError::InUse {
                path: self.path.clone(),
                holder: self
                    .holder()
                    .map(|process| format!(" (process {process})"))
                    .unwrap_or_default(),
            };
        }
        FolderError::unusable(path, "lock it")(error)
    }

    /// Reads the number of the process that holds the lock, if its file tells.
    fn holder(&self) -> Option<u32> {
        let file = self.files.open(&self.join(LOCK_NAME)).ok()?;
        let mut text = [0; HOLDER_BYTES_MAX];
        let count = read_full(&*file, &mut text, 0).ok()?;
        std::str::from_utf8(&text[..count])
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Checks that the locked folder is still the one under this path. A lock file that is missing is put there again.
    ///
    /// # Errors
    /// `NotFound` if the folder was removed or replaced; any other error if its lock file cannot be locked again, because
    /// another server has it, or for what the system says.
    pub fn check(&self) -> io::Result<()> {
        let _one = self.checking();
        self.check_exclusively()
    }

    fn checking(&self) -> MutexGuard<'_, ()> {
        self.checking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_exclusively(&self) -> io::Result<()> {
        let Some(lock) = self.locked().clone() else {
            return Ok(());
        };
        if !is_same(&*lock.folder, self.files.stat_folder(&self.path))? {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the data folder was removed or replaced",
            ));
        }
        match &lock.file {
            Some(file) if !is_same(&**file, self.stat(LOCK_NAME))? => {}
            _ => return Ok(()),
        }
        // The lock on the folder keeps out every server but one of an older version, which has the new lock file then.
        let again = self.take(Access::Change);
        self.hold(again.map_err(|error| io::Error::other(error_chain(&error)))?);
        tracing::warn!(
            "{} was removed or replaced while the server runs; it is locked again",
            self.join(LOCK_NAME).display()
        );
        Ok(())
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
        let _one = self.checking();
        if self.check_exclusively().is_ok() {
            return Ok(());
        }
        let lock = self.take(Access::Change)?;
        let id = |lock: &Lock| Some(lock.folder.stat().ok()?.id);
        if self.locked().as_ref().and_then(id) != id(&lock) {
            make_ready()?;
        }
        self.hold(lock);
        Ok(())
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
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

    /// Returns the metadata of what has this name in the folder, which may be a link.
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

    /// Keeps a file, or the one to which a link leads, under a second name, [`aside_name`] with this ending, or copies it where
    /// there are no hard links. Returns the new path, which is synced.
    ///
    /// # Errors
    /// The error of following the link, of the copy or of the folder's sync.
    pub fn keep(&self, path: &Path, ending: &str) -> io::Result<PathBuf> {
        let aside = self.free_name(&aside_name(path, ending));
        let file = self.files.resolve(path)?;
        if self.files.link(&file, &aside).is_err() {
            copy(&*self.files, &file, 0, &aside)?;
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

/// Returns the text of a lock file of this process.
fn own_holder() -> String {
    format!("{}\n", std::process::id())
}

/// Returns the name for a copy that is kept aside: the file's name, without the `.new` of a provisional one, and an ending.
#[must_use]
pub fn aside_name(path: &Path, ending: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}.{ending}", name.trim_end_matches(".new"))
}

/// Returns true if an open file is the one that was looked up, and false if nothing has the name.
///
/// # Errors
/// Any other error of one of both looks.
fn is_same(open: &dyn File, found: io::Result<Stat>) -> io::Result<bool> {
    match found {
        Ok(found) => Ok(open.stat()?.id == found.id),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Copies a file from an offset to its end, with its permissions, and syncs the content of the copy, not its name.
///
/// # Errors
/// The first error of opening, reading, writing or syncing.
pub fn copy(files: &dyn Files, from: &Path, offset: u64, to: &Path) -> io::Result<()> {
    let file = files.open(from)?;
    let copy = files.create(to, Some(&file.stat()?))?;
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
    files
        .make_folder(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                io::Error::other("it is a symbolic link that leads to no folder")
            }
            _ => error,
        })?;
    files.sync_folder(parent)
}
