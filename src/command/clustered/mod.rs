//! The execution of requests where a cluster has the data.
//!
//! In: prepared requests of a session. Out: replies in a sink, or a stream of them. Promises: the checks, counts and replies are those of
//! the engine of this process; requests that the cluster can execute itself are sent together, and all others wait for their end, so that
//! those of one client are executed in their order.
//!
//! ```text
//! native     GET, SET, INCR, ...     forwarded; the reply is translated
//! emulation  SET IFEQ, EXEC, ...     pairs fetched, the handler run on the copies, changes made if the pairs are still the same
//! split      MGET, DEL, ... of several slots, with --split-multi-key
//! ```

mod emulation;
mod errors;
mod keys;
mod native;
mod split;

use super::dispatch::{Dispatcher, Executed};
use super::permission;
use super::prepare::{Prepared, RequestBatch};
use super::reply_sink::Replies;
use super::spec::{Clustered, Scope};
use crate::protocol::{Dialect, ErrorCode, ErrorReply};

pub use native::Forwarded;

/// How a request is executed that is not forwarded.
enum Way {
    /// By its handler, without the cluster.
    Here,
    /// On copies of the pairs of its keys.
    Emulated,
    /// As EXEC.
    Queued,
    /// Not at all.
    Refused(ErrorReply),
}

impl Dispatcher<'_> {
    /// Executes a request that is not forwarded.
    pub async fn execute_clustered(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        request: &Prepared,
        replies: &mut dyn Replies,
    ) -> Executed {
        match self.way(batch, request) {
            Way::Here => self.execute(dialect, batch, request, None, replies),
            Way::Emulated => self.emulate(dialect, batch, request, replies).await,
            Way::Queued => self.emulate_queued(dialect, batch, request, replies).await,
            Way::Refused(error) => {
                let done = self.admit(dialect, batch, request);
                let done = done.and_then(|row| {
                    permission::check(self.service, self.session, row, batch.arguments(request))?;
                    Err(error)
                });
                let done = done.map_err(|error| self.note_refusal(batch, request, error));
                self.executed(batch, request, done, replies)
            }
        }
    }

    fn way(&self, batch: &RequestBatch<'_>, request: &Prepared) -> Way {
        let Some((_, command)) = batch.row(request).filter(|_| !request.is_malformed()) else {
            return Way::Here;
        };
        if let Clustered::Refused(code, message) = command.clustered {
            let error = ErrorReply::new(code, message);
            return Way::Refused(match code {
                ErrorCode::Denied => error.with_prefix("ERR"),
                _ => error,
            });
        }
        if self.session.is_queueing(command) {
            if let Err(error) = keys::check_transactional(command) {
                return Way::Refused(error);
            }
            return Way::Here;
        }
        match (command.scope, command.clustered) {
            (Scope::Queued, _) => Way::Queued,
            (_, Clustered::Here | Clustered::Whole) => Way::Here,
            _ => Way::Emulated,
        }
    }
}
