//! One test program: its modules share their helpers, and it is linked once.

mod commands; //    each command, right and wrong
mod concurrency; // many clients, one truth
mod disk;
mod doors; //       nasty pairs, in by each door and out by each other
mod house;
mod limits; //      both sides of every limit
mod restart;
mod server; //      TestServer, TestClient //     kill -9, torn, damaged, locked //       layers, module docs, README = table //        a disk that takes no more
