//! Requests to the nodes of a cluster, as bytes.
//!
//! In: words. Out: RESP2, several requests in one buffer. Promise: a request has no allocation of its own.

use std::ops::Range;

use smallvec::SmallVec;

/// A request among those of a [`Requests`].
#[derive(Debug, Clone)]
pub struct NodeRequest {
    /// Its bytes.
    pub range: Range<usize>,
    /// The slot of its keys.
    pub slot: u16,
    /// True if it may change data.
    pub is_write: bool,
}

/// Requests that are sent together.
#[derive(Debug, Default)]
pub struct Requests {
    bytes: Vec<u8>,
    requests: SmallVec<[NodeRequest; 16]>,
}

impl Requests {
    /// Adds a request for the owner of a slot.
    pub fn push<'w>(
        &mut self,
        words: impl Iterator<Item = &'w [u8]> + Clone,
        slot: u16,
        is_write: bool,
    ) {
        let start = self.bytes.len();
        write_request(&mut self.bytes, words);
        self.requests.push(NodeRequest {
            range: start..self.bytes.len(),
            slot,
            is_write,
        });
    }

    /// Returns the requests.
    #[must_use]
    pub fn all(&self) -> &[NodeRequest] {
        &self.requests
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Returns the bytes of a request.
    #[must_use]
    pub fn bytes_of(&self, request: &NodeRequest) -> &[u8] {
        &self.bytes[request.range.clone()]
    }

    /// Returns the bytes of all requests.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Appends a request of these words.
pub fn write_request<'w>(out: &mut Vec<u8>, words: impl Iterator<Item = &'w [u8]> + Clone) {
    let mut digits = itoa::Buffer::new();
    let mut head = |out: &mut Vec<u8>, kind: u8, number: usize| {
        out.push(kind);
        out.extend_from_slice(digits.format(number).as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    head(out, b'*', words.clone().count());
    for word in words {
        head(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Returns a request of these words.
#[must_use]
pub fn request_of(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_request(&mut bytes, words.iter().copied());
    bytes
}
