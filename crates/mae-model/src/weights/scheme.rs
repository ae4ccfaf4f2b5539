//! Naming schemes of weight files.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::ModelError;

/// A scheme of tensor names and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// The official code's names. This crate uses them too, and so does timm for the encoder.
    Official,
    /// What timm's `VisionTransformer` loads: the encoder without a decoder, and the classifier if there is one.
    Timm,
    /// What transformers' `from_pretrained` loads: a folder with configuration files.
    Transformers,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 3] = [Self::Official, Self::Timm, Self::Transformers];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::Timm => "timm",
            Self::Transformers => "transformers",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scheme {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scheme| scheme.name() == name);
        found.ok_or_else(|| ModelError::UnknownName { what: "scheme", name: name.into(), known: known() })
    }
}
