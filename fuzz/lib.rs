//! What the fuzzers share: the layers of PyKV that read bytes, the tests' disk in memory, and a place for what is read.
//!
//! In: the sources of the project, as they stand. Out: the same modules, built with the fuzzer's counters. Promises: nothing
//! of PyKV is copied. The layers below `engine` name nothing above them, so they build alone, in seconds.

#[path = "../src/codec/mod.rs"]
pub mod codec;
#[path = "../src/engine/mod.rs"]
pub mod engine;
#[path = "../src/error.rs"]
pub mod error;
#[path = "../src/model/mod.rs"]
pub mod model;
#[path = "../src/persistence/mod.rs"]
pub mod persistence;
#[path = "../src/protocol/mod.rs"]
pub mod protocol;
#[path = "../src/receive_buffer.rs"]
pub mod receive_buffer;
#[path = "../src/spare.rs"]
pub mod spare;

#[cfg(fuzzing)]
#[allow(
    missing_docs,
    clippy::must_use_candidate,
    reason = "it belongs to the tests, where nothing is public"
)]
#[path = "../tests/support/simulated_disk.rs"]
pub mod simulated_disk;

// Without the counters, the unit tests of these layers are run: see tests/run.
#[cfg(fuzzing)]
pub mod folder;
#[cfg(fuzzing)]
pub mod members;
#[cfg(fuzzing)]
pub mod pairs;

// The tests know these modules by this name.
extern crate self as pykv;
