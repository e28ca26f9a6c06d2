//! What a script may use, and what ends it.
//!
//! In: the time at which it has to end, and a flag that others set. Out: why it has to end.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mlua::{Lua, Table};

use super::host::Stop;

/// Maximum memory of a machine in bytes, with what the script in it has made.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Work of the host, whose memory is bounded by what it passes on, until it is dropped.
pub struct Unlimited<'a>(&'a Lua);

impl<'a> Unlimited<'a> {
    /// Begins the work.
    pub fn begin(lua: &'a Lua) -> Self {
        let _ = lua.set_memory_limit(0);
        Self(lua)
    }
}

impl Drop for Unlimited<'_> {
    fn drop(&mut self) {
        let _ = self.0.set_memory_limit(MEMORY_BYTES_MAX);
    }
}

/// What ends the script that is being executed.
#[derive(Debug, Default)]
pub struct Limits {
    /// Time at which it ends.
    until: Cell<Option<Instant>>,
    /// True if it has been killed.
    killed: RefCell<Option<Arc<AtomicBool>>>,
    /// Why it ends, once it has to.
    stopped: Cell<Option<Stop>>,
}

impl Limits {
    /// Begins with the next script.
    pub fn begin(&self, until: Option<Instant>, killed: Option<Arc<AtomicBool>>) {
        self.until.set(until);
        self.killed.replace(killed);
        self.stopped.set(None);
    }

    /// Returns why the script ends, once it has to.
    pub fn stopped(&self) -> Option<Stop> {
        self.stopped.get()
    }

    /// Returns why the script has to end, as of now.
    pub fn reason_to_stop(&self) -> Option<Stop> {
        let killed = || {
            let flag = self.killed.borrow();
            let is_set = flag
                .as_ref()
                .is_some_and(|flag| flag.load(Ordering::Relaxed));
            is_set.then_some(Stop::Killed)
        };
        let time_over = || {
            let until = self.until.get()?;
            (Instant::now() > until).then_some(Stop::TimeOver)
        };
        self.stopped.get().or_else(killed).or_else(time_over)
    }

    /// Notes why the script ends, here and in the state that the sandbox knows. Returns the error that ends it.
    pub fn stop(&self, state: &Table, stop: Stop) -> mlua::Error {
        self.stopped.set(Some(stop));
        match state.raw_set("stopped", true) {
            Ok(()) => mlua::Error::runtime("stopped"),
            Err(error) => error,
        }
    }
}
