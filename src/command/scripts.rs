//! Scripts that clients have sent, and those that are running for long.
//!
//! In: texts, and runs. Out: a text by the SHA-1 of it; the runs that can be killed. Promises: a script that was loaded is kept until SCRIPT
//! FLUSH; of those that were only executed, the last ones are kept; what both hold is bounded.

use std::borrow::Borrow;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ahash::{AHashMap, AHashSet};

use super::refusals::bad_argument;
use crate::lua::sha1_hex;
use crate::protocol::{ErrorCode, ErrorReply};

/// Maximum number of scripts that were executed and not loaded, as in Redis.
pub const EXECUTED_MAX: usize = 500;
/// Maximum length of a script in bytes that is kept without being loaded.
const EXECUTED_BYTES_MAX: usize = 64 << 10;
/// Maximum length of all loaded scripts together, in bytes.
pub const LOADED_BYTES_MAX: usize = 32 << 20;
/// Maximum number of scripts that run for long at one time: each has a thread, and memory of its own.
pub const LONG_RUNS_MAX: usize = 8;

/// A script that is kept.
#[derive(Debug)]
pub struct StoredScript {
    /// SHA-1 of the text, in hexadecimal.
    pub sha1: String,
    /// Text.
    pub text: Box<[u8]>,
}

impl StoredScript {
    /// Makes a script, which is not kept yet.
    pub fn of(text: &[u8]) -> Self {
        Self {
            sha1: sha1_hex(text),
            text: text.into(),
        }
    }
}

/// A script that is found by its text, which takes less time than its SHA-1.
#[derive(Debug)]
struct ByText(Arc<StoredScript>);

impl Borrow<[u8]> for ByText {
    fn borrow(&self) -> &[u8] {
        &self.0.text
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for ByText {}

#[derive(Debug, Default)]
struct Stored {
    by_sha1: AHashMap<String, (Arc<StoredScript>, bool)>,
    /// The same scripts.
    by_text: AHashSet<ByText>,
    /// Names of those that were not loaded, the oldest first.
    executed: VecDeque<String>,
    loaded_bytes: usize,
}

impl Stored {
    fn insert(&mut self, script: &Arc<StoredScript>, is_loaded: bool) {
        let sha1 = script.sha1.clone();
        self.by_sha1.insert(sha1, (Arc::clone(script), is_loaded));
        self.by_text.insert(ByText(Arc::clone(script)));
    }
}

/// A script that runs for long.
#[derive(Debug)]
pub struct LongRun {
    began: Instant,
    /// Set to end it.
    pub killed: Arc<AtomicBool>,
    /// Keys that it names or has used.
    keys: Mutex<BTreeSet<Box<[u8]>>>,
}

impl LongRun {
    /// Notes keys that the script has used.
    pub fn add_keys<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        locked(&self.keys).extend(keys.map(Box::from));
    }
}

/// Scripts of all clients.
#[derive(Debug, Default)]
pub struct Scripts {
    stored: RwLock<Stored>,
    running: Mutex<Vec<Arc<LongRun>>>,
    running_count: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scripts {
    /// Returns the script with this SHA-1, in any case.
    #[must_use]
    pub fn get(&self, sha1: &[u8]) -> Option<Arc<StoredScript>> {
        let sha1 = std::str::from_utf8(sha1).ok()?;
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let found = stored
            .by_sha1
            .get(sha1)
            .or_else(|| stored.by_sha1.get(&sha1.to_ascii_lowercase()));
        found.map(|(script, _)| Arc::clone(script))
    }

    /// Keeps a script that is executed, unless it is kept already. Returns it.
    pub fn keep(&self, text: &[u8]) -> Arc<StoredScript> {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(ByText(script)) = stored.by_text.get(text) {
            return Arc::clone(script);
        }
        drop(stored);
        let script = Arc::new(StoredScript::of(text));
        if text.len() <= EXECUTED_BYTES_MAX {
            let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
            // Another client may have sent it meanwhile.
            if let Some((kept, _)) = stored.by_sha1.get(&script.sha1) {
                return Arc::clone(kept);
            }
            stored.executed.push_back(script.sha1.clone());
            if stored.executed.len() > EXECUTED_MAX
                && let Some(oldest) = stored.executed.pop_front()
                && let Some((oldest, _)) = stored.by_sha1.remove(&oldest)
            {
                stored.by_text.remove(&oldest.text[..]);
            }
            stored.insert(&script, false);
        }
        script
    }

    /// Keeps a script until all are removed.
    ///
    /// # Errors
    /// `FULL`, if those that are kept are as long together as they may be.
    pub fn load(&self, text: &[u8]) -> Result<Arc<StoredScript>, ErrorReply> {
        let script = self.keep(text);
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        let held = stored.by_sha1.get(&script.sha1);
        if held.is_some_and(|(_, is_loaded)| *is_loaded) {
            return Ok(script);
        }
        if stored.loaded_bytes + text.len() > LOADED_BYTES_MAX {
            return Err(ErrorReply::new(
                ErrorCode::Full,
                format!(
                    "the loaded scripts may have {LOADED_BYTES_MAX} bytes together; SCRIPT FLUSH removes them"
                ),
            ));
        }
        stored.loaded_bytes += text.len();
        stored.executed.retain(|sha1| *sha1 != script.sha1);
        stored.insert(&script, true);
        Ok(script)
    }

    /// Removes all.
    pub fn clear(&self) {
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        *stored = Stored::default();
    }

    /// Returns the number of scripts that are kept, and their length in bytes.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = stored.by_sha1.values().map(|(script, _)| script.text.len());
        (stored.by_sha1.len(), bytes.sum())
    }

    /// Begins a long run, which has begun at that time.
    ///
    /// # Errors
    /// `BUSY`, if there are [`LONG_RUNS_MAX`].
    pub fn begin<'k>(
        &self,
        began: Instant,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<RunGuard<'_>, ErrorReply> {
        let mut running = locked(&self.running);
        if running.len() >= LONG_RUNS_MAX {
            let message = format!(
                "{LONG_RUNS_MAX} scripts run for long already; try again later, or SCRIPT KILL"
            );
            return Err(ErrorReply::new(ErrorCode::Busy, message).with_prefix("BUSY"));
        }
        let run = Arc::new(LongRun {
            began,
            killed: Arc::default(),
            keys: Mutex::new(keys.map(Box::from).collect()),
        });
        running.push(Arc::clone(&run));
        self.running_count.store(running.len(), Relaxed);
        Ok(RunGuard { scripts: self, run })
    }

    /// Ends all scripts that run for long. Returns their number.
    pub fn kill(&self) -> usize {
        let running = locked(&self.running);
        for run in running.iter() {
            run.killed.store(true, Relaxed);
        }
        running.len()
    }

    /// Returns the number of scripts that run for long.
    #[must_use]
    #[inline(always)]
    pub fn running(&self) -> usize {
        self.running_count.load(Relaxed)
    }

    /// Checks that no script that has run for longer than `limit` needs one of these keys: it shall get done.
    ///
    /// # Errors
    /// `BUSY`.
    #[cold]
    pub fn check_keys<'k>(
        &self,
        limit: Duration,
        mut keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), ErrorReply> {
        let running = locked(&self.running);
        let mut overdue = running
            .iter()
            .filter(|run| run.began.elapsed() > limit)
            .peekable();
        if overdue.peek().is_none() {
            return Ok(());
        }
        let overdue: Vec<_> = overdue.map(|run| locked(&run.keys)).collect();
        if keys.any(|key| overdue.iter().any(|needed| needed.contains(key))) {
            let message =
                "a script that has run for long needs this key; try again later, or SCRIPT KILL";
            return Err(ErrorReply::new(ErrorCode::Busy, message).with_prefix("BUSY"));
        }
        Ok(())
    }
}

/// A long run, until it is dropped.
#[derive(Debug)]
pub struct RunGuard<'a> {
    scripts: &'a Scripts,
    /// The run.
    pub run: Arc<LongRun>,
}

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        let mut running = locked(&self.scripts.running);
        running.retain(|run| !Arc::ptr_eq(run, &self.run));
        self.scripts.running_count.store(running.len(), Relaxed);
    }
}

/// Options of a script, which its first line may give: `#!lua flags=no-writes`.
/// Source: <https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScriptFlags {
    /// True if it changes no pairs.
    pub is_read_only: bool,
}

/// Splits a text into its options and what Lua compiles: the line with the options is empty there, so that lines keep their numbers.
///
/// # Errors
/// `ARGS`, for another language or an unknown option.
pub fn flags_of(text: &[u8]) -> Result<(ScriptFlags, &[u8]), ErrorReply> {
    let mut flags = ScriptFlags::default();
    let Some(rest) = text.strip_prefix(b"#!") else {
        return Ok((flags, text));
    };
    let end = memchr::memchr(b'\n', rest).ok_or_else(|| bad_argument("Invalid script shebang"))?;
    let line = String::from_utf8_lossy(&rest[..end]);
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "lua" {
        return Err(bad_argument(format!(
            "Unexpected engine in script shebang: {engine}"
        )));
    }
    for word in words {
        let Some(named) = word.strip_prefix("flags=") else {
            return Err(bad_argument(format!("Unknown lua shebang option: {word}")));
        };
        for flag in named.split(',').filter(|flag| !flag.is_empty()) {
            match flag {
                "no-writes" => flags.is_read_only = true,
                "allow-oom" | "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                _ => {
                    return Err(bad_argument(format!(
                        "Unexpected flag in script shebang: {flag}"
                    )));
                }
            }
        }
    }
    Ok((flags, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded_outlives_what_is_only_executed() {
        let scripts = Scripts::default();
        let loaded = scripts
            .load(b"return 'loaded'")
            .expect("there is room")
            .sha1
            .clone();
        let first = scripts.keep(b"return 0").sha1.clone();
        for number in 1..=EXECUTED_MAX {
            scripts.keep(format!("return {number}").as_bytes());
        }
        assert!(scripts.get(loaded.to_uppercase().as_bytes()).is_some());
        assert!(scripts.get(first.as_bytes()).is_none());
        assert_eq!(scripts.size().0, EXECUTED_MAX + 1);
        let by_text = |scripts: &Scripts| scripts.stored.read().expect("no panic").by_text.len();
        assert_eq!(by_text(&scripts), EXECUTED_MAX + 1);
        let most = vec![b' '; LOADED_BYTES_MAX - b"return 'loaded'".len()];
        assert!(scripts.load(&most).is_ok());
        assert_eq!(
            scripts.load(b"return 1").map_err(|error| error.code).err(),
            Some(ErrorCode::Full)
        );
        scripts.clear();
        assert_eq!((scripts.size(), by_text(&scripts)), ((0, 0), 0));
    }

    #[test]
    fn the_first_line_may_give_options() {
        let (flags, text) =
            flags_of(b"#!lua flags=no-writes,allow-stale\nreturn 1").expect("options");
        assert_eq!((flags.is_read_only, text), (true, &b"\nreturn 1"[..]));
        let refused = |text: &str| {
            flags_of(text.as_bytes())
                .expect_err("it is refused")
                .message
        };
        assert_eq!(
            refused("#!perl\nx"),
            "Unexpected engine in script shebang: perl"
        );
        assert_eq!(
            refused("#!lua flags=fast\nx"),
            "Unexpected flag in script shebang: fast"
        );
        assert_eq!(refused("#!lua"), "Invalid script shebang");
    }

    #[test]
    fn a_long_run_keeps_its_keys_once_it_is_overdue() {
        let scripts = Scripts::default();
        let began = Instant::now();
        let guard = scripts
            .begin(began, [&b"a"[..]].into_iter())
            .expect("it is the first");
        guard.run.add_keys([&b"b"[..]].into_iter());
        let check = |key: &'static [u8], limit| scripts.check_keys(limit, std::iter::once(key));
        assert!(check(b"a", Duration::from_secs(1000)).is_ok());
        while began.elapsed() == Duration::ZERO {}
        assert!(check(b"a", Duration::ZERO).is_err() && check(b"b", Duration::ZERO).is_err());
        assert!(check(b"c", Duration::ZERO).is_ok());
        assert_eq!((scripts.running(), scripts.kill()), (1, 1));
        assert!(guard.run.killed.load(Relaxed));
        drop(guard);
        assert_eq!((scripts.running(), scripts.kill()), (0, 0));
    }
}
