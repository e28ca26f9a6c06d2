//! The forms of data outside memory: JSON, and gzip.
//!
//! In: keys and values, or the bytes of a file. Out: the other. Nothing here knows who reads or writes.

pub mod gzip;
pub mod json;
