//! Tokens: generated passwords of programs that use HTTP, each with a name and, if wanted, an end.
//!
//! In: a user and a name. Out: a token, which is shown once; later the user of a token. Promise: only its digest is kept, which is
//! enough for 256 random bits.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::passwords::{hex, random, sha256};
use crate::codec::json;
use crate::model::{UnixMs, now_ms};

/// Maximum number of tokens: they are kept.
pub const TOKENS_MAX: usize = 10_000;
/// First characters of each token, by which scanners of source code can find it.
const PREFIX: &str = "pykv_";

/// A token, without what must be kept secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::command) struct Token {
    /// User whose permissions it has.
    pub(in crate::command) user: String,
    /// SHA-256 digest, in hexadecimal.
    sha256: String,
    /// `None` if it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<End>,
}

/// The tokens by their names.
pub(super) type Tokens = BTreeMap<String, Token>;

impl Token {
    /// Makes a token. Returns its text, too.
    pub(super) fn generate(user: &str, expires_at: Option<UnixMs>) -> (Self, String) {
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random::<32>()));
        let token = Self {
            user: user.to_owned(),
            sha256: hex(&sha256(text.as_bytes())),
            expires_at: expires_at.map(End),
        };
        (token, text)
    }

    /// Returns true if it is still valid.
    pub(in crate::command) fn is_valid(&self) -> bool {
        self.expires_at().is_none_or(|end| end > now_ms())
    }

    /// Returns its end, in milliseconds since 1970; `None` if it has no end.
    pub(in crate::command) fn expires_at(&self) -> Option<UnixMs> {
        self.expires_at.as_ref().map(|end| end.0)
    }
}

/// Returns the valid token with this text. The digest is not secret enough to need a comparison in constant time: whoever could find
/// it digit by digit would not know its preimage.
pub(super) fn find<'t>(tokens: &'t Tokens, text: &str) -> Option<&'t Token> {
    let digest = hex(&sha256(text.as_bytes()));
    tokens
        .values()
        .find(|token| token.sha256 == digest && token.is_valid())
}

/// End of a token, in milliseconds since 1970; in the file a time (RFC 3339).
#[derive(Debug, Clone, Copy)]
struct End(UnixMs);

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&json::time(self.0))
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            || de::Error::custom(format!("`{text}` is no time, such as 2027-01-31T12:00:00Z"));
        json::read_moment(&text).map(Self).ok_or_else(wrong)
    }
}
