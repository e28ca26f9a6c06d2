//! The events of keys: what a command does to a key, in Redis's words.
//!
//! In: changes of a transaction, and the events of the command that made them. Out: the events of each key, in their order. Promise: the
//! same commands have the same events as in Redis.

use crate::engine::Changed;
use crate::model::{EventClasses, now_ms};

/// Something that happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub(super) class: EventClasses,
    pub(super) name: &'static str,
}

impl Event {
    pub(super) const DEL: Self = Self::generic("del");
    pub(super) const EXPIRE: Self = Self::generic("expire");
    pub(super) const PERSIST: Self = Self::generic("persist");
    pub(super) const RENAME_FROM: Self = Self::generic("rename_from");
    pub(super) const RENAME_TO: Self = Self::generic("rename_to");
    pub(super) const MOVE_FROM: Self = Self::generic("move_from");
    pub(super) const MOVE_TO: Self = Self::generic("move_to");
    pub(super) const COPY_TO: Self = Self::generic("copy_to");
    pub(super) const RESTORE: Self = Self::generic("restore");
    pub(super) const SET: Self = Self::string("set");
    pub(super) const APPEND: Self = Self::string("append");
    pub(super) const SETRANGE: Self = Self::string("setrange");
    pub(super) const SETBIT: Self = Self::string("setbit");
    pub(super) const INCRBY: Self = Self::string("incrby");
    pub(super) const INCRBYFLOAT: Self = Self::string("incrbyfloat");
    pub(super) const EXPIRED: Self = Self::new(EventClasses::EXPIRED, "expired");
    pub(super) const EVICTED: Self = Self::new(EventClasses::EVICTED, "evicted");
    pub(super) const KEYMISS: Self = Self::new(EventClasses::MISSING, "keymiss");
    pub(super) const NEW: Self = Self::new(EventClasses::NEW, "new");

    const fn new(class: EventClasses, name: &'static str) -> Self {
        Self { class, name }
    }

    const fn generic(name: &'static str) -> Self {
        Self::new(EventClasses::GENERIC, name)
    }

    const fn string(name: &'static str) -> Self {
        Self::new(EventClasses::STRING, name)
    }
}

/// The events of a command.
#[derive(Debug, Clone, Copy)]
pub struct KeyEvents {
    /// That of a pair which it stores.
    pub stores: Event,
    /// That of a pair which it deletes.
    pub deletes: Event,
    /// True if the expiry of a pair that it sets is an event, too: it gives that, rather than keep it.
    pub tells_expiry: bool,
}

impl KeyEvents {
    /// Those of a command that names no others.
    pub(super) const DEFAULT: Self = Self {
        stores: Event::SET,
        deletes: Event::DEL,
        tells_expiry: true,
    };

    /// Returns the key of a change and its events, in their order.
    pub(super) fn of<'c>(
        &self,
        change: &Changed<'c>,
    ) -> Option<(&'c [u8], impl Iterator<Item = Event> + use<'c>)> {
        let now = now_ms();
        let (new, old) = match change {
            Changed::Put(new, old) => (Some(*new), *old),
            Changed::Deleted(old) => (None, Some(*old)),
            Changed::Cleared => return None,
        };
        let entry = new.or(old)?;
        let has_expired = old.is_some_and(|old| old.is_expired(now));
        // A rename, copy or restore deletes what it overwrites, and adds the pair.
        let adds = [Event::RENAME_TO, Event::COPY_TO, Event::RESTORE].contains(&self.stores);
        let is_new = old.is_none() || has_expired || adds;
        let expires = new.is_some_and(|new| new.expires_at().is_some());
        let main = match new {
            None if has_expired => None,
            None => Some(self.deletes),
            Some(_) if self.stores == Event::EXPIRE && !expires => Some(Event::PERSIST),
            Some(_) => Some(self.stores),
        };
        let is_set_until = self.stores == Event::SET && expires && self.tells_expiry;
        let events = [
            has_expired.then_some(Event::EXPIRED),
            (new.is_some() && is_new).then_some(Event::NEW),
            main,
            is_set_until.then_some(Event::EXPIRE),
        ];
        Some((entry.key_bytes(), events.into_iter().flatten()))
    }
}
