//! One test program: its modules share their helpers, and it is linked once.

mod api; //         HTTP: expiry, ETags and conditions
mod batches; //     HTTP: several operations in one step
mod bench; //       the load generator of the built client: what it asks, counts and refuses
mod browser; //     the dashboard in a real Chromium
mod by_hand; //     journals and folders made by hand
mod channels; //    messages, monitors, the list of clients
mod client; //      the built client: one command, pipe, prompt, import, export
mod clients; //     real Redis clients
mod commands; //    each command, right and wrong
mod comparison; //  the same requests to a real Redis, and the same replies
mod concurrency; // many clients, one truth
mod console; //     HTTP: the line protocol over a WebSocket
mod dashboard; //   the page in the browser, as it is served
mod disk; //        a disk that takes no more; what is written unasked
mod doors; //       nasty pairs, in by each door and out by each other
mod expiry; //      pairs that cease to be
mod faults; //      every call of the system that persistence makes, failing once
mod feed; //        what a follower of changes is shown, and when
mod figures; //     what is told of the server itself: metrics, the live feed
mod flips; //       each byte of each file changed, on a simulated disk
mod folder; //      a folder that is removed, replaced, taken, or of a small or read-only disk
mod follow; //      changes over the wire, and again after a disconnect
mod house; //       layers, module docs, README = table
mod http; //        the shim: its contract, its guard, its documentation
mod limits; //      both sides of every limit
mod linearizable; // what the checker of histories/ says of histories written by hand
mod listing; //     pairs page by page, and namespaces
mod live; //        the client: top, stat, latency, watch
mod loading; //     what is answered while the data is being loaded, and how that ends
mod pipelines; //   requests that arrive together, and are done one after the other
mod power; //       power cuts on a simulated disk, at every operation
mod power_faults; // faults of a simulated disk, at every operation
mod prompt; //      the client's prompt, in a pseudo-terminal
mod protocol; //    protocol.md, played
mod repair; //      check and repair, killed at each call
mod resp; //        what a Redis client sees
mod restart; //     kill -9, torn, damaged, locked
mod rules; //       the rules of persistence that no other module shows
mod scanning; //    walks over many keys, while they come and go
mod scripts; //     the client in scripts: forms, values from a pipe, profiles, masses
#[allow(dead_code, reason = "histories/ shares it and uses more")]
mod server; //      TestServer, TestClient
mod settings; //    the table of settings, and who shows it
mod simulated_disk; // a disk in memory that fails and loses power
mod slow; //        a slow disk, and who waits for it
mod strings; //     values: conditions, parts, numbers
mod tear; //        holes of zeros, older formats, a doubt that outlives a kill
mod tools; //       the client: import, export, diff, and what takes the room
mod transactions; // several requests as one, or none
mod transfer; //    HTTP: export, import, and the end of all keys with a prefix
