//! Replies of commands, as a script sees them.
//!
//! In: one reply in RESP2 or RESP3, of this server. Out: Lua's value, by Redis's conversion.
//! Source: <https://redis.io/docs/latest/develop/programmability/lua-api/#resp-to-lua-type-conversion>.

use mlua::{Lua, Value};

/// Converts a reply.
///
/// # Errors
/// Those of Lua: there is no memory.
pub fn parse(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    Reader { lua, rest: reply }.value()
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let bytes = &self.rest[..length];
        self.rest = self.rest.get(length + 2..).unwrap_or_default();
        bytes
    }

    fn value(&mut self) -> mlua::Result<Value> {
        let line = self.line();
        let (kind, rest) = line.split_first().expect("a reply has a kind");
        let number = || -> i64 {
            let text = std::str::from_utf8(rest).unwrap_or_default();
            text.parse().unwrap_or_default()
        };
        let count = || usize::try_from(number()).ok();
        let lua = self.lua;
        let of_one = |name: &str, value: Value| -> mlua::Result<Value> {
            Ok(Value::Table(lua.create_table_from([(name, value)])?))
        };
        match kind {
            b':' => Ok(Value::Number(as_number(number()))),
            b'+' => of_one("ok", Value::String(lua.create_string(rest)?)),
            b'-' => of_one("err", Value::String(lua.create_string(rest)?)),
            b'$' | b'=' => match count() {
                Some(length) => {
                    let bytes = self.bytes(length);
                    // The format of a verbatim string stands before it, with a colon.
                    let bytes = if *kind == b'=' { &bytes[4..] } else { bytes };
                    let text = Value::String(lua.create_string(bytes)?);
                    if *kind == b'$' {
                        return Ok(text);
                    }
                    let fields = lua.create_table_from([("string", text)])?;
                    fields.raw_set("format", "txt")?;
                    of_one("verbatim_string", Value::Table(fields))
                }
                None => Ok(Value::Boolean(false)),
            },
            b'*' | b'>' => match count() {
                Some(count) => self.array(count),
                None => Ok(Value::Boolean(false)),
            },
            b'%' | b'~' => {
                let content = lua.create_table()?;
                for _ in 0..count().unwrap_or_default() {
                    let name = self.value()?;
                    let value = if *kind == b'%' {
                        self.value()?
                    } else {
                        Value::Boolean(true)
                    };
                    content.raw_set(name, value)?;
                }
                let name = if *kind == b'%' { "map" } else { "set" };
                of_one(name, Value::Table(content))
            }
            b',' => {
                let text = std::str::from_utf8(rest).unwrap_or_default();
                of_one("double", Value::Number(text.parse().unwrap_or(f64::NAN)))
            }
            b'#' => Ok(Value::Boolean(rest == b"t")),
            b'(' => of_one("big_number", Value::String(lua.create_string(rest)?)),
            _ => Ok(Value::Nil),
        }
    }

    fn array(&mut self, count: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(count, 0)?;
        for place in 1..=count {
            let value = self.value()?;
            table.raw_set(place, value)?;
        }
        Ok(Value::Table(table))
    }
}

#[expect(clippy::cast_precision_loss, reason = "Lua's numbers are of this type")]
fn as_number(number: i64) -> f64 {
    number as f64
}
