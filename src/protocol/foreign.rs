//! Recognition of other protocols on the text port: a client that speaks HTTP, TLS or the like is cut off before any of its bytes is
//! executed as a command.
//!
//! In: a line, or the beginning of one. Out: the refusal that closes the connection, if they are not of this protocol. Promises:
//! whoever can choose a part of such bytes (the body of a request, a header, the name in a TLS handshake) can have nothing
//! executed; a line that a person may have meant is not refused, but for the few that protocol.md lists.

use super::{ErrorCode, ErrorReply, Refusal};

/// First words, in any case, of requests of line-based protocols. None is a command.
const WORDS: [(&[u8], &str); 21] = [
    (b"POST", HTTP),
    (b"HEAD", HTTP),
    (b"PATCH", HTTP),
    (b"OPTIONS", HTTP),
    (b"TRACE", HTTP),
    (b"CONNECT", "HTTP or STOMP"),
    (b"PRI", HTTP),
    (b"EHLO", "SMTP"),
    (b"HELO", "SMTP"),
    (b"LHLO", "LMTP"),
    (b"MAIL", "SMTP"),
    (b"STARTTLS", TLS),
    (b"USER", "FTP"),
    (b"PASS", "FTP"),
    (b"NICK", "IRC"),
    (b"PROXY", "the PROXY protocol"),
    (b"SYNC", REPLICATION),
    (b"PSYNC", REPLICATION),
    (b"ms", MEMCACHED),
    (b"<?xml", "XML"),
    (b"<stream:stream", "XMPP"),
];
/// Beginnings, in any case, of such first words.
const BEGINNINGS: [(&[u8], &str); 5] = [
    (b"Host:", HTTP),
    (b"HTTP/", HTTP),
    (b"RTSP/", "RTSP"),
    (b"SIP/", "SIP"),
    (b"SSH-", "SSH"),
];
const HTTP: &str = "HTTP";
const TLS: &str = "TLS";
const REPLICATION: &str = "Redis's replication protocol";
const MEMCACHED: &str = "memcached's protocol";
/// Minimum number of arguments of a request to store in memcached's protocol: key, flags, expiry and length.
const STORE_ARGUMENTS_MIN: usize = 4;

/// Returns the refusal for a line that has arrived in part and is not one of text, as what is to follow may never have a line feed.
#[must_use]
pub fn refuse_beginning(line: &[u8]) -> Option<Refusal> {
    let first = *line.first()?;
    is_foreign(first).then(|| refusal(tls_in(line)))
}

/// Returns the refusal for a line that is not a request (its command is not known, or its arguments are not valid) if it is of
/// another protocol.
#[must_use]
#[cold]
pub fn refuse_malformed(line: &[u8]) -> Option<Refusal> {
    let verb = words(line).next()?;
    if is_foreign(verb[0]) || verb.contains(&0) {
        return Some(refusal(tls_in(line)));
    }
    let by_word = WORDS
        .iter()
        .find(|(word, _)| verb.eq_ignore_ascii_case(word));
    let by_beginning = BEGINNINGS.iter().find(|(beginning, _)| {
        let head = verb.get(..beginning.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(beginning))
    });
    let name = by_word.or(by_beginning).map(|(_, name)| *name);
    let name = name.or_else(|| version_in(line)).or_else(|| store_in(line));
    name.map(|name| refusal(Some(name)))
}

/// Returns true if another protocol may have a line that is a request, with this number of arguments: see [`refuse`].
#[inline(always)]
#[must_use]
pub fn is_ambiguous(line: &[u8], arguments: usize) -> bool {
    matches!(line, [.., b'/', _, b'.', _]) || arguments >= STORE_ARGUMENTS_MIN
}

/// Returns the refusal for a line that is malformed, or a request that [`is_ambiguous`], if it is of another protocol.
#[cold]
#[must_use]
pub fn refuse(line: &[u8], is_malformed: bool) -> Option<Refusal> {
    if is_malformed {
        return refuse_malformed(line);
    }
    let version = version_in(line).filter(|_| is_request_line(line));
    let name = version.or_else(|| store_in(line));
    name.map(|name| refusal(Some(name)))
}

/// Returns true for the refusal of a client that speaks TLS.
#[must_use]
pub fn is_tls(refusal: &Refusal) -> bool {
    refusal.closes
        && refusal
            .error
            .message
            .starts_with("this port does not speak TLS;")
}

/// Returns true for the refusal of a client that speaks Redis's replication protocol, whose errors begin with a minus sign: another
/// line would be taken for the length of the data.
#[must_use]
pub fn is_replication(refusal: &Refusal) -> bool {
    let rest = refusal
        .error
        .message
        .strip_prefix("this port does not speak ");
    refusal.closes && rest.is_some_and(|rest| rest.starts_with(REPLICATION))
}

/// Makes the refusal of a protocol; `None` for one that is not known.
fn refusal(name: Option<&str>) -> Refusal {
    let reason = name.map_or_else(
        || "these bytes are neither a line of text nor RESP".to_owned(),
        |name| format!("this port does not speak {name}"),
    );
    let message = format!("{reason}; this connection is closed");
    Refusal {
        error: ErrorReply::new(ErrorCode::Denied, message),
        closes: true,
    }
}

/// Returns true for a byte with which no line of text begins: a control character, or one that is not the first of a character.
/// A tab is a blank and a carriage return may end a line; a person sends an escape by an arrow key.
fn is_foreign(byte: u8) -> bool {
    match byte {
        b'\t' | b'\n' | b'\r' | 0x1b => false,
        0x00..=0x1f | 0x7f..=0xc1 | 0xf5..=0xff => true,
        _ => false,
    }
}

/// Returns the name of TLS if a line begins as its records do, or as the greeting of SSL 2.0 with which old clients begin.
fn tls_in(line: &[u8]) -> Option<&'static str> {
    matches!(
        line,
        [0x14..=0x17] | [0x14..=0x17, 3, ..] | [0x80..=0xff, _, 1, ..]
    )
    .then_some(TLS)
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    words.filter(|word| !word.is_empty())
}

/// Returns the name of the protocol whose version is the last word of a line: `HTTP/1.1`.
pub(super) fn version_in(line: &[u8]) -> Option<&str> {
    let word = std::str::from_utf8(words(line).last()?).ok()?;
    let (name, version) = word.split_once('/')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_version = matches!(version.as_bytes(), [b'0'..=b'9', b'.', b'0'..=b'9']);
    (is_name && is_version).then_some(name)
}

/// Returns true for three words, one space between them, of which the second is a target as in `PUT /x HTTP/1.1`.
fn is_request_line(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let (_, target, _, None) = (words.next(), words.next(), words.next(), words.next()) else {
        return false;
    };
    let target = target.unwrap_or_default();
    let has_scheme = || memchr::memmem::find(target, b"://").is_some();
    target == b"*"
        || [&b"/"[..], b"sip:", b"sips:"]
            .iter()
            .any(|head| target.starts_with(head))
        || has_scheme()
}

/// Returns the name of memcached's protocol if a line is its request to store, after which the value follows as a line:
/// `set <key> <flags> <expiry> <bytes>`. In this protocol none of them is valid.
fn store_in(line: &[u8]) -> Option<&'static str> {
    const VERBS: [&[u8]; 6] = [b"set", b"add", b"replace", b"append", b"prepend", b"cas"];
    let is_number = |word: &[u8]| {
        let digits = word.strip_prefix(b"-").unwrap_or(word);
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    let mut words = words(line);
    let verb = words.next()?;
    let _key = words.next()?;
    let numbers = words.by_ref().take(STORE_ARGUMENTS_MIN - 1);
    let is_store = VERBS.iter().any(|name| verb.eq_ignore_ascii_case(name))
        && numbers.filter(|word| is_number(word)).count() == STORE_ARGUMENTS_MIN - 1;
    is_store.then_some(MEMCACHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse_request(line: &[u8], arguments: usize) -> Option<Refusal> {
        is_ambiguous(line, arguments)
            .then(|| refuse(line, false))
            .flatten()
    }

    #[test]
    fn a_line_that_a_person_may_have_meant_is_not_refused() {
        for line in [
            "PUT note see HTTP/1.1",
            "PUT note HTTP/1.1",
            "PUT /note \"HTTP/1.1\"",
            "PUT \"/note\" HTTP/1.1",
            "PUT /note see HTTP/1.1",
            "PUT /note http/1.1",
            "PUT /note 1/2.5",
            "PUT / HTTP/1.10",
            "PUT user:1 HTTP/1.1",
            "DEL a HTTP/1.1",
            "PUT k 0 0 5",
            "MSET set 0 a 0 b 5",
            "SET k 0 EX 5 NX",
            "SET k 0 IFEQ 5",
            "GET host:",
        ] {
            for arguments in [0, STORE_ARGUMENTS_MIN] {
                assert!(
                    refuse_request(line.as_bytes(), arguments).is_none(),
                    "{line}"
                );
            }
        }
        for line in [
            "GET",
            "FETCH a",
            "\u{1b}[AGET x",
            "gr\u{f6}\u{df}e x",
            "\u{feff}GET x",
            "\r",
            "name: Ada",
            "GET a\0b c",
            "hosts: a",
            "USERS x",
            "GET /a b",
            "APPEND a b c",
        ] {
            assert!(refuse_malformed(line.as_bytes()).is_none(), "{line}");
            assert!(refuse_beginning(line.as_bytes()).is_none(), "{line}");
        }
        // Half of a character has arrived.
        assert!(refuse_beginning(&"\u{20ac}".as_bytes()[..1]).is_none());
    }

    #[test]
    fn a_refusal_names_the_protocol_and_closes() {
        for (line, name) in [
            (&b"GET /x HTTP/1.1"[..], "HTTP"),
            (b"DELETE x HTTP/1.0", "HTTP"),
            (b"host: x", "HTTP"),
            (b"post", "HTTP"),
            (b"SETUP rtsp://x/y RTSP/1.0", "RTSP"),
            (b"SSH-2.0-OpenSSH_9.6", "SSH"),
            (b"\x16\x03\x01\x02\x00\x01", "TLS"),
            (b"\x80\x2e\x01\x00\x02", "TLS"),
            (b"append k 0 0 5", "memcached's protocol"),
            (b"cas k 0 -1 5 7 noreply", "memcached's protocol"),
        ] {
            let refusal = refuse_malformed(line).expect("another protocol");
            assert!(refusal.closes);
            assert_eq!(
                refusal.error.to_string(),
                format!("DENIED this port does not speak {name}; this connection is closed"),
            );
        }
        for line in [&b"\0"[..], b" \x05\x01\0", b"AMQP\0\0\x09\x01"] {
            assert_eq!(
                refuse_malformed(line)
                    .expect("another protocol")
                    .error
                    .message,
                "these bytes are neither a line of text nor RESP; this connection is closed",
            );
        }
        for line in [
            "DEL /x HTTP/1.1",
            "SUBSCRIBE sip:a@b SIP/2.0",
            "PUT * HTTP/2.0",
            "DEL http://x/ HTTP/1.1",
        ] {
            assert!(refuse_request(line.as_bytes(), 2).is_some(), "{line}");
        }
        assert!(refuse_request(b"set k 0 0 5", 4).is_some());
        assert!(refuse_request(b"SET k 0 0 5 noreply", 5).is_some());
    }
}
