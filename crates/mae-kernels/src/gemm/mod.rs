//! Matrix products.

pub(crate) mod mat;
mod product_type;

pub use mat::{Mat, Threads, Write, matmul};
pub use product_type::ProductType;
