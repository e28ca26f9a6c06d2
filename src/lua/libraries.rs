//! The libraries of a script, as far as they are in Rust.
//!
//! In: functions by name. Out: a table of them for the sandbox, which makes errors of those that fail: each returns true and its results, or
//! false and why.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

use super::native::{Native, number_at, results};
use super::sha1::sha1_hex;
use super::{bits, json, msgpack, packing};

/// Returns all that the sandbox is made of.
pub fn table(lua: &Lua, version: &str) -> mlua::Result<Table> {
    let natives = lua.create_table()?;
    for (name, functions) in [
        ("bit", bits::FUNCTIONS),
        ("cjson", json::FUNCTIONS),
        ("cmsgpack", msgpack::FUNCTIONS),
        ("struct", packing::FUNCTIONS),
    ] {
        let library = lua.create_table()?;
        for (function, native) in functions {
            library.raw_set(*function, lifted(lua, *native)?)?;
        }
        natives.raw_set(name, library)?;
    }
    natives.raw_set("null", Value::NULL)?;
    natives.raw_set("sha1hex", lifted(lua, sha1_of)?)?;
    let random = Rc::new(RefCell::new(fastrand::Rng::new()));
    let seeded = Rc::clone(&random);
    natives.raw_set(
        "random",
        lua.create_function(move |lua, values| {
            answer(lua, random_number(lua, &mut random.borrow_mut(), values))
        })?,
    )?;
    natives.raw_set(
        "randomseed",
        lua.create_function(move |lua, values: MultiValue| {
            let values: Vec<Value> = values.into_iter().collect();
            let seed = number_at(&values, 0).map(|seed| {
                seeded.borrow_mut().seed(seed.to_bits());
                MultiValue::new()
            });
            answer(lua, seed)
        })?,
    )?;
    natives.raw_set("version", version)?;
    let parts = version
        .split('.')
        .filter_map(|part| part.parse::<u32>().ok());
    natives.raw_set(
        "version_number",
        parts.fold(0, |number, part| number << 8 | part),
    )?;
    Ok(natives)
}

fn lifted(lua: &Lua, native: Native) -> mlua::Result<Function> {
    lua.create_function(move |lua, values: MultiValue| {
        let values: Vec<Value> = values.into_iter().collect();
        answer(lua, native(lua, &values))
    })
}

fn answer(lua: &Lua, result: Result<MultiValue, String>) -> mlua::Result<MultiValue> {
    match result {
        Ok(mut values) => {
            values.push_front(Value::Boolean(true));
            Ok(values)
        }
        Err(message) => (false, message).into_lua_multi(lua),
    }
}

fn sha1_of(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    if values.len() != 1 {
        return Err("wrong number of arguments".to_owned());
    }
    let text = lua.coerce_string(values[0].clone()).ok().flatten();
    let hex = text.map_or_else(|| sha1_hex(b""), |text| sha1_hex(&text.as_bytes()));
    results(lua, hex)
}

/// Returns a random number as `math.random` does: below 1, or whole and up to a limit, or between two.
fn random_number(
    lua: &Lua,
    random: &mut fastrand::Rng,
    values: MultiValue,
) -> Result<MultiValue, String> {
    let values: Vec<Value> = values.into_iter().collect();
    if values.is_empty() {
        return results(lua, random.f64());
    }
    let limit = |place| number_at(&values, place).map(f64::floor);
    let (low, high) = if values.len() == 1 {
        (1.0, limit(0)?)
    } else {
        (limit(0)?, limit(1)?)
    };
    if low > high {
        return Err(format!(
            "bad argument #{} to 'random' (interval is empty)",
            values.len()
        ));
    }
    results(lua, low + (random.f64() * (high - low + 1.0)).floor())
}
