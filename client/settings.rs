//! Which server is meant: by flag, by environment, or by a named profile of the file of settings; and the password for it.
//!
//! In: flags, `PYKV_URL`, `PYKV_PROFILE`, `PYKV_PASSWORD`, `~/.config/pykv/config.json`. Out: an address. Promises: a flag counts before
//! the environment; a password is never shown.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use crate::connection::Address;
use crate::error::ClientError;

/// The server that is meant if nothing says which.
const DEFAULT: &str = "pykv://127.0.0.1:7878";

/// Which server is meant.
#[derive(Debug, clap::Args)]
pub struct Server {
    /// The server: pykv://host:port or pykv://user:password@host:port; also in PYKV_URL; else pykv://127.0.0.1:7878
    #[arg(short, long, global = true)]
    url: Option<String>,

    /// A server that ~/.config/pykv/config.json names: {"profiles": {"shop": {"url": "pykv://..."}}}; also in PYKV_PROFILE
    #[arg(long, global = true, conflicts_with = "url")]
    profile: Option<String>,

    /// Ask for the password, and do not show it; else it is taken from PYKV_PASSWORD, if that is there
    #[arg(long, global = true)]
    askpass: bool,
}

/// The file of settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Servers by name.
    profiles: BTreeMap<String, Profile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: String,
}

impl Server {
    /// The server's address, with what it takes to get in.
    ///
    /// # Errors
    /// The address is none; there is no such profile, or the file cannot be read.
    pub fn address(&self) -> Result<Address, ClientError> {
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let url = match (&self.url, &self.profile) {
            (Some(url), _) => url.clone(),
            (None, Some(profile)) => url_of(profile)?,
            (None, None) => match (given("PYKV_URL"), given("PYKV_PROFILE")) {
                (Some(url), _) => url,
                (None, Some(profile)) => url_of(&profile)?,
                (None, None) => DEFAULT.to_owned(),
            },
        };
        let address: Address = url.parse()?;
        let password = if self.askpass {
            let terminal = console::Term::stderr();
            let asked = terminal
                .write_str(&format!("Password for {address}: "))
                .and_then(|()| terminal.read_secure_line());
            Some(asked.map_err(ClientError::file("use", "the terminal"))?)
        } else {
            // One that the address has itself counts before the environment.
            given("PYKV_PASSWORD").filter(|_| !address.has_password())
        };
        Ok(match password {
            Some(password) => address.with_password(password),
            None => address,
        })
    }
}

/// The URL of a profile.
fn url_of(name: &str) -> Result<String, ClientError> {
    let file = file().ok_or_else(|| ClientError::Usage("there is no home folder".to_owned()))?;
    let shown = file.display().to_string();
    let text = fs::read(&file).map_err(ClientError::file("read", &shown))?;
    // What serde_json says may quote the file, and so a password.
    let place = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        io::Error::other(format!(
            "line {line} column {column}: it has to be {{\"profiles\": {{\"name\": {{\"url\": \"pykv://...\"}}}}}}"
        ))
    };
    let settings: Settings = serde_json::from_slice(&text)
        .map_err(place)
        .map_err(ClientError::file("read", &shown))?;
    let mut profiles = settings.profiles;
    profiles
        .remove(name)
        .map(|profile| profile.url)
        .ok_or_else(|| {
            let known: Vec<_> = profiles.into_keys().collect();
            let known = known.join(", ");
            ClientError::Usage(format!("{shown} has no profile {name:?}, but: {known}"))
        })
}

/// Where settings are kept (XDG Base Directory Specification).
fn file() -> Option<PathBuf> {
    let config = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute());
    let config = config.or_else(|| env::home_dir().map(|home| home.join(".config")))?;
    Some(config.join("pykv/config.json"))
}
