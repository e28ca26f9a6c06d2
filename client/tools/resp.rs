//! A connection of the Redis library over our own stream, so that its requests go wherever `pykv-cli` can connect.
//!
//! In: packed commands. Out: values. Promise: replies come in the order of the commands.

use std::io::{BufReader, Write as _};

use redis::{ConnectionLike, Parser, RedisResult, Value};

use crate::stream::Stream;

/// A connection to a server of PyKV or Redis.
pub struct RespConnection {
    reader: BufReader<Stream>,
    parser: Parser,
}

impl RespConnection {
    /// Takes a connected stream.
    pub fn over(stream: Stream) -> Self {
        Self {
            reader: BufReader::new(stream),
            parser: Parser::new(),
        }
    }
}

impl ConnectionLike for RespConnection {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.reader.get_mut().write_all(command)?;
        self.parser.parse_value(&mut self.reader)
    }

    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.reader.get_mut().write_all(commands)?;
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
