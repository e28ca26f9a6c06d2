//! Long replies: sources that are pulled from, as fast as their reader takes them.
//!
//! In: a door's pulls. Out: replies, until its sink is full or the reply has ended. Promises: a source holds a bounded part of its
//! reply and no lock between two pulls; it lets other tasks run while it works; a request is observed (SLOWLOG, live feed,
//! latency) from its start to the end of its last reply.

use std::fmt;

use futures_util::future::BoxFuture;

use super::observation::{Observed, Status};
use super::replies::Replies;
use super::service::Service;
use crate::engine::Barrier;
use crate::metrics::counters::Tally;
use crate::protocol::{ErrorReply, Reply};

/// The door's side of a pull.
pub struct Pull<'a> {
    /// The data.
    pub service: &'a Service,
    /// The last change that the replies tell of.
    pub barrier: &'a mut Barrier,
    /// The sink.
    pub replies: &'a mut dyn Replies,
}

/// The state of a source after a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// More replies follow, once the sink has room.
    More,
    /// The reply is complete.
    End,
}

/// A long reply.
pub trait Source: Send {
    /// Writes replies until the sink is full or the reply is complete.
    ///
    /// An error is the last reply of the request; the dispatcher writes it.
    fn pull<'a>(&'a mut self, pull: &'a mut Pull<'_>) -> BoxFuture<'a, Result<Pulled, ErrorReply>>;
}

/// A long reply under way, and the request that it answers.
pub struct Stream {
    source: Box<dyn Source>,
    observed: Option<Box<Observed>>,
    tells_of_change: bool,
}

/// The end of a pull.
#[derive(Debug, Clone, Copy)]
pub struct StreamPulled {
    /// The reply is complete.
    pub has_ended: bool,
    /// Its last replies, of this pull, tell of a change; they must not leave if the change cannot be made durable.
    pub tells_of_change: bool,
}

impl Stream {
    /// A reply that comes from a source.
    pub(super) fn new(source: impl Source + 'static) -> Self {
        Self {
            source: Box::new(source),
            observed: None,
            tells_of_change: false,
        }
    }

    /// Observes the request from now to the end of the reply.
    pub(super) fn observe(&mut self, observed: Observed, tells_of_change: bool) {
        self.observed = Some(Box::new(observed));
        self.tells_of_change = tells_of_change;
    }

    /// Writes the next replies; see [`Source::pull`].
    pub async fn pull(
        &mut self,
        service: &Service,
        tally: &mut Tally,
        barrier: &mut Barrier,
        replies: &mut dyn Replies,
    ) -> StreamPulled {
        let pulled = {
            let mut pull = Pull {
                service,
                barrier,
                replies,
            };
            self.source.pull(&mut pull).await
        };
        let error = match pulled {
            Ok(Pulled::More) => {
                return StreamPulled {
                    has_ended: false,
                    tells_of_change: false,
                };
            }
            Ok(Pulled::End) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = &error {
            tally.errors += 1;
            replies.reply(Reply::Error(error));
        }
        if let Some(observed) = self.observed.take() {
            let status = error
                .as_ref()
                .map_or(Status::Ok, |error| Status::Refused(error.code));
            observed.end(service, status);
        }
        StreamPulled {
            has_ended: true,
            tells_of_change: self.tells_of_change && error.is_none(),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
