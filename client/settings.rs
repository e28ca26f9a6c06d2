//! The choice of the server, by flag, environment or named profile, its password, and whom to trust.
//!
//! In: flags, `PYKV_URL`, `PYKV_PROFILE`, `PYKV_PASSWORD`, `PYKV_TIMEOUT`, `PYKV_CACERT`, `PYKV_CERT`, `PYKV_KEY`,
//! `~/.config/pykv/config.json`. Out: an address, the limit of waits, and the options of TLS. Promises: flags take precedence over the
//! environment; a password is never shown.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use pykv::codec::bom::BOM;
use serde::Deserialize;

use crate::address::Address;
use crate::deadline;
use crate::error::ClientError;
use crate::question::{Answer, ask_secretly};
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

    /// Seconds that the server has to accept, and to go on with an answer that is due; 0: no limit [env: PYKV_TIMEOUT] [default: 10]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<f64>,

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

    /// Returns the address of the chosen server, with its password; sets the options of TLS and the limit of waits.
    ///
    /// # Errors
    /// [`ClientError::Address`] if the URL is malformed; `Usage` if the profile is unknown; `File` if the configuration file cannot be
    /// read, or no password from the terminal.
    pub fn address(&self) -> Result<Address, ClientError> {
        tls::configure(self.tls()?);
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let seconds_given = || given("PYKV_TIMEOUT").map(|text| seconds(&text)).transpose();
        let timeout = match self.timeout {
            Some(timeout) => Some(timeout),
            None => seconds_given()
                .map_err(|reason| ClientError::Usage(format!("PYKV_TIMEOUT is wrong: {reason}")))?,
        };
        deadline::configure(timeout.unwrap_or(deadline::DEFAULT_SECONDS));
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
            match ask_secretly(&format!("Password for {address}: ")) {
                Ok(Answer::Line(password)) => Some(password),
                Ok(Answer::Interrupted) => return Err(ClientError::Dismissed),
                Err(error) => return Err(ClientError::terminal(error)),
            }
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

/// Parses a time, in seconds.
///
/// # Errors
/// A sentence if it is no number, negative, or longer than a day.
pub fn seconds(text: &str) -> Result<f64, String> {
    const DAY: f64 = 86_400.0;
    match text.parse() {
        Ok(seconds) if (0.0..=DAY).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0 to 86400 is needed".to_owned()),
    }
}

/// Returns the URL of a profile.
fn url_of(name: &str) -> Result<String, ClientError> {
    let file = file().ok_or_else(|| ClientError::Usage("there is no home folder".to_owned()))?;
    let shown = file.display().to_string();
    let text = fs::read(&file).map_err(ClientError::file("read", &shown))?;
    let text = text.strip_prefix(BOM.as_bytes()).unwrap_or(&text);
    // The message of serde_json may quote the file, and with it a password.
    let place = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        io::Error::other(format!(
            "line {line} column {column}: it has to be {{\"profiles\": {{\"name\": {{\"url\": \"pykv://...\"}}}}}}"
        ))
    };
    let settings: Settings = serde_json::from_slice(text)
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
