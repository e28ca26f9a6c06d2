//! What is measured while the server runs: counters, latencies, the process itself, and recent requests.
//!
//! In: what each batch of requests has counted. Out: figures. Nothing here knows commands or the engine.

pub mod counters;
pub mod histogram;
pub mod process;
pub mod recent_requests;
