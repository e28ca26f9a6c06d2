//! The encoding of replies and the decoding of arguments, by dialect.
//!
//! In: a `Reply` and its dialect; a `Request`. Out: bytes; words. Apart from the types, which `line` and `resp` depend on.

use std::borrow::Cow;

use super::{Dialect, ErrorReply, RawArguments, Reply, Request, Words, line, resp};

impl Dialect {
    /// Appends a reply to a buffer.
    #[inline(always)]
    pub fn write(self, out: &mut Vec<u8>, reply: Reply<'_>) {
        match self {
            Self::Line => line::write(out, reply),
            Self::Resp2 => resp::write(out, reply, false),
            Self::Resp3 => resp::write(out, reply, true),
        }
    }
}

impl<'a> Request<'a> {
    /// Returns the decoded arguments; see [`Request::split_into`].
    ///
    /// # Errors
    /// Those of [`Request::split_into`].
    pub fn arguments(&self, rest_at: Option<usize>) -> Result<Words<'a>, ErrorReply> {
        let mut words = Words::new();
        self.split_into(rest_at, &mut words)?;
        Ok(words)
    }

    /// Decodes the arguments and appends them to `words`. `rest_at` is the place of the argument that takes the rest of a line, if
    /// the command has one.
    ///
    /// # Errors
    /// `SYNTAX`, with the column, for an argument that is neither a word nor a JSON string; `TEXT` for half of a surrogate pair;
    /// `TOO_LARGE` for more than [`line::WORDS_MAX`] arguments.
    #[inline(always)]
    pub fn split_into(
        &self,
        rest_at: Option<usize>,
        words: &mut Words<'a>,
    ) -> Result<(), ErrorReply> {
        match &self.arguments {
            RawArguments::Line(text, start) => line::split_into(text, *start, rest_at, words),
            RawArguments::Split(arguments) => {
                words.extend(arguments.iter().map(|word| Cow::Borrowed(*word)));
                Ok(())
            }
        }
    }
}
