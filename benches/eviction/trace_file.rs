//! Traces of requests to a cache, read from files.
//!
//! In: a text file, gzipped or not, of one key per line, with the bytes of its value behind it where they are known. Out: the keys,
//! and the requests as numbers of keys. Promise: a line that is not of this form is an error that names it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::Failure;

/// Requests in their order.
pub struct Trace {
    /// Keys by number, in the order in which they are first asked for.
    pub keys: Vec<String>,
    /// Bytes of the value of each key, where the trace gives them: those of its first request.
    pub value_bytes: Vec<Option<usize>>,
    /// Number of the key of each request.
    pub requests: Vec<usize>,
}

impl Trace {
    /// Reads a trace, or so many requests from its start.
    ///
    /// # Errors
    /// If the file cannot be read, has a wrong line, or has no request.
    pub fn read(path: &Path, first: Option<usize>) -> Result<Self, Failure> {
        let name = path.display();
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        let mut file = BufReader::new(file);
        let is_gzipped = file.fill_buf()?.starts_with(&[0x1F, 0x8B]);
        let lines: Box<dyn BufRead> = if is_gzipped {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        let mut trace = Self {
            keys: Vec::new(),
            value_bytes: Vec::new(),
            requests: Vec::new(),
        };
        let mut numbers = HashMap::new();
        for (place, line) in lines.lines().take(first.unwrap_or(usize::MAX)).enumerate() {
            let line = line?;
            let mut words = line.split_whitespace();
            let wrong = || format!("{name}: line {} is no key and size: {line:?}", place + 1);
            let key = words.next().ok_or_else(wrong)?;
            let bytes = words.next().map(str::parse).transpose();
            let bytes = bytes.map_err(|_| wrong())?;
            let number = *numbers.entry(key.to_owned()).or_insert_with(|| {
                trace.keys.push(key.to_owned());
                trace.value_bytes.push(bytes);
                trace.keys.len() - 1
            });
            trace.requests.push(number);
        }
        if trace.requests.is_empty() {
            return Err(format!("{name} has no request").into());
        }
        Ok(trace)
    }

    /// Returns the bytes of the value of each key as the trace gives them.
    ///
    /// # Errors
    /// If one is missing.
    pub fn given_sizes(&self) -> Result<Vec<usize>, Failure> {
        let sizes: Option<Vec<usize>> = self.value_bytes.iter().copied().collect();
        sizes.ok_or_else(|| "the trace has no sizes in its second column".into())
    }
}
