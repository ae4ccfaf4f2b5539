//! The kinds of disturbances.

/// A kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kill,
    Stop,
    FullDisk,
    ReadOnly,
    BrokenImage,
}

impl Kind {
    /// The name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Stop => "SIGTERM",
            Self::FullDisk => "full disk",
            Self::ReadOnly => "read-only",
            Self::BrokenImage => "broken image",
        }
    }
}
