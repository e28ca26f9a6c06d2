//! What survives a crash, a fault of the disk, a power cut or a damaged folder.

mod amplification; // what a value costs on disk
mod backup; // a copy of the folder while others write
mod disk; // a disk that takes no more; what is written unasked
mod exclusion; // one server to a folder, and one that has lost it
mod faults; // every call of the system that persistence makes, failing once
mod feed; // what a follower of changes is shown, and when
mod flips; // each byte of each file changed, on a simulated disk
mod folder; // a folder that is removed, replaced, taken, or of a small or read-only disk
mod irregular; // pipes, sockets, devices, folders and links in the place of files
mod key_forms; // keys that are not text, and files of versions whose keys all were
mod power; // power cuts on a simulated disk, at every operation
mod power_faults; // faults of a simulated disk, at every operation
mod private; // who may read what is written
mod released; // the data folders of released versions
mod repair; // check and repair, killed at each call
mod restart; // kill -9, torn, damaged, locked
mod rules; // the rules of persistence that no other module shows
mod slow; // a slow disk, and who waits for it
mod tear; // holes of zeros, older formats, a doubt that outlives a kill
mod unconfirmed; // replies while the disk takes no changes
