//! Fuzzes the reader of files of pairs.
//!
//! In: the bytes of a file. Out: nothing, or a panic. It holds that a file that is read whole is read the same when its bytes come one by one,
//! and that its pairs are written in every format so that they are read back.

#![no_main]

use std::convert::Infallible;
use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use pykv_fuzz::codec::pair_file::{self, Declared, FileFormat, PairWriter, ReadError};
use pykv_fuzz::model::{Key, Value};

type Pair = (Vec<u8>, Vec<u8>, Option<u64>);

fuzz_target!(|input: &[u8]| {
    let Some(pairs) = read(input) else { return };
    let in_bytes = read(ByteByByte(input));
    assert_eq!(in_bytes.as_ref(), Some(&pairs));
    for (_, format) in FileFormat::NAMES {
        let written = write(&pairs, format);
        // Of JSON Lines without a line nothing says that it is whole.
        if !written.is_empty() {
            assert_eq!(read(&*written).as_ref(), Some(&pairs), "{format}");
        }
    }
});

/// A source that gives one byte at a time.
struct ByteByByte<'a>(&'a [u8]);

impl Read for ByteByByte<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

/// Returns the pairs of a file; `None` if it is broken.
fn read(source: impl Read) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    let read = pair_file::read(source, Declared::default(), |pair| {
        let (key, value) = (pair.key.as_bytes().to_owned(), pair.value);
        pairs.push((key, value.bytes().to_vec(), value.expires_at()));
        Ok::<_, Infallible>(())
    });
    match read {
        Ok(_) => Some(pairs),
        Err(ReadError::Fault(fault)) => {
            assert!(fault.line > 0 && fault.column > 0, "{fault}");
            None
        }
        Err(ReadError::Source(error)) => panic!("{error}"),
        Err(ReadError::Refused(never)) => match never {},
    }
}

fn write(pairs: &[Pair], format: FileFormat) -> Vec<u8> {
    let mut writer = PairWriter::new(Vec::new(), format);
    for (key, value, expires_at) in pairs {
        let key = Key::parse(key).expect("it was read");
        let value = Value::with_expiry(value, *expires_at).expect("it was read");
        writer.pair(key, value).expect("memory");
    }
    let (file, count) = writer.finish().expect("memory");
    assert_eq!(count, pairs.len() as u64);
    file
}
