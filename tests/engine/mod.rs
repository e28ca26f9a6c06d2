//! What the map promises while many use it.

mod concurrency; // many clients, one truth
mod expiry; // pairs that cease to be
mod huge_pages; // where much data lies in memory
mod scanning; // walks over many keys, while they come and go
