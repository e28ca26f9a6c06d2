//! The encoding of a reply and the decoding of the arguments of a request, by dialect.
//!
//! In: a `Reply` and its dialect; a `Request`. Out: bytes; words. It stands apart from the types, which `line` and `resp` name.

use std::borrow::Cow;

use super::{Arguments, Dialect, ErrorReply, Reply, Request, Words, line, resp};

impl Dialect {
    /// Appends a reply to a buffer.
    pub fn write(self, out: &mut Vec<u8>, reply: Reply<'_>) {
        match self {
            Self::Line => line::write(out, reply),
            Self::Resp2 => resp::write(out, reply, false),
            Self::Resp3 => resp::write(out, reply, true),
        }
    }
}

impl<'a> Request<'a> {
    /// The arguments, decoded; see [`Request::split_into`].
    ///
    /// # Errors
    /// The same.
    pub fn arguments(&self, rest_at: Option<usize>) -> Result<Words<'a>, ErrorReply> {
        let mut words = Words::new();
        self.split_into(rest_at, &mut words)?;
        Ok(words)
    }

    /// Puts the arguments, decoded, behind those that are there. On a line, `rest_at` is the place of the argument that takes
    /// the rest of the line, if the command has one.
    ///
    /// # Errors
    /// `SYNTAX` or `TEXT`, with the column, where an argument is not a word and not a JSON string.
    pub fn split_into(
        &self,
        rest_at: Option<usize>,
        words: &mut Words<'a>,
    ) -> Result<(), ErrorReply> {
        match &self.arguments {
            Arguments::Line(text, start) => line::split_into(text, *start, rest_at, words),
            Arguments::Split(arguments) => {
                words.extend(arguments.iter().map(|word| Cow::Borrowed(*word)));
                Ok(())
            }
        }
    }
}
