//! The data folder: its lock, and the few file operations that must be done in one order to be safe.
//!
//! In: names. Out: files that are where they are said to be, also after a power cut. Promises: one server to a folder;
//! `publish` and `remove` return once the folder itself is on disk; a folder that was removed, or another in its place, is
//! noticed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{File, Files, Stat};

/// The file that is locked.
const LOCK_NAME: &str = "lock";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error(
        "data folder {path} is in use by another pykv-server{holder}; stop it, or choose another folder with --data"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other's process id, where it is known.
        holder: String,
    },
    /// There is none.
    #[error("there is no data folder {path}")]
    Missing {
        /// Where it should be.
        path: PathBuf,
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
    files: Arc<dyn Files>,
    /// None in a folder that is only looked at.
    lock: Mutex<Option<Lock>>,
}

/// What tells our folder from another of its name. Both are kept open, so that their numbers are given to no other file.
#[derive(Debug)]
struct Lock {
    file: Arc<dyn File>,
    folder: Option<Arc<dyn File>>,
}

impl Folder {
    /// Makes the folder if there is none, and locks it.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        make(&*files, path).map_err(FolderError::unusable(path, "make the folder"))?;
        Self::open_existing(files, path)
    }

    /// Locks a folder that is there.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open_existing(files: Arc<dyn Files>, path: &Path) -> Result<Self, FolderError> {
        let folder = Self::existing(files, path)?;
        folder.hold(folder.take()?);
        Ok(folder)
    }

    /// Looks at a folder that is there, and changes nothing; others are kept out meanwhile.
    ///
    /// # Errors
    /// [`FolderError`].
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

    /// Locks it, and says who has.
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

    /// Whether the folder that was locked is still the one under this name.
    ///
    /// # Errors
    /// That it is not.
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

    /// Locks the folder that has come in the place of one that was removed, and makes it ready if it is another one. It is
    /// taken only once it is ready.
    ///
    /// # Errors
    /// [`FolderError`]: there is none yet, or another server has it; or what `make_ready` said.
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

    /// A file in the folder.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The disk that it is on.
    #[must_use]
    pub fn files(&self) -> &dyn Files {
        &*self.files
    }

    /// What the system knows of a file in it.
    ///
    /// # Errors
    /// What the system said.
    pub fn stat(&self, name: &str) -> io::Result<Stat> {
        self.files.stat(&self.join(name))
    }

    /// The names of the files in the folder.
    ///
    /// # Errors
    /// [`FolderError::Unusable`].
    pub fn names(&self) -> Result<Vec<String>, FolderError> {
        self.files
            .names(&self.path)
            .map_err(FolderError::unusable(&self.path, "list the folder"))
    }

    /// Gives a file, whose content is on disk already, its final name, in the place of what had it.
    ///
    /// # Errors
    /// What the system said.
    pub fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)?;
        self.sync()
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        match self.files.remove(path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives a file a second name, or copies it where the disk cannot do that, so that it is kept; the name, once it is on
    /// disk.
    ///
    /// # Errors
    /// What the system said.
    pub fn keep(&self, path: &Path, aside: &str) -> io::Result<PathBuf> {
        let aside = self.free_name(aside);
        if self.files.link(path, &aside).is_err() {
            copy(&*self.files, path, 0, &aside)?;
        }
        self.sync()?;
        Ok(aside)
    }

    /// A name in the folder that nothing has yet: the one given, or it with a number.
    #[must_use]
    pub fn free_name(&self, name: &str) -> PathBuf {
        let numbered = (2..).map(|n| self.join(&format!("{name}-{n}")));
        std::iter::once(self.join(name))
            .chain(numbered)
            .find(|path| self.files.stat(path).is_err())
            .expect("the numbers do not end")
    }

    /// Brings the names of the files to the disk.
    ///
    /// # Errors
    /// What the system said.
    pub fn sync(&self) -> io::Result<()> {
        self.files.sync_folder(&self.path)
    }
}

/// Copies a file from an offset on; the copy is on disk then, its name not yet.
///
/// # Errors
/// What the system said.
pub fn copy(files: &dyn Files, from: &Path, offset: u64, to: &Path) -> io::Result<()> {
    let file = files.open(from)?;
    let copy = files.create(to, None)?;
    let mut buffer = vec![0; 256 << 10];
    let mut at = offset;
    loop {
        let count = super::files::read_full(&*file, &mut buffer, at)?;
        if count == 0 {
            return copy.sync_all();
        }
        super::files::append_all(&*copy, &buffer[..count])?;
        at += count as u64;
    }
}

/// Makes a folder and those above it, and brings each new name to the disk.
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
