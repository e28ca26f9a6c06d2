//! A server of PyKV or Redis, whose pairs are read and written in batches of RESP.
//!
//! In: a URL. Out: keys, pairs, and refusals of those written. Promises: memory for [`BATCH_BYTES`] and the longest value; values
//! that are not strings are counted and left out.

use pykv::codec::key_text::{key_bytes, key_text};
use pykv::model::now_ms;
use redis::{
    Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo as _, RedisError,
    RedisResult, Value,
};

use super::pair::Pair;
use super::resp::RespConnection;
use crate::address::Address;
use crate::connection::connect;
use crate::deadline::{self, Step};
use crate::error::ClientError;
use crate::interrupt::is_interrupted;

/// The keys of a batch.
pub const BATCH_KEYS: usize = 1_000;
/// About how many bytes of values a batch has.
pub const BATCH_BYTES: usize = 8 << 20;

/// A server.
pub struct Store {
    /// Its address without the password, for messages.
    pub name: String,
    connection: RespConnection,
    /// The keys left out so far: their values are not strings.
    pub left_out: u64,
}

/// The text of a key, and the bytes of its value; `None` if that is not a string.
pub type SizedKey = (String, Option<usize>);

impl Store {
    /// Connects to the server of a URL, redis://... or one of PyKV's.
    ///
    /// # Errors
    /// [`ClientError::Address`] if the URL is malformed; as [`Store::of`].
    pub fn open(url: &str) -> Result<Self, ClientError> {
        match url.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("redis") => Self::of_redis(url),
            _ => Self::of(&url.parse()?),
        }
    }

    /// Connects to a PyKV server.
    ///
    /// # Errors
    /// [`ClientError::Connect`] if it cannot be reached; `Silent` if it does not answer in time; `Store` if it rejects the password.
    pub fn of(address: &Address) -> Result<Self, ClientError> {
        let mut store = Self::connected(address, address.to_string())?;
        if let Some((user, password)) = address.credentials() {
            store.tell(redis::cmd("AUTH").arg(user).arg(password))?;
        }
        if address.database() > 0 {
            store.tell(redis::cmd("SELECT").arg(address.database()))?;
        }
        Ok(store)
    }

    /// Connects to a server of Redis.
    fn of_redis(url: &str) -> Result<Self, ClientError> {
        let name = url.rsplit('@').next().unwrap_or(url);
        let name = name.trim_start_matches("redis://").to_owned();
        let described = url.into_connection_info();
        let described = described.map_err(|error| fault(&name, &error))?;
        let ConnectionAddr::Tcp(host, port) = described.addr() else {
            unreachable!("redis:// is TCP");
        };
        let opened = Self::connected(&Address::of_tcp(host, *port), name.clone());
        let mut store = opened.map_err(|error| match error {
            ClientError::Connect { source, .. } => ClientError::Store {
                name,
                reason: source.to_string(),
            },
            error => error,
        })?;
        let settings = described.redis_settings();
        if let Some(password) = settings.password() {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = settings.username() {
                auth.arg(user);
            }
            store.tell(auth.arg(password))?;
        }
        if settings.db() != 0 {
            store.tell(redis::cmd("SELECT").arg(settings.db()))?;
        }
        Ok(store)
    }

    fn connected(address: &Address, name: String) -> Result<Self, ClientError> {
        let limit = deadline::limit();
        let connection = RespConnection::over(connect(address, limit)?, limit);
        let connection = connection.map_err(|source| ClientError::Connect {
            address: address.clone(),
            source,
        })?;
        Ok(Self {
            name,
            connection,
            left_out: 0,
        })
    }

    /// Sends a command whose reply says only whether it was executed.
    fn tell(&mut self, command: &Cmd) -> Result<(), ClientError> {
        let told = command.exec(&mut self.connection);
        told.map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &RedisError) -> ClientError {
        fault(&self.name, error)
    }

    /// Returns its number of keys.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the server refuses or the connection fails, as of all functions below.
    pub fn count(&mut self) -> Result<u64, ClientError> {
        let count = redis::cmd("DBSIZE").query(&mut self.connection);
        count.map_err(|error| self.fault(&error))
    }

    /// Walks the keys with a prefix; `take` gets one batch after the other.
    ///
    /// # Errors
    /// That of `take`; [`ClientError::Interrupted`] after Ctrl-C.
    pub fn walk(
        &mut self,
        prefix: &str,
        mut take: impl FnMut(&mut Self, Vec<String>) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut cursor = 0;
        loop {
            let (next, keys) = self.scan(cursor, prefix)?;
            take(self, keys)?;
            if is_interrupted() {
                return Err(ClientError::Interrupted);
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    fn scan(&mut self, cursor: u64, prefix: &str) -> Result<(u64, Vec<String>), ClientError> {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor);
        if !prefix.is_empty() {
            command.arg("MATCH").arg(format!("{}*", escaped(prefix)));
        }
        command.arg("COUNT").arg(BATCH_KEYS);
        let found: RedisResult<(u64, Vec<Vec<u8>>)> = command.query(&mut self.connection);
        let (next, keys) = found.map_err(|error| self.fault(&error))?;
        let texts = keys.iter().map(|key| key_text(key).into_owned());
        Ok((next, texts.collect()))
    }

    fn pipeline<T: FromRedisValue>(
        &mut self,
        verb: &str,
        keys: &[String],
    ) -> Result<Vec<RedisResult<T>>, ClientError> {
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.cmd(verb).arg(&*key_bytes(key.into()));
        }
        let answers = pipe.ignore_errors().query(&mut self.connection);
        answers.map_err(|error| self.fault(&error))
    }

    /// Returns keys with the bytes of their values.
    pub fn sizes(&mut self, keys: Vec<String>) -> Result<Vec<SizedKey>, ClientError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sizes = self.pipeline::<usize>("STRLEN", &keys)?;
        let mut found = Vec::with_capacity(keys.len());
        for (key, size) in keys.into_iter().zip(sizes) {
            found.push((key, self.string_of(size)?));
        }
        Ok(found)
    }

    /// Returns those of these keys that it does not have.
    pub fn missing(&mut self, keys: Vec<String>) -> Result<Vec<String>, ClientError> {
        if keys.is_empty() {
            return Ok(keys);
        }
        let counts = self.pipeline::<u64>("EXISTS", &keys)?;
        let mut missing = Vec::new();
        for (key, count) in keys.into_iter().zip(counts) {
            if count.map_err(|error| self.fault(&error))? == 0 {
                missing.push(key);
            }
        }
        Ok(missing)
    }

    /// Reads the pairs of keys that still exist; `take` gets one after the other.
    pub fn read(
        &mut self,
        keys: Vec<String>,
        take: &mut dyn FnMut(Pair) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut waiting = Vec::new();
        let mut bytes = 0;
        for (key, size) in self.sizes(keys)? {
            let Some(size) = size else { continue };
            bytes += size;
            waiting.push(key);
            if bytes >= BATCH_BYTES {
                self.take(&std::mem::take(&mut waiting), take)?;
                bytes = 0;
            }
        }
        self.take(&waiting, take)
    }

    fn take(
        &mut self,
        keys: &[String],
        take: &mut dyn FnMut(Pair) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        if keys.is_empty() {
            return Ok(());
        }
        for pair in self.get(keys)?.into_iter().flatten() {
            take(pair)?;
        }
        Ok(())
    }

    /// Returns the pairs of these keys, in their order; `None` for a key that does not exist.
    pub fn get(&mut self, keys: &[String]) -> Result<Vec<Option<Pair>>, ClientError> {
        let values = self.pipeline::<Option<Vec<u8>>>("GET", keys)?;
        let ends = self.expiries(keys)?;
        let mut pairs = Vec::with_capacity(keys.len());
        for ((key, value), expires_at) in keys.iter().zip(values).zip(ends) {
            let value = self.string_of(value)?.flatten();
            // A key deleted between the two requests does not exist.
            pairs.push(value.zip(expires_at).map(|(value, expires_at)| Pair {
                key: key.clone(),
                value,
                expires_at,
            }));
        }
        Ok(pairs)
    }

    /// Returns an answer; `None` if the value is not a string, which is counted.
    fn string_of<T>(&mut self, answer: RedisResult<T>) -> Result<Option<T>, ClientError> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.code() == Some("WRONGTYPE") => {
                self.left_out += 1;
                Ok(None)
            }
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// Returns the expiry of these keys; the outer `None` stands for a key that does not exist.
    #[expect(
        clippy::option_option,
        reason = "a missing key differs from one that does not expire"
    )]
    fn expiries(&mut self, keys: &[String]) -> Result<Vec<Option<Option<u64>>>, ClientError> {
        const NO_KEY: i64 = -2;
        let ends = self.pipeline::<i64>("PEXPIRETIME", keys)?;
        let (ends, now) = if ends.iter().all(Result::is_ok) {
            (ends, 0)
        } else {
            // Redis before 7.0 reports only the time left.
            (self.pipeline::<i64>("PTTL", keys)?, now_ms())
        };
        let moment = |end: RedisResult<i64>| match end {
            Ok(NO_KEY) => Ok(None),
            Ok(end) => Ok(Some(u64::try_from(end).ok().map(|end| now + end))),
            Err(error) => Err(self.fault(&error)),
        };
        ends.into_iter().map(moment).collect()
    }

    /// Stores pairs; returns the refusal of each, if it was refused.
    pub fn put(&mut self, pairs: &[Pair]) -> Result<Vec<Option<ClientError>>, ClientError> {
        let mut pipe = redis::pipe();
        for pair in pairs {
            let command = pipe.cmd("SET").arg(&*pair.key_bytes()).arg(&pair.value);
            if let Some(at) = pair.expires_at {
                command.arg("PXAT").arg(at);
            }
        }
        let answers: RedisResult<Vec<RedisResult<Value>>> =
            pipe.ignore_errors().query(&mut self.connection);
        let answers = answers.map_err(|error| self.fault(&error))?;
        let refusals = answers
            .into_iter()
            .map(|answer| answer.err().as_ref().map(refusal));
        Ok(refusals.collect())
    }
}

/// Returns the glob pattern that matches only this prefix.
fn escaped(prefix: &str) -> String {
    let mut pattern = String::new();
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

fn fault(name: &str, error: &RedisError) -> ClientError {
    if is_interrupted() {
        return ClientError::Interrupted;
    }
    if error.is_timeout() {
        return ClientError::silent(&name, deadline::limit(), Step::Reply(None));
    }
    let reason = if error.kind() == ErrorKind::Parse {
        "it does not answer as a server of PyKV or Redis does".to_owned()
    } else {
        match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            (None, Some(detail)) => detail.to_owned(),
            _ => error.to_string(),
        }
    };
    let name = name.to_owned();
    ClientError::Store { name, reason }
}

/// Returns an error reply, with its code.
fn refusal(error: &RedisError) -> ClientError {
    let message = || error.to_string();
    ClientError::Refused {
        code: error.code().unwrap_or("ERR").to_owned(),
        message: error.detail().map_or_else(message, str::to_owned),
    }
}
