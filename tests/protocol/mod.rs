//! How the dialects are read and written. The examples of protocol.md are played in `whole::protocol_md`.

mod foreign; // clients of other protocols, whose bytes are not executed
mod resp; // what a Redis client sees
