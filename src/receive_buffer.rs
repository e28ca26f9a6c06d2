//! The buffer of bytes that arrive and are looked at as a whole: a request, the body of one.
//!
//! In: bytes of a client, appended; the number of those that are done with. Out: the bytes that are waiting. Promises: what is long
//! has a mapping of its own, with address space to grow. So it is copied twice at most while it grows, takes memory for what has
//! arrived and not for what was announced, and gives it back to the system at once when it is dropped: an allocator keeps freed
//! blocks for a while.

use std::io;
use std::ops::Deref;

use bytes::buf::Limit;
use bytes::{Buf as _, BufMut, BytesMut};
use memmap2::{MmapMut, MmapOptions};

use crate::model::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::spare::Spare;

/// Minimum free memory for a read, in bytes.
const ROOM_BYTES_MIN: usize = 16 << 10;
/// Maximum length of a read in bytes: what has been read is charged to the client before it may send more.
pub const ROOM_BYTES_MAX: usize = 256 << 10;
/// Length in bytes from which on a content has its own mapping.
const LONG_BYTES_MIN: usize = 1 << 20;
/// The same for a content whose length is unknown: it would be copied again and again.
const LONG_UNKNOWN_BYTES_MIN: usize = 256 << 10;
/// Maximum length of a content in bytes: the longest pair, each byte of it as an escape (`\u0061`), and what stands beside it.
pub const CONTENT_BYTES_MAX: usize = 6 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) + (1 << 20);
/// Address spaces of mappings in bytes: the least, the longest value and what stands beside it, and a content and a read beyond its
/// end. Where the system promises memory only once (strict overcommit), the last for each client would be too much.
const MAPPING_BYTES: [usize; 3] = [
    4 << 20,
    VALUE_BYTES_MAX + KEY_BYTES_MAX + (1 << 20),
    CONTENT_BYTES_MAX + ROOM_BYTES_MAX,
];

thread_local! {
    static SPARE: Spare<BytesMut> = const { Spare::empty() };
}

/// Buffer of arriving bytes.
#[derive(Debug, Default)]
pub struct ReceiveBuffer {
    short: BytesMut,
    long: Option<Box<LongContent>>,
    /// Number of bytes before the waiting ones whose memory the buffer still has.
    done: usize,
}

/// Long content: the bytes of a mapping from `done` to `end` are waiting.
#[derive(Debug)]
struct LongContent {
    mapping: MmapMut,
    end: usize,
}

/// Free memory of a buffer, for one read.
#[derive(Debug)]
pub enum Room<'a> {
    /// At the end of an allocation.
    Short(Limit<&'a mut BytesMut>),
    /// In a mapping.
    Long(&'a mut [u8]),
}

impl Room<'_> {
    /// Puts as many of these bytes as there is room for, and returns their number.
    #[must_use]
    pub fn put(self, bytes: &[u8]) -> usize {
        fn put(room: &mut impl BufMut, bytes: &[u8]) -> usize {
            let count = bytes.len().min(room.remaining_mut());
            room.put_slice(&bytes[..count]);
            count
        }
        match self {
            Self::Short(mut room) => put(&mut room, bytes),
            Self::Long(mut room) => put(&mut room, bytes),
        }
    }
}

impl Deref for ReceiveBuffer {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match &self.long {
            None => &self.short,
            Some(long) => &long.mapping[self.done..long.end],
        }
    }
}

impl ReceiveBuffer {
    /// Removes the first bytes, which are done with.
    #[inline(always)]
    pub fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        if self.long.is_none() {
            self.short.advance(bytes);
        }
    }

    /// Reads bytes by `read`, which fills a part of the room and returns its length; `expected` bytes are known to be missing.
    ///
    /// # Errors
    /// Those of `read`; `OutOfMemory` if there is no address space, or the content is longer than [`CONTENT_BYTES_MAX`].
    pub fn fill(
        &mut self,
        expected: usize,
        read: impl FnOnce(Room<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if let Some(long) = &self.long
            && long.end == long.mapping.len()
        {
            *self = Self::from_waiting(self)?;
        }
        let long_min = match expected {
            0 => LONG_UNKNOWN_BYTES_MIN,
            _ => LONG_BYTES_MIN,
        };
        if self.long.is_none() && self.short.len() + expected.max(ROOM_BYTES_MIN) > long_min {
            *self = Self::long(&self.short)?;
        }
        if let Some(long) = &mut self.long {
            let room = long.end..long.mapping.len().min(long.end + ROOM_BYTES_MAX);
            let count = read(Room::Long(&mut long.mapping[room]))?;
            long.end += count;
            return Ok(count);
        }
        if self.short.capacity() == 0 {
            self.short = Spare::take(&SPARE);
        }
        let room = self.short.capacity() - self.short.len();
        self.short.reserve(expected.max(ROOM_BYTES_MIN));
        let room_now = self.short.capacity() - self.short.len();
        if room_now > room {
            // It was moved to a larger block, or to the start of its own.
            self.done = 0;
        }
        read(Room::Short(
            (&mut self.short).limit(room_now.min(ROOM_BYTES_MAX)),
        ))
    }

    /// Appends bytes, with no room for more.
    ///
    /// # Errors
    /// `OutOfMemory` if there is no address space, or the content is longer than [`CONTENT_BYTES_MAX`].
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.long.is_none() && self.short.len() + bytes.len() <= LONG_BYTES_MIN {
            self.short.extend_from_slice(bytes);
            return Ok(());
        }
        self.append_long(bytes)
    }

    fn append_long(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.fill(bytes.len(), |room| Ok(room.put(bytes)))?;
            bytes.advance(count);
        }
        Ok(())
    }

    /// Releases memory before a wait, as the client may be idle for hours: all if nothing is waiting, and that of what is done
    /// with if it is most.
    ///
    /// # Errors
    /// `OutOfMemory` if there is no address space.
    #[inline(always)]
    pub fn release_memory(&mut self) -> io::Result<()> {
        if self.is_empty() {
            Spare::keep(&SPARE, std::mem::take(self).short);
        } else if self.done > self.len() + LONG_BYTES_MIN {
            *self = Self::from_waiting(self)?;
        }
        Ok(())
    }

    /// Returns the memory of the buffer in bytes: that of the bytes which it has held, as more is reserved but not touched.
    #[must_use]
    #[inline(always)]
    pub fn memory_bytes(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        self.done + self.len().max(ROOM_BYTES_MIN)
    }

    fn from_waiting(waiting: &[u8]) -> io::Result<Self> {
        if waiting.len() > LONG_BYTES_MIN {
            return Self::long(waiting);
        }
        Ok(Self {
            short: BytesMut::from(waiting),
            ..Self::default()
        })
    }

    #[cold]
    fn long(waiting: &[u8]) -> io::Result<Self> {
        let address_space = MAPPING_BYTES.into_iter().find(|it| *it > waiting.len());
        let address_space = address_space.ok_or(io::ErrorKind::OutOfMemory)?;
        let mut mapping = MmapOptions::new()
            .len(address_space)
            .no_reserve_swap()
            .map_anon()?;
        mapping[..waiting.len()].copy_from_slice(waiting);
        let end = waiting.len();
        Ok(Self {
            long: Some(Box::new(LongContent { mapping, end })),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of which any two places within a period of 251 differ.
    fn pattern(start: usize, count: usize) -> Vec<u8> {
        let bytes = (0..=250).cycle().skip(start % 251);
        bytes.take(count).collect()
    }

    #[test]
    fn what_is_appended_and_done_with_in_pieces_of_any_length_stays_in_order() {
        let mut buffer = ReceiveBuffer::default();
        let (mut arrived, mut done) = (0, 0);
        for count in [1, 100, 70_000, 900_000, 200_000, 3 << 20, 1, 500_000] {
            buffer.append(&pattern(arrived, count)).expect("memory");
            arrived += count;
            assert!(*buffer == pattern(done, arrived - done), "after {arrived}");
            let part = buffer.len() / 3 * 2;
            buffer.advance(part);
            done += part;
            buffer.release_memory().expect("memory");
            assert!(*buffer == pattern(done, arrived - done), "done {done}");
        }
        buffer.advance(arrived - done);
        buffer.release_memory().expect("memory");
        assert_eq!((buffer.len(), buffer.memory_bytes()), (0, 0));
    }

    #[test]
    fn a_long_content_takes_memory_for_what_has_arrived() {
        let mut buffer = ReceiveBuffer::default();
        buffer
            .fill(60 << 20, |room| match room {
                Room::Short(_) => panic!("60 MiB are long"),
                Room::Long(room) => {
                    room[..1000].fill(7);
                    Ok(1000)
                }
            })
            .expect("memory");
        assert_eq!(buffer.memory_bytes(), ROOM_BYTES_MIN);
        assert_eq!(*buffer, [7; 1000]);
    }

    #[test]
    fn the_longest_content_is_taken_and_nothing_beyond_it() {
        let mut buffer = ReceiveBuffer::default();
        let piece = vec![b'x'; 1 << 20];
        while buffer.len() < CONTENT_BYTES_MAX {
            let rest = CONTENT_BYTES_MAX - buffer.len();
            buffer
                .append(&piece[..rest.min(piece.len())])
                .expect("memory");
        }
        let refused = buffer.append(&piece).expect_err("it is too long");
        assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn a_mapping_that_is_full_continues_in_another_one() {
        let mut buffer = ReceiveBuffer::default();
        let piece = vec![b'x'; 8 << 20];
        for _ in 0..60 {
            buffer.append(&piece).expect("memory");
            let all_but_one = buffer.len() - 1;
            buffer.advance(all_but_one);
        }
        assert_eq!(*buffer, *b"x");
        assert!(buffer.memory_bytes() <= MAPPING_BYTES[1]);
    }
}
