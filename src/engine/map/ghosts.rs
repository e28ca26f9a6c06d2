//! Ghosts: what is remembered of the pairs that `allkeys-smart` has evicted.
//!
//! In: hashes of victims, with their last uses. Out: the same, once, if they come back soon. Promises: four bytes for each pair that is
//! there; a step looks at one set of eight; a ghost may be mistaken for that of another pair, once in some ten thousand.

use super::turnover::ticks_between;

/// Number of ghosts in a set.
const SET: usize = 8;
/// Number of sets up to which the ghosts are moved to a table of another size; larger ones begin anew, as nobody should wait so long.
const SETS_MOVED_MAX: usize = 1 << 15;

const MARK_BITS: u32 = 17;
const TICK_BITS: u32 = 12;
const USES_BITS: u32 = 2;
const TICK: u32 = (1 << TICK_BITS) - 1;

/// What is remembered of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ghost {
    /// Tick of its last use; of one that was kept, the lower 12 bits.
    pub(super) tick: u32,
    pub(super) uses: u32,
    /// True if it was evicted from main, not from the small queue.
    pub(super) is_from_main: bool,
}

impl Ghost {
    /// Returns the ticks since its last use, up to 4095.
    pub(super) fn ticks_since(&self, tick: u32) -> u32 {
        ticks_between(self.tick, tick) & TICK
    }
}

/// Ghosts in sets, each of which holds the newest of its own. In a word, from the highest bit: 17 bits of the hash, 12 of the tick, 2 of
/// uses, 1 for main. 0 is none.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    /// The newest of each set comes first.
    sets: Vec<[u32; SET]>,
}

fn mark_of(hash: u64) -> u32 {
    u32::try_from(hash >> (u64::BITS - MARK_BITS)).expect("17 bits")
}

fn word_of(hash: u64, ghost: &Ghost) -> u32 {
    let word = mark_of(hash) << TICK_BITS | ghost.tick & TICK;
    let word = word << USES_BITS | ghost.uses;
    word << 1 | u32::from(ghost.is_from_main)
}

fn mark_of_word(word: u32) -> u32 {
    word >> (u32::BITS - MARK_BITS)
}

fn ghost_of(word: u32) -> Ghost {
    Ghost {
        tick: word >> (1 + USES_BITS) & TICK,
        uses: word >> 1 & ((1 << USES_BITS) - 1),
        is_from_main: word & 1 == 1,
    }
}

impl Ghosts {
    pub(super) fn bytes(&self) -> usize {
        self.sets.len() * size_of::<[u32; SET]>()
    }

    /// Returns the set of a hash, chosen by its lower half, of which the mark holds nothing.
    fn set_of(&mut self, hash: u64) -> Option<&mut [u32; SET]> {
        let place = ((hash & u64::from(u32::MAX)) * self.sets.len() as u64) >> u32::BITS;
        self.sets.get_mut(usize::try_from(place).unwrap_or(0))
    }

    /// Adds a ghost, while so many pairs are there.
    pub(super) fn add(&mut self, hash: u64, ghost: &Ghost, pairs: u64) {
        self.resize(pairs);
        if let Some(set) = self.set_of(hash) {
            set.copy_within(..SET - 1, 1);
            set[0] = word_of(hash, ghost);
        }
    }

    /// Removes the ghost of a hash. Returns it, and whether it was the newest of its set.
    pub(super) fn remove(&mut self, hash: u64) -> Option<(Ghost, bool)> {
        let set = self.set_of(hash)?;
        let is_it = |word: &u32| *word != 0 && mark_of_word(*word) == mark_of(hash);
        let place = set.iter().position(is_it)?;
        let ghost = ghost_of(set[place]);
        set.copy_within(place + 1.., place);
        set[SET - 1] = 0;
        Some((ghost, place == 0))
    }

    /// Makes room for as many ghosts as there are pairs, if their number has changed by a quarter.
    fn resize(&mut self, pairs: u64) {
        let wanted = usize::try_from(pairs).unwrap_or(0) / SET + 1;
        let there = self.sets.len();
        if (wanted - wanted / 4..=wanted + wanted / 4).contains(&there) {
            return;
        }
        let old = std::mem::replace(&mut self.sets, vec![[0; SET]; wanted]);
        if there > SETS_MOVED_MAX {
            return;
        }
        // The lower half of a hash is not kept: a set goes to all those that its hashes may belong to now.
        for (place, set) in old.into_iter().enumerate() {
            let (from, to) = (
                place * wanted / there,
                ((place + 1) * wanted).div_ceil(there),
            );
            for new in &mut self.sets[from..to] {
                let free = new.iter().filter(|word| **word == 0).count();
                let words = set.into_iter().filter(|word| *word != 0).take(free);
                for (place, word) in (SET - free..).zip(words) {
                    new[place] = word;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn a_ghost_comes_back_once_as_it_was() {
        let mut ghosts = Ghosts::default();
        let ghost = Ghost {
            tick: 4_000,
            uses: 3,
            is_from_main: true,
        };
        ghosts.add(hash(1), &ghost, 100);
        let other = Ghost {
            is_from_main: false,
            ..ghost
        };
        ghosts.add(hash(2), &other, 100);
        assert_eq!(ghosts.remove(hash(1)).map(|(ghost, _)| ghost), Some(ghost));
        assert_eq!(ghosts.remove(hash(1)), None);
        assert_eq!(ghosts.remove(hash(2)), Some((other, true)));
        assert_eq!(ghost.ticks_since(4_100), 100);
    }

    #[test]
    fn as_many_ghosts_as_pairs_stay_and_most_of_them_when_their_number_grows() {
        let mut ghosts = Ghosts::default();
        let ghost = Ghost {
            tick: 1,
            uses: 1,
            is_from_main: false,
        };
        for number in 1..=1_000 {
            ghosts.add(hash(number), &ghost, 1_000);
        }
        ghosts.resize(2_000);
        let found = (1..=1_000).filter(|number| ghosts.remove(hash(*number)).is_some());
        let found = found.count();
        assert!(found > 650, "but for full sets: {found}");
        assert_eq!(ghosts.bytes(), 251 * SET * 4);
    }
}
