//! The two servers that are compared.

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Pykv,
}

/// Both, in the order in which they have their turn.
pub const BOTH: [Kind; 2] = [Kind::Redis, Kind::Pykv];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Pykv => "PyKV",
        }
    }
}
