//! The built client.

mod bench; // the load generator: what it asks, counts and refuses
mod command_line; // one command, pipe, prompt, import, export
mod live; // top, stat, latency, watch
mod prompt; // the prompt, in a pseudo-terminal
mod scripts; // forms, values from a pipe, profiles, masses
mod tools; // import, export, diff, and what takes the room
