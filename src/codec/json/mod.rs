//! JSON: on disk, in the HTTP interface, and in the files that the client imports and exports.
//!
//! In: values, or JSON text. Out: the other. `text` has strings and base64, `time` times, `value` the form of one value,
//! `string_pieces` that of a long one, and `object` reads an object of pairs.

mod object;
mod string_pieces;
mod text;
mod time;
mod value;

pub use object::read_pairs;
pub use string_pieces::Pieces;
pub use text::{
    base64, is_half_character, string, take_string, write_base64, write_if_text, write_string,
    write_text,
};
pub use time::{read_moment, time};
pub use value::{Loaded, read_value, write_stored_value, write_value};
