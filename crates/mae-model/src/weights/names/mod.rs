//! The official names: chooses a model of a file and converts the names and layouts of its tensors.

mod adapt;
mod choose;
mod layout;
mod parts;
mod schemes;

pub(crate) use adapt::adapt;
pub(crate) use choose::{Chosen, choose};
pub(crate) use layout::{float, from_official, is_float, official_name, official_shape, to_official};
pub(crate) use parts::{Part, part, part_of_others};
pub(crate) use schemes::to_transformers;
