//! How data is written outside memory: as JSON, and gzipped.
//!
//! In: keys and values, or bytes of a file. Out: the other. Nothing here knows who reads or writes.

pub mod gzip;
pub mod json;
