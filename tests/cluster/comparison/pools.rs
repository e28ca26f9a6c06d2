//! The words of which requests are made.
//!
//! In: nothing. Out: lists. Promise: no word is a time that is soon over.

/// Values, of which some are numbers.
pub const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"10",
    b"01",
    b"+1",
    b" 1",
    b"-0",
    b"1.5",
    b"abc",
    b"3.0e1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"17179869184.25",
    b"a\r\nb",
    b"\xff\x00\xfe",
    "\u{a0}\"\\ \u{1f600}".as_bytes(),
    b"forty-four bytes, the most that embstr holds",
    b"forty-five bytes: one more than embstr holds.",
];

/// What is added.
pub const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "17",
    "-300",
    "4000000000",
    "9223372036854775807",
    "-9223372036854775808",
];

/// Places in a value.
pub const PLACES: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "5",
    "-5",
    "43",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
];

/// Decimals that are added, and words that are none.
pub const DECIMALS: &[&str] = &[
    "0",
    "0.1",
    "-0.1",
    "1e3",
    "-2.5e-3",
    "100",
    "1e17",
    "3.14159265358979",
    "-0",
    "1e400",
    "nan",
    "inf",
    ".5",
    "5.",
    "0x10",
    " 1",
    "",
];

/// Patterns of keys.
pub const PATTERNS: &[&str] = &[
    "*", "?", "a*", "*1", "k*1", "key:?", "key:[12]", "[a-b]", "[^a]*", "\\a", "[", "a\\", "",
    "к*", "*{x}*", "user:*", "k[a-e]y*",
];

/// Beginnings of keys.
pub const PREFIXES: &[&str] = &[
    "", "a", "key:", "user:", "{x}", "{x}user:", "ключ", "nothing",
];

/// Words that are odd where they stand, and no short time.
pub const ODD: &[&[u8]] = &[
    b"0",
    b"-1",
    b"-0",
    b"",
    b"abc",
    b"1.5",
    b"1e30",
    b"nan",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"9223372036854775807",
    b"9223372036854775808",
    b"9223372036854775",
    b"4611686018427387904",
    b"253402207200000",
    b"253402207200001",
    b"253402207200",
    b"253402207201",
    b"10000000000",
    b"10000000001",
    b"123456789012345678901234567890",
    b"NX",
    b"XX",
    b"GET",
    b"KEEPTTL",
    b"EX",
    b"PXAT",
    b"PERSIST",
    b"GT",
    b"LT",
    b"IFEQ",
    b"REPLACE",
    b"DB",
    b"LIMIT",
    b"a",
    b"key:1",
    b"\xff",
];

/// Times that are refused, or delete the key, or are nearly the last ones.
pub const ODD_TIMES: &[&str] = &[
    "0",
    "-1",
    "-1000",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775",
    "253402207200",
    "253402207201",
    "253402207200000",
    "253402207200001",
    "10000000000",
    "10000000001",
    "10000000000000",
    "10000000000001",
];
