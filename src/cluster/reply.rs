//! Replies of a node, in RESP2, and those of RESP3 that are lists of others.
//!
//! In: bytes as they arrive. Out: where each reply ends, and what it says. Promise: a reply that has arrived in part is not looked at
//! again from its start.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::borrow::Cow;

use memchr::memchr;

/// Bytes are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its reply is not RESP")]
pub struct Malformed;

/// Finds the end of the first reply of a buffer, and keeps its progress.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Offset of the next element.
    at: usize,
    /// Number of elements that are still expected, before the first: 0.
    due: usize,
}

impl Scanner {
    /// Returns the end of the first reply, if it is complete. `buffer` must begin with that of the previous call if that has returned
    /// `None`.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn end(&mut self, buffer: &[u8]) -> Result<Option<usize>, Malformed> {
        if self.at == 0 {
            self.due = 1;
        }
        while self.due > 0 {
            let Some((kind, line, next)) = line_at(buffer, self.at) else {
                return Ok(None);
            };
            let mut end = next;
            match kind {
                b'+' | b'-' | b':' | b'_' | b'#' | b',' => {}
                b'$' => {
                    if let Ok(bytes) = usize::try_from(number(line)?) {
                        end += bytes + 2;
                        if buffer.len() < end {
                            return Ok(None);
                        }
                    }
                }
                b'*' | b'>' => self.due += usize::try_from(number(line)?).unwrap_or(0),
                b'%' => self.due += 2 * usize::try_from(number(line)?).unwrap_or(0),
                _ => return Err(Malformed),
            }
            self.at = end;
            self.due -= 1;
        }
        Ok(Some(std::mem::take(self).at))
    }
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeReply<'a> {
    /// A word of the node's.
    Status(&'a str),
    /// An error: its first word is its code. It may cite what is not text.
    Error(Cow<'a, str>),
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Nothing.
    Nil,
    /// Several replies.
    Array(Vec<NodeReply<'a>>),
}

impl<'a> NodeReply<'a> {
    /// Parses a complete reply.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (reply, _) = parse_at(frame, 0)?;
        Ok(reply)
    }
}

fn parse_at(frame: &[u8], at: usize) -> Result<(NodeReply<'_>, usize), Malformed> {
    let (kind, line, next) = line_at(frame, at).ok_or(Malformed)?;
    let text = || std::str::from_utf8(line).map_err(|_| Malformed);
    let reply = match kind {
        b'+' => NodeReply::Status(text()?),
        b'-' => NodeReply::Error(String::from_utf8_lossy(line)),
        b':' => NodeReply::Number(number(line)?),
        b'$' => match usize::try_from(number(line)?) {
            Err(_) => NodeReply::Nil,
            Ok(bytes) => {
                let value = frame.get(next..next + bytes).ok_or(Malformed)?;
                return Ok((NodeReply::Bytes(value), next + bytes + 2));
            }
        },
        b'_' => NodeReply::Nil,
        b'*' | b'>' => match usize::try_from(number(line)?) {
            Err(_) => NodeReply::Nil,
            Ok(count) => {
                let mut at = next;
                let mut replies = Vec::new();
                for _ in 0..count {
                    let (reply, next) = parse_at(frame, at)?;
                    replies.push(reply);
                    at = next;
                }
                return Ok((NodeReply::Array(replies), at));
            }
        },
        _ => return Err(Malformed),
    };
    Ok((reply, next))
}

/// Returns the kind of the element at an offset, the rest of its first line, and the offset behind that; `None` if it is not complete.
fn line_at(buffer: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let rest = buffer.get(at..)?;
    let end = memchr(b'\r', rest)?;
    // The line feed, too.
    (rest.len() > end + 1).then(|| (rest[0], &rest[1..end], at + end + 2))
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_| Malformed)?;
    text.parse().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_in_the_same_place_however_it_is_cut() {
        let whole = b"*3\r\n$4\r\na\r\nb\r\n*2\r\n:-7\r\n$-1\r\n-ERR no\r\n+OK\r\n";
        let mut scanner = Scanner::default();
        for end in 0..whole.len() - 5 {
            assert_eq!(scanner.end(&whole[..end]), Ok(None), "{end}");
        }
        assert_eq!(scanner.end(whole), Ok(Some(whole.len() - 5)));
        assert_eq!(scanner.end(&whole[whole.len() - 5..]), Ok(Some(5)));
        assert_eq!(
            NodeReply::parse(whole),
            Ok(NodeReply::Array(vec![
                NodeReply::Bytes(b"a\r\nb"),
                NodeReply::Array(vec![NodeReply::Number(-7), NodeReply::Nil]),
                NodeReply::Error("ERR no".into()),
            ]))
        );
        assert_eq!(scanner.end(b"HTTP/1.1 400\r\n"), Err(Malformed));
    }
}
