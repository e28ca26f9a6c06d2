//! The disk: what persistence asks of a file system, and the data folder on it.
//!
//! In: paths and bytes. Out: files, and names that survive a power cut. Promise: no other module of `persistence` touches a
//! file except through [`Files`] and [`File`], so a test can put a failing disk in their place.

mod disk_fault;
mod files;
mod folder;
mod system;

pub use disk_fault::{DiskFault, FaultKind};
pub use files::{File, FileReader, Files, Stat, append_all, read_full};
pub use folder::{COPY_BYTES, Folder, FolderError, aside_name, copy};
pub use system::System;
