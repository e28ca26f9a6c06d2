//! `users.json`: the users and tokens, in a file beside the data that a person can read and edit.
//!
//! In: the file. Out: users and tokens, or an error with its place; and the file, written anew. Promises: only its owner may read it; a
//! password that was typed into it is replaced by its hash; a file that is not valid changes nothing.
//!
//! ```json
//! {
//!   "users": {
//!     "shop": {"rules": "on ~shop:* resetchannels -@all +@read", "passwords": ["$argon2id$v=19$..."]}
//!   },
//!   "tokens": {
//!     "prometheus": {"user": "shop", "sha256": "9f86...", "expires_at": "2027-01-31T12:00:00.000Z"}
//!   }
//! }
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use super::rules::{RuleError, merge_selectors};
use super::state::{DEFAULT_USER, State, USERS_MAX};
use super::tokens::{TOKENS_MAX, Tokens};
use super::user::User;

use crate::persistence::{FileReader, Files, Stat, System, USERS_NAME, append_all};

/// Maximum length of the file in bytes: it is read as a whole.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Permission bits of everybody but the owner.
const OTHERS_BITS: u32 = 0o077;

/// `users.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The system refuses it.
    #[error("cannot read {0}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("cannot write {0}; nothing was changed")]
    Unwritable(PathBuf, #[source] io::Error),
    /// It is no JSON of users and tokens.
    #[error("{0} is not valid")]
    Malformed(PathBuf, #[source] serde_json::Error),
    /// It is longer than any file of users.
    #[error("{0} has {1} bytes, and may have {FILE_BYTES_MAX}")]
    TooLong(PathBuf, u64),
    /// It has too many users or tokens.
    #[error("{0} has too many users or tokens: {USERS_MAX} and {TOKENS_MAX} are allowed")]
    TooMany(PathBuf),
    /// A rule of a user is not valid.
    #[error("{path}: user {user}, rule '{rule}': {reason}")]
    Rule {
        /// Path of the file.
        path: PathBuf,
        /// Name of the user.
        user: String,
        /// The rule, or the kind of a password.
        rule: String,
        /// The reason, in Redis's words.
        reason: String,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    users: BTreeMap<String, UserContent>,
    #[serde(default)]
    tokens: Tokens,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserContent {
    #[serde(default)]
    rules: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    passwords: Vec<String>,
}

/// The file, and its state when it was last read or written.
#[derive(Debug)]
pub(super) struct UsersFile {
    pub(super) path: PathBuf,
    seen: Option<Stat>,
    /// True if what was read last could not be used: it is not overwritten before somebody has mended it.
    is_broken: bool,
}

/// What was read.
pub(super) struct Loaded {
    pub(super) state: State,
    /// True if it has a password as it was typed, which must be replaced by its hash.
    pub(super) has_typed_password: bool,
}

impl UsersFile {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join(USERS_NAME),
            seen: None,
            is_broken: false,
        }
    }

    fn stat(&self) -> io::Result<Option<Stat>> {
        match System.stat(&self.path) {
            Ok(stat) => Ok(Some(stat)),
            // Where the folder is none, the store says so.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns true if the file has changed since it was read or written.
    pub(super) fn has_changed(&self) -> bool {
        self.stat().is_ok_and(|stat| stat != self.seen)
    }

    /// Returns true if it has to be read before it is written.
    pub(super) fn must_be_read(&self) -> bool {
        self.is_broken || self.has_changed()
    }

    /// Returns true if there was no file when it was last looked at.
    pub(super) fn is_missing(&self) -> bool {
        self.seen.is_none()
    }

    /// Reads the users; `None` if there is no file. `known` are the present users, whose passwords need not be hashed again.
    ///
    /// # Errors
    /// [`UsersError`]. The same file is not read again before it changes.
    pub(super) fn read(
        &mut self,
        catalog: &Catalog,
        known: &State,
    ) -> Result<Option<Loaded>, UsersError> {
        let read = self.try_read(catalog, known);
        self.is_broken = read.is_err();
        read
    }

    fn try_read(&mut self, catalog: &Catalog, known: &State) -> Result<Option<Loaded>, UsersError> {
        let unreadable = |error| UsersError::Unreadable(self.path.clone(), error);
        self.seen = self.stat().map_err(unreadable)?;
        let Some(stat) = &self.seen else {
            return Ok(None);
        };
        if stat.bytes > FILE_BYTES_MAX {
            return Err(UsersError::TooLong(self.path.clone(), stat.bytes));
        }
        let file = System.open(&self.path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        let read = FileReader::new(file, 0).read_to_end(&mut bytes);
        read.map_err(unreadable)?;
        if stat.mode & OTHERS_BITS != 0 {
            let path = self.path.display();
            tracing::warn!("{path} may be read by others than its owner: chmod 600 it");
        }
        let content: Content = serde_json::from_slice(&bytes)
            .map_err(|error| UsersError::Malformed(self.path.clone(), error))?;
        self.load(content, catalog, known).map(Some)
    }

    fn load(
        &self,
        content: Content,
        catalog: &Catalog,
        known: &State,
    ) -> Result<Loaded, UsersError> {
        if content.users.len() > USERS_MAX || content.tokens.len() > TOKENS_MAX {
            return Err(UsersError::TooMany(self.path.clone()));
        }
        let mut state = State::initial(catalog);
        let mut has_typed_password = false;
        for (name, given) in content.users {
            let wrong = |rule: &str, reason: String| UsersError::Rule {
                path: self.path.clone(),
                user: name.clone(),
                rule: rule.to_owned(),
                reason,
            };
            let mut user = User::new(&name, catalog);
            let words = given.rules.split_ascii_whitespace().map(str::as_bytes);
            let rules = merge_selectors(words)
                .map_err(|open| wrong(&open, "its parenthesis is not closed".to_owned()))?;
            for rule in rules {
                has_typed_password |= matches!(rule.first(), Some(b'>' | b'<'));
                user.apply(&rule, catalog).map_err(|error| {
                    let is_password = matches!(rule.first(), Some(b'>' | b'<'));
                    let shown =
                        String::from_utf8_lossy(if is_password { &rule[..1] } else { &rule });
                    wrong(&shown, error.to_string())
                })?;
            }
            for hash in given.passwords {
                let hash = hash.strip_prefix('#').unwrap_or(&hash);
                user.apply(format!("#{hash}").as_bytes(), catalog)
                    .map_err(|error: RuleError| wrong("passwords", error.to_string()))?;
            }
            if let Some(known) = known.users.get(&*name) {
                user.keep_known_passwords(known);
            }
            state.users.insert(user.name.clone(), Arc::new(user));
        }
        state.tokens = content.tokens;
        Ok(Loaded {
            state,
            has_typed_password,
        })
    }

    /// Writes the users, aside and in place of the file at once, and syncs it.
    ///
    /// # Errors
    /// [`UsersError::Unwritable`]; the file is as it was.
    pub(super) fn write(&mut self, state: &State, initial: &State) -> Result<(), UsersError> {
        // The default user is written once it differs from the first one by more than the password of the settings.
        let is_known = |user: &User| {
            let first = &initial.users[DEFAULT_USER];
            &*user.name == DEFAULT_USER && user.without_settings().line() == first.line()
        };
        let users = state.users.values().filter(|user| !is_known(user));
        let users = users.map(|user| {
            let content = UserContent {
                rules: user.rules(),
                passwords: user.password_hashes(),
            };
            (user.name.to_string(), content)
        });
        let content = Content {
            users: users.collect(),
            tokens: state.tokens.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&content).expect("it has only texts");
        text.push(b'\n');
        self.replace(&text)
            .map_err(|error| UsersError::Unwritable(self.path.clone(), error))?;
        self.seen = self.stat().unwrap_or_default();
        Ok(())
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let aside = self.path.with_extension("json.new");
        let file = System.create(&aside, None)?;
        append_all(&*file, text)?;
        file.sync_all()?;
        System.rename(&aside, &self.path)?;
        System.sync_folder(self.path.parent().unwrap_or(Path::new(".")))
    }
}
