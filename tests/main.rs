//! One test program: its modules share their helpers, and it is linked once.

mod client; //      the built client: one command, pipe, prompt, import, export
mod commands; //    each command, right and wrong
mod concurrency; // many clients, one truth
mod disk; //        a disk that takes no more
mod doors; //       nasty pairs, in by each door and out by each other
mod faults; //      every call of the system that persistence makes, failing once
mod house; //       layers, module docs, README = table
mod http; //        the shim: its contract, its guard, its documentation
mod limits; //      both sides of every limit
mod linearizable; // what the checker of histories/ says of histories written by hand
mod loading; //     what is answered while the data is being loaded, and how that ends
mod protocol; //    protocol.md, played
mod restart; //     kill -9, torn, damaged, locked
mod rules; //       the rules of persistence that no other module shows
#[allow(dead_code, reason = "histories/ shares it and uses more")]
mod server; //      TestServer, TestClient
