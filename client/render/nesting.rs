//! The arrays and maps of a reply that are still incomplete.
//!
//! In: the lines of a reply, in their order. Out: the place of each among its siblings, and the end of the reply.

use std::io;

use crate::reply::Line;

/// An incomplete array or map.
#[derive(Debug)]
pub struct Level {
    /// The number of members that have begun.
    pub begun: usize,
    length: usize,
    pub is_map: bool,
    /// True until the number of the current member is shown.
    pub is_fresh: bool,
}

impl Level {
    /// Returns whether the current member is the name of a map's entry.
    pub fn is_at_name(&self) -> bool {
        self.is_map && self.begun % 2 == 1
    }

    /// Returns whether the current member is the value of a map's entry.
    pub fn is_at_value(&self) -> bool {
        self.is_map && self.begun.is_multiple_of(2)
    }
}

/// The incomplete arrays and maps, the outermost first.
#[derive(Debug, Default)]
pub struct Nesting(pub Vec<Level>);

impl Nesting {
    /// Counts a line that has been shown, and calls `close` for each array or map that ends with it: whether it is a map, and whether
    /// it is the outermost. Returns whether the reply is complete.
    ///
    /// # Errors
    /// The error of `close`.
    pub fn count(
        &mut self,
        line: &Line,
        mut close: impl FnMut(bool, bool) -> io::Result<()>,
    ) -> io::Result<bool> {
        match line {
            Line::Array(members @ 1..) => self.open(*members, false),
            Line::Map(entries @ 1..) => self.open(2 * entries, true),
            line if !line.ends_reply() => return Ok(false),
            _ => {}
        }
        while let Some(level) = self.0.last_mut() {
            if level.begun < level.length {
                level.begun += 1;
                level.is_fresh = true;
                return Ok(false);
            }
            let is_map = level.is_map;
            self.0.pop();
            close(is_map, self.0.is_empty())?;
        }
        Ok(true)
    }

    fn open(&mut self, length: usize, is_map: bool) {
        self.0.push(Level {
            begun: 0,
            length,
            is_map,
            is_fresh: false,
        });
    }
}
