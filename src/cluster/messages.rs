//! Messages that are published in the cluster, by this server and by others.
//!
//! In: messages. Out: all messages of the cluster, to one receiver, in the order of each publisher. Promises: whoever has published a message
//! learns of it after the receiver has had it; nothing is kept: while no node can be reached, messages of others are missed, as in Redis.
//!
//! A node passes each message on to all nodes, so that one connection receives all. It is in RESP3, in which messages and replies come over
//! the same connection.
//! Source: <https://redis.io/docs/latest/develop/pubsub/>.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::error::ClusterError;
use super::open::{Stream, connect};
use super::publications::Publication;
use super::reply::{NodeReply, Scanner};
use super::request::{request_of, write_request};
use super::routing::{Cluster, RETRY_PAUSE};

/// Interval in which the node is asked whether it is there, and the time without an answer after which another one is.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Receives a message: its channel and its payload. Returns the number of those who have had it.
pub type Receiver = Box<dyn Fn(Bytes, Bytes) -> BoxFuture<'static, u64> + Send + Sync>;

impl Cluster {
    /// Publishes a message. Returns the number of those who have received it by way of this server.
    ///
    /// # Errors
    /// [`ClusterError::InDoubt`], if no node has confirmed it in time: others may have received it.
    pub async fn publish(&self, channel: &[u8], payload: &[u8]) -> Result<u64, ClusterError> {
        let (published, told) = oneshot::channel();
        self.messages.queue().push_back(Publication {
            channel: Bytes::copy_from_slice(channel),
            payload: Bytes::copy_from_slice(payload),
            published,
        });
        self.messages.added.notify_one();
        let deadline = self.deadline();
        let told = timeout_at(deadline, told).await.ok();
        told.and_then(Result::ok).ok_or_else(|| {
            ClusterError::InDoubt(
                "no node has confirmed the message; some may have received it".to_owned(),
            )
        })
    }

    /// Receives all messages from now on, and publishes those that are to be.
    pub fn receive_messages(self: &Arc<Self>, receiver: Receiver) {
        let cluster = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(cluster) = cluster.upgrade() {
                let reason = cluster.exchange_messages(&receiver).await;
                tracing::debug!("messages of the cluster: {reason}");
                drop(cluster);
                sleep(RETRY_PAUSE).await;
            }
        });
    }

    /// Exchanges messages with a node until the connection ends. Returns the reason.
    async fn exchange_messages(&self, receiver: &Receiver) -> String {
        let topology = self.topology();
        let addresses: Vec<&str> = topology.addresses().collect();
        let Some(address) = fastrand::choice(&addresses) else {
            return "no node is known".to_owned();
        };
        match timeout(self.options.timeout, connect(address, &self.access)).await {
            Err(_) => format!("{address} does not answer"),
            Ok(Err(error)) => format!("{address}: {error}"),
            Ok(Ok(Stream::Plain(stream))) => {
                let (reader, writer) = stream.into_split();
                self.exchange(reader, writer, receiver).await
            }
            Ok(Ok(Stream::Encrypted(stream))) => {
                let (reader, writer) = tokio::io::split(stream);
                self.exchange(reader, writer, receiver).await
            }
        }
    }

    async fn exchange(
        &self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
        receiver: &Receiver,
    ) -> String {
        let mut output = request_of(&[b"HELLO", b"3"]);
        write_request(&mut output, [&b"PSUBSCRIBE"[..], b"*"].into_iter());
        // Those whose replies are due; the reply to PSUBSCRIBE is a push.
        let mut due = VecDeque::from([Due::Greeting]);
        // Messages of this server that are on their way.
        let mut own = OwnMessages::default();
        let mut input = BytesMut::new();
        let mut scanner = Scanner::default();
        let mut heard = Instant::now();
        let mut next_ping = heard + PING_INTERVAL;
        loop {
            if !output.is_empty() {
                if let Err(error) = writer.write_all(&output).await {
                    return error.to_string();
                }
                // TLS keeps what the socket does not take at once.
                if let Err(error) = writer.flush().await {
                    return error.to_string();
                }
                output.clear();
            }
            tokio::select! {
                read = reader.read_buf(&mut input) => match read {
                    Ok(0) => return "the connection was closed".to_owned(),
                    Err(error) => return error.to_string(),
                    Ok(_) => heard = Instant::now(),
                },
                () = self.messages.added.notified() => {}
                () = sleep_until(next_ping) => {
                    if heard.elapsed() > SILENCE_MAX {
                        return "the node is silent".to_owned();
                    }
                    write_request(&mut output, std::iter::once(&b"PING"[..]));
                    due.push_back(Due::Ping);
                    next_ping = Instant::now() + PING_INTERVAL;
                }
            }
            loop {
                let frame = match scanner.end(&input) {
                    Err(error) => return error.to_string(),
                    Ok(None) => break,
                    Ok(Some(end)) => input.split_to(end).freeze(),
                };
                if frame.starts_with(b">") {
                    if let Some((channel, payload)) = message_of(&frame) {
                        let receivers = receiver(channel.clone(), payload.clone()).await;
                        own.note_received(&channel, &payload, receivers);
                    }
                    continue;
                }
                if frame.starts_with(b"-") {
                    return String::from_utf8_lossy(&frame).trim_end().to_owned();
                }
                if let Some(Due::Published) = due.pop_front() {
                    own.note_confirmed();
                }
            }
            if due.contains(&Due::Greeting) {
                continue;
            }
            for publication in std::mem::take(&mut *self.messages.queue()) {
                // Its client has been told that it is in doubt.
                if publication.published.is_closed() {
                    continue;
                }
                let words = [&b"PUBLISH"[..], &publication.channel, &publication.payload];
                write_request(&mut output, words.into_iter());
                due.push_back(Due::Published);
                own.sent.push_back((publication, None));
            }
        }
    }
}

/// What a reply is due to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Greeting,
    Ping,
    Published,
}

/// Messages of this server that were sent: they come back, before or after the reply to their PUBLISH, as the version of the node has it.
#[derive(Default)]
struct OwnMessages {
    /// In their order, with the number of receivers of those that have come back.
    sent: VecDeque<(Publication, Option<u64>)>,
    /// Number of those at the front that are confirmed.
    confirmed: usize,
}

impl OwnMessages {
    fn note_received(&mut self, channel: &Bytes, payload: &Bytes, receivers: u64) {
        let mut sent = self.sent.iter_mut();
        let next = sent.find(|(_, received)| received.is_none());
        if let Some((publication, received)) = next
            && publication.channel == *channel
            && publication.payload == *payload
        {
            *received = Some(receivers);
        }
        self.tell();
    }

    fn note_confirmed(&mut self) {
        self.confirmed += 1;
        self.tell();
    }

    /// Tells the clients of messages that have come back and are confirmed.
    fn tell(&mut self) {
        while self.confirmed > 0
            && let Some((_, Some(_))) = self.sent.front()
            && let Some((publication, Some(receivers))) = self.sent.pop_front()
        {
            self.confirmed -= 1;
            // Its client may have gone.
            let _ = publication.published.send(receivers);
        }
    }
}

/// Returns the channel and the payload of a push, if it is a message.
fn message_of(frame: &Bytes) -> Option<(Bytes, Bytes)> {
    let Ok(NodeReply::Array(words)) = NodeReply::parse(frame) else {
        return None;
    };
    match &*words {
        [
            NodeReply::Bytes(b"pmessage"),
            _,
            NodeReply::Bytes(channel),
            NodeReply::Bytes(payload),
        ] => Some((frame.slice_ref(channel), frame.slice_ref(payload))),
        _ => None,
    }
}
