//! The files that lie around the tensors.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::{ModelError, Scheme};

/// What lies around the tensors.
#[derive(Default)]
pub(crate) struct Beside {
    /// transformers' or timm's `config.json`.
    pub config: Option<Value>,
    /// transformers' `preprocessor_config.json`.
    pub preprocessor: Option<Value>,
    /// The options that a PyTorch checkpoint keeps.
    pub args: BTreeMap<String, Value>,
}

impl Beside {
    /// Reads what lies beside a file of a scheme; `args` were in it.
    ///
    /// # Errors
    /// [`ModelError::Description`] if it is not JSON.
    pub fn read(path: &Path, scheme: Scheme, args: BTreeMap<String, Value>) -> Result<Self, ModelError> {
        let json = |name: &str| match std::fs::read(path.with_file_name(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| ModelError::Description {
                path: path.with_file_name(name),
                reason: error.to_string(),
            }),
            Err(_) => Ok(None),
        };
        // A file of another scheme may lie in the same folder, and is not what they describe.
        let preprocessor =
            if scheme == Scheme::Transformers { json("preprocessor_config.json")? } else { None };
        Ok(Self { config: json("config.json")?, preprocessor, args })
    }

    /// transformers' configuration of a preprocessor.
    pub fn preprocessor(&self) -> Option<&Map<String, Value>> {
        self.preprocessor.as_ref()?.as_object()
    }

    /// What timm's configuration says of images.
    pub fn timm_images(&self, scheme: Scheme) -> Option<&Map<String, Value>> {
        let config = self.config.as_ref()?.as_object()?;
        // Older ones have it all at one level.
        let images = config.get("pretrained_cfg").map_or(Some(config), Value::as_object);
        images.filter(|_| config.contains_key("architecture") && scheme != Scheme::Transformers)
    }
}
