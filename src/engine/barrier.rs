//! The durability barrier of a batch of requests.
//!
//! In: a term, and the numbers of the changes that the batch makes or sees. Out: the latest of them, which its replies wait for.

/// The latest change that a batch of requests has made or seen. Its replies may leave once this change is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Barrier {
    /// The number of the change.
    pub(super) seq: u64,
    /// The term in which the batch was begun: of another one nothing is confirmed for it.
    pub(super) term: u64,
}

impl Barrier {
    /// Returns the barrier of a change, which a batch includes.
    #[inline(always)]
    pub(super) fn of(seq: u64) -> Self {
        Self { seq, term: 0 }
    }

    /// Returns the barrier of a batch that is begun in a term.
    #[must_use]
    #[inline(always)]
    pub fn in_term(term: u64) -> Self {
        Self { seq: 0, term }
    }

    /// Includes another change that was made or seen.
    #[inline(always)]
    pub fn raise(&mut self, other: Self) {
        self.seq = self.seq.max(other.seq);
    }
}
