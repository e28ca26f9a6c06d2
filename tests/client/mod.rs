//! The built client.

mod bench; // the load generator: what it asks, counts and refuses
mod command_line; // one command, pipe, prompt, import, export
mod cut_input; // requests on standard input that end too early, or are none
mod deadlines; // servers that are silent, and how long they are waited for
mod imports; // files of pairs by each door: formats, broken files, duplicates
mod live; // top, stat, latency, watch
mod outputs; // readers that go away, full disks, colours, byte order marks
mod prompt; // the prompt, in a pseudo-terminal
mod round_trips; // what goes out comes in again, in every form
mod scripts; // forms, values from a pipe, profiles, masses
mod tls; // the same over TLS, and whom it trusts
mod tools; // import, export, diff, and what takes the room
mod typed_ahead; // lines before the prompt asks for them
