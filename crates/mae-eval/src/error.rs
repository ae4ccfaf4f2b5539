//! Everything that can be wrong with features and labels.

/// Why features, labels or scores were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// An argument lies outside what it may be.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        bound: String,
    },
    /// A number that is not a number, or infinite: nothing can be learnt from it.
    #[error("{name} {row} of {rows} has the value {value}, but every feature must be finite")]
    NotFinite {
        /// Which numbers.
        name: &'static str,
        /// The row with the value.
        row: usize,
        /// The number of rows.
        rows: usize,
        /// The value.
        value: f32,
    },
}

impl EvalError {
    pub(crate) fn argument(name: &'static str, value: impl ToString, bound: impl Into<String>) -> Self {
        Self::Argument { name, value: value.to_string(), bound: bound.into() }
    }
}
