//! What requests mean: each family of commands, over either dialect.

mod byte_keys; // keys that are not text
mod channels; // messages, monitors, the list of clients
mod commands; // each command, right and wrong
mod databases; // numbered databases, alone and beside each other
mod follow; // changes over the wire, and again after a disconnect
mod known_to_clients; // what Redis clients ask in passing
mod notifications; // events of keys, beside those of a real Redis
mod observation; // statistics of requests: INFO, LATENCY, SLOWLOG
mod pauses; // requests that wait for others
mod scripts; // programs in Lua whose commands are executed as one
mod settings; // the table of settings, and who shows it
mod shard_channels; // channels that no pattern matches
mod strings; // values: conditions, parts, numbers
mod tracking; // client-side caching, beside that of a real Redis
mod transactions; // several requests as one, or none
mod users; // who may sign in, and what each may do
