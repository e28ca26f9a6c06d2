//! Lua 5.1 in a sandbox, which executes scripts.
//!
//! In: the text of a script, its keys and arguments, and a host that executes its commands. Out: what the script returns, or why it has
//! failed. Promises: a script sees no files, no network and no clock; nothing that it leaves behind is seen by the next one; its memory is
//! bounded, and it ends when its host wants it to, whatever errors it catches.
//! Source: <https://redis.io/docs/latest/develop/programmability/lua-api/>.

mod bits;
mod host;
mod json;
mod libraries;
mod limits;
mod machine;
mod msgpack;
mod native;
mod packing;
mod reply;
mod requests;
mod returned;
mod sha1;
mod text;

pub use host::{Failure, Host, Stop};
pub use limits::MEMORY_BYTES_MAX;
pub use machine::{Machine, Script, Words};
pub use returned::Returned;
pub use sha1::sha1_hex;
