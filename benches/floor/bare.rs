//! The bare loop: waits, reads, and answers each request, by default without looking at it.
//!
//! In: requests of Redis. Out: `+OK` for each, or what else answers them, in a write for each read. Promise: nothing else is done.

use std::io::{Read as _, Write as _};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Failure;

const LISTENER: Token = Token(usize::MAX);
/// Number of bytes that are read at once: all 64 requests that a client has in flight fit.
const READ_BYTES: usize = 64 << 10;

/// Serves for ever, without looking at requests. Prints its address first.
///
/// # Errors
/// Those of the sockets.
pub fn serve() -> Result<(), Failure> {
    serve_with(|input, output| {
        let requests = memchr::memchr_iter(b'*', input).count();
        output.extend_from_slice(&b"+OK\r\n".repeat(requests));
        Ok(input.len())
    })
}

/// Serves for ever by what appends the replies to complete requests, and returns their length. Prints its address first.
///
/// # Errors
/// Those of the sockets, and of what answers.
pub fn serve_with(
    mut answer: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, Failure>,
) -> Result<(), Failure> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    println!("{}", listener.local_addr()?);
    let interest = Interest::READABLE;
    poll.registry()
        .register(&mut listener, LISTENER, interest)?;
    let mut clients: Vec<(TcpStream, Vec<u8>)> = Vec::new();
    let mut events = Events::with_capacity(128);
    let (mut buffer, mut output) = (vec![0; READ_BYTES], Vec::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Some((client, input)) = clients.get_mut(event.token().0) else {
                while let Ok((mut client, _)) = listener.accept() {
                    client.set_nodelay(true)?;
                    let token = Token(clients.len());
                    poll.registry().register(&mut client, token, interest)?;
                    clients.push((client, Vec::new()));
                }
                continue;
            };
            // A read that does not fill the buffer has emptied the socket. At the end of a client it reads nothing for ever.
            let read = client.read(&mut buffer).unwrap_or(0);
            input.extend_from_slice(&buffer[..read]);
            let answered = answer(input, &mut output)?;
            input.drain(..answered);
            if !output.is_empty() {
                client.write_all(&output)?;
                output.clear();
            }
        }
    }
}
