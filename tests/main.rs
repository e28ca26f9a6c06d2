//! One test program: its modules share their helpers, and it is linked once.
//!
//! A folder for each layer of the server, and its `mod.rs` says what each file shows. `cargo test --test tests http::` runs a folder,
//! `cargo test --test tests restart::` a file.

mod client; // the built client
mod command; // what requests mean, family by family
mod engine; // what the map promises while many use it
mod http; // the HTTP port: the older contract, the API, operations, the dashboard
mod persistence; // what survives a crash, a fault of the disk, a power cut, damage
mod protocol; // how the dialects are read and written
mod server; // connections: pipelines, and clients that come before the data
mod support; // what the tests share: servers, clients, disks that fail
mod whole; // what no one layer shows: limits, other clients, Redis beside it, the documents, the house
