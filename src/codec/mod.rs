//! The forms of data outside memory: JSON, and files of pairs.
//!
//! In: keys and values, or the bytes of a file. Out: the other. Nothing here knows who reads or writes.

pub mod bom;
pub mod json;
pub mod key_text;
pub mod pair_file;
