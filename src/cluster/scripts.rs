//! The scripts in Lua that nodes execute, each at one moment.
//!
//! In: nothing. Out: their texts, and the names by which a node that has them knows them.
//! Source: <https://redis.io/docs/latest/develop/programmability/eval-intro/>.

use std::sync::LazyLock;

use crate::lua::sha1_hex;

/// Returns for each key its value, or nothing, and the time of its expiry, or -1. With an argument, a value of more bytes is left out, and
/// its length stands in its place.
pub static FETCH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "\
local found = {}
local most = tonumber(ARGV[1] or '1e12')
for place, key in ipairs(KEYS) do
  local bytes = redis.call('STRLEN', key)
  found[2 * place - 1] = bytes > most and bytes or redis.call('GET', key)
  found[2 * place] = redis.call('PEXPIRETIME', key)
end
return found",
    )
});

/// Takes four arguments for each key: `-` or the time of its expiry or -1, its value; `` to keep it, `d` to delete it, `-1` or the new
/// time of its expiry, its new value. Returns 1, or 0 if a pair is not what it was.
pub static SWAP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "\
for place, key in ipairs(KEYS) do
  local at = 4 * place - 3
  local value = redis.call('GET', key)
  if ARGV[at] == '-' then
    if value then return 0 end
  elseif value ~= ARGV[at + 1] or redis.call('PEXPIRETIME', key) ~= tonumber(ARGV[at]) then
    return 0
  end
end
for place, key in ipairs(KEYS) do
  local at = 4 * place - 1
  if ARGV[at] == 'd' then
    redis.call('UNLINK', key)
  elseif ARGV[at] == '-1' then
    redis.call('SET', key, ARGV[at + 1])
  elseif ARGV[at] ~= '' then
    redis.call('SET', key, ARGV[at + 1], 'PXAT', ARGV[at])
  end
end
return 1",
    )
});

/// A script in Lua, which a node executes at one moment.
pub struct Script {
    /// Its text.
    pub text: &'static str,
    /// The SHA-1 of the text in hexadecimal, by which a node that has the script knows it.
    pub sha1: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            sha1: sha1_hex(text.as_bytes()),
        }
    }

    /// Returns all scripts.
    pub fn all() -> [&'static Self; 2] {
        [&FETCH, &SWAP]
    }
}
