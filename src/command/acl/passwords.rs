//! Passwords, as far as they are kept.
//!
//! In: a password as it was typed, or its stored hash. Out: a stored hash; whether a typed password is the right one. Promises: a typed
//! password is hashed by Argon2id (RFC 9106) and kept nowhere; one that was right once is told again by a fast hash whose key this
//! process alone has, in its memory.

use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

use argon2::password_hash::{
    self, PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString,
};
use argon2::{Argon2, Params};
use sha2::{Digest as _, Sha256};

/// Maximum length of a password in bytes: each attempt hashes all of it.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Maximum memory for hashing one password, in KiB: a file may ask for more than the machine has.
const HASH_KIB_MAX: u32 = 256 << 10;
/// Maximum number of passes for hashing one password.
const HASH_PASSES_MAX: u32 = 16;
/// Length of a salt in bytes, as RFC 9106 recommends.
const SALT_BYTES: usize = 16;

/// Key of the fast hashes, which ends with the process.
static KEY: LazyLock<[u8; 32]> = LazyLock::new(random);

/// A hash that never verifies, for users that do not exist: their refusal takes as long as that of others.
static NOBODY: LazyLock<String> = LazyLock::new(|| argon2id(&random::<32>()));

/// Returns random bytes of the operating system.
///
/// # Panics
/// If the system has none.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// Returns the SHA-256 digest.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns bytes in lower-case hexadecimal.
pub(in crate::command) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a SHA-256 digest of 64 hexadecimal digits in lower case.
pub(super) fn parse_sha256(text: &[u8]) -> Option<[u8; 32]> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 64 || !text.iter().all(is_digit) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let mut digest = [0; 32];
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(digest)
}

fn argon2id(password: &[u8]) -> String {
    let salt = SaltString::encode_b64(&random::<SALT_BYTES>()).expect("a salt of that length");
    let hash = Argon2::default().hash_password(password, &salt);
    hash.expect("the defaults are valid").to_string()
}

fn verify_argon2(text: &str, password: &[u8]) -> bool {
    let verify = || -> password_hash::Result<()> {
        let hash = PasswordHash::new(text)?;
        let params = Params::try_from(&hash)?;
        if params.m_cost() > HASH_KIB_MAX || params.t_cost() > HASH_PASSES_MAX {
            return Err(password_hash::Error::Password);
        }
        Argon2::default().verify_password(password, &hash)
    };
    verify().is_ok()
}

/// Spends the time of a slow comparison, for a user without any password.
pub(super) fn compare_with_nobody(password: &[u8]) {
    verify_argon2(&NOBODY, password);
}

/// A password of a user.
pub(super) struct Password {
    stored: Stored,
    /// Fast hash of the right password, once it is known.
    remembered: Mutex<Option<blake3::Hash>>,
}

#[derive(PartialEq, Eq)]
enum Stored {
    /// Argon2 hash in the PHC string format.
    Argon2(String),
    /// SHA-256 digest, for generated passwords.
    Sha256([u8; 32]),
    /// Nothing: the password comes from the settings, and its fast hash is remembered from the start.
    Nothing,
}

impl Password {
    fn new(stored: Stored, remembered: Option<blake3::Hash>) -> Self {
        Self {
            stored,
            remembered: Mutex::new(remembered),
        }
    }

    /// Hashes a password as it was typed, in some tens of milliseconds.
    pub(super) fn typed(password: &[u8]) -> Self {
        let remembered = Some(blake3::keyed_hash(&KEY, password));
        Self::new(Stored::Argon2(argon2id(password)), remembered)
    }

    /// Takes a password of the settings, which is stored there.
    pub(super) fn of_settings(password: &[u8]) -> Self {
        Self::new(Stored::Nothing, Some(blake3::keyed_hash(&KEY, password)))
    }

    /// Parses a stored hash: 64 hexadecimal digits, or an Argon2 hash in the PHC string format.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if let Some(digest) = parse_sha256(text) {
            return Some(Self::new(Stored::Sha256(digest), None));
        }
        let text = std::str::from_utf8(text).ok()?;
        let hash = PasswordHash::new(text).ok()?;
        let is_argon2 = hash.algorithm.as_str().starts_with("argon2") && hash.hash.is_some();
        is_argon2.then(|| Self::new(Stored::Argon2(text.to_owned()), None))
    }

    /// Returns the stored hash, as [`Self::parse`] reads it; `None` for a password of the settings.
    pub(super) fn text(&self) -> Option<String> {
        match &self.stored {
            Stored::Argon2(text) => Some(text.clone()),
            Stored::Sha256(digest) => Some(hex(digest)),
            Stored::Nothing => None,
        }
    }

    /// Compares without a slow hash: true if the password is known to be the right one.
    pub(super) fn is_known(&self, password: &[u8]) -> bool {
        if let Stored::Sha256(digest) = &self.stored {
            // The comparison takes the same time wherever they differ.
            return blake3::Hash::from(*digest) == blake3::Hash::from(sha256(password));
        }
        let remembered = *self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.is_some_and(|known| known == blake3::keyed_hash(&KEY, password))
    }

    /// Compares with a slow hash if need be, and remembers the right password.
    pub(super) fn is_right(&self, password: &[u8]) -> bool {
        if self.is_known(password) {
            return true;
        }
        let Stored::Argon2(text) = &self.stored else {
            return false;
        };
        let is_right = verify_argon2(text, password);
        if is_right {
            let mut remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *remembered = Some(blake3::keyed_hash(&KEY, password));
        }
        is_right
    }

    /// Returns true if both have the same stored hash.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.stored == other.stored && self.stored != Stored::Nothing
    }

    /// Returns true if a slow hash is needed before a wrong password is told.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.stored, Stored::Argon2(_))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}
