//! Errors in features, labels and scores.

/// Why features, labels or scores were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// An argument has a value that is not allowed.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values that are allowed.
        bound: String,
    },
    /// A feature or score is NaN or infinite: nothing can be learnt from it.
    #[error("{name} {row} of {rows} has the value {value}, but every feature must be finite")]
    NotFinite {
        /// What a row is, such as "test image".
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
