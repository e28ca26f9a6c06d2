//! A file of pairs: one JSON object as store.json is, JSON Lines, or CSV; each gzipped or not. Every door that takes or gives files uses it.
//!
//! In: the bytes of a file, from a disk, a pipe or a request. Out: its pairs, one after the other, or the line and column at which it is broken;
//! and the reverse, pairs written as a file. Promises: memory is bounded by the longest pair, however long the file is; a file that was cut at
//! any byte is told as broken, except where a cut leaves a whole file (the text of the last cell of a CSV file that has no column `encoding`);
//! pairs that are written are read back the same.

mod content;
mod duplicates;
mod fault;
mod format;
mod meter;
mod object;
mod pair;
mod rows;
mod scanner;
mod spool;
mod table;
mod text;
mod writer;

use std::cell::Cell;
use std::io::{self, Read};

pub use duplicates::{Duplicates, FirstDuplicate};
pub use fault::{Fault, ReadError};
pub use format::{Declared, FileFormat};
pub use pair::FilePair;
pub use spool::{Spool, SpoolError};
pub use writer::PairWriter;

use content::{Told, tell};
use fault::TextError;
use meter::Meter;
use text::Text;

/// Reads the pairs of a file in their order, and calls `take` with each. Returns the format that the content has.
///
/// # Errors
/// [`ReadError::Fault`] if the file is broken, or of no format of ours, or not of the one that was demanded; the pairs before the fault have been
/// taken then. [`ReadError::Source`] if the source fails. [`ReadError::Refused`] once `take` refuses a pair.
pub fn read<E>(
    source: impl Read,
    declared: Declared,
    take: impl FnMut(FilePair<'_>) -> Result<(), E>,
) -> Result<FileFormat, ReadError<E>> {
    read_holding(source, declared, |_| Ok(()), take)
}

/// Reads as [`read`] does, and calls `hold` with the bytes in memory of the pair that is being read, whenever they are a mebibyte more, or
/// fewer.
///
/// # Errors
/// Those of [`read`]; [`ReadError::Source`] with an error of `hold`.
pub fn read_holding<E>(
    source: impl Read,
    declared: Declared,
    hold: impl FnMut(usize) -> io::Result<()>,
    mut take: impl FnMut(FilePair<'_>) -> Result<(), E>,
) -> Result<FileFormat, ReadError<E>> {
    let pair_bytes = Cell::new(0);
    let mut text = Text::open(source, Meter::new(&pair_bytes, hold))?;
    let mut take = |pair: FilePair<'_>| {
        pair_bytes.set(0);
        take(pair)
    };
    let format = format_of(&mut text, declared)?;
    match format {
        FileFormat::Json => object::read(&mut text, &mut take),
        FileFormat::Jsonl => rows::read(&mut text, &mut take),
        FileFormat::Csv => table::read(&mut text, &mut take),
    }?;
    Ok(format)
}

fn format_of(text: &mut Text<'_>, declared: Declared) -> Result<FileFormat, TextError> {
    let hint = declared.format.or(declared.by_name);
    let mut is_whole = false;
    loop {
        match tell(text.head(), is_whole, hint) {
            Told::Format(found) => {
                return match declared.format {
                    Some(wanted) if wanted != found => {
                        let reason = format!(
                            "the file is {found}, and not {wanted} as demanded: leave the format out, and it is told by the content"
                        );
                        Err(text.place().fault(reason).into())
                    }
                    _ => Ok(found),
                };
            }
            Told::Refused(reason) => return Err(text.place().fault(reason).into()),
            Told::More => is_whole = !text.grow_head()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::codec::key_text::key_text;
    use crate::model::{Key, Value};

    type Pair = (String, Vec<u8>, Option<u64>);

    /// The pairs before the end or the first fault, and the fault.
    fn pairs(file: &[u8], format: Option<FileFormat>) -> (Vec<Pair>, Option<Fault>) {
        let mut pairs = Vec::new();
        let declared = Declared {
            format,
            by_name: None,
        };
        let read = read(file, declared, |pair| {
            let (key, value) = (key_text(pair.key.as_bytes()).into_owned(), pair.value);
            pairs.push((key, value.bytes().to_vec(), value.expires_at()));
            Ok::<_, Infallible>(())
        });
        match read {
            Ok(_) => (pairs, None),
            Err(ReadError::Fault(fault)) => (pairs, Some(fault)),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn hard_pairs() -> Vec<Pair> {
        let at = Some(4_102_444_800_123);
        [
            ("a", &b"1"[..], None),
            ("", b"", None),
            ("empty, later", b"", at),
            ("q\"u,o\n", "\u{e4}\",\"\n\r\n\r".as_bytes(), at),
            ("nul\0", b"\0", None),
            ("=1+1", b"=cmd()", None),
            (" blank ", b"  ", None),
            ("bytes", &[0, 255], at),
            ("plain bytes", &[255], None),
            ("{\"$text\"", b"{\"$text\": \"x\"}", None),
            ("\u{feff}", b"BASE64 \"AP8=\"", None),
            ("base64", b"AP8=", None),
            ("key", b"value", None),
            ("value", b"{\"$base64\":\"AP8=\"}", at),
            ("encoding", b"base64", None),
        ]
        .into_iter()
        .map(|(key, value, at)| (key.to_owned(), value.to_vec(), at))
        .collect()
    }

    fn written(pairs: &[Pair], format: FileFormat) -> Vec<u8> {
        let mut writer = PairWriter::new(Vec::new(), format);
        for (key, value, at) in pairs {
            let key = Key::parse(key.as_bytes()).expect("a key");
            let value = Value::with_expiry(value, *at).expect("a value");
            writer.pair(key, value).expect("memory");
        }
        let (file, count) = writer.finish().expect("memory");
        assert_eq!(count, pairs.len() as u64);
        file
    }

    const FORMATS: [FileFormat; 3] = [FileFormat::Json, FileFormat::Jsonl, FileFormat::Csv];

    #[test]
    fn pairs_are_read_back_the_same_in_every_format_gzipped_or_not() {
        let all = hard_pairs();
        for format in FORMATS {
            for count in [1, 2, all.len()] {
                let file = written(&all[..count], format);
                assert_eq!(
                    pairs(&file, None),
                    (all[..count].to_vec(), None),
                    "{format}"
                );
                let zipped = gzipped(&file);
                assert_eq!(pairs(&zipped, Some(format)).0, all[..count], "{format}");
                let windows = [&b"\xef\xbb\xbf"[..], &file].concat();
                assert_eq!(pairs(&windows, None).0, all[..count], "{format}");
            }
        }
        assert_eq!(pairs(&written(&[], FileFormat::Json), None), (vec![], None));
        assert_eq!(pairs(&written(&[], FileFormat::Csv), None), (vec![], None));
    }

    /// Goal: no file that was cut passes for whole, and no pair is stored that it did not hold.
    #[test]
    fn a_file_cut_at_any_byte_is_told_as_broken() {
        let all = hard_pairs();
        for format in FORMATS {
            let whole = written(&all, format);
            let mut ends = 0;
            for cut in 0..whole.len() - 1 {
                let (before, fault) = pairs(&whole[..cut], None);
                assert_eq!(before, all[..before.len()], "{format} cut at {cut}");
                let ends_row = format != FileFormat::Json
                    && (whole[..cut].ends_with(b"\n") || whole[cut] == b'\n');
                match fault {
                    Some(fault) => {
                        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n');
                        assert!(fault.line <= lines.count() as u64 + 1, "{fault}");
                    }
                    None => {
                        assert!(ends_row, "{format} cut at {cut}");
                        ends += 1;
                    }
                }
            }
            assert!(ends <= 2 * all.len() + 1, "{format}: {ends}");
            let zipped = gzipped(&whole);
            for cut in 1..zipped.len() {
                let (before, fault) = pairs(&zipped[..cut], None);
                assert_eq!(before, all[..before.len()], "{format} cut at {cut}");
                assert!(fault.is_some(), "{format} cut at {cut}");
            }
        }
    }

    #[test]
    fn gzip_that_is_damaged_or_followed_by_something_is_broken() {
        let file = b"{\"a\":\"1\"}\n";
        let good = gzipped(file);
        let twice = [good.clone(), gzipped(b"\n")].concat();
        assert_eq!(pairs(&twice, None).1, None);
        let mut wrong_sum = good.clone();
        let at = wrong_sum.len() - 5;
        wrong_sum[at] ^= 1;
        for (name, broken) in [
            ("checksum", wrong_sum),
            ("garbage", [&good[..], b"garbage"].concat()),
            ("long garbage", [&good[..], &[b'x'; 100]].concat()),
            ("zeros", [&good[..], &[0; 512]].concat()),
        ] {
            let (_, fault) = pairs(&broken, None);
            let fault = fault.expect(name);
            assert!(fault.reason.contains("the gzip data"), "{name}: {fault}");
        }
    }

    /// A broken file, the number of pairs before the fault, its line and column, and a part of its reason.
    type Broken = (&'static str, usize, (u64, u64), &'static str);

    fn assert_told(format: FileFormat, files: &[Broken]) {
        for (file, count, place, reason) in files {
            let (before, fault) = pairs(file.as_bytes(), Some(format));
            let fault = fault.unwrap_or_else(|| panic!("{file}"));
            assert!(fault.reason.contains(reason), "{file}: {fault}");
            assert_eq!((fault.line, fault.column), *place, "{file}: {fault}");
            assert_eq!(before.len(), *count, "{file}");
        }
    }

    #[test]
    fn a_broken_object_is_told_with_its_place_and_the_pairs_before_are_there() {
        assert_told(
            FileFormat::Json,
            &[
                (
                    "{\"a\":\"1\",\n\"b\":\"2\",\n\"c\" \"3\"}",
                    2,
                    (3, 5),
                    "expected `:`",
                ),
                (
                    "{\"a\":\"1\",\n\"b\":}",
                    1,
                    (2, 5),
                    "expected a value, found `}`",
                ),
                ("{\"a\":\"1\"", 1, (1, 9), "it was cut"),
                (
                    "{\"a\":\"1\",\n\"b\":\"2",
                    1,
                    (2, 5),
                    "the file ends within the string",
                ),
                (
                    "{\"a\":\"1,\n\"b\":\"2\"}",
                    0,
                    (1, 6),
                    "the line ends within the string",
                ),
                ("{\"a\":\"1\"} x", 1, (1, 11), "nothing after the end"),
                ("{\"a\":\"1\"}}", 1, (1, 10), "nothing after the end"),
                ("{\"a\":\"1\",}", 1, (1, 10), "a key in quotes"),
                ("{\"a\":{\"b\":[1}}", 0, (1, 6), "the value is not JSON"),
                ("{\"a\":[1 2]}", 0, (1, 6), "the value is not JSON"),
                ("{\"a\":tru}", 0, (1, 6), "the value is not JSON"),
                (
                    "{\"a\":\n {\"$base64\":\"!\"}}",
                    0,
                    (2, 2),
                    "key \"a\": $base64 is not base64",
                ),
                ("{\"\\ud800\":\"1\"}", 0, (1, 9), "half of a surrogate pair"),
            ],
        );
    }

    #[test]
    fn a_broken_row_of_json_lines_is_told_with_its_place_and_the_pairs_before_are_there() {
        assert_told(
            FileFormat::Jsonl,
            &[
                (
                    "{\"key\":\"a\",\"value\":\"1\"}\n\n{\"key\":\"b\"}\n",
                    1,
                    (3, 1),
                    "missing member \"value\"",
                ),
                (
                    "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2",
                    1,
                    (2, 20),
                    "the file ends within the string",
                ),
                (
                    "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\n\"value\":\"2\"}\n",
                    1,
                    (2, 12),
                    "the line ends too soon",
                ),
                (
                    "{\"key\":\"a\",\"value\":\"1\"} {}\n",
                    0,
                    (1, 25),
                    "the end of the line",
                ),
                (
                    "{\"key\":\"a\",\"value\":\"1\",\"ttl\":3}\n",
                    0,
                    (1, 24),
                    "unknown member \"ttl\"",
                ),
                (
                    "{\"key\":\"a\",\"key\":\"b\",\"value\":\"1\"}\n",
                    0,
                    (1, 12),
                    "more than one \"key\"",
                ),
                (
                    "{\"key\":\"a\",\"value\":\"1\",\"expires_at\":\"soon\"}",
                    0,
                    (1, 37),
                    "expires_at \"soon\" is not a time",
                ),
                (
                    "{\"key\":\"a\",\"value\":{\"$text\":\"1\",\"$expires_at\":\"2100-01-01T00:00:00Z\"},\"expires_at\":\"2100-01-01T00:00:00Z\"}",
                    0,
                    (1, 84),
                    "keep one",
                ),
            ],
        );
    }

    #[test]
    fn a_broken_row_of_csv_is_told_with_its_place_and_the_pairs_before_are_there() {
        assert_told(
            FileFormat::Csv,
            &[
                (
                    "a,b\n1,2\n",
                    0,
                    (1, 1),
                    "the first row has to name the columns",
                ),
                ("key;value\n1;2\n", 0, (1, 1), "separated by commas"),
                ("key,value,note\na,1,x\n", 0, (1, 11), "not \"note\""),
                (
                    "key,value,Value\na,1,x\n",
                    0,
                    (1, 11),
                    "two columns \"Value\"",
                ),
                (
                    "key,value,encoding\na,1,hex\n",
                    0,
                    (2, 5),
                    "encoding is text or base64, not \"hex\"",
                ),
                (
                    "key,value,encoding\na,!,base64\n",
                    0,
                    (2, 3),
                    "the value is not base64",
                ),
                (
                    "key,value\na,1\nb\n",
                    1,
                    (3, 1),
                    "too few cells: 1, where the header has 2",
                ),
                ("key,value\na,1\nb,2,3\n", 1, (3, 5), "too many cells"),
                ("key,value\na,1\nb,\"2\nc,3\n", 1, (3, 3), "never closed"),
                (
                    "key,value\na,\"1\nb,\"2\"\n",
                    0,
                    (2, 3),
                    "a quote is missing",
                ),
                ("key,value\na,1\nb,", 1, (3, 1), "within its last row"),
                (
                    "key,value\na,1\rb,2\r",
                    0,
                    (2, 4),
                    "a carriage return without a line feed",
                ),
                (
                    "key,value,expires_at\na,1,2100\n",
                    0,
                    (2, 5),
                    "expires_at \"2100\" is not a time",
                ),
            ],
        );
    }

    #[test]
    fn text_that_is_not_utf_8_is_told_with_its_place() {
        for (file, place) in [
            (&b"{\"a\":\"1\",\n\"b\":\"x\xff\"}"[..], (2, 7)),
            (b"{\"a\":\"1\",\n\"\xe4\":\"x\"}", (2, 2)),
            (b"{\"key\":\"a\",\"value\":\"\xff\"}\n{\"", (1, 21)),
            (b"key,value\na,1\nb,\xff\n", (3, 3)),
            (b"key,value\n\xff,1\n", (2, 1)),
        ] {
            let fault = pairs(file, None).1.expect("it is not UTF-8");
            assert!(fault.reason.contains("not UTF-8"), "{fault}");
            assert_eq!((fault.line, fault.column), place, "{fault}");
        }
    }

    #[test]
    fn a_format_that_was_demanded_and_is_not_there_is_refused() {
        let store = b"{\n\"a\":\"1\"\n}";
        for (file, demanded, reason) in [
            (&store[..], FileFormat::Csv, "a JSON object, and not CSV"),
            (
                store,
                FileFormat::Jsonl,
                "a JSON object, and not JSON Lines",
            ),
            (
                b"key,value\na,1\n",
                FileFormat::Json,
                "CSV, and not a JSON object",
            ),
        ] {
            let (before, fault) = pairs(file, Some(demanded));
            let fault = fault.expect("another format");
            assert!(fault.reason.contains(reason), "{fault}");
            assert!(before.is_empty());
        }
    }

    #[test]
    fn the_longest_pair_is_read_and_one_byte_more_is_told_before_it_is_all_in_memory() {
        let key = "k".repeat(65_536);
        let long = "v".repeat(64 << 20);
        let escaped = "\\u0001".repeat(1 << 20);
        for (file, is_good) in [
            (format!("{{\"{key}\":\"{long}\"}}"), true),
            (format!("{{\"{key}k\":\"1\"}}"), false),
            (format!("{{\"a\":\"{long}v\"}}"), false),
            (format!("{{\"a\":\"{escaped}\"}}"), true),
            (format!("key,value\n{key},{long}\n"), true),
            (format!("key,value\n{key}k,1\n"), false),
            (format!("key,value\na,{long}v\n"), false),
            (
                format!("{{\"key\":\"{key}\",\"value\":\"{long}\"}}\n"),
                true,
            ),
            (format!("{{\"key\":\"a\",\"value\":\"{long}v\"}}\n"), false),
        ] {
            let (before, fault) = pairs(file.as_bytes(), None);
            assert_eq!(before.len(), usize::from(is_good), "{file:.20}");
            assert_eq!(fault.is_none(), is_good, "{file:.20}: {fault:?}");
        }
        for beginning in [
            "{\"a\":\"",
            "{\"a\":[",
            "{\"a\":1",
            "{\"",
            "key,value\na,\"",
            "key,value\na,",
        ] {
            let endless = std::io::repeat(b'1');
            let read = read(
                beginning.as_bytes().chain(endless),
                Declared::default(),
                |_| Ok::<_, Infallible>(()),
            );
            let Err(ReadError::Fault(fault)) = read else {
                panic!("{beginning}")
            };
            assert!(
                fault.reason.contains("is longer than"),
                "{beginning}: {fault}"
            );
        }
    }
}
