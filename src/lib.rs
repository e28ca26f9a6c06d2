//! `PyKV`: a key-value server that speaks lines and HTTP, keeps its data as JSON, and remembers across restarts.
//!
//! A request goes down this list and its reply comes back up. No module names one that stands above it, and no file one that names it;
//! `tests/whole/house` reads this list and checks every file.
//!
//! ```text
//! main         the program            flags, signals, exit status
//! supervisor   sd_notify              the state of the server -> systemd
//! health       `health`               the text port -> whether it answers
//! http         HTTP                   requests of the API -> Request; replies -> JSON
//! server       the text port          accepts; bytes in, batches, bytes out
//! backup       `backup`               a data folder -> a copy of it
//! check        `check` and `repair`   a folder that no server uses -> what is wrong with it
//! command      what a request means   Request -> calls on the engine -> Reply
//! config       the settings           flags, variables -> one table of values
//! cluster      a Redis Cluster        requests for slots -> replies of its nodes
//! replication  replicas               the feed of a primary -> changes of the engine
//! tls          TLS                certificates; a socket -> an encrypted stream
//! protocol     what the bytes say     bytes -> Request; Reply -> bytes
//! engine       the map                Key, Value -> Change; locks, expiry, saves
//! persistence  what survives a crash  Change -> journal and snapshot
//! lua          scripts                text of a script -> calls on its host -> a value
//! metrics      counters               what happened -> numbers
//! codec        JSON, files of pairs   Value -> text, and back
//! receive_buffer   arriving bytes     pieces -> what is waiting, in one piece
//! spare        memory kept by threads a buffer that is done with -> the next one
//! model        what is stored         Key, Value, Change, and a pair in memory
//! error        causes                 an error -> one line with its causes
//! stdout       output of commands     a text -> standard output
//! ```

pub mod backup;
pub mod check;
pub mod cluster;
pub mod codec;
pub mod command;
pub mod config;
pub mod engine;
pub mod error;
pub mod health;
pub mod http;
pub mod lua;
pub mod metrics;
pub mod model;
pub mod persistence;
pub mod protocol;
pub mod receive_buffer;
pub mod replication;
pub mod server;
pub mod spare;
pub mod stdout;
pub mod supervisor;
pub mod tls;
