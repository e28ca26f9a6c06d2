//! The certificate that the server presents, for as long as it runs.
//!
//! In: files. Out: the configuration of new handshakes. Promises: files that have changed are read again; where they cannot be used, the
//! certificate in use stays, and the log says why.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::files::{Loaded, Stamps, TlsError, TlsFiles};
use crate::error::error_chain;

/// Interval at which the files are examined.
const EXAMINE_INTERVAL: Duration = Duration::from_secs(2);
/// Time before the end of the certificate from which on it is warned of.
const WARNING_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 86_400;
/// Maximum number of handshakes at a time: each takes processor time and memory before anything is known of the client.
pub const HANDSHAKES_MAX: usize = 1_000;

/// The server's side of TLS.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    loaded: RwLock<Loaded>,
    /// Places of handshakes.
    pub(super) handshakes: Semaphore,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and its flag.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let loaded = files.load()?;
        Ok(Self {
            files,
            loaded: RwLock::new(loaded),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
        })
    }

    /// Returns what new handshakes use.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&loaded.config)
    }

    fn stamps(&self) -> Stamps {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.stamps.clone()
    }

    /// Returns the number of whole days until the certificate ends; negative once it has ended.
    #[must_use]
    pub fn expires_in_days(&self) -> i64 {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs()).cast_signed();
        (loaded.not_after - now).div_euclid(DAY_SECONDS)
    }

    /// Returns a sentence if the certificate ends soon, or has ended.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let days = self.expires_in_days();
        let path = self.files.certificate.display();
        match days {
            ..0 => Some(format!(
                "the certificate of --tls-cert {path} has expired; put a new one in its place"
            )),
            0..WARNING_DAYS => Some(format!(
                "the certificate of --tls-cert {path} expires in {days} days; put a new one in its place"
            )),
            _ => None,
        }
    }

    /// Reads the files again when they have changed, or on SIGHUP, until `shutdown`.
    pub async fn watch(&self, shutdown: CancellationToken) {
        self.warn();
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut interval = tokio::time::interval(EXAMINE_INTERVAL);
        // The stamps that were seen last, and those that were refused.
        let mut seen = self.stamps();
        let mut settled = seen.clone();
        loop {
            let is_asked = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = interval.tick() => false,
                () = hung_up(&mut hangup) => true,
            };
            let stamps = self.files.stamps();
            // A certificate and its key are two files: they are read once neither changes any more.
            let is_new = stamps != settled && stamps == seen;
            seen = stamps.clone();
            if is_asked || is_new {
                settled = stamps;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        match self.files.load() {
            Ok(loaded) => {
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                let path = self.files.certificate.display();
                tracing::info!("new connections use the certificate of {path} as it is now");
                self.warn();
            }
            Err(error) => tracing::warn!(
                "the certificate in use is kept, as the new one cannot be: {}",
                error_chain(&error)
            ),
        }
    }

    fn warn(&self) {
        if let Some(warning) = self.warning() {
            tracing::warn!("{warning}");
        }
    }
}

/// Waits for SIGHUP.
async fn hung_up(hangup: &mut Option<tokio::signal::unix::Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}
