//! Measurements of a running server: counters, latency histograms, resources of the process, recent requests.
//!
//! In: the tally of each batch of requests. Out: numbers. Nothing here knows commands, the engine or HTTP.

pub mod counters;
pub mod histogram;
pub mod process;
pub mod recent_requests;
