//! What a script returns.
//!
//! In: Lua's value. Out: the reply, by Redis's conversion.
//! Source: <https://redis.io/docs/latest/develop/programmability/lua-api/#lua-to-resp-type-conversion>.

use mlua::{LuaString, Table, Value};

use super::text;

/// Maximum depth of tables in a reply.
const DEPTH_MAX: usize = 100;

/// A value that a script has returned.
#[derive(Debug, Clone, PartialEq)]
pub enum Returned {
    /// Nothing.
    Nil,
    /// A whole number: of one with a fraction, without it.
    Integer(i64),
    /// A string.
    Bulk(Vec<u8>),
    /// A field `ok`: one line of text.
    Status(Vec<u8>),
    /// A field `err`: a code and a message.
    Error(Vec<u8>),
    /// The elements of a table up to the first that is nil.
    Array(Vec<Returned>),
    /// A field `map`: names and values.
    Map(Vec<(Returned, Returned)>),
    /// A field `double`, as text.
    Double(String),
}

/// Converts a value.
///
/// # Errors
/// If tables are nested too deeply.
pub fn of(value: &Value) -> Result<Returned, String> {
    convert(value, DEPTH_MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "as Redis does")]
fn convert(value: &Value, depth: usize) -> Result<Returned, String> {
    let depth = depth.checked_sub(1).ok_or("reached lua stack limit")?;
    Ok(match value {
        Value::String(text) => Returned::Bulk(text.as_bytes().to_vec()),
        Value::Integer(number) => Returned::Integer(*number),
        Value::Number(number) => Returned::Integer(*number as i64),
        Value::Boolean(true) => Returned::Integer(1),
        Value::Table(table) => return of_table(table, depth),
        _ => Returned::Nil,
    })
}

fn of_table(table: &Table, depth: usize) -> Result<Returned, String> {
    let field = |name: &str| -> Value { table.raw_get(name).unwrap_or(Value::Nil) };
    let line = |text: &LuaString| -> Vec<u8> {
        let bytes = text.as_bytes();
        bytes
            .iter()
            .map(|byte| {
                if matches!(byte, b'\r' | b'\n') {
                    b' '
                } else {
                    *byte
                }
            })
            .collect()
    };
    if let Value::String(error) = field("err") {
        return Ok(Returned::Error(line(&error)));
    }
    if let Value::String(status) = field("ok") {
        return Ok(Returned::Status(line(&status)));
    }
    match field("double") {
        Value::Number(number) => return Ok(Returned::Double(text::of_number(number, 17))),
        #[expect(clippy::cast_precision_loss, reason = "Lua's numbers are of this type")]
        Value::Integer(number) => return Ok(Returned::Double(text::of_number(number as f64, 17))),
        _ => {}
    }
    if let Value::String(digits) = field("big_number") {
        return Ok(Returned::Bulk(line(&digits)));
    }
    if let Value::Table(map) = field("map") {
        let mut pairs = Vec::new();
        for pair in map.pairs::<Value, Value>() {
            let (name, value) = pair.map_err(|error| error.to_string())?;
            pairs.push((convert(&name, depth)?, convert(&value, depth)?));
        }
        return Ok(Returned::Map(pairs));
    }
    if let Value::Table(set) = field("set") {
        let mut names = Vec::new();
        for pair in set.pairs::<Value, Value>() {
            names.push(convert(&pair.map_err(|error| error.to_string())?.0, depth)?);
        }
        return Ok(Returned::Array(names));
    }
    let mut elements = Vec::new();
    for place in 1_i64.. {
        match table.raw_get(place).unwrap_or(Value::Nil) {
            Value::Nil => break,
            value => elements.push(convert(&value, depth)?),
        }
    }
    Ok(Returned::Array(elements))
}
