//! The half-sent requests: one row each.
//!
//! In: nothing. Out: what is sent of each, which is not whole.

use std::io::Write as _;

use super::measure::HalfSent;

const LONG_BYTES: usize = 55 << 20;

/// The beginning of a request, and so many letters.
fn opened(opening: &str, letters: usize) -> Vec<u8> {
    let mut bytes = opening.as_bytes().to_vec();
    bytes.resize(opening.len() + letters, b'x');
    bytes
}

fn post(request: &str, length: usize, body: &str) -> String {
    format!(
        "{request} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn gzipped_import() -> Vec<u8> {
    let pair = opened("{\"key\":\"", LONG_BYTES);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = gzip.write_all(&pair).and_then(|()| gzip.flush());
    written.expect("memory");
    let part = gzip.get_ref();
    let head = post("POST /api/v1/import", part.len() + 100, "");
    [head.as_bytes(), part].concat()
}

pub const HALF_SENT: &[HalfSent] = &[
    HalfSent {
        name: "half of values in RESP, of 60 MB",
        is_http: false,
        sends: || opened("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60000000\r\n", LONG_BYTES),
        clients: [60, 12],
    },
    HalfSent {
        name: "half of lines, of 60 MB",
        is_http: false,
        sends: || opened("PUT k ", LONG_BYTES),
        clients: [60, 12],
    },
    HalfSent {
        name: "half of quoted lines, of 300 MB",
        is_http: false,
        sends: || {
            let opening: &[u8] = b"PUT k \"";
            [opening, &b"\\u0061".repeat(50 << 20)].concat()
        },
        clients: [60, 3],
    },
    HalfSent {
        name: "half of lines, of 60 KB",
        is_http: false,
        sends: || opened("PUT k ", 60_000),
        clients: [9_000, 2_000],
    },
    HalfSent {
        name: "half of bodies of the older API, of 130 MB",
        is_http: true,
        sends: || {
            let opening = post("POST /put", 130 << 20, "{\"key\":\"k\",\"value\":\"");
            opened(&opening, 120 << 20)
        },
        clients: [60, 6],
    },
    HalfSent {
        name: "half of bodies of PUT, of 130 MB",
        is_http: true,
        sends: || {
            let opening = post("PUT /api/v1/key?key=k", 130 << 20, "{\"value\":\"");
            opened(&opening, 120 << 20)
        },
        clients: [60, 6],
    },
    HalfSent {
        name: "half of batches, of 350 MB",
        is_http: true,
        sends: || {
            let opening = post("POST /api/v1/batch", 350 << 20, "{\"operations\":[\"");
            opened(&opening, 300 << 20)
        },
        clients: [60, 3],
    },
    HalfSent {
        name: "half of imports, of 55 MB in 250 KB of gzip",
        is_http: true,
        sends: gzipped_import,
        clients: [60, 8],
    },
    HalfSent {
        name: "half of headers, of 400 KB",
        is_http: true,
        sends: || {
            opened(
                "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ",
                400_000,
            )
        },
        clients: [900, 300],
    },
];
