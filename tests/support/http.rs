//! A client of the HTTP port: requests are written by hand, as bytes, so that nothing mends them.
//!
//! In: a request line, headers, a body. Out: the answer, or the events of a stream.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::server::TestServer;

/// What came back.
pub struct Answer {
    pub status: u16,
    /// The status line and the headers, in lower case.
    pub head: String,
    sent_head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("JSON is UTF-8")
    }

    /// The value of a cookie that is set, as it was sent.
    pub fn cookie(&self) -> &str {
        let mut lines = self.sent_head.lines();
        let line = lines.find(|line| line.to_ascii_lowercase().starts_with("set-cookie: "));
        let pair = line.expect("a cookie")["set-cookie: ".len()..]
            .split(';')
            .next();
        pair.expect("a pair")
    }

    /// A header, if there is one of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&*head))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }
}

/// A connection to the HTTP port.
pub struct Http {
    pub stream: TcpStream,
    pub reader: BufReader<TcpStream>,
    host: String,
}

impl Http {
    pub fn connect(server: &TestServer) -> Self {
        let stream = TcpStream::connect(server.http_addr()).expect("the server accepts");
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).expect("a timeout");
        Self {
            reader: BufReader::new(stream.try_clone().expect("a second handle")),
            stream,
            host: server.http_addr().to_string(),
        }
    }

    /// Sends a request, `GET /all` say, with the host that clients send.
    pub fn send(&mut self, request: &str, headers: &[&str], body: &[u8]) {
        let mut all = vec![format!("Host: {}", self.host)];
        all.extend(headers.iter().map(|header| (*header).to_owned()));
        if !body.is_empty() {
            all.push(format!("Content-Length: {}", body.len()));
        }
        let head = format!("{request} HTTP/1.1\r\n{}\r\n\r\n", all.join("\r\n"));
        self.send_bytes(head.as_bytes());
        self.send_bytes(body);
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// A second handle to send by.
    pub fn sender(&self) -> TcpStream {
        self.stream.try_clone().expect("a second handle")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        assert!(
            line.ends_with("\r\n"),
            "the connection ended after {line:?}"
        );
        line.truncate(line.len() - 2);
        line
    }

    /// The head of the next answer.
    pub fn head(&mut self) -> (u16, String) {
        let (status, head) = self.sent_head();
        (status, head.to_ascii_lowercase())
    }

    fn sent_head(&mut self) -> (u16, String) {
        let mut head = String::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                let status = head
                    .split(' ')
                    .nth(1)
                    .and_then(|status| status.parse().ok());
                return (status.expect("a status line"), head);
            }
            head += &line;
            head.push('\n');
        }
    }

    /// The next answer to a request that was no HEAD.
    pub fn answer(&mut self) -> Answer {
        let (status, sent_head) = self.sent_head();
        let head = sent_head.to_ascii_lowercase();
        let mut body = Vec::new();
        if head.contains("transfer-encoding: chunked") {
            self.read_chunks(|chunk| body.extend_from_slice(chunk));
        } else {
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next());
            let length = length.map_or(0, |length| length.parse().expect("a length"));
            body.resize(length, 0);
            self.reader.read_exact(&mut body).expect("the whole body");
        }
        Answer {
            status,
            head,
            sent_head,
            body,
        }
    }

    pub fn read_chunks(&mut self, mut read: impl FnMut(&[u8])) {
        loop {
            let chunk = self.chunk();
            read(&chunk);
            if chunk.is_empty() {
                return;
            }
        }
    }

    fn chunk(&mut self) -> Vec<u8> {
        let length = usize::from_str_radix(&self.line(), 16).expect("a chunk's length");
        let mut chunk = vec![0; length];
        self.reader.read_exact(&mut chunk).expect("a whole chunk");
        assert_eq!(self.line(), "", "what ends a chunk");
        chunk
    }

    pub fn ask(&mut self, request: &str) -> Answer {
        self.send(request, &[], b"");
        self.answer()
    }

    /// The next server-sent event of an answer whose head has been read: its name, and its data.
    pub fn event(&mut self) -> (String, Value) {
        loop {
            let chunk = String::from_utf8(self.chunk()).expect("text");
            let field = |name: &str| chunk.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                let data = serde_json::from_str(data).expect("JSON");
                return (name.to_owned(), data);
            }
        }
    }

    pub fn put(&mut self, pair: &Value) -> Answer {
        self.send("POST /put", &[], pair.to_string().as_bytes());
        self.answer()
    }
}

/// Text as it may stand in a path or a query: all but letters and digits percent-encoded.
pub fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A few dozen texts that something on the way could change.
pub const NASTY: &[&str] = &[
    "",
    " ",
    "  padded  ",
    "a b",
    "a+b",
    "a%2Bb",
    "a%b",
    "%",
    "%%",
    "%zz",
    "100%25",
    "x/y",
    "/",
    "//",
    "/x",
    "x/",
    ".",
    "..",
    "../..",
    "a/../b",
    "./x",
    "?",
    "a?b=c",
    "#",
    "a#b",
    "&",
    "a&value=b",
    "=",
    "a=b=c",
    ";",
    ":",
    "user:101:name",
    "\"",
    "\\",
    "\\n",
    "\\u0041",
    "'",
    "<html>...</html>",
    "{json...}",
    "{\"$base64\":\"AP8=\"}",
    "null",
    "\0",
    "a\0b",
    "\n",
    "\r",
    "\r\n",
    "line1\nline2\n",
    "\t",
    "\u{1}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}x",
    "é",
    "e\u{301}",
    "世界",
    "😀",
    "👩‍👩‍👧",
    "مرحبا",
    "\u{10ffff}",
    "~",
    "|^`{}[]<>",
];
