//! Measurements of a running server: counters, latency histograms, resources of the process, recent requests.
//!
//! In: the counts of each batch of requests. Out: numbers. Promise: no dependency on commands, the engine or HTTP.

pub mod counter;
pub mod counters;
pub mod histogram;
pub mod process;
pub mod recent_requests;
mod thread_slot;
pub mod unknown_commands;
