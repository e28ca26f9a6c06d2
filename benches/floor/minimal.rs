//! The minimal server on PyKV's runtime: knows GET and SET, checks nothing, counts nothing, promises nothing.
//!
//! In: requests of Redis, as the load sends them. Out: their replies. It has PyKV's entries and hash table, and prefetches as PyKV
//! does, so that the difference is what PyKV does beside.

use std::io;
use std::sync::Arc;

use ahash::RandomState;
use bytes::{Buf as _, BytesMut};
use dashmap::{DashMap, SharedValue};
use pykv::model::entry::{Entry, prefetch_bucket, prefetch_entry};
use pykv::model::{Key, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

type Map = DashMap<Entry, (), RandomState>;
/// Where a word begins and ends in the input.
type Range = (usize, usize);

/// A request: the ranges of its key and its value in the input, the hash of the key.
struct Request {
    key: Range,
    value: Option<Range>,
    hash: u64,
}

/// Serves for ever. Prints its address first.
///
/// # Errors
/// Those of the sockets.
pub fn serve() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let map: Arc<Map> = Arc::new(DashMap::with_hasher(RandomState::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            let map = Arc::clone(&map);
            // An error means that the client has gone.
            tokio::spawn(async move { serve_one(client, &map).await.is_ok() });
        }
    })
}

async fn serve_one(mut client: TcpStream, map: &Map) -> io::Result<()> {
    let (mut input, mut output, mut requests) = (BytesMut::new(), Vec::new(), Vec::new());
    loop {
        input.reserve(16 << 10);
        if client.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut at = 0;
        while let Some((request, end)) = parse(&input, at, map) {
            requests.push(request);
            at = end;
        }
        if requests.len() > 1 {
            prefetch(&requests, map);
        }
        for request in requests.drain(..) {
            answer(&request, &input, map, &mut output);
        }
        input.advance(at);
        client.write_all(&output).await?;
        output.clear();
    }
}

fn parse(input: &[u8], start: usize, map: &Map) -> Option<(Request, usize)> {
    let ([_, key, value], words, at) = words_at::<3>(input, start)?;
    let request = Request {
        key,
        value: (words == 3).then_some(value),
        hash: map.hasher().hash_one(&input[key.0..key.1]),
    };
    Some((request, at))
}

/// Returns the ranges of the words of the request that begins there, their number, and the end of the request, if it is complete.
pub fn words_at<const MAX: usize>(
    input: &[u8],
    start: usize,
) -> Option<([Range; MAX], usize, usize)> {
    let (words, mut at) = number(input, start + 1)?;
    let mut ranges = [(0, 0); MAX];
    for range in ranges.get_mut(..words)? {
        let (length, begin) = number(input, at + 1)?;
        *range = (begin, begin + length);
        at = begin + length + 2;
    }
    (at <= input.len()).then_some((ranges, words, at))
}

/// Parses a number and its end of line.
fn number(input: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut number = 0;
    loop {
        match *input.get(at)? {
            b'\r' => return Some((number, at + 2)),
            digit => number = number * 10 + usize::from(digit - b'0'),
        }
        at += 1;
    }
}

fn prefetch(requests: &[Request], map: &Map) {
    for fetch in [prefetch_bucket, prefetch_entry] {
        for request in requests {
            fetch(&map.shards()[shard_of(request, map)].read(), request.hash);
        }
    }
}

fn shard_of(request: &Request, map: &Map) -> usize {
    let hash = usize::try_from(request.hash).expect("it has 64 bits");
    map.determine_shard(hash)
}

fn answer(request: &Request, input: &[u8], map: &Map, output: &mut Vec<u8>) {
    let key = &input[request.key.0..request.key.1];
    let shard = &map.shards()[shard_of(request, map)];
    let Some((start, end)) = request.value else {
        let shard = shard.read();
        match shard.get(request.hash, |(entry, _)| entry.key_bytes() == key) {
            Some((entry, _)) => {
                let value = entry.value_bytes();
                output.push(b'$');
                output.extend_from_slice(itoa::Buffer::new().format(value.len()).as_bytes());
                output.extend_from_slice(b"\r\n");
                output.extend_from_slice(value);
                output.extend_from_slice(b"\r\n");
            }
            None => output.extend_from_slice(b"$-1\r\n"),
        }
        return;
    };
    let value = Value::parse(&input[start..end]).expect("the load sends short values");
    let mut shard = shard.write();
    let found = shard.get_mut(request.hash, |(entry, _)| entry.key_bytes() == key);
    let key = Key::parse(key).expect("the load sends short keys");
    if let Some((entry, _)) = found {
        if !entry.overwrite(value) {
            *entry = Entry::new(key, value);
        }
    } else {
        let new = (Entry::new(key, value), SharedValue::new(()));
        shard.insert(request.hash, new, |(entry, _)| {
            map.hasher().hash_one(entry.key_bytes())
        });
    }
    output.extend_from_slice(b"+OK\r\n");
}
