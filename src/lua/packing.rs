//! The library `struct`: numbers and strings as the bytes of a C structure.
//!
//! Source: <http://www.inf.puc-rio.br/~roberto/struct/>.

use mlua::{Lua, MultiValue, Value};

use super::native::{Native, number_at, of_integer, results, string, string_at};
use super::text;

/// Functions by name.
pub const FUNCTIONS: &[(&str, Native)] = &[("pack", pack), ("unpack", unpack), ("size", size)];

/// Maximum size of a number in bytes.
const NUMBER_BYTES_MAX: usize = 8;
/// Alignment that `!` means without a number.
const NATIVE_ALIGNMENT: usize = 8;

/// One field of a format.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    /// A byte that is filled with 0.
    Padding,
    /// A whole number of so many bytes.
    Whole {
        bytes: usize,
        is_signed: bool,
    },
    Float,
    Double,
    /// A string that ends with a 0.
    Terminated,
    /// A string of so many bytes; 0 for as many as the number before says, or as the string has.
    Fixed(usize),
}

impl Field {
    /// Returns its size in bytes, as far as it is known without a value.
    fn size(self) -> usize {
        match self {
            Self::Padding => 1,
            Self::Whole { bytes, .. } | Self::Fixed(bytes) => bytes,
            Self::Float => 4,
            Self::Double => 8,
            Self::Terminated => 0,
        }
    }
}

/// Fields of a format, each with its byte order.
struct Format<'a> {
    rest: &'a [u8],
    is_little: bool,
    alignment: usize,
}

impl<'a> Format<'a> {
    fn new(format: &'a [u8]) -> Self {
        Self {
            rest: format,
            is_little: cfg!(target_endian = "little"),
            alignment: 1,
        }
    }

    fn digits(&mut self) -> Result<Option<usize>, String> {
        let count = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        if digits.is_empty() {
            return Ok(None);
        }
        let number = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse::<u32>().ok());
        let number = number.and_then(|number| usize::try_from(number).ok());
        number
            .map(Some)
            .ok_or_else(|| "integral size overflow".to_owned())
    }

    fn next(&mut self) -> Result<Option<Field>, String> {
        while let Some((option, rest)) = self.rest.split_first() {
            self.rest = rest;
            let whole = |bytes, is_signed| Ok(Some(Field::Whole { bytes, is_signed }));
            match option {
                b' ' => {}
                b'<' => self.is_little = true,
                b'>' => self.is_little = false,
                b'=' => self.is_little = cfg!(target_endian = "little"),
                b'!' => {
                    let alignment = self.digits()?.unwrap_or(NATIVE_ALIGNMENT);
                    if !alignment.is_power_of_two() {
                        return Err("alignment is not a power of 2".to_owned());
                    }
                    self.alignment = alignment;
                }
                b'x' => return Ok(Some(Field::Padding)),
                b'b' => return whole(1, true),
                b'B' => return whole(1, false),
                b'h' => return whole(2, true),
                b'H' => return whole(2, false),
                b'l' => return whole(8, true),
                b'L' | b'T' => return whole(8, false),
                b'i' | b'I' => {
                    let bytes = self.digits()?.unwrap_or(4);
                    if bytes == 0 || bytes > NUMBER_BYTES_MAX {
                        return Err(format!(
                            "integral size {bytes} is larger than limit of {NUMBER_BYTES_MAX}"
                        ));
                    }
                    return whole(bytes, *option == b'i');
                }
                b'f' => return Ok(Some(Field::Float)),
                b'd' | b'n' => return Ok(Some(Field::Double)),
                b's' => return Ok(Some(Field::Terminated)),
                b'c' => return Ok(Some(Field::Fixed(self.digits()?.unwrap_or(1)))),
                option => return Err(format!("invalid format option '{}'", char::from(*option))),
            }
        }
        Ok(None)
    }

    /// Returns the bytes before a field at an offset, by which it is aligned.
    fn gap(&self, field: Field, at: usize) -> usize {
        let aligned = match field {
            Field::Whole { bytes, .. } if bytes.is_power_of_two() => bytes,
            Field::Float | Field::Double => field.size(),
            _ => 1,
        };
        let aligned = aligned.min(self.alignment);
        at.next_multiple_of(aligned) - at
    }

    fn ordered(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if !self.is_little {
            bytes.reverse();
        }
        bytes
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float is asked for, or the lowest bytes"
)]
fn pack(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    let format = string_at(lua, values, 0)?;
    let format = format.as_bytes();
    let mut format = Format::new(&format);
    let (mut out, mut place) = (Vec::new(), 1);
    while let Some(field) = format.next()? {
        out.resize(out.len() + format.gap(field, out.len()), 0);
        if field == Field::Padding {
            out.push(0);
            continue;
        }
        match field {
            Field::Whole { bytes, .. } => {
                let number = number_at(values, place)? as i64;
                out.extend(format.ordered(number.to_le_bytes()[..bytes].to_vec()));
            }
            Field::Float => {
                let number = number_at(values, place)? as f32;
                out.extend(format.ordered(number.to_le_bytes().to_vec()));
            }
            Field::Double => {
                out.extend(format.ordered(number_at(values, place)?.to_le_bytes().to_vec()));
            }
            Field::Terminated | Field::Fixed(_) | Field::Padding => {
                let text = string_at(lua, values, place)?;
                let bytes = text.as_bytes();
                let count = match field {
                    Field::Fixed(count) if count > 0 => count,
                    _ => bytes.len(),
                };
                out.extend_from_slice(bytes.get(..count).ok_or("string too short")?);
                if field == Field::Terminated {
                    out.push(0);
                }
            }
        }
        place += 1;
    }
    results(lua, string(lua, &out)?)
}

/// Returns the values that stand in a string from a place on, and the place after them.
fn unpack(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    let (format, data) = (string_at(lua, values, 0)?, string_at(lua, values, 1)?);
    let (format, data) = (format.as_bytes(), data.as_bytes());
    let mut format = Format::new(&format);
    let start = if values.len() > 2 {
        text::whole(number_at(values, 2)?).unwrap_or(0)
    } else {
        1
    };
    let start = usize::try_from(start).ok().filter(|start| *start > 0);
    let mut at = start.ok_or("offset must be 1 or greater")? - 1;
    let mut found = MultiValue::new();
    while let Some(field) = format.next()? {
        at += format.gap(field, at);
        let short = "data string too short";
        let rest = data.get(at..).ok_or(short)?;
        let size = match field {
            Field::Terminated => memchr::memchr(0, rest).ok_or("unfinished string in data")?,
            // As long as the number says that was read before.
            Field::Fixed(0) => {
                let said = found.pop_back().and_then(|value| value.as_number());
                let said = said
                    .and_then(text::whole)
                    .and_then(|said| usize::try_from(said).ok());
                said.ok_or("format 'c0' needs a previous size")?
            }
            field => field.size(),
        };
        let bytes = rest.get(..size).ok_or(short)?;
        at += size;
        match field {
            Field::Padding => {}
            Field::Whole { is_signed, .. } => {
                found.push_back(Value::Number(whole_of(
                    &format.ordered(bytes.to_vec()),
                    is_signed,
                )));
            }
            Field::Float => {
                let bytes = format
                    .ordered(bytes.to_vec())
                    .try_into()
                    .expect("four bytes");
                found.push_back(Value::Number(f32::from_le_bytes(bytes).into()));
            }
            Field::Double => {
                let bytes = format
                    .ordered(bytes.to_vec())
                    .try_into()
                    .expect("eight bytes");
                found.push_back(Value::Number(f64::from_le_bytes(bytes)));
            }
            Field::Terminated => {
                at += 1;
                found.push_back(string(lua, bytes)?);
            }
            Field::Fixed(_) => found.push_back(string(lua, bytes)?),
        }
    }
    found.push_back(Value::Number(of_integer(
        i64::try_from(at + 1).unwrap_or(i64::MAX),
    )));
    Ok(found)
}

#[expect(clippy::cast_precision_loss, reason = "Lua's numbers are of this type")]
fn whole_of(little: &[u8], is_signed: bool) -> f64 {
    let fill = if is_signed && little.last().is_some_and(|byte| byte & 0x80 != 0) {
        0xff
    } else {
        0
    };
    let mut bytes = [fill; NUMBER_BYTES_MAX];
    bytes[..little.len()].copy_from_slice(little);
    if is_signed {
        i64::from_le_bytes(bytes) as f64
    } else {
        u64::from_le_bytes(bytes) as f64
    }
}

fn size(lua: &Lua, values: &[Value]) -> Result<MultiValue, String> {
    let format = string_at(lua, values, 0)?;
    let format = format.as_bytes();
    let mut format = Format::new(&format);
    let mut at = 0;
    while let Some(field) = format.next()? {
        if matches!(field, Field::Terminated | Field::Fixed(0)) {
            return Err("variable-length format".to_owned());
        }
        at += format.gap(field, at) + field.size();
    }
    results(lua, at)
}
