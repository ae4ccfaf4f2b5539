//! What the files around the tensors say of the model and of its images.

mod beside;
mod images;
mod model;

pub(crate) use beside::Beside;
pub(crate) use images::{timm_normalize, timm_resizing, transformers_normalize, transformers_resizing};
pub(crate) use model::Said;
