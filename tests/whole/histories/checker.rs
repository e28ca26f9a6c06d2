//! The decision: whether what the clients saw of one key can be explained by a register that is put, deleted and read.
//!
//! In: the values that the key may have had when a stretch of its history began, and the operations of that stretch. Out:
//! the values that it may have at the end, or the operation whose answer nothing explains, or that the limit of the search
//! was reached. A stretch ends where no operation can take effect any more: at a kill, or where all have been answered. So
//! a long history is checked stretch by stretch, and the values go from one to the next.
//!
//! Method: the search of Wing and Gong with the just-in-time linearization of Lowe, breadth first. Calls and answers are
//! walked in the order of time, with all the worlds that are possible: a value, and which of the open operations have
//! taken effect. An operation takes effect no sooner than an answer needs it, its own or another's.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// More worlds than this at one answer, and the history is left undecided. Eight clients give some hundreds.
const WORLDS_MAX: usize = 100_000;

/// A value that is put once in a history.
pub type Value = u64;

/// What a key holds, if it is there.
pub type State = Option<Value>;

/// What is done with one key, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Put(Value),
    /// Whether the key was there, if that is known.
    Delete(Option<bool>),
    Get(State),
    Exists(bool),
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answered(Duration),
    /// The server was killed first: it has taken effect before that, or never.
    InFlight,
    /// The answer was ERR DISK: it may take effect until the server ends, and may be taken back by the next start.
    Doubtful,
}

/// What the checker must know of what is done with one key.
pub trait Step: Copy {
    /// The state after it, if it can have answered so in this one.
    fn apply(self, state: State) -> Option<State>;

    /// Whether it leaves every state in which it can take effect as it was.
    fn is_passive(self) -> bool;

    /// The value that it puts whatever the key held, if it does that.
    fn put(self) -> Option<Value>;
}

/// One operation of one client on one key.
#[derive(Clone, Copy, Debug)]
pub struct Operation<A = Action> {
    /// The requests of one client take effect in the order in which they were sent.
    pub client: usize,
    pub called: Duration,
    pub end: End,
    pub action: A,
}

/// What there is to say of a stretch.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is linearizable, and leaves one of these.
    Possible(BTreeSet<State>),
    /// It is not: the answer of the operation with this index fits none of the states that were possible.
    Impossible {
        index: usize,
        states: BTreeSet<State>,
    },
    /// The search was too long.
    Undecided,
}

/// Decides a stretch, whose operations are in the order of their calls, that begins in one of these states.
pub fn check<A: Step>(starts: &BTreeSet<State>, operations: &[Operation<A>]) -> Verdict {
    let mut search = Search {
        operations,
        open: Vec::new(),
        worlds: starts
            .iter()
            .map(|&state| World { state, done: 0 })
            .collect(),
    };
    for (_, is_answer, index) in events(operations) {
        let step = if is_answer {
            search.answer(index)
        } else {
            search.call(index)
        };
        if let Err(verdict) = step {
            return verdict;
        }
    }
    search.finish(starts)
}

/// Calls and answers in the order of time. At the same time the call is first: so they overlap.
fn events<A>(operations: &[Operation<A>]) -> Vec<(Duration, bool, usize)> {
    let mut events = Vec::with_capacity(operations.len() * 2);
    for (index, operation) in operations.iter().enumerate() {
        events.push((operation.called, false, index));
        if let End::Answered(time) = operation.end {
            events.push((time, true, index));
        }
    }
    events.sort_unstable();
    events
}

impl Step for Action {
    fn apply(self, state: State) -> Option<State> {
        let (fits, after) = match self {
            Self::Put(value) => (true, Some(value)),
            Self::Delete(was_there) => (was_there.is_none_or(|was| was == state.is_some()), None),
            Self::Get(seen) => (seen == state, state),
            Self::Exists(was_there) => (was_there == state.is_some(), state),
        };
        fits.then_some(after)
    }

    fn is_passive(self) -> bool {
        matches!(
            self,
            Self::Get(_) | Self::Exists(_) | Self::Delete(Some(false))
        )
    }

    fn put(self) -> Option<Value> {
        match self {
            Self::Put(value) => Some(value),
            _ => None,
        }
    }
}

/// One way in which things may have gone so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    state: State,
    /// The bits of the open operations that have taken effect.
    done: u64,
}

/// An operation that has been called and not answered.
struct Open {
    index: usize,
    bit: u64,
    /// The bits of the operations that must take effect first.
    after: u64,
}

struct Search<'a, A> {
    operations: &'a [Operation<A>],
    /// In the order of their calls.
    open: Vec<Open>,
    worlds: HashSet<World>,
}

impl<A: Step> Search<'_, A> {
    fn call(&mut self, index: usize) -> Result<(), Verdict> {
        let used = self.open.iter().fold(0, |bits, open| bits | open.bit);
        let bit = 1_u64
            .checked_shl(used.trailing_ones())
            .ok_or(Verdict::Undecided)?;
        let client = self.operations[index].client;
        // One that is in doubt may take effect late, so nothing waits for it.
        let waits_for = |open: &&Open| {
            let earlier = &self.operations[open.index];
            earlier.client == client && earlier.end != End::Doubtful
        };
        let after = self.open.iter().filter(waits_for);
        let after = after.fold(0, |bits, open| bits | open.bit);
        self.open.push(Open { index, bit, after });
        Ok(())
    }

    fn answer(&mut self, index: usize) -> Result<(), Verdict> {
        let at = self.open.iter().position(|open| open.index == index);
        let at = at.expect("what is answered has been called");
        let bit = self.open[at].bit;
        let reached = self.grow(|world| world.done & bit != 0)?;
        self.worlds = reached
            .iter()
            .filter(|world| world.done & bit != 0)
            .map(|&World { state, done }| World {
                state,
                done: done & !bit,
            })
            .collect();
        if self.worlds.is_empty() {
            let states = reached.iter().map(|world| world.state).collect();
            return Err(Verdict::Impossible { index, states });
        }
        self.open.remove(at);
        for open in &mut self.open {
            open.after &= !bit;
        }
        Ok(())
    }

    /// The end of the stretch: what is still open has taken effect or never will.
    fn finish(self, starts: &BTreeSet<State>) -> Verdict {
        let worlds = match self.grow(|_| false) {
            Ok(worlds) => worlds,
            Err(verdict) => return verdict,
        };
        let mut states: BTreeSet<State> = worlds.into_iter().map(|world| world.state).collect();
        if self.operations.iter().any(|one| one.end == End::Doubtful) {
            // The start may go back to before the disk failed, and from there take any of the changes in doubt.
            states.extend(starts);
            states.insert(None);
            let put = self.operations.iter().filter_map(|one| one.action.put());
            states.extend(put.map(Some));
        }
        Verdict::Possible(states)
    }

    /// All worlds that come about when open operations take effect; what is enough goes no further.
    fn grow(&self, is_enough: impl Fn(&World) -> bool) -> Result<HashSet<World>, Verdict> {
        let mut reached: HashSet<World> = self
            .worlds
            .iter()
            .map(|&world| self.settle(world))
            .collect();
        let mut todo: Vec<World> = reached.iter().copied().collect();
        while let Some(world) = todo.pop() {
            if is_enough(&world) {
                continue;
            }
            for open in self.open.iter().filter(|open| open.can_follow(world)) {
                let Some(next) = self.take_effect(open, world) else {
                    continue;
                };
                let next = self.settle(next);
                if reached.insert(next) {
                    todo.push(next);
                }
            }
            if reached.len() > WORLDS_MAX {
                return Err(Verdict::Undecided);
            }
        }
        Ok(reached)
    }

    /// Lets every passive operation that can take effect do so: that spoils nothing, and leaves fewer worlds.
    fn settle(&self, mut world: World) -> World {
        for open in &self.open {
            if self.operations[open.index].action.is_passive() && open.can_follow(world) {
                world = self.take_effect(open, world).unwrap_or(world);
            }
        }
        world
    }

    fn take_effect(&self, open: &Open, world: World) -> Option<World> {
        let state = self.operations[open.index].action.apply(world.state)?;
        let done = world.done | open.bit;
        Some(World { state, done })
    }
}

impl Open {
    fn can_follow(&self, world: World) -> bool {
        world.done & self.bit == 0 && self.after & !world.done == 0
    }
}
