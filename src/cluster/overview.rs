//! What a cluster holds and how it is.
//!
//! In: what its primaries tell. Out: sums for the whole, and what is wrong with it.

use super::slot::SLOTS;

/// The whole of a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overview {
    /// Number of slots that have a primary.
    pub slots: u64,
    /// Number of primaries that own slots.
    pub primaries: u64,
    /// Number of their replicas that have not failed.
    pub replicas: u64,
    /// Number of their replicas that have.
    pub replicas_failed: u64,
    /// Number of primaries with fewer replicas than a change waits for.
    pub primaries_exposed: u64,
    /// Number of keys.
    pub keys: u64,
    /// Memory that the primaries use, in bytes.
    pub memory_bytes: u64,
    /// Most bytes of changes that a replica has not received yet.
    pub lag_bytes: u64,
    /// True if nodes have told nothing for some seconds.
    pub is_silent: bool,
}

impl Overview {
    /// Returns what is wrong, one sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.is_silent {
            faults.push("too few nodes of the cluster answer: nobody knows how it is".to_owned());
        }
        let missing = u64::from(SLOTS) - self.slots;
        if missing > 0 {
            faults.push(format!(
                "{missing} of {SLOTS} slots of the cluster have no primary: requests for them fail"
            ));
        }
        if self.primaries_exposed > 0 {
            faults.push(format!(
                "{} primaries of the cluster have too few replicas: their changes are answered with IN_DOUBT",
                self.primaries_exposed
            ));
        }
        faults
    }
}

/// Returns a number of INFO.
pub fn number_of(info: &str, name: &str) -> Option<u64> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Returns the bytes by which the last replica is behind.
pub fn lag_of(info: &str) -> u64 {
    let own = number_of(info, "master_repl_offset:").unwrap_or(0);
    let replicas = info
        .lines()
        .filter(|line| line.starts_with("slave") && line.contains("offset="));
    let offsets = replicas.filter_map(|line| {
        let (_, rest) = line.split_once("offset=")?;
        rest.split(',').next()?.parse::<u64>().ok()
    });
    offsets.min().map_or(0, |least| own.saturating_sub(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_that_of_the_replica_that_is_farthest_behind() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=127.0.0.1,port=7104,state=online,offset=90,lag=1\r\n\
                    slave1:ip=127.0.0.1,port=7105,state=online,offset=70,lag=0\r\n\
                    master_repl_offset:100\r\n";
        assert_eq!(lag_of(info), 30);
        assert_eq!(lag_of("role:master\r\nmaster_repl_offset:7\r\n"), 0);
    }
}
