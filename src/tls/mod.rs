//! TLS: the server's certificate, and what a handshake makes of a socket.
//!
//! In: files of a certificate, its key, and the authorities of clients; accepted sockets. Out: encrypted streams, each with the name in
//! the client's certificate. Promises: TLS 1.2 and 1.3 (RFC 5246, RFC 8446) and nothing older; new files take effect without a restart,
//! and bad ones leave the old in force; a handshake ends in [`HANDSHAKE_MAX`]; whoever speaks no TLS is told so in its own words.

mod certificate;
mod client;
mod files;
mod handshake;
mod identity;
mod sometimes;

pub use client::client_connector;
pub use files::{TlsError, TlsFiles};
pub use handshake::{
    HANDSHAKE_MAX, HANDSHAKE_RECORD, Handshake, NoTls, TLS_BYTES, TlsStream, note_tls_on_plain_port,
};
pub use identity::{HANDSHAKES_MAX, Tls};
