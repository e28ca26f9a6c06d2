//! A client that speaks RESP, for tests that look at what comes unasked.
//!
//! In: requests whose words have no blanks. Out: replies and pushes as one line each.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request, as every client writes it.
pub fn request(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A client that speaks RESP.
pub struct Resp(BufReader<TcpStream>);

impl Resp {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server accepts");
        let timeout = Some(Duration::from_secs(10));
        stream.set_read_timeout(timeout).expect("a timeout");
        Self(BufReader::new(stream))
    }

    /// Sends words and returns the reply: its elements, with blanks between them.
    pub fn ask(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.send(&words);
        self.reply()
    }

    /// Sends words of any bytes and returns the reply.
    pub fn ask_words(&mut self, words: &[&[u8]]) -> Vec<u8> {
        self.send(words);
        self.reply_bytes()
    }

    /// Sends words, and does not wait for the reply.
    pub fn send_only(&mut self, words: &[&[u8]]) {
        self.send(words);
    }

    fn send(&mut self, words: &[&[u8]]) {
        let bytes = request(words);
        self.0.get_mut().write_all(&bytes).expect("it is sent");
    }

    /// Returns the next reply or push: its elements, with blanks between them.
    pub fn reply(&mut self) -> String {
        String::from_utf8(self.reply_bytes()).expect("text")
    }

    fn reply_bytes(&mut self) -> Vec<u8> {
        let mut head = String::new();
        self.0.read_line(&mut head).expect("a reply");
        let (kind, rest) = head.trim_end().split_at(1);
        let count: i64 = rest.parse().unwrap_or(-1);
        let elements = match (kind, usize::try_from(count)) {
            ("*" | ">" | "~", Ok(elements)) => elements,
            ("%", Ok(pairs)) => 2 * pairs,
            ("$" | "=", Ok(length)) => {
                let mut body = vec![0; length + 2];
                self.0.read_exact(&mut body).expect("a whole value");
                body.truncate(length);
                return body;
            }
            ("_", _) => return b"nil".to_vec(),
            _ => return rest.as_bytes().to_vec(),
        };
        let replies: Vec<Vec<u8>> = (0..elements).map(|_| self.reply_bytes()).collect();
        replies.join(&b' ')
    }
}
