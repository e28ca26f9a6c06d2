//! The library `cjson`: JSON.
//!
//! In: values of Lua, or JSON. Out: the other. What a script sets holds until its end.
//!
//! Source: <https://kyne.au/~mark/software/lua-cjson-manual.html>.

use mlua::{Lua, MultiValue, Table, Value};

use super::native::{Native, number_at, results, string, string_at};
use super::text;

/// Functions by name.
pub const FUNCTIONS: &[(&str, Native)] = &[
    ("encode", encode),
    ("decode", decode),
    ("encode_sparse_array", encode_sparse_array),
    ("encode_max_depth", encode_max_depth),
    ("decode_max_depth", decode_max_depth),
    ("encode_number_precision", encode_number_precision),
    ("encode_keep_buffer", encode_keep_buffer),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", decode_invalid_numbers),
];

/// What a script may set, with the defaults of the library.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// True if an array with too many gaps becomes an object, in place of an error.
    converts_sparse: bool,
    /// Maximum length of an array in numbers of its elements; 0 for any.
    gap_ratio: usize,
    /// Length up to which an array may have any gaps.
    gaps_safe_to: usize,
    /// Maximum depth of tables that are encoded, and of JSON that is decoded.
    encode_depth_max: usize,
    decode_depth_max: usize,
    /// Number of digits of a number.
    precision: usize,
    /// What becomes of a number that JSON does not have.
    invalid: Invalid,
    keeps_buffer: bool,
    decodes_invalid: bool,
}

/// Encoding of NaN and infinity.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Invalid {
    Refused,
    Null,
    /// As C writes them.
    Text,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            converts_sparse: false,
            gap_ratio: 2,
            gaps_safe_to: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            precision: 14,
            invalid: Invalid::Refused,
            keeps_buffer: true,
            decodes_invalid: true,
        }
    }
}

/// Passes the settings of the script to `work`.
fn with_settings<R>(lua: &Lua, work: impl FnOnce(&mut Settings) -> R) -> R {
    if lua.app_data_ref::<Settings>().is_none() {
        lua.set_app_data(Settings::default());
    }
    let mut settings = lua.app_data_mut::<Settings>();
    work(settings.as_mut().expect("it has been set"))
}

/// Sets what the library has as a whole number from `least` to `most`, if one is given. Returns what is set.
fn number_setting(
    lua: &Lua,
    values: &[Value],
    (least, most): (usize, usize),
    place: impl FnOnce(&mut Settings) -> &mut usize,
) -> Result<MultiValue, String> {
    let given = match values {
        [] | [Value::Nil] => None,
        _ => Some(whole_at(values, 0, (least, most))?),
    };
    let number = with_settings(lua, |settings| {
        let place = place(settings);
        *place = given.unwrap_or(*place);
        *place
    });
    results(lua, number)
}

fn whole_at(
    values: &[Value],
    place: usize,
    (least, most): (usize, usize),
) -> Result<usize, String> {
    let number = text::whole(number_at(values, place)?);
    let number = number.and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            format!(
                "bad argument #{} (expected integer between {least} and {most})",
                place + 1
            )
        })
}

fn switch_setting(
    lua: &Lua,
    values: &[Value],
    place: impl FnOnce(&mut Settings) -> &mut bool,
) -> Result<MultiValue, String> {
    let given = match values {
        [] | [Value::Nil] => None,
        [Value::Boolean(is_on)] => Some(*is_on),
        _ => return Err("bad argument #1 (boolean expected)".to_owned()),
    };
    let is_on = with_settings(lua, |settings| {
        let place = place(settings);
        *place = given.unwrap_or(*place);
        *place
    });
    results(lua, is_on)
}

/// Maximum of a setting that is a number of elements or of tables.
const SETTING_MAX: usize = i32::MAX as usize;

fn encode_max_depth(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    number_setting(lua, values, (1, SETTING_MAX), |all| {
        &mut all.encode_depth_max
    })
}

fn decode_max_depth(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    number_setting(lua, values, (1, SETTING_MAX), |all| {
        &mut all.decode_depth_max
    })
}

fn encode_number_precision(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    number_setting(lua, values, (1, 14), |all| &mut all.precision)
}

fn encode_keep_buffer(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    switch_setting(lua, values, |all| &mut all.keeps_buffer)
}

fn decode_invalid_numbers(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    switch_setting(lua, values, |all| &mut all.decodes_invalid)
}

fn encode_invalid_numbers(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    let given = match values {
        [] | [Value::Nil] => None,
        [Value::Boolean(true)] => Some(Invalid::Text),
        [Value::Boolean(false)] => Some(Invalid::Refused),
        [Value::String(word)] if &*word.as_bytes() == b"null" => Some(Invalid::Null),
        _ => return Err("bad argument #1 (invalid option)".to_owned()),
    };
    let invalid = with_settings(lua, |settings| {
        settings.invalid = given.unwrap_or(settings.invalid);
        settings.invalid
    });
    match invalid {
        Invalid::Null => results(lua, "null"),
        invalid => results(lua, invalid == Invalid::Text),
    }
}

fn encode_sparse_array(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    let given = |place: usize| values.get(place).is_some_and(|value| !value.is_nil());
    let converts = match values.first() {
        None | Some(Value::Nil) => None,
        Some(Value::Boolean(converts)) => Some(*converts),
        Some(_) => return Err("bad argument #1 (boolean expected)".to_owned()),
    };
    let number = |place| -> Result<Option<usize>, String> {
        given(place)
            .then(|| whole_at(values, place, (0, SETTING_MAX)))
            .transpose()
    };
    let (ratio, safe) = (number(1)?, number(2)?);
    let set = with_settings(lua, |settings| {
        settings.converts_sparse = converts.unwrap_or(settings.converts_sparse);
        settings.gap_ratio = ratio.unwrap_or(settings.gap_ratio);
        settings.gaps_safe_to = safe.unwrap_or(settings.gaps_safe_to);
        (
            settings.converts_sparse,
            settings.gap_ratio,
            settings.gaps_safe_to,
        )
    });
    results(lua, set)
}

/// Maximum depth of tables whatever a script sets: each takes a part of the stack of the thread.
const NESTING_MAX: usize = 1000;

fn encode(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    let [value] = values else {
        return Err("expected 1 argument".to_owned());
    };
    let mut out = Vec::new();
    let settings = lua.app_data_ref::<Settings>();
    match &settings {
        Some(settings) => write(&mut out, value, 0, settings)?,
        None => write(&mut out, value, 0, &Settings::default())?,
    }
    drop(settings);
    results(lua, string(lua, &out)?)
}

fn write(
    out: &mut Vec<u8>,
    value: &Value,
    depth: usize,
    settings: &Settings,
) -> Result<(), String> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        value if value.is_null() => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        #[expect(
            clippy::cast_precision_loss,
            reason = "all numbers of Lua are of this type"
        )]
        Value::Integer(number) => {
            out.extend_from_slice(text::of_number(*number as f64, settings.precision).as_bytes());
        }
        Value::Number(number) if !number.is_finite() => match settings.invalid {
            Invalid::Refused => {
                return Err("Cannot serialise number: must not be NaN or Inf".to_owned());
            }
            Invalid::Null => out.extend_from_slice(b"null"),
            Invalid::Text => out.extend_from_slice(if number.is_nan() {
                b"nan"
            } else if *number > 0.0 {
                b"inf"
            } else {
                b"-inf"
            }),
        },
        Value::Number(number) => {
            out.extend_from_slice(text::of_number(*number, settings.precision).as_bytes());
        }
        Value::String(text) => write_string(out, &text.as_bytes()),
        Value::Table(table) => return write_table(out, table, depth + 1, settings),
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

fn write_table(
    out: &mut Vec<u8>,
    table: &Table,
    depth: usize,
    settings: &Settings,
) -> Result<(), String> {
    if depth > settings.encode_depth_max.min(NESTING_MAX) {
        return Err(format!("Cannot serialise, excessive depth ({depth})"));
    }
    let text = |error: mlua::Error| error.to_string();
    match array_length(table, settings)? {
        Some(length) if length > 0 => {
            out.push(b'[');
            for place in 1..=length {
                if place > 1 {
                    out.push(b',');
                }
                write(out, &table.raw_get(place).map_err(text)?, depth, settings)?;
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
                        write_string(out, text::of_number(number, settings.precision).as_bytes());
                    }
                    _ => {
                        return Err(
                            "Cannot serialise table: table key must be a number or string"
                                .to_owned(),
                        );
                    }
                }
                out.push(b':');
                write(out, &value, depth, settings)?;
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

fn array_length(table: &Table, settings: &Settings) -> Result<Option<usize>, String> {
    let Some((longest, elements)) = whole_keys(table)? else {
        return Ok(None);
    };
    let Settings {
        gap_ratio,
        gaps_safe_to,
        ..
    } = *settings;
    if gap_ratio > 0 && longest > gaps_safe_to && longest > elements.saturating_mul(gap_ratio) {
        if settings.converts_sparse {
            return Ok(None);
        }
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
    let depth_max = lua
        .app_data_ref::<Settings>()
        .map_or(NESTING_MAX, |settings| settings.decode_depth_max);
    if depth_of(&parsed) > depth_max {
        return Err(format!(
            "Found too many nested data structures ({})",
            depth_max + 1
        ));
    }
    let value = of_json(lua, &parsed).map_err(|error| error.to_string())?;
    results(lua, value)
}

fn depth_of(value: &serde_json::Value) -> usize {
    let below = match value {
        serde_json::Value::Array(elements) => elements.iter().map(depth_of).max(),
        serde_json::Value::Object(fields) => fields.values().map(depth_of).max(),
        _ => return 0,
    };
    1 + below.unwrap_or(0)
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
