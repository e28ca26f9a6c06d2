//! A connection of the Redis library over our own stream, so that its requests go wherever `pykv-cli` can connect.
//!
//! In: packed commands. Out: values. Promises: replies come in the order of the commands; a server that is silent for longer than the limit
//! is an error of kind `TimedOut`, Ctrl-C one of kind `Other`.

use std::io::{self, BufReader, Read, Write as _};
use std::time::{Duration, Instant};

use redis::{ConnectionLike, Parser, RedisResult, Value};

use crate::interrupt::{INTERRUPT_INTERVAL, is_interrupted};
use crate::stream::{Stream, is_timeout};

/// A connection to a server of PyKV or Redis.
pub struct RespConnection {
    reader: BufReader<LimitedStream>,
    parser: Parser,
}

/// A stream whose reads wait no longer than a limit.
struct LimitedStream {
    stream: Stream,
    limit: Option<Duration>,
}

impl Read for LimitedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let began = Instant::now();
        loop {
            match self.stream.read(buffer) {
                Err(error) if is_timeout(&error) => {
                    if is_interrupted() {
                        return Err(io::Error::other("interrupted"));
                    }
                    if self.limit.is_some_and(|limit| began.elapsed() >= limit) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                read => return read,
            }
        }
    }
}

impl RespConnection {
    /// Takes a connected stream.
    ///
    /// # Errors
    /// Those of the system.
    pub fn over(stream: Stream, limit: Option<Duration>) -> io::Result<Self> {
        let pause = limit.map_or(INTERRUPT_INTERVAL, |limit| limit.min(INTERRUPT_INTERVAL));
        stream.set_timeouts(pause, limit)?;
        Ok(Self {
            reader: BufReader::new(LimitedStream { stream, limit }),
            parser: Parser::new(),
        })
    }

    fn send(&mut self, commands: &[u8]) -> io::Result<()> {
        self.reader.get_mut().stream.write_all(commands)
    }
}

impl ConnectionLike for RespConnection {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.send(command)?;
        self.parser.parse_value(&mut self.reader)
    }

    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.send(commands)?;
        let replies = (0..offset + count).map(|_| self.parser.parse_value(&mut self.reader));
        replies.skip(offset).collect()
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        redis::cmd("PING").exec(self).is_ok()
    }

    fn is_open(&self) -> bool {
        true
    }
}
