//! Values and where they come from.

use std::fmt;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file's own description.
    File,
    /// transformers' or timm's `config.json` beside it.
    Config,
    /// transformers' `preprocessor_config.json` beside it.
    Preprocessor,
    /// The options that a PyTorch checkpoint keeps beside its tensors.
    Args,
    /// The shapes of its tensors.
    Tensors,
    /// The caller: [`Hints`](crate::Hints).
    Caller,
    /// Nothing states it; it is the usual value for such files.
    Usual,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the file",
            Self::Config => "config.json",
            Self::Preprocessor => "preprocessor_config.json",
            Self::Args => "the checkpoint's options",
            Self::Tensors => "its tensors",
            Self::Caller => "as requested",
            Self::Usual => "assumed",
        })
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

impl<T> Sourced<T> {
    pub(crate) fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }
}
