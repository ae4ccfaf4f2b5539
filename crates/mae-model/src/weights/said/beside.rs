//! The files around the tensors.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::{ModelError, Scheme};

/// The contents of the files around the tensors.
#[derive(Default)]
pub(crate) struct Beside {
    /// transformers' or timm's `config.json`.
    pub config: Option<Value>,
    /// transformers' `preprocessor_config.json`.
    pub preprocessor: Option<Value>,
    /// The options that a PyTorch checkpoint stores.
    pub args: BTreeMap<String, Value>,
    /// Whether the weights were adapted to other channels, so that these files no longer say how images are normalised.
    pub other_channels: bool,
}

impl Beside {
    /// Reads the files beside a weight file of the given scheme; `args` come from the weight file itself.
    ///
    /// # Errors
    /// [`ModelError::Description`] if one of them is not JSON.
    pub fn read(path: &Path, scheme: Scheme, args: BTreeMap<String, Value>) -> Result<Self, ModelError> {
        let json = |name: &str| match std::fs::read(path.with_file_name(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| ModelError::Description {
                path: path.with_file_name(name),
                reason: error.to_string(),
            }),
            Err(_) => Ok(None),
        };
        // The folder may also hold a file of another scheme, which this configuration does not describe.
        let preprocessor =
            if scheme == Scheme::Transformers { json("preprocessor_config.json")? } else { None };
        Ok(Self { config: json("config.json")?, preprocessor, args, other_channels: false })
    }

    /// transformers' preprocessor configuration.
    pub fn preprocessor(&self) -> Option<&Map<String, Value>> {
        self.preprocessor.as_ref()?.as_object()
    }

    /// What timm's configuration says about images.
    pub fn timm_images(&self, scheme: Scheme) -> Option<&Map<String, Value>> {
        let config = self.config.as_ref()?.as_object()?;
        // Older configurations have all fields at one level.
        let images = config.get("pretrained_cfg").map_or(Some(config), Value::as_object);
        images.filter(|_| config.contains_key("architecture") && scheme != Scheme::Transformers)
    }
}
