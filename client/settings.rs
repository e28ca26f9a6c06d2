//! The choice of the server, by flag, environment or named profile, its password, and whom to trust.
//!
//! In: flags, `PYKV_URL`, `PYKV_PROFILE`, `PYKV_PASSWORD`, `PYKV_CACERT`, `PYKV_CERT`, `PYKV_KEY`, `~/.config/pykv/config.json`. Out: an
//! address, and the options of TLS. Promises: flags take precedence
//! over the environment; a password is never shown.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use crate::address::Address;
use crate::error::ClientError;
use crate::tls::{self, TlsOptions};

/// The server if none is chosen.
const DEFAULT: &str = "pykv://127.0.0.1:7878";

/// The flags that choose the server.
#[derive(Debug, clap::Args)]
pub struct Server {
    /// URL of the server, pykv://host:port, pykv://user:password@host:port, pykvs:// for TLS, or unix:path [env: PYKV_URL] [default: pykv://127.0.0.1:7878]
    #[arg(short, long, global = true)]
    url: Option<String>,

    /// Profile of ~/.config/pykv/config.json to use, {"profiles": {"shop": {"url": "pykv://..."}}} [env: PYKV_PROFILE]
    #[arg(long, global = true, conflicts_with = "url")]
    profile: Option<String>,

    /// Prompt for the password, without echo [env for scripts: PYKV_PASSWORD]
    #[arg(long, global = true)]
    askpass: bool,

    /// Authorities to trust for pykvs://, in PEM, in place of the system's [env: PYKV_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Certificate of this client, in PEM, where the server requires one [env: PYKV_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// Private key of the certificate of --cert [env: PYKV_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Trust any server for pykvs://, also an impostor
    #[arg(long, global = true)]
    insecure: bool,
}

/// The configuration file.
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
    /// Returns the options of TLS.
    fn tls(&self) -> Result<TlsOptions, ClientError> {
        let path = |flag: &Option<PathBuf>, name| {
            let given = || env::var_os(name).filter(|value| !value.is_empty());
            flag.clone().or_else(|| given().map(PathBuf::from))
        };
        let own = match (path(&self.cert, "PYKV_CERT"), path(&self.key, "PYKV_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let reason = "--cert and --key (PYKV_CERT and PYKV_KEY) belong together: give both";
                return Err(ClientError::Usage(reason.to_owned()));
            }
        };
        Ok(TlsOptions {
            cacert: path(&self.cacert, "PYKV_CACERT"),
            own,
            is_insecure: self.insecure,
        })
    }

    /// Returns the address of the chosen server, with its password; sets the options of TLS.
    ///
    /// # Errors
    /// [`ClientError::Address`] if the URL is malformed; `Usage` if the profile is unknown; `File` if the configuration file cannot be
    /// read, or no password from the terminal.
    pub fn address(&self) -> Result<Address, ClientError> {
        tls::configure(self.tls()?);
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
            Some(asked.map_err(ClientError::terminal)?)
        } else {
            // A password in the address takes precedence over the environment.
            given("PYKV_PASSWORD").filter(|_| !address.has_password())
        };
        Ok(match password {
            Some(password) => address.with_password(password),
            None => address,
        })
    }
}

/// Returns the URL of a profile.
fn url_of(name: &str) -> Result<String, ClientError> {
    let file = file().ok_or_else(|| ClientError::Usage("there is no home folder".to_owned()))?;
    let shown = file.display().to_string();
    let text = fs::read(&file).map_err(ClientError::file("read", &shown))?;
    // The message of serde_json may quote the file, and with it a password.
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

/// Returns the path of the configuration file (XDG Base Directory Specification).
fn file() -> Option<PathBuf> {
    let config = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute());
    let config = config.or_else(|| env::home_dir().map(|home| home.join(".config")))?;
    Some(config.join("pykv/config.json"))
}
