//! Messages that are published in the cluster, by this server and by others.
//!
//! In: messages. Out: all messages of the cluster, to one receiver, in the order of each publisher. Promises: whoever has published a message
//! learns of it after the receiver has had it; nothing is kept: while no node can be reached, messages of others are missed, as in Redis.
//!
//! A node passes each message on to all nodes, so that one connection receives all. It is in RESP3, in which a message and the reply to
//! its PUBLISH come one after the other.
//! Source: <https://redis.io/docs/latest/develop/pubsub/>.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::ClusterError;
use super::open::{Stream, connect};
use super::publications::Publication;
use super::reply::{NodeReply, Scanner};
use super::request::{request_of, write_request};
use super::routing::{Cluster, RETRY_PAUSE};

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
        let deadline = Instant::now() + self.options.timeout;
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
        // The reply to HELLO; that to PSUBSCRIBE is a push.
        let mut is_greeted = false;
        let mut sent: VecDeque<Publication> = VecDeque::new();
        let mut input = BytesMut::new();
        let mut scanner = Scanner::default();
        // The last message that has come, and the number of its receivers.
        let mut last: Option<(Bytes, Bytes, u64)> = None;
        loop {
            if let Err(error) = writer.write_all(&output).await {
                return error.to_string();
            }
            output.clear();
            tokio::select! {
                read = reader.read_buf(&mut input) => match read {
                    Ok(0) => return "the connection was closed".to_owned(),
                    Err(error) => return error.to_string(),
                    Ok(_) => {}
                },
                () = self.messages.added.notified() => {}
            }
            loop {
                let end = match scanner.end(&input) {
                    Err(error) => return error.to_string(),
                    Ok(None) => break,
                    Ok(Some(end)) => end,
                };
                let frame = input.split_to(end).freeze();
                if frame.starts_with(b">") {
                    if let Some((channel, payload)) = message_of(&frame) {
                        let receivers = receiver(channel.clone(), payload.clone()).await;
                        last = Some((channel, payload, receivers));
                    }
                } else if !is_greeted {
                    if frame.starts_with(b"-") {
                        return String::from_utf8_lossy(&frame).trim_end().to_owned();
                    }
                    is_greeted = true;
                } else if let Some(publication) = sent.pop_front() {
                    let own = last.take().filter(|(channel, payload, _)| {
                        *channel == publication.channel && *payload == publication.payload
                    });
                    let receivers = own.map_or(0, |(_, _, receivers)| receivers);
                    // Its client may have gone.
                    let _ = publication.published.send(receivers);
                }
            }
            if is_greeted {
                let added = std::mem::take(&mut *self.messages.queue());
                for publication in added {
                    let words = [&b"PUBLISH"[..], &publication.channel, &publication.payload];
                    write_request(&mut output, words.into_iter());
                    sent.push_back(publication);
                }
            }
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
