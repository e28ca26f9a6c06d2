//! What no one layer can show: the server as others see it, and the house as its readers do.

mod clients; // real Redis clients
mod comparison; // the same requests to a real Redis, and the same replies
mod documents; // what README.md and docs/ show on a terminal
mod doors; // nasty pairs, in by each door and out by each other
mod house; // layers, circles, module docs, documents
mod limits; // both sides of every limit
mod linearizable; // what the checker of histories/ says of histories written by hand
#[cfg(feature = "etcd")]
mod members; // servers that share a log, of which one leads
mod packaging; // what is installed with the server
mod protocol_md; // protocol.md, played
mod replica; // replicas follow their primary, whatever ends meanwhile
