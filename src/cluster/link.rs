//! A connection to a node that all clients share.
//!
//! In: requests of many clients. Out: their replies, in order. Promises: what has been added while the task waited is sent in one go; no
//! request is sent twice; where the connection ends, each request is told whether it had been sent. A connection for writes under
//! `--durability replicated` sends one group at a time and a WAIT after it: a reply leaves once the replicas have its change, or with
//! their number if they are too few.
//! Source: <https://redis.io/docs/latest/commands/wait/>.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::open::{Access, Stream, connect};
use super::reply::{Malformed, NodeReply, Scanner};
use super::request::write_request;
use super::unanswered::Unanswered;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// Time that WAIT waits where fewer replicas are connected than it needs: none more will come.
const HOPELESS_WAIT: Duration = Duration::from_millis(20);

/// Replies to requests that were added together.
#[derive(Debug)]
pub struct Answer {
    /// The replies, one after the other.
    pub replies: Bytes,
    /// Number of replicas that have the changes, if they are fewer than required.
    pub too_few: Option<TooFew>,
}

impl Answer {
    /// Returns the replies, each by itself.
    pub fn each(&self) -> impl Iterator<Item = Bytes> {
        let (mut scanner, mut start) = (Scanner::default(), 0);
        std::iter::from_fn(move || {
            let rest = &self.replies[start..];
            if rest.is_empty() {
                return None;
            }
            let length = scanner.end(rest).ok().flatten();
            let end = start + length.expect("only complete replies are taken");
            let reply = self.replies.slice(start..end);
            start = end;
            Some(reply)
        })
    }
}

/// Fewer replicas than required have a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFew {
    /// Number of replicas that have it.
    pub replicas: u32,
    /// Number that is required.
    pub required: u32,
}

/// The connection has ended before the reply.
#[derive(Debug, Clone)]
pub struct Lost {
    /// True if the requests may have been executed.
    pub is_sent: bool,
    /// Why it ended.
    pub reason: Arc<str>,
}

type Reply = Result<Answer, Lost>;

/// Requests that were added together.
struct Waiting {
    /// Number of their replies.
    count: usize,
    /// End of their bytes among those that wait.
    end: usize,
    is_write: bool,
    answer: oneshot::Sender<Reply>,
    /// Counts their changes until they are answered, also where nobody waits for that any more.
    _unanswered: Option<Unanswered>,
}

/// Requests that have been added to a connection.
pub struct Sent {
    link: Arc<Link>,
    answer: oneshot::Receiver<Reply>,
}

impl Sent {
    /// Waits for the replies.
    ///
    /// # Errors
    /// [`Lost`], if there are none by the deadline. What has not been sent by then never will be.
    pub async fn answer(self, deadline: Instant) -> Reply {
        let lost = |reason: String| Lost {
            is_sent: true,
            reason: reason.into(),
        };
        match timeout_at(deadline, self.answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(lost(format!(
                "the connection to {} failed",
                self.link.address
            ))),
            Err(_) => Err(lost(format!(
                "{} did not answer in time",
                self.link.address
            ))),
        }
    }
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
    /// Why the connection has ended or is to end.
    ended: Option<Arc<str>>,
}

/// Replicas that a write waits for.
#[derive(Debug, Default)]
pub struct Required {
    /// Number of replicas that must have a change; 0 to wait for none.
    pub replicas: AtomicU32,
    /// Number of replicas that are there.
    pub live: AtomicU32,
}

/// A connection to a node.
pub struct Link {
    address: String,
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Link {
    /// Opens a connection in the background. Requests may be added at once. `required` is given for a connection for writes whose replies
    /// wait for replicas.
    #[must_use]
    pub fn open(address: &str, access: &Arc<Access>, required: Option<Arc<Required>>) -> Arc<Self> {
        let link = Arc::new(Self {
            address: address.to_owned(),
            queue: Mutex::default(),
            changed: Notify::new(),
        });
        let task = Task {
            link: Arc::clone(&link),
            access: Arc::clone(access),
            required,
            sent: VecDeque::new(),
        };
        tokio::spawn(task.run());
        link
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if the connection has ended: another one is to be opened.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.queue().ended.is_some()
    }

    /// Checks that the connection has not ended.
    ///
    /// # Errors
    /// [`Lost`], if it has.
    pub fn check(&self) -> Result<(), Lost> {
        let ended = self.queue().ended.clone();
        ended.map_or(Ok(()), |reason| {
            Err(Lost {
                is_sent: true,
                reason,
            })
        })
    }

    /// Adds requests, which have `count` replies. `unanswered` counts their changes; without it they are none.
    pub fn send<'r>(
        self: &Arc<Self>,
        requests: impl Iterator<Item = &'r [u8]>,
        count: usize,
        is_write: bool,
        unanswered: Option<Unanswered>,
    ) -> Sent {
        let (answer, answered) = oneshot::channel();
        let sent = Sent {
            link: Arc::clone(self),
            answer: answered,
        };
        let mut queue = self.queue();
        if let Some(reason) = &queue.ended {
            let lost = Lost {
                is_sent: false,
                reason: Arc::clone(reason),
            };
            // The receiver is still here.
            let _ = answer.send(Err(lost));
            return sent;
        }
        requests.for_each(|request| queue.bytes.extend_from_slice(request));
        let end = queue.bytes.len();
        queue.waiting.push(Waiting {
            count,
            end,
            is_write,
            answer,
            _unanswered: unanswered,
        });
        drop(queue);
        self.changed.notify_one();
        sent
    }

    /// Waits until the connection is to end.
    async fn ended(&self) {
        while !self.has_ended() {
            self.changed.notified().await;
        }
    }

    /// Ends the connection: what has not been answered is lost.
    pub fn end(&self, reason: &str) {
        self.queue().ended.get_or_insert_with(|| reason.into());
        self.changed.notify_one();
    }
}

/// Requests that were sent together.
struct Group {
    waiting: VecDeque<Waiting>,
    /// Number of replies to the first of those that have arrived, and their end in the input.
    arrived: (usize, usize),
    /// Replies that wait for the reply to WAIT, if one was sent.
    held: Vec<(Waiting, Bytes)>,
    required: Option<u32>,
}

struct Task {
    link: Arc<Link>,
    access: Arc<Access>,
    required: Option<Arc<Required>>,
    sent: VecDeque<Group>,
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut queue = self.link.queue();
        let failed = || "the connection failed".into();
        let reason = Arc::clone(queue.ended.get_or_insert_with(failed));
        let unsent = std::mem::take(&mut queue.waiting);
        drop(queue);
        let sent = self.sent.drain(..).flat_map(|group| {
            let held = group.held.into_iter().map(|(waiting, _)| waiting);
            held.chain(group.waiting)
        });
        let lost = sent.map(|waiting| (waiting, true));
        for (waiting, is_sent) in lost.chain(unsent.into_iter().map(|waiting| (waiting, false))) {
            let reason = Arc::clone(&reason);
            // Nobody may be waiting any more.
            let _ = waiting.answer.send(Err(Lost { is_sent, reason }));
        }
    }
}

impl Task {
    async fn run(mut self) {
        let link = Arc::clone(&self.link);
        let access = Arc::clone(&self.access);
        let address = &link.address;
        let connecting = timeout(access.timeout, connect(address, &access));
        let connected = tokio::select! {
            connected = connecting => connected,
            () = link.ended() => return,
        };
        let reason = match connected {
            Err(_) => format!("{address} did not answer in {:?}", access.timeout),
            Ok(Err(error)) => format!("{address}: {error}"),
            Ok(Ok(Stream::Plain(stream))) => {
                let (reader, writer) = stream.into_split();
                format!("{address}: {}", self.drive(reader, writer).await)
            }
            Ok(Ok(Stream::Encrypted(stream))) => {
                let (reader, writer) = tokio::io::split(stream);
                format!("{address}: {}", self.drive(reader, writer).await)
            }
        };
        link.queue().ended.get_or_insert_with(|| reason.into());
    }

    /// Sends and receives until the connection ends. Returns the reason.
    async fn drive(
        &mut self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) -> String {
        let link = Arc::clone(&self.link);
        let mut output = Vec::new();
        let mut written = 0;
        // TLS keeps what the socket does not take at once.
        let mut is_flushed = true;
        let mut input = BytesMut::new();
        let mut scanner = Scanner::default();
        // The time from which on a reply is due.
        let mut since = Instant::now();
        loop {
            if let Some(reason) = &link.queue().ended {
                return reason.to_string();
            }
            if output.is_empty() && (self.required.is_none() || self.sent.is_empty()) {
                let was_idle = self.sent.is_empty();
                self.take(&mut output);
                if was_idle {
                    since = Instant::now();
                }
            }
            input.reserve(READ_BYTES);
            tokio::select! {
                biased;
                sent = async {
                    if output.is_empty() {
                        writer.flush().await.map(|()| 0)
                    } else {
                        writer.write(&output[written..]).await
                    }
                }, if !output.is_empty() || !is_flushed => match sent {
                    Ok(0) if output.is_empty() => is_flushed = true,
                    Ok(0) => return "the connection was closed".to_owned(),
                    Err(error) => return error.to_string(),
                    Ok(bytes) => {
                        written += bytes;
                        is_flushed = false;
                        if written == output.len() {
                            written = 0;
                            output.clear();
                            output.shrink_to(READ_BYTES);
                        }
                    }
                },
                received = reader.read_buf(&mut input) => match received {
                    Ok(0) => return "the connection was closed".to_owned(),
                    Err(error) => return error.to_string(),
                    Ok(_) => {
                        since = Instant::now();
                        if let Err(malformed) = self.receive(&mut input, &mut scanner) {
                            return malformed.to_string();
                        }
                    }
                },
                // Others that are ready now may add requests first: these are sent together.
                () = async { link.changed.notified().await; tokio::task::yield_now().await; } => {}
                // Nobody knows what has become of what was sent.
                () = sleep_until(since + self.access.timeout), if !self.sent.is_empty() => {
                    return format!("no answer in {:?}", self.access.timeout);
                }
            }
        }
    }

    /// Takes what has been added since.
    fn take(&mut self, output: &mut Vec<u8>) {
        let mut queue = self.link.queue();
        if queue.waiting.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut queue.bytes);
        let mut waiting = VecDeque::from(std::mem::take(&mut queue.waiting));
        drop(queue);
        if waiting.iter().any(|one| one.answer.is_closed()) {
            // Those that nobody waits for any more are not sent.
            let mut start = 0;
            waiting.retain(|one| {
                let own = &bytes[start..one.end];
                start = one.end;
                let is_wanted = !one.answer.is_closed();
                if is_wanted {
                    output.extend_from_slice(own);
                }
                is_wanted
            });
            if waiting.is_empty() {
                return;
            }
        } else {
            *output = bytes;
        }
        let has_write = waiting.iter().any(|one| one.is_write);
        let required = self.required.as_ref().filter(|_| has_write);
        let required = required.map(|required| {
            let (replicas, live) = (required.replicas.load(Relaxed), required.live.load(Relaxed));
            // Half of the time that a request has: it may have waited for the group before.
            let wait = if live < replicas {
                HOPELESS_WAIT
            } else {
                self.access.timeout / 2
            };
            let (replicas_word, wait) = (replicas.to_string(), wait.as_millis().to_string());
            let words = [&b"WAIT"[..], replicas_word.as_bytes(), wait.as_bytes()];
            write_request(output, words.into_iter());
            replicas
        });
        self.sent.push_back(Group {
            waiting,
            arrived: (0, 0),
            held: Vec::new(),
            required,
        });
    }

    /// Gives the replies that have arrived to those who wait for them.
    fn receive(&mut self, input: &mut BytesMut, scanner: &mut Scanner) -> Result<(), Malformed> {
        while let Some(group) = self.sent.front_mut() {
            let (mut replies, mut end) = group.arrived;
            let due = group.waiting.front().map(|waiting| waiting.count);
            let Some(length) = scanner.end(&input[end..])? else {
                return Ok(());
            };
            end += length;
            replies += 1;
            group.arrived = (replies, end);
            let Some(due) = due else {
                // The reply to WAIT.
                let replicas = match NodeReply::parse(&input.split_to(end))? {
                    NodeReply::Number(replicas) => u32::try_from(replicas).unwrap_or(0),
                    _ => 0,
                };
                let required = group.required.unwrap_or(0);
                let too_few = (replicas < required).then_some(TooFew { replicas, required });
                for (waiting, replies) in std::mem::take(&mut group.held) {
                    let _ = waiting.answer.send(Ok(Answer { replies, too_few }));
                }
                self.sent.pop_front();
                continue;
            };
            if replies < due {
                continue;
            }
            let replies = input.split_to(end).freeze();
            group.arrived = (0, 0);
            let waiting = group.waiting.pop_front().expect("it is the first");
            if group.required.is_some() {
                group.held.push((waiting, replies));
                continue;
            }
            let answer = Answer {
                replies,
                too_few: None,
            };
            let _ = waiting.answer.send(Ok(answer));
            if group.waiting.is_empty() {
                self.sent.pop_front();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{BufWriter, duplex, split};

    use super::*;

    #[tokio::test]
    async fn a_request_is_sent_to_its_end_over_a_stream_that_keeps_what_is_written() {
        let link = Arc::new(Link {
            address: "here:1".to_owned(),
            queue: Mutex::default(),
            changed: Notify::new(),
        });
        let access = Access {
            tls: None,
            user: None,
            password: None,
            timeout: Duration::from_secs(60),
        };
        let mut task = Task {
            link: Arc::clone(&link),
            access: Arc::new(access),
            required: None,
            sent: VecDeque::new(),
        };
        let (ours, mut node) = duplex(1 << 10);
        let (reader, writer) = split(ours);
        let driving = tokio::spawn(async move { task.drive(reader, BufWriter::new(writer)).await });
        for request in [&b"*1\r\n$4\r\nPING\r\n"[..], &[b'x'; 4 << 10]] {
            let sent = link.send(std::iter::once(request), 1, false, None);
            let mut arrived = vec![0; request.len()];
            let reading = timeout(Duration::from_secs(10), node.read_exact(&mut arrived));
            let read = reading.await.expect("the node receives all of the request");
            read.expect("the connection is open");
            assert!(arrived == request);
            node.write_all(b"+PONG\r\n").await.expect("it is read");
            let answer = sent.answer(Instant::now() + Duration::from_secs(10)).await;
            let answer = answer.expect("it is answered");
            assert_eq!(&*answer.replies, b"+PONG\r\n");
        }
        drop(node);
        assert_eq!(
            driving.await.expect("no panic"),
            "the connection was closed"
        );
    }
}
