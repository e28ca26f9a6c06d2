//! What the tests share: the built server and client, a Redis, disks that fail, folders made by hand. No tests.

pub mod by_hand; // journals and folders made by hand
pub mod client; // the built client, and its prompt in a pseudo-terminal
pub mod full_disk; // a disk that takes no more
pub mod http; // a client of the HTTP port
pub mod redis; // a real Redis
pub mod resp; // a client that speaks RESP
#[allow(dead_code, reason = "whole/histories/ shares it and uses more")]
pub mod server; // TestServer, TestClient
pub mod simulated_disk; // a disk in memory that fails and loses power
pub mod tls; // certificates, and a client that speaks TLS
