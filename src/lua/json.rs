//! The library `cjson`: JSON.
//!
//! Source: <https://kyne.au/~mark/software/lua-cjson-manual.html>.

use mlua::{Lua, MultiValue, Table, Value};

use super::native::{Native, results, string, string_at};
use super::text;

/// Functions by name.
pub const FUNCTIONS: &[(&str, Native)] = &[("encode", encode), ("decode", decode)];

/// Maximum depth of tables.
const DEPTH_MAX: usize = 1000;
/// Length up to which an array may have any gaps.
const GAPS_SAFE_TO: usize = 10;
/// Maximum length of a longer array, in numbers of its elements.
const GAP_RATIO: usize = 2;

fn encode(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    let [value] = values else {
        return Err("expected 1 argument".to_owned());
    };
    let mut out = Vec::new();
    write(&mut out, value, 0)?;
    results(lua, string(lua, &out)?)
}

fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), String> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        value if value.is_null() => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        #[expect(
            clippy::cast_precision_loss,
            reason = "all numbers of Lua are of this type"
        )]
        Value::Integer(number) => {
            out.extend_from_slice(text::of_number(*number as f64, 14).as_bytes());
        }
        Value::Number(number) if !number.is_finite() => {
            return Err("Cannot serialise number: must not be NaN or Inf".to_owned());
        }
        Value::Number(number) => out.extend_from_slice(text::of_number(*number, 14).as_bytes()),
        Value::String(text) => write_string(out, &text.as_bytes()),
        Value::Table(table) => return write_table(out, table, depth + 1),
        value => {
            let kind = value.type_name();
            return Err(format!("Cannot serialise {kind}: type not supported"));
        }
    }
    Ok(())
}

fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' | b'/' => out.extend_from_slice(&[b'\\', *byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            byte => out.push(*byte),
        }
    }
    out.push(b'"');
}

fn write_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("Cannot serialise, excessive depth ({depth})"));
    }
    let text = |error: mlua::Error| error.to_string();
    match array_length(table)? {
        Some(length) if length > 0 => {
            out.push(b'[');
            for place in 1..=length {
                if place > 1 {
                    out.push(b',');
                }
                write(out, &table.raw_get(place).map_err(text)?, depth)?;
            }
            out.push(b']');
        }
        _ => {
            out.push(b'{');
            for (index, pair) in table.pairs::<Value, Value>().enumerate() {
                let (key, value) = pair.map_err(text)?;
                if index > 0 {
                    out.push(b',');
                }
                match key {
                    Value::String(name) => write_string(out, &name.as_bytes()),
                    Value::Integer(number) => write_string(out, number.to_string().as_bytes()),
                    Value::Number(number) => {
                        write_string(out, text::of_number(number, 14).as_bytes());
                    }
                    _ => {
                        return Err(
                            "Cannot serialise table: table key must be a number or string"
                                .to_owned(),
                        );
                    }
                }
                out.push(b':');
                write(out, &value, depth)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// Returns the length of a table whose keys are all whole numbers from 1 on, if it is such a one.
pub fn whole_keys(table: &Table) -> Result<Option<(usize, usize)>, String> {
    let (mut longest, mut elements) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair.map_err(|error| error.to_string())?;
        let place = match key {
            Value::Integer(number) => Some(number),
            Value::Number(number) => text::whole(number),
            _ => None,
        };
        match place.and_then(|place| usize::try_from(place).ok()) {
            Some(place) if place > 0 => longest = longest.max(place),
            _ => return Ok(None),
        }
        elements += 1;
    }
    Ok(Some((longest, elements)))
}

fn array_length(table: &Table) -> Result<Option<usize>, String> {
    let Some((longest, elements)) = whole_keys(table)? else {
        return Ok(None);
    };
    if longest > GAPS_SAFE_TO && longest > elements * GAP_RATIO {
        return Err("Cannot serialise table: excessively sparse array".to_owned());
    }
    Ok(Some(longest))
}

fn decode(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    if values.len() != 1 {
        return Err("expected 1 argument".to_owned());
    }
    let text = string_at(lua, values, 0)?;
    let parsed: serde_json::Value = serde_json::from_slice(&text.as_bytes()).map_err(|error| {
        format!(
            "Expected value but found invalid token at character {}",
            error.column().max(1)
        )
    })?;
    let value = of_json(lua, &parsed).map_err(|error| error.to_string())?;
    results(lua, value)
}

fn of_json(lua: &Lua, value: &serde_json::Value) -> mlua::Result<Value> {
    Ok(match value {
        serde_json::Value::Null => Value::NULL,
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::String(lua.create_string(text)?),
        serde_json::Value::Array(elements) => {
            let table = lua.create_table_with_capacity(elements.len(), 0)?;
            for element in elements {
                table.raw_push(of_json(lua, element)?)?;
            }
            Value::Table(table)
        }
        serde_json::Value::Object(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len())?;
            for (name, value) in fields {
                table.raw_set(lua.create_string(name)?, of_json(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}
