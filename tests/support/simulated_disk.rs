//! A disk in memory that knows what was written and what was synced, fails when it is told to, and loses power.
//!
//! In: the calls of the file layer, and a plan: which of them fails, or cuts the power. Out: what a real disk would answer,
//! and a new disk as it may be when the machine comes back. Promises, each the worst that a real one may do:
//! - content is safe once a sync that began after it has succeeded; names are safe once their folder was synced;
//! - a power cut keeps of each file what was synced, and of the rest nothing, all, a torn beginning, or some sectors; of the
//!   names it keeps what was synced and a beginning, or some, of what was done since;
//! - a sync that fails loses what it should have written: reads still see it, and a later sync makes zeros of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pykv::persistence::{File, Files, Stat};

/// The data folder on each simulated disk.
pub const DATA: &str = "/data";

/// What a power cut writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The number of every folder: there is but one that matters.
const FOLDER_ID: u64 = 0;

/// What the disk is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Append,
    Sync,
    SetLen,
    Create,
    Rename,
    Link,
    Remove,
    SyncFolder,
    MakeFolder,
    Lock,
    Read,
    /// Open, stat, list.
    Look,
}

impl Kind {
    /// All that a fault can be planned for.
    pub const ALL: [Self; 12] = [
        Self::Append,
        Self::Sync,
        Self::SetLen,
        Self::Create,
        Self::Rename,
        Self::Link,
        Self::Remove,
        Self::SyncFolder,
        Self::MakeFolder,
        Self::Lock,
        Self::Read,
        Self::Look,
    ];

    /// Whether it may change what is there: only these are counted for a power cut.
    fn is_change(self) -> bool {
        !matches!(self, Self::Read | Self::Look)
    }
}

/// Which operation fails, and how.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Of this kind; none: of any.
    pub kind: Option<Kind>,
    /// The n-th from now, from 1.
    pub at: u64,
    /// And all after it.
    pub is_lasting: bool,
    /// What the system says, such as 5 for EIO.
    pub error: i32,
    /// An append writes so many bytes first; it is the next one that fails.
    pub short: Option<usize>,
}

/// What was met: an operation, and the name of its file.
pub type Met = (Kind, String);

/// A name leads to a folder, or to a file by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(u64),
}

type Names = BTreeMap<PathBuf, Node>;

/// One change of names, kept whole or not at all.
type Renaming = Vec<(PathBuf, Option<Node>)>;

/// A change of a file that is not on disk yet.
#[derive(Debug, Clone)]
enum Pending {
    Append(Vec<u8>),
    SetLen(usize),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// What reads see.
    written: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Pending>,
    /// How many pending changes have come to the disk so far.
    done: usize,
    modified: u64,
    synced_modified: u64,
    mode: u32,
    has_failed_sync: bool,
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: Names,
    synced_names: Names,
    renamings: Vec<Renaming>,
    locked: BTreeSet<u64>,
    clock: u64,
    fault: Option<Fault>,
    /// Operations of the fault's kind since it was planned.
    counted: u64,
    cut_at: Option<u64>,
    is_off: bool,
    /// Operations that may change something, since the disk was made.
    changes: u64,
    met: Option<Met>,
    noted: u64,
    noted_safe: u64,
}

/// What happens once, after the next look at the names in the data folder.
#[derive(Default)]
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

/// The disk. It is shared: a clone of the `Arc`, and every open file, is the same disk.
#[derive(Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    /// How long a sync takes, during which others go on.
    sync_time: Duration,
    meanwhile: Meanwhile,
}

/// An open file: its number leads to it, whatever becomes of its name.
#[derive(Debug)]
struct Handle {
    state: Arc<Mutex<State>>,
    id: u64,
    has_lock: bool,
    sync_time: Duration,
}

/// Numbers that look like chance, the same for the same seed.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// One of the numbers below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides.max(1) as u64).expect("it is below sides")
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn no_power() -> io::Error {
    io::Error::other("the machine is off")
}

impl SimulatedDisk {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        let mut state = State::default();
        state.names.insert(PathBuf::from("/"), Node::Folder);
        state.synced_names = state.names.clone();
        Self::of(state)
    }

    fn of(state: State) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::new(Mutex::new(state)),
            sync_time: Duration::ZERO,
            meanwhile: Meanwhile::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The same disk as it is now, on its own, with syncs that take this long.
    pub fn with_sync_time(&self, sync_time: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::new(Mutex::new(self.state().clone())),
            sync_time,
            meanwhile: Meanwhile::default(),
        })
    }

    /// Does this once the names in the data folder have been listed the next time, before anything else is done.
    pub fn after_listing(&self, change: impl FnOnce() + Send + 'static) {
        let mut meanwhile = self
            .meanwhile
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *meanwhile = Some(Box::new(change));
    }

    /// From now on this fault is met.
    pub fn fail(&self, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.counted, state.met) = (Some(fault), 0, None);
    }

    /// The power goes instead of the n-th change from now, from 1.
    pub fn cut_power_at(&self, n: u64) {
        let mut state = self.state();
        state.met = None;
        state.cut_at = Some(state.changes + n);
    }

    /// The operation at which the fault, or the power cut, came.
    pub fn met(&self) -> Option<Met> {
        self.state().met.clone()
    }

    /// Takes a note, such as how much has been acknowledged.
    pub fn note(&self, noted: u64) {
        self.state().noted = noted;
    }

    /// The last note that was taken before a moment at which all that had been written was on disk.
    pub fn noted_safe(&self) -> u64 {
        self.state().noted_safe
    }

    /// A copy of the disk as the next server finds it after this one was killed: all that was written is there.
    pub fn without_faults(&self) -> Arc<Self> {
        let mut state = self.state().clone();
        state.locked.clear();
        (state.fault, state.cut_at, state.met) = (None, None, None);
        state.is_off = false;
        Self::of(state)
    }

    /// A copy of the disk as it may be when the machine comes back; the seed chooses.
    pub fn after_power_cut(&self, seed: u64) -> Arc<Self> {
        let mut dice = Dice(seed);
        let mut state = self.without_faults().state().clone();
        let renamings = std::mem::take(&mut state.renamings);
        let (how, is_failing) = (dice.roll(4), self.state().fault.is_some());
        let kept = match how {
            0 => 0,
            1 => dice.roll(renamings.len() + 1),
            _ => renamings.len(),
        };
        state.names = state.synced_names.clone();
        for renaming in &renamings[..kept] {
            // No order is promised, though most disks keep it. Where syncs of the folder fail as well, they must.
            if how < 3 || is_failing || dice.roll(2) == 0 {
                rename_in(&mut state.names, renaming);
            }
        }
        state.synced_names = state.names.clone();
        for inode in state.inodes.values_mut() {
            inode.lose_power(&mut dice);
        }
        Self::of(state)
    }

    /// Puts a file into the data folder, synced; its time of modification is new.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let path = Path::new(DATA).join(name);
        let id = match state.names.get(&path) {
            Some(Node::File(id)) => *id,
            _ => state.new_inode(),
        };
        let inode = state.changed(id);
        (inode.written, inode.synced) = (bytes.to_vec(), bytes.to_vec());
        (inode.pending, inode.synced_modified) = (Vec::new(), inode.modified);
        for (path, node) in [(PathBuf::from(DATA), Node::Folder), (path, Node::File(id))] {
            state.names.insert(path.clone(), node);
            state.synced_names.insert(path, node);
        }
    }

    /// Changes the content of a file in the data folder as damage does: its time of modification stays.
    pub fn damage(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.file(&Path::new(DATA).join(name));
        let inode = state.inode(id.expect("the file that is to be damaged"));
        (inode.written, inode.synced) = (bytes.to_vec(), bytes.to_vec());
        inode.pending.clear();
    }

    /// What reads see of a file in the data folder.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut state = self.state();
        let id = state.file(&Path::new(DATA).join(name)).ok()?;
        Some(state.inode(id).written.clone())
    }

    /// The names in the data folder.
    pub fn names(&self) -> Vec<String> {
        self.state().names_in(Path::new(DATA))
    }

    /// The names in the data folder of files of which a sync has failed.
    pub fn distrusted(&self) -> Vec<String> {
        let state = self.state();
        let failed = state.names.iter().filter(|(_, node)| match node {
            Node::File(id) => state.inodes[id].has_failed_sync,
            Node::Folder => false,
        });
        failed.map(|(path, _)| name_of(path)).collect()
    }

    fn meet(&self, kind: Kind, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.meet(kind, &name_of(path))?;
        Ok(state)
    }

    fn handle(&self, id: u64, has_lock: bool) -> Arc<dyn File> {
        Arc::new(Handle {
            state: Arc::clone(&self.state),
            id,
            has_lock,
            sync_time: self.sync_time,
        })
    }
}

fn rename_in(names: &mut Names, renaming: &Renaming) {
    for (path, node) in renaming {
        match node {
            Some(node) => drop(names.insert(path.clone(), *node)),
            None => drop(names.remove(path)),
        }
    }
}

fn apply(image: &mut Vec<u8>, change: &Pending) {
    match change {
        Pending::Append(bytes) => image.extend_from_slice(bytes),
        Pending::SetLen(bytes) => image.resize(*bytes, 0),
    }
}

impl Inode {
    fn change(&mut self, change: Pending) {
        apply(&mut self.written, &change);
        self.pending.push(change);
    }

    /// Whether all that reads see is on disk.
    fn is_safe(&self) -> bool {
        self.pending.is_empty() && !self.has_failed_sync
    }

    /// Brings the first of the pending changes to the disk.
    fn sync_until(&mut self, done: usize) {
        let count = done.saturating_sub(self.done).min(self.pending.len());
        for change in self.pending.drain(..count) {
            apply(&mut self.synced, &change);
        }
        self.done += count;
        self.synced_modified = self.modified;
    }

    /// The pages of what is pending are lost, and nothing remembers it.
    fn fail_sync(&mut self) {
        self.has_failed_sync = true;
        for change in &mut self.pending {
            if let Pending::Append(bytes) = change {
                bytes.fill(0);
            }
        }
    }

    fn lose_power(&mut self, dice: &mut Dice) {
        let pending = std::mem::take(&mut self.pending);
        let mut after = self.synced.clone();
        let is_torn = dice.roll(4);
        let kept = match is_torn {
            0 => 0,
            1 => dice.roll(pending.len() + 1),
            _ => pending.len(),
        };
        for (place, change) in pending[..kept].iter().enumerate() {
            match change {
                Pending::Append(bytes) if is_torn == 1 && place + 1 == kept => {
                    after.extend_from_slice(&bytes[..dice.roll(bytes.len() + 1)]);
                }
                _ => apply(&mut after, change),
            }
        }
        if is_torn == 3 {
            self.lose_sectors(&mut after, dice);
        }
        if kept > 0 {
            self.synced_modified = self.modified;
        }
        self.modified = self.synced_modified;
        self.has_failed_sync = false;
        (self.written, self.synced) = (after.clone(), after);
    }

    /// Of each sector that was changed, the change is written or not.
    fn lose_sectors(&self, after: &mut [u8], dice: &mut Dice) {
        let mut before = self.synced.clone();
        before.resize(after.len(), 0);
        let sectors = after.chunks_mut(SECTOR_BYTES);
        for (sector, before) in sectors.zip(before.chunks(SECTOR_BYTES)) {
            if sector != before && dice.roll(2) == 0 {
                sector.copy_from_slice(before);
            }
        }
    }
}

impl State {
    /// Counts an operation, and fails if it is to fail.
    fn meet(&mut self, kind: Kind, name: &str) -> io::Result<()> {
        if self.is_off {
            return Err(no_power());
        }
        if kind.is_change() {
            self.changes += 1;
            if self.cut_at == Some(self.changes) {
                self.is_off = true;
                self.locked.clear();
                self.met = Some((kind, name.to_owned()));
                return Err(no_power());
            }
        }
        let Some(fault) = self.fault else {
            return Ok(());
        };
        if fault.kind.is_some_and(|failing| failing != kind) {
            return Ok(());
        }
        self.counted += 1;
        let at = fault.at + u64::from(fault.short.is_some());
        if self.counted < at || (self.counted > at && !fault.is_lasting) {
            return Ok(());
        }
        self.met.get_or_insert_with(|| (kind, name.to_owned()));
        Err(io::Error::from_raw_os_error(fault.error))
    }

    /// How many bytes an append takes that has just been counted.
    fn room(&self, bytes: usize) -> usize {
        match self.fault {
            Some(Fault {
                at,
                short: Some(short),
                ..
            }) if at == self.counted => short.clamp(1, bytes.max(1)).min(bytes),
            _ => bytes,
        }
    }

    fn new_inode(&mut self) -> u64 {
        let id = self.inodes.len() as u64 + 1;
        self.inodes.insert(id, Inode::default());
        id
    }

    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.get_mut(&id).expect("files do not go")
    }

    /// A file that is being changed.
    fn changed(&mut self, id: u64) -> &mut Inode {
        self.clock += 1;
        let clock = self.clock;
        let inode = self.inode(id);
        inode.modified = clock;
        inode
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// What a file is called now, or that it has no name any more.
    fn name_now(&self, id: u64) -> String {
        let named = self.names.iter().find(|(_, node)| **node == Node::File(id));
        named.map_or("(removed)".to_owned(), |(path, _)| name_of(path))
    }

    fn rename(&mut self, renaming: Renaming) {
        rename_in(&mut self.names, &renaming);
        self.renamings.push(renaming);
    }

    fn names_in(&self, folder: &Path) -> Vec<String> {
        let paths = self.names.keys();
        let inside = paths.filter(|path| path.parent() == Some(folder));
        inside.map(|path| name_of(path)).collect()
    }

    /// Something has come to the disk; perhaps it was the last that was not there.
    fn synced(&mut self) {
        // Nobody relies on what a lock says.
        let mut files = self.names.values().filter_map(|node| match node {
            Node::File(id) if !self.locked.contains(id) => Some(&self.inodes[id]),
            _ => None,
        });
        if self.renamings.is_empty() && files.all(Inode::is_safe) {
            self.noted_safe = self.noted;
        }
    }

    fn stat(&self, node: Node) -> Stat {
        let (id, inode) = match node {
            Node::Folder => (FOLDER_ID, &Inode::default()),
            Node::File(id) => (id, &self.inodes[&id]),
        };
        Stat {
            bytes: inode.written.len() as u64,
            modified_ns: i128::from(inode.modified),
            id: (1, id),
            mode: inode.mode,
            owner: (0, 0),
        }
    }
}

impl Handle {
    fn meet(&self, kind: Kind) -> io::Result<MutexGuard<'_, State>> {
        let mut state = locked(&self.state);
        let name = state.name_now(self.id);
        match state.meet(kind, &name) {
            Ok(()) => Ok(state),
            Err(error) => {
                if kind == Kind::Sync && !state.is_off {
                    state.inode(self.id).fail_sync();
                }
                Err(error)
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.has_lock {
            locked(&self.state).locked.remove(&self.id);
        }
    }
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.meet(Kind::Read)?;
        let written = &state.inode(self.id).written;
        let offset = usize::try_from(offset).expect("an offset in memory");
        let rest = written.get(offset..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.meet(Kind::Append)?;
        let count = state.room(bytes.len());
        let change = Pending::Append(bytes[..count].to_vec());
        state.changed(self.id).change(change);
        Ok(count)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).expect("a length in memory");
        let mut state = self.meet(Kind::SetLen)?;
        state.changed(self.id).change(Pending::SetLen(bytes));
        Ok(())
    }

    fn set_modified(&self, modified_ns: i128) -> io::Result<()> {
        let modified = u64::try_from(modified_ns).expect("a time of this clock");
        let mut state = self.meet(Kind::SetLen)?;
        state.inode(self.id).modified = modified;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let until = {
            let mut state = self.meet(Kind::Sync)?;
            let inode = state.inode(self.id);
            inode.done + inode.pending.len()
        };
        if !self.sync_time.is_zero() {
            std::thread::sleep(self.sync_time);
        } else if cfg!(not(fuzzing)) {
            std::thread::yield_now();
        }
        let mut state = locked(&self.state);
        if state.is_off {
            return Err(no_power());
        }
        state.inode(self.id).sync_until(until);
        state.synced();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn stat(&self) -> io::Result<Stat> {
        let node = match self.id {
            FOLDER_ID => Node::Folder,
            id => Node::File(id),
        };
        Ok(self.meet(Kind::Look)?.stat(node))
    }
}

impl Files for SimulatedDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.meet(Kind::MakeFolder, path)?;
        state.rename(vec![(path.to_owned(), Some(Node::Folder))]);
        Ok(())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.meet(Kind::Look, folder)?;
        let names = match state.names.get(folder) {
            Some(Node::Folder) => state.names_in(folder),
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        drop(state);
        if folder == Path::new(DATA) {
            let mut meanwhile = self
                .meanwhile
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let change = meanwhile.take();
            drop(meanwhile);
            if let Some(change) = change {
                change();
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path, like: Option<&Stat>) -> io::Result<Arc<dyn File>> {
        let mut state = self.meet(Kind::Create, path)?;
        if state.file(path).is_ok() {
            state.rename(vec![(path.to_owned(), None)]);
        }
        let id = state.new_inode();
        state.changed(id).mode = like.map_or(0o600, |like| like.mode);
        state.rename(vec![(path.to_owned(), Some(Node::File(id)))]);
        drop(state);
        Ok(self.handle(id, false))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let id = self.meet(Kind::Look, path)?.file(path)?;
        Ok(self.handle(id, false))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.meet(Kind::Look, path)?;
        let node = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.stat(*node))
    }

    fn stat_folder(&self, path: &Path) -> io::Result<Stat> {
        self.stat(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.meet(Kind::Rename, to)?;
        let inside = state.names.iter().filter_map(|(path, node)| {
            let rest = path.strip_prefix(from).ok()?;
            Some((path.clone(), to.join(rest), *node))
        });
        let moved: Vec<(PathBuf, PathBuf, Node)> = inside.collect();
        if moved.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let renaming = moved
            .into_iter()
            .flat_map(|(from, to, node)| [(from, None), (to, Some(node))]);
        state.rename(renaming.collect());
        Ok(())
    }

    fn link(&self, path: &Path, second: &Path) -> io::Result<()> {
        let mut state = self.meet(Kind::Link, second)?;
        let id = state.file(path)?;
        if state.names.contains_key(second) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.rename(vec![(second.to_owned(), Some(Node::File(id)))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.meet(Kind::Remove, path)?;
        state.file(path)?;
        state.rename(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.meet(Kind::Remove, path)?;
        if !state.names_in(path).is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.rename(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.meet(Kind::SyncFolder, folder)?;
        for renaming in std::mem::take(&mut state.renamings) {
            if renaming[0].0.parent() == Some(folder) {
                rename_in(&mut state.synced_names, &renaming);
            } else {
                state.renamings.push(renaming);
            }
        }
        state.synced();
        Ok(())
    }

    fn lock_folder(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.meet(Kind::Lock, path)?;
        if !state.locked.insert(FOLDER_ID) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        drop(state);
        Ok(self.handle(FOLDER_ID, true))
    }

    fn lock(&self, path: &Path, text: Option<&str>) -> io::Result<Arc<dyn File>> {
        let mut state = self.meet(Kind::Lock, path)?;
        let id = match (state.file(path), text) {
            (Err(error), Some(_)) if error.kind() == io::ErrorKind::NotFound => {
                let id = state.new_inode();
                state.rename(vec![(path.to_owned(), Some(Node::File(id)))]);
                id
            }
            (found, _) => found?,
        };
        if !state.locked.insert(id) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(text) = text {
            let inode = state.changed(id);
            inode.change(Pending::SetLen(0));
            inode.change(Pending::Append(text.as_bytes().to_vec()));
        }
        drop(state);
        Ok(self.handle(id, true))
    }
}
