//! The bare loop with Lua: executes the script of each request, whose commands are answered by constants.
//!
//! In: EVAL with one key and one argument, as the load sends it. Out: `:0`. It has PyKV's library for Lua, and its tables of keys and
//! arguments for each script; there are no pairs, no locks, no commands, no sandbox and no limits, and the text is compiled once.

use mlua::{Function, Lua, MultiValue, Table};

use crate::minimal::words_at;
use crate::{Failure, bare};

/// The words of a request: EVAL, the text, the number of keys, the key, the argument.
const WORDS: usize = 5;

/// Serves for ever. Prints its address first.
///
/// # Errors
/// Those of the sockets and of Lua.
pub fn serve() -> Result<(), Failure> {
    let mut machine = Machine::new().map_err(|error| error.to_string())?;
    bare::serve_with(move |input, output| {
        let mut at = 0;
        while let Some((words, _, end)) = words_at::<WORDS>(input, at) {
            let words = words.map(|(start, end)| &input[start..end]);
            let returned = machine.execute(words).map_err(|error| error.to_string())?;
            output.push(b':');
            output.extend_from_slice(itoa::Buffer::new().format(returned).as_bytes());
            output.extend_from_slice(b"\r\n");
            at = end;
        }
        Ok(at)
    })
}

struct Machine {
    lua: Lua,
    globals: Table,
    compiled: Option<Function>,
}

impl Machine {
    fn new() -> mlua::Result<Self> {
        let lua = Lua::new();
        let redis = lua.create_table()?;
        // The key is not there.
        redis.raw_set("call", lua.create_function(|_, _: MultiValue| Ok(false))?)?;
        let globals = lua.globals();
        globals.raw_set("redis", redis)?;
        Ok(Self {
            lua,
            globals,
            compiled: None,
        })
    }

    fn execute(&mut self, words: [&[u8]; WORDS]) -> mlua::Result<i64> {
        let [_, text, _, key, argument] = words;
        for (name, word) in [("KEYS", key), ("ARGV", argument)] {
            let word = self.lua.create_string(word)?;
            let table = self.lua.create_sequence_from([word])?;
            self.globals.raw_set(name, table)?;
        }
        let script = match &self.compiled {
            Some(script) => script,
            None => self.compiled.insert(self.lua.load(text).into_function()?),
        };
        script.call(())
    }
}
