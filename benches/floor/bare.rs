//! The bare loop: waits, reads, and answers each request without looking at it.
//!
//! In: requests of Redis. Out: `+OK` for each, in a write for each read. Promise: nothing else is done.

use std::io::{Read as _, Write as _};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Failure;

const LISTENER: Token = Token(usize::MAX);
/// Number of bytes that are read at once: all 64 requests that a client has in flight fit.
const READ_BYTES: usize = 64 << 10;

/// Serves for ever. Prints its address first.
///
/// # Errors
/// Those of the sockets.
pub fn serve() -> Result<(), Failure> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    println!("{}", listener.local_addr()?);
    let interest = Interest::READABLE;
    poll.registry()
        .register(&mut listener, LISTENER, interest)?;
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut events = Events::with_capacity(128);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Some(client) = clients.get_mut(event.token().0) else {
                while let Ok((mut client, _)) = listener.accept() {
                    client.set_nodelay(true)?;
                    let token = Token(clients.len());
                    poll.registry().register(&mut client, token, interest)?;
                    clients.push(client);
                }
                continue;
            };
            // A read that does not fill the buffer has emptied the socket. At the end of a client it reads nothing for ever.
            let read = client.read(&mut buffer).unwrap_or(0);
            let requests = memchr::memchr_iter(b'*', &buffer[..read]).count();
            if requests > 0 {
                client.write_all(&b"+OK\r\n".repeat(requests))?;
            }
        }
    }
}
