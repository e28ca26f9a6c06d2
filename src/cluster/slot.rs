//! The slot of a key.
//!
//! In: a key. Out: a number from 0 to 16383. Source: the Redis Cluster specification,
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.

/// Number of slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// CRC-16 with the polynomial 0x1021 (XMODEM), by byte.
const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// Returns the slot of a key: by its part between the first `{` and the next `}`, if that is not empty.
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    let hashed = tag_of(key).unwrap_or(key);
    let crc = hashed.iter().fold(0_u16, |crc, byte| {
        (crc << 8) ^ CRC[usize::from((crc >> 8) ^ u16::from(*byte))]
    });
    crc % SLOTS
}

fn tag_of(key: &[u8]) -> Option<&[u8]> {
    let opening = memchr::memchr(b'{', key)?;
    let after = &key[opening + 1..];
    let closing = memchr::memchr(b'}', after)?;
    (closing > 0).then(|| &after[..closing])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_that_of_redis() {
        // CLUSTER KEYSLOT of redis-server 7.0.15.
        for (key, slot) in [
            ("", 0),
            ("123456789", 12_739),
            ("foo", 12_182),
            ("user:1", 10_778),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("Z\u{fc}rich", 5420),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }
}
