//! `PyKV`: a key-value server that speaks lines and HTTP, keeps its data as JSON, and remembers across restarts.
//!
//! A request goes down this list and its reply comes back up; no module names one above it.
//!
//! ```text
//! server        the sockets                   accepts, counts, shuts down
//! connection    one client of the text port   bytes in, bytes out          http: the same for the shim
//! command       what the request means        Request -> calls on the engine -> Reply
//! protocol      what the bytes say            bytes -> Request, Reply -> bytes
//! engine        the map, and its promises     Key, Value -> Change
//! persistence   what survives a crash         Change -> journal and snapshot
//! ```
//!
//! A connection takes what has arrived from `input`, and `execution` does a batch of it. `record` (what is stored), `entry` (how
//! it lies in memory), `json` (how it stands in JSON), `packed` (how a file of it is packed), `stats` (the counters) and `causes`
//! (why something failed) stand beside the layers; `verdict` is what `check` and `repair` say of a folder that no server uses.

pub mod check;
pub mod codec;
pub mod command;
pub mod config;
pub mod engine;
pub mod error;
pub mod http;
pub mod metrics;
pub mod model;
pub mod persistence;
pub mod protocol;
pub mod server;
