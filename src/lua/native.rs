//! What the libraries in Rust share: their arguments and their results.
//!
//! In: Lua's values. Out: numbers and strings, and back.

use mlua::{IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, Value};

/// A function of a library: an error is a message.
pub type Native = fn(&Lua, &[Value]) -> Result<MultiValue, String>;

/// Returns values as the results of a function.
pub fn results(lua: &Lua, values: impl IntoLuaMulti) -> Result<MultiValue, String> {
    values
        .into_lua_multi(lua)
        .map_err(|error| error.to_string())
}

/// Returns bytes as a string of Lua.
pub fn string(lua: &Lua, bytes: &[u8]) -> Result<Value, String> {
    let string = lua.create_string(bytes).and_then(|text| text.into_lua(lua));
    string.map_err(|error| error.to_string())
}

/// Returns the number at a place of the arguments.
pub fn number_at(values: &[Value], place: usize) -> Result<f64, String> {
    let number = values.get(place).and_then(|value| match value {
        Value::String(text) => text.to_str().ok()?.trim().parse().ok(),
        value => value
            .as_number()
            .or_else(|| value.as_integer().map(of_integer)),
    });
    number.ok_or_else(|| format!("bad argument #{}: number expected", place + 1))
}

/// Returns a whole number as Lua's.
#[expect(clippy::cast_precision_loss, reason = "Lua's numbers are of this type")]
pub fn of_integer(number: i64) -> f64 {
    number as f64
}

/// Returns the string at a place of the arguments; a number is text, too.
pub fn string_at(lua: &Lua, values: &[Value], place: usize) -> Result<LuaString, String> {
    let value = values.get(place).cloned().unwrap_or(Value::Nil);
    let found = lua.coerce_string(value).ok().flatten();
    found.ok_or_else(|| format!("bad argument #{}: string expected", place + 1))
}
