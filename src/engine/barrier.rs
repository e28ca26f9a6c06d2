//! The durability barrier of a batch of requests.
//!
//! In: the numbers of the changes that the batch makes or sees. Out: the latest of them, which its replies wait for.

/// The latest change that a batch of requests has made or seen. Its replies may leave once this change is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Barrier(pub(super) u64);

impl Barrier {
    /// Includes another change that was made or seen.
    #[inline(always)]
    pub fn raise(&mut self, other: Self) {
        self.0 = self.0.max(other.0);
    }
}
