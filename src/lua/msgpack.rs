//! The library `cmsgpack`: MessagePack.
//!
//! Source: <https://github.com/antirez/lua-cmsgpack>, <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use mlua::{Lua, MultiValue, Table, Value};
use rmp::Marker;
use rmp::encode::{
    write_array_len, write_bool, write_f32, write_f64, write_map_len, write_nil, write_sint,
    write_str_len,
};

use super::json::whole_keys;
use super::native::{Native, number_at, of_integer, results, string, string_at};
use super::text;

/// Functions by name.
pub const FUNCTIONS: &[(&str, Native)] = &[
    ("pack", pack),
    ("unpack", |lua, values| unpack(lua, values, None)),
    ("unpack_one", |lua, values| unpack(lua, values, Some(1))),
    ("unpack_limit", |lua, values| {
        let limit =
            text::whole(number_at(values, 1)?).and_then(|limit| usize::try_from(limit).ok());
        let mut others = vec![values[0].clone()];
        others.extend(values.get(2).cloned());
        unpack(lua, &others, Some(limit.unwrap_or(0)))
    }),
];

/// Maximum depth of tables; what is deeper is packed as nil.
const DEPTH_MAX: usize = 16;
/// What is said of bytes that end too early.
const MISSING: &str = "Missing bytes in input.";
/// What is said of bytes that mean nothing.
const BAD: &str = "Bad data format in input.";

fn pack(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    if values.is_empty() {
        return Err("MessagePack pack needs input.".to_owned());
    }
    let mut out = Vec::new();
    for value in values {
        write(&mut out, value, 0)?;
    }
    results(lua, string(lua, &out)?)
}

#[expect(clippy::cast_possible_truncation, reason = "compared with what it was")]
fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    match value {
        Value::Boolean(value) => write_bool(out, *value).map_err(failed),
        Value::Integer(number) => sint(out, *number),
        Value::Number(number) => match text::whole(*number) {
            Some(whole) => sint(out, whole),
            None if f64::from(*number as f32).to_bits() == number.to_bits() => {
                write_f32(out, *number as f32).map_err(|error| error.to_string())
            }
            None => write_f64(out, *number).map_err(|error| error.to_string()),
        },
        Value::String(text) => {
            let bytes = text.as_bytes();
            write_str_len(out, length(bytes.len())?).map_err(|error| error.to_string())?;
            out.extend_from_slice(&bytes);
            Ok(())
        }
        Value::Table(table) if depth < DEPTH_MAX => write_table(out, table, depth + 1),
        _ => write_nil(out).map_err(failed),
    }
}

fn sint(out: &mut Vec<u8>, number: i64) -> Result<(), String> {
    write_sint(out, number)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn length(count: usize) -> Result<u32, String> {
    u32::try_from(count).map_err(|_| "too long for MessagePack".to_owned())
}

fn write_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), String> {
    let failed = |error: mlua::Error| error.to_string();
    let array = whole_keys(table)?.filter(|(longest, elements)| longest == elements);
    match array {
        Some((longest, _)) if longest > 0 => {
            write_array_len(out, length(longest)?).map_err(|error| error.to_string())?;
            for place in 1..=longest {
                write(out, &table.raw_get(place).map_err(failed)?, depth)?;
            }
        }
        Some(_) => drop(write_array_len(out, 0).map_err(|error| error.to_string())?),
        None => {
            let pairs: Vec<_> = table
                .pairs::<Value, Value>()
                .collect::<Result<_, _>>()
                .map_err(failed)?;
            write_map_len(out, length(pairs.len())?).map_err(|error| error.to_string())?;
            for (key, value) in &pairs {
                write(out, key, depth)?;
                write(out, value, depth)?;
            }
        }
    }
    Ok(())
}

/// Unpacks all values, or so many; of those that are limited, the place of the rest comes first, or -1 if there is none.
fn unpack(lua: &Lua, values: &[Value], limit: Option<usize>) -> Result<MultiValue, String> {
    let input = string_at(lua, values, 0)?;
    let bytes = input.as_bytes();
    let start = if values.len() > 1 {
        text::whole(number_at(values, 1)?).unwrap_or(-1)
    } else {
        0
    };
    let start = usize::try_from(start)
        .ok()
        .filter(|start| *start <= bytes.len());
    let start =
        start.ok_or_else(|| format!("Start offset must be within the {} bytes", bytes.len()))?;
    let mut reader = Reader {
        lua,
        bytes: &bytes,
        at: start,
    };
    let mut found = MultiValue::new();
    while reader.at < bytes.len() && limit.is_none_or(|limit| found.len() < limit) {
        let value = reader.value(0)?;
        found.push_back(value);
    }
    if limit.is_some() {
        let rest = if reader.at < bytes.len() {
            i64::try_from(reader.at).unwrap_or(-1)
        } else {
            -1
        };
        found.push_front(Value::Number(of_integer(rest)));
    }
    Ok(found)
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(MISSING)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("it has this length"))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, String> {
        let taken = self.take(bytes)?;
        Ok(taken
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    #[expect(clippy::cast_precision_loss, reason = "Lua's numbers are of this type")]
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let marker = Marker::from_u8(self.take(1)?[0]);
        Ok(match marker {
            Marker::FixPos(number) => Value::Number(number.into()),
            Marker::FixNeg(number) => Value::Number(number.into()),
            Marker::Null => Value::Nil,
            Marker::True => Value::Boolean(true),
            Marker::False => Value::Boolean(false),
            Marker::U8 => Value::Number(u8::from_be_bytes(self.number()?).into()),
            Marker::U16 => Value::Number(u16::from_be_bytes(self.number()?).into()),
            Marker::U32 => Value::Number(u32::from_be_bytes(self.number()?).into()),
            Marker::U64 => Value::Number(u64::from_be_bytes(self.number()?) as f64),
            Marker::I8 => Value::Number(i8::from_be_bytes(self.number()?).into()),
            Marker::I16 => Value::Number(i16::from_be_bytes(self.number()?).into()),
            Marker::I32 => Value::Number(i32::from_be_bytes(self.number()?).into()),
            Marker::I64 => Value::Number(i64::from_be_bytes(self.number()?) as f64),
            Marker::F32 => Value::Number(f32::from_be_bytes(self.number()?).into()),
            Marker::F64 => Value::Number(f64::from_be_bytes(self.number()?)),
            Marker::FixStr(length) => self.text(length.into())?,
            Marker::Str8 | Marker::Bin8 => self.text_of(1)?,
            Marker::Str16 | Marker::Bin16 => self.text_of(2)?,
            Marker::Str32 | Marker::Bin32 => self.text_of(4)?,
            Marker::FixArray(count) => self.array(count.into(), depth)?,
            Marker::Array16 => self.array_of(2, depth)?,
            Marker::Array32 => self.array_of(4, depth)?,
            Marker::FixMap(count) => self.map(count.into(), depth)?,
            Marker::Map16 => self.map_of(2, depth)?,
            Marker::Map32 => self.map_of(4, depth)?,
            _ => return Err(BAD.to_owned()),
        })
    }

    fn text(&mut self, length: usize) -> Result<Value, String> {
        let bytes = self.take(length)?;
        string(self.lua, bytes)
    }

    fn text_of(&mut self, bytes: usize) -> Result<Value, String> {
        let length = self.length(bytes)?;
        self.text(length)
    }

    fn array_of(&mut self, bytes: usize, depth: usize) -> Result<Value, String> {
        let count = self.length(bytes)?;
        self.array(count, depth)
    }

    fn map_of(&mut self, bytes: usize, depth: usize) -> Result<Value, String> {
        let count = self.length(bytes)?;
        self.map(count, depth)
    }

    fn table(&self, depth: usize) -> Result<Table, String> {
        /// Maximum depth of what is unpacked: the stack of a thread has room for it.
        const UNPACKED_DEPTH_MAX: usize = 1000;
        if depth > UNPACKED_DEPTH_MAX {
            return Err(BAD.to_owned());
        }
        self.lua.create_table().map_err(|error| error.to_string())
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Value, String> {
        let table = self.table(depth)?;
        for place in 1..=count {
            let value = self.value(depth + 1)?;
            table
                .raw_set(place, value)
                .map_err(|error| error.to_string())?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, String> {
        let table = self.table(depth)?;
        for _ in 0..count {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            if key.is_nil() {
                return Err(BAD.to_owned());
            }
            table
                .raw_set(key, value)
                .map_err(|error| error.to_string())?;
        }
        Ok(Value::Table(table))
    }
}
