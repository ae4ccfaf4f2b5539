//! The names of the masking strategies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::MaskingError;

/// How the visible patches are chosen. As text: `"random"`, `"block"` or `"grid"`.
///
/// # Source
/// MAE section 4.1, "Mask sampling strategy", and figure 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Every subset of the right size equally likely: the paper's default.
    #[default]
    Random,
    /// Large blocks are masked.
    ///
    /// # Source
    /// BEiT ([arXiv 2106.08254](https://arxiv.org/abs/2106.08254)), algorithm 1.
    /// Deviation: the last block is cut short if it would mask too much, so that the count is exact. A block that would
    /// mask nothing new is moved onto a visible patch. The aspect ratio is log-uniform, as in BEiT's code. The paper's
    /// text suggests a uniform ratio, which would make three of four blocks taller than wide.
    Block,
    /// Patches are kept at regular distances: at a ratio of 0.75, one of every 2 × 2.
    ///
    /// # Source
    /// MAE figure 6, right.
    /// Deviation: the paper shows one pattern, at 0.75. Here the pattern has a random offset and, at any ratio, is as
    /// regular as an exact count allows. Each patch is equally likely to be kept.
    Grid,
}

impl Strategy {
    /// Every strategy, in the order of the paper's table.
    pub const ALL: [Self; 3] = [Self::Random, Self::Block, Self::Grid];

    /// The name, as used in configuration files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Block => "block",
            Self::Grid => "grid",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Strategy {
    type Err = MaskingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == text).ok_or_else(|| {
            MaskingError::UnknownStrategy {
                name: text.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_serde_agree() {
        for strategy in Strategy::ALL {
            let text = strategy.to_string();
            assert_eq!(text.parse(), Ok(strategy));
            let json = serde_json::to_string(&strategy).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Strategy>(&json).unwrap(), strategy);
        }
        assert_eq!(Strategy::default(), Strategy::Random);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "Blocks".parse::<Strategy>().unwrap_err().to_string();
        assert_eq!(error, "unknown masking strategy \"Blocks\": expected one of random, block, grid");
    }
}
