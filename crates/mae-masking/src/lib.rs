//! Patch masks for masked autoencoders: random, block-wise and grid masks, each a pure function of its key.
//!
//! A masked autoencoder (MAE, [arXiv 2111.06377](https://arxiv.org/abs/2111.06377)) shows its encoder a few patches of
//! an image, and its decoder reconstructs the rest. A [`Masker`] chooses the visible patches. It is built once from a
//! [`Strategy`], a grid of patches and a ratio, and turns a [`MaskKey`] (seed, pass, sample) into a [`Masking`]. The
//! mask is the same on every machine, for any number of workers, ranks or restarts. A [`MaskBatch`] concatenates
//! several masks, ready to become tensors. This crate knows nothing of tensors, pixels or class tokens.
//!
//! ```
//! use mae_masking::{MaskKey, Masker, Strategy};
//!
//! # fn main() -> Result<(), mae_masking::MaskingError> {
//! let masker = Masker::new(Strategy::Random, (14, 14), 0.75)?;
//! assert_eq!((masker.num_patches(), masker.num_keep()), (196, 49));
//!
//! let masking = masker.draw(MaskKey { seed: 0, pass: 3, sample: 1207 });
//! assert_eq!(masking.ids_keep().len(), 49);
//! assert_eq!(masking.mask().iter().filter(|&&masked| masked).count(), 147);
//!
//! let batch = masker.draw_batch(0, [(3, 1207), (3, 5), (3, 88)])?;
//! assert_eq!(batch.ids_restore().len(), 3 * 196);
//! assert!(batch.ids_keep()[..49].iter().zip(masking.ids_keep()).all(|(&a, &b)| a as usize == b));
//! # Ok(())
//! # }
//! ```

mod batch;
mod block;
mod error;
mod grid;
mod key;
mod masker;
mod masking;
mod ratio;
mod strategy;

pub use batch::MaskBatch;
pub use error::{MAX_PATCHES, MaskingError};
pub use key::MaskKey;
pub use masker::Masker;
pub use masking::Masking;
pub use ratio::num_keep;
pub use strategy::Strategy;

/// Runs the README's examples as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
