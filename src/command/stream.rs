//! Long replies: sources that an interface pulls from, as fast as its client reads.
//!
//! In: pulls. Out: replies, until the sink is full or the reply is complete. Promises: a source holds a bounded part of its reply
//! and no lock between two pulls; it yields to other tasks while it works; a request is observed (SLOWLOG, live feed, latency)
//! from its start to the end of its reply.

use std::fmt;

use futures_util::future::BoxFuture;

use super::acl::Identity;
use super::observation::{Observed, Status};
use super::reply_sink::Replies;
use super::service::Service;
use crate::engine::Barrier;
use crate::protocol::{ErrorReply, Reply};

/// The context of a source during a pull.
pub struct Pull<'a> {
    /// State that all sessions share.
    pub service: &'a Service,
    /// User of the session.
    pub identity: &'a mut Identity,
    /// The last change that the replies depend on.
    pub barrier: &'a mut Barrier,
    /// Sink of the replies.
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
    /// Appends replies to the sink until it is full or the reply is complete.
    ///
    /// # Errors
    /// Any, as the last reply of the request; [`Stream::pull`] appends it.
    fn pull(
        &mut self,
        pull: &mut Pull<'_>,
    ) -> impl Future<Output = Result<Pulled, ErrorReply>> + Send;
}

/// A [`Source`] of any type: a stream does not depend on the type of its source.
trait AnySource: Send {
    fn pull_boxed<'a>(
        &'a mut self,
        pull: &'a mut Pull<'_>,
    ) -> BoxFuture<'a, Result<Pulled, ErrorReply>>;
}

impl<S: Source> AnySource for S {
    fn pull_boxed<'a>(
        &'a mut self,
        pull: &'a mut Pull<'_>,
    ) -> BoxFuture<'a, Result<Pulled, ErrorReply>> {
        Box::pin(self.pull(pull))
    }
}

/// A long reply, and the observation of its request.
pub struct Stream {
    source: Box<dyn AnySource>,
    observed: Option<Box<Observed>>,
    reports_change: bool,
    /// True if it waits for something other than work, so that a client that hangs up should end it.
    pub is_idle: bool,
    /// True if the client wants no reply.
    pub is_silent: bool,
}

/// Result of a pull.
#[derive(Debug, Clone, Copy)]
pub struct StreamPulled {
    /// True if the reply is complete.
    pub has_ended: bool,
    /// True if the replies of this pull report a change: they must not be sent if it cannot be made durable.
    pub reports_change: bool,
}

impl Stream {
    /// Makes the stream of a source.
    pub(super) fn new(source: impl Source + 'static) -> Self {
        Self {
            source: Box::new(source),
            observed: None,
            reports_change: false,
            is_idle: false,
            is_silent: false,
        }
    }

    /// Makes the stream of a source that mostly waits.
    pub(super) fn idle(source: impl Source + 'static) -> Self {
        Self {
            is_idle: true,
            ..Self::new(source)
        }
    }

    /// Observes the request until the end of the reply.
    pub(super) fn observe(&mut self, observed: Observed, reports_change: bool) {
        self.observed = Some(Box::new(observed));
        self.reports_change = reports_change;
    }

    /// Appends the next replies to a sink; see `Source::pull`.
    pub async fn pull(
        &mut self,
        service: &Service,
        identity: &mut Identity,
        barrier: &mut Barrier,
        replies: &mut dyn Replies,
    ) -> StreamPulled {
        let mut pull = Pull {
            service,
            identity,
            barrier,
            replies,
        };
        let status = match self.source.pull_boxed(&mut pull).await {
            Ok(Pulled::More) => {
                return StreamPulled {
                    has_ended: false,
                    // What a listing shows may turn out to be old.
                    reports_change: self.reports_change && service.marks_reads(),
                };
            }
            Ok(Pulled::End) => Status::Ok,
            Err(error) => {
                service.stats.count_errors(error.redis_prefix(), 1);
                if let Some(observed) = &self.observed {
                    observed.fail(service, &error);
                }
                replies.reply(Reply::Error(&error));
                Status::Refused(error.code)
            }
        };
        if let Some(observed) = self.observed.take() {
            observed.end(service, status);
        }
        StreamPulled {
            has_ended: true,
            reports_change: self.reports_change && status == Status::Ok,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
