//! The choice of a key's shard.
//!
//! In: the hash of a key. Out: the index of its shard. Promise: shards fill unevenly on purpose, in a known proportion.
//!
//! The first shards get half as many keys as the last. A shard that is full doubles; if all did so at the same time, just
//! after it more than half of the map would be empty. So, at any number of keys, some shards are nearly full while others
//! have just grown: at worst the map takes 17 bytes for an entry, not 21, and memory grows step by step.

/// The number of shards. A scan buffers the entries of one shard (eight bytes each), and a lock covers one.
pub const SHARDS: usize = 1 << SHARDS_LOG2;
const SHARDS_LOG2: u32 = 12;

/// The number of bits of a hash that choose a shard.
const CHOOSING_BITS: u32 = 28;

/// Returns the index of the shard of the key with this hash.
#[inline(always)]
pub(super) fn shard_of(hash: u64) -> usize {
    // The highest seven bits are left out: within a shard they tell the entries apart. With x the share of the range below the
    // bits that choose, the index is at (4x - x²) / 3 of all.
    let bits = (hash << 7) >> (64 - CHOOSING_BITS);
    let share = bits * ((4 << CHOOSING_BITS) - bits) / 3;
    usize::try_from(share >> (2 * CHOOSING_BITS - SHARDS_LOG2)).expect("it is below SHARDS")
}

/// Returns about how many of so many keys fall into a shard.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is an estimate, and not negative"
)]
pub(super) fn expected_keys(keys: usize, shard: usize) -> usize {
    // The inverse of `shard_of`: the x at which a shard begins.
    let start = |shard: usize| 2.0 - (4.0 - 3.0 * shard as f64 / SHARDS as f64).sqrt();
    (keys as f64 * (start(shard + 1) - start(shard))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_shards_get_twice_as_many_keys_as_the_first_and_each_as_many_as_is_said() {
        let mut keys = vec![0_usize; SHARDS];
        for bits in 0..1 << 20 {
            keys[shard_of(bits << (57 - 20))] += 1;
        }
        assert_eq!((keys[0] / 2, keys[SHARDS - 1].div_ceil(2)), (96, 192));
        for (shard, keys) in keys.iter().enumerate() {
            let share = expected_keys(1 << 20, shard);
            assert!(share.abs_diff(*keys) <= 1, "{keys} in {shard}, not {share}");
        }
    }
}
