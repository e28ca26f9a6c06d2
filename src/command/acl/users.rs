//! All users and tokens.
//!
//! In: changes by commands and by the file; passwords. Out: users. Promises: a change is in the file before it takes effect; a request
//! sees all of a change or nothing; a wrong password takes as long to refuse whether or not the user exists.

use std::path::Path;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::attempts::{Attempts, Origin};
use super::catalog::Catalog;
use super::denials::Denials;
use super::passwords::{PASSWORD_BYTES_MAX, Password, compare_with_nobody};
use super::state::{DEFAULT_USER, State};
use super::tokens::{self, TOKENS_MAX, Token};
use super::user::User;
use super::users_file::{Loaded, UsersError, UsersFile};
use crate::command::lookup::CommandList;
use crate::error::error_chain;
use crate::model::UnixMs;

/// All users and tokens.
#[derive(Debug)]
pub struct Users {
    catalog: Catalog,
    state: RwLock<Arc<State>>,
    /// Number of changes, which every request reads.
    generation: AtomicU64,
    /// The file; locked while users are changed.
    file: Mutex<UsersFile>,
    /// Password of the default user from the settings.
    password: Option<Arc<Password>>,
    attempts: Attempts,
    denials: Denials,
}

impl Users {
    /// Loads the users of a data folder. `password` is that of the default user from the settings.
    ///
    /// # Errors
    /// [`UsersError`].
    pub fn open(
        commands: &'static CommandList,
        folder: &Path,
        password: Option<&str>,
    ) -> Result<Self, UsersError> {
        let catalog = Catalog::new(commands);
        let password = password.map(|text| Arc::new(Password::of_settings(text.as_bytes())));
        let initial = State::initial(&catalog);
        let mut file = UsersFile::in_folder(folder);
        let loaded = file.read(&catalog, &initial)?;
        let users = Self {
            catalog,
            state: RwLock::new(Arc::new(initial)),
            generation: AtomicU64::new(0),
            file: Mutex::new(file),
            password,
            attempts: Attempts::new(),
            denials: Denials::default(),
        };
        match loaded {
            Some(loaded) => users.take(&mut users.file(), loaded)?,
            None => users.publish((*users.state()).clone(), true),
        }
        Ok(users)
    }

    fn file(&self) -> MutexGuard<'_, UsersFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::command) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of changes of the users.
    #[inline(always)]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Returns a user.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.users.get(name).cloned()
    }

    /// Returns a user that may sign in.
    #[must_use]
    pub fn enabled(&self, name: &str) -> Option<Arc<User>> {
        self.get(name).filter(|user| user.is_on)
    }

    pub(in crate::command) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(in crate::command) fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Returns true if any user can sign in with a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.state().users.values().any(|user| user.has_password())
    }

    /// Returns the number of users.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().users.len()
    }

    /// Returns the number of refused attempts to sign in.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.attempts.refused()
    }

    /// Returns true if clients may use the server without signing in, where that is allowed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.get(DEFAULT_USER).is_some_and(|user| user.is_open())
    }

    fn publish(&self, mut state: State, adds_password: bool) {
        if adds_password {
            state.add_password(self.password.as_ref());
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.generation.fetch_add(1, Release);
    }

    /// Takes what was read from the file. Replaces typed passwords there by their hashes.
    fn take(&self, file: &mut UsersFile, loaded: Loaded) -> Result<(), UsersError> {
        if loaded.has_typed_password {
            file.write(&loaded.state, &State::initial(&self.catalog))?;
        }
        self.publish(loaded.state, true);
        Ok(())
    }

    /// Changes users or tokens, in the file first. Slow; others are changed afterwards.
    ///
    /// # Errors
    /// That of `edit`, or [`UsersError`]; nothing changes then.
    pub(in crate::command) fn change<R, E: From<UsersError>>(
        &self,
        edit: impl FnOnce(&mut State, &Catalog) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut file = self.file();
        if file.must_be_read() {
            self.reload_locked(&mut file)?;
        }
        let mut state = (*self.state()).clone();
        let result = edit(&mut state, &self.catalog)?;
        file.write(&state, &State::initial(&self.catalog))?;
        self.publish(state, false);
        Ok(result)
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// [`UsersError`]; nothing changes then.
    pub fn reload(&self) -> Result<(), UsersError> {
        self.reload_locked(&mut self.file())
    }

    fn reload_locked(&self, file: &mut UsersFile) -> Result<(), UsersError> {
        match file.read(&self.catalog, &self.state())? {
            Some(loaded) => self.take(file, loaded),
            // Whoever removes the file must not open the server by that.
            None => Ok(()),
        }
    }

    /// Writes the file, with the edits of others.
    ///
    /// # Errors
    /// [`UsersError`].
    pub fn save(&self) -> Result<(), UsersError> {
        self.change(|_, _| Ok(()))
    }

    /// Reads the file if it has changed. Returns true if the users have changed. The log tells of a file that is not valid, once.
    pub fn reload_if_changed(&self) -> bool {
        let mut file = self.file();
        if !file.has_changed() {
            return false;
        }
        let path = file.path.display().to_string();
        match self.reload_locked(&mut file) {
            Ok(()) if file.is_missing() => {
                tracing::warn!(
                    "{path} has been removed; its users stay as they were until the next start"
                );
                false
            }
            Ok(()) => {
                tracing::info!("{path} has been edited; its users are in force");
                true
            }
            Err(error) => {
                let reason = error_chain(&error);
                tracing::error!(
                    "the users stay as they were, as the edited file cannot be used: {reason}"
                );
                false
            }
        }
    }

    /// Compares a password without slow hashes. Returns the user if the password is known to be right.
    pub(in crate::command) fn sign_in_fast(
        &self,
        origin: Origin,
        name: &str,
        password: &[u8],
        allows_anonymous: bool,
    ) -> Option<Arc<User>> {
        let user = self.enabled(name)?;
        if user.has_no_password {
            return allows_anonymous.then_some(user);
        }
        self.attempts.compare_fast(origin, || {
            let is_known = user.passwords.iter().any(|one| one.is_known(password));
            is_known.then_some(user)
        })
    }

    /// Compares a password. Returns the user, or `None` after a delay if the password is wrong, the user is off or does not exist.
    pub async fn sign_in(
        &self,
        origin: Origin,
        name: &str,
        password: &[u8],
        allows_anonymous: bool,
    ) -> Option<Arc<User>> {
        if let Some(user) = self.sign_in_fast(origin, name, password, allows_anonymous) {
            return Some(user);
        }
        let attempt = self.attempts.begin(origin).await;
        let user = self.enabled(name);
        let passwords = user.as_ref().map(|user| user.passwords.clone());
        let passwords = passwords.unwrap_or_default();
        let typed: Box<[u8]> = password[..password.len().min(PASSWORD_BYTES_MAX + 1)].into();
        let is_right = self.attempts.hash(move || {
            let is_short = typed.len() <= PASSWORD_BYTES_MAX;
            let is_right = is_short && passwords.iter().any(|one| one.is_right(&typed));
            if !passwords.iter().any(|one| one.is_slow()) {
                compare_with_nobody(&typed);
            }
            is_right
        });
        if is_right.await {
            return user;
        }
        self.attempts.refuse(attempt).await;
        None
    }

    /// Returns the user of a token, or `None` after a delay.
    pub async fn sign_in_by_token(&self, origin: Origin, text: &str) -> Option<Arc<User>> {
        let found = || {
            let state = self.state();
            let token = tokens::find(&state.tokens, text)?;
            self.enabled(&token.user)
        };
        if let Some(user) = self.attempts.compare_fast(origin, found) {
            return Some(user);
        }
        let attempt = self.attempts.begin(origin).await;
        if let Some(user) = found() {
            return Some(user);
        }
        self.attempts.refuse(attempt).await;
        None
    }

    /// Makes a token. Returns its text, which is kept nowhere.
    ///
    /// # Errors
    /// A text for the user, or [`UsersError`].
    pub(in crate::command) fn add_token<E: From<UsersError> + From<String>>(
        &self,
        name: &str,
        user: &str,
        expires_at: Option<UnixMs>,
    ) -> Result<String, E> {
        self.change(|state, _| {
            if state.tokens.contains_key(name) {
                return Err(E::from(format!(
                    "there is a token '{name}' already; delete it first, or choose another name"
                )));
            }
            if !state.users.contains_key(user) {
                return Err(E::from(format!("there is no user '{user}'")));
            }
            if state.tokens.len() == TOKENS_MAX {
                return Err(E::from(format!("there are {TOKENS_MAX} tokens already")));
            }
            let (token, text) = Token::generate(user, expires_at);
            state.tokens.insert(name.to_owned(), token);
            Ok(text)
        })
    }
}
