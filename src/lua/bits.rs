//! The library `bit`: operations on numbers of 32 bits.
//!
//! Source: <https://bitop.luajit.org/api.html>.

use mlua::{Lua, MultiValue, Value};

use super::native::{Native, number_at, results, string};

/// Functions by name.
pub const FUNCTIONS: &[(&str, Native)] = &[
    ("tobit", |lua, values| results(lua, bits_at(values, 0)?)),
    ("bnot", |lua, values| results(lua, !bits_at(values, 0)?)),
    ("band", |lua, values| fold(lua, values, |a, b| a & b)),
    ("bor", |lua, values| fold(lua, values, |a, b| a | b)),
    ("bxor", |lua, values| fold(lua, values, |a, b| a ^ b)),
    ("lshift", |lua, values| {
        shift(lua, values, |bits, by| bits << by)
    }),
    ("rshift", |lua, values| {
        shift(lua, values, |bits, by| {
            (bits.cast_unsigned() >> by).cast_signed()
        })
    }),
    ("arshift", |lua, values| {
        shift(lua, values, |bits, by| bits >> by)
    }),
    ("rol", |lua, values| shift(lua, values, i32::rotate_left)),
    ("ror", |lua, values| shift(lua, values, i32::rotate_right)),
    ("bswap", |lua, values| {
        results(lua, bits_at(values, 0)?.swap_bytes())
    }),
    ("tohex", to_hex),
];

/// Returns the lowest 32 bits of the number at a place.
#[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
fn bits_at(values: &[Value], place: usize) -> Result<i32, String> {
    let number = number_at(values, place)?;
    Ok(number.round_ties_even() as i64 as i32)
}

fn fold(lua: &Lua, values: &[Value], with: fn(i32, i32) -> i32) -> Result<MultiValue, String> {
    let mut folded = bits_at(values, 0)?;
    for place in 1..values.len() {
        folded = with(folded, bits_at(values, place)?);
    }
    results(lua, folded)
}

fn shift(lua: &Lua, values: &[Value], with: fn(i32, u32) -> i32) -> Result<MultiValue, String> {
    let by = bits_at(values, 1)?.cast_unsigned() & 31;
    results(lua, with(bits_at(values, 0)?, by))
}

fn to_hex(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    let digits = if values.len() > 1 {
        bits_at(values, 1)?
    } else {
        8
    };
    let count = usize::try_from(digits.unsigned_abs().min(8)).unwrap_or(8);
    let bits = bits_at(values, 0)?;
    let hex = if digits < 0 {
        format!("{bits:08X}")
    } else {
        format!("{bits:08x}")
    };
    let hex = string(lua, &hex.as_bytes()[8 - count..])?;
    results(lua, hex)
}
