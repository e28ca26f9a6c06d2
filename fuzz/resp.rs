//! Fuzzes the reader of RESP requests, and whole numbers.
//!
//! In: a byte that says how the rest arrives in pieces, and the rest: what a client sends. Out: nothing, or a panic. It holds
//! that requests are the same however they arrive, that each is what its own bytes say, and that what is written as a client
//! writes it is read back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pykv_fuzz::model::VALUE_BYTES_MAX;
use pykv_fuzz::protocol::resp::{REQUEST_BYTES_MAX, Read, Reader, WORDS_MAX, whole_number};

/// What was read: the words of each request, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    requests: Vec<Vec<Vec<u8>>>,
    /// Why no request can follow.
    refusal: Option<String>,
    /// The bytes that were left.
    left: usize,
}

fuzz_target!(|input: &[u8]| {
    let Some((pieces, sent)) = input.split_first() else {
        return;
    };
    let seen = read(sent, usize::MAX);
    assert_eq!(seen, read(sent, usize::from(*pieces).max(1)));
    for words in &seen.requests {
        assert!(words.len() <= WORDS_MAX);
        assert!(words.iter().all(|word| word.len() <= VALUE_BYTES_MAX));
        let written = write(words);
        if written.len() <= REQUEST_BYTES_MAX {
            let again = read(&written, usize::MAX);
            assert_eq!(again.requests.as_slice(), std::slice::from_ref(words));
            assert_eq!((again.refusal, again.left), (None, 0));
        }
    }
    check_number(sent);
});

/// The requests of what arrives in pieces of this length, as a connection takes them.
fn read(sent: &[u8], piece_bytes: usize) -> Seen {
    let mut seen = Seen {
        requests: Vec::new(),
        refusal: None,
        left: 0,
    };
    let mut reader = Reader::default();
    let mut input = Vec::new();
    for piece in sent.chunks(piece_bytes) {
        input.extend_from_slice(piece);
        // What does not begin so is a line, and not for this reader.
        while input.first() == Some(&b'*') {
            let mut words = Vec::new();
            let taken = match reader.read(&input, &mut words) {
                Read::Partial => break,
                Read::Frame(taken) => {
                    assert!((1..=input.len()).contains(&taken));
                    let words = words.iter().map(|word| word.to_vec());
                    seen.requests.push(words.collect());
                    taken
                }
                Read::Broken(refusal) => {
                    assert!(refusal.closes);
                    seen.refusal = Some(refusal.error.message);
                    return seen;
                }
            };
            drop(words);
            input.drain(..taken);
        }
        if input.first().is_some_and(|first| *first != b'*') {
            return seen;
        }
    }
    seen.left = input.len();
    seen
}

/// A request, as every client writes it.
fn write(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A number is read if it is written as it would be written, and not else.
fn check_number(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).ok();
    let number = text.and_then(|text| text.parse::<i64>().ok());
    let plain = number.filter(|number| number.to_string().as_bytes() == bytes);
    assert_eq!(whole_number(bytes), plain);
}
