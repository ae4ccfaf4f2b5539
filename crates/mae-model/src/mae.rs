//! The masked autoencoder: an encoder of the visible patches, a decoder and the reconstruction loss.

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use mae_masking::MaskBatch;
use mae_vit::{Compute, InitRng, Pooling, VisionTransformer, ops, patchify, unpatchify};

use crate::params::with_path_ids;
use crate::{Decoder, FeatureExtractor, MaeConfig, ModelError};

/// Added to a patch's variance before the square root.
///
/// # Source
/// The official `forward_loss`.
const PATCH_EPS: f64 = 1e-6;

/// A masked autoencoder.
///
/// # Source
/// MAE (arXiv 2111.06377) section 3; the official `MaskedAutoencoderViT`.
#[derive(Module, Debug)]
pub struct Mae {
    /// Encodes the visible patches, or whole images if there is no mask.
    pub encoder: VisionTransformer,
    /// Predicts pixels.
    pub decoder: Decoder,
    #[module(skip)]
    config: MaeConfig,
}

/// A reconstruction of masked images, for display.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// The prediction as normalised pixels, `[B, C, H, W]`. With `norm_pix_loss`, each predicted patch is rescaled to
    /// the mean and standard deviation of the original patch.
    pub images: Tensor<4>,
    /// The encoder's tokens, `[B, 1 + K, D]`.
    pub latent: Tensor<3>,
    /// The raw prediction of every patch, `[B, L, P·P·C]`.
    pub pred: Tensor<3>,
}

impl MaeConfig {
    /// Builds the model with initial weights that depend on `seed` alone.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, seed: u64, device: &Device) -> Result<Mae, ModelError> {
        self.validate()?;
        let rng = &mut InitRng::new(seed);
        let encoder =
            self.vit().init(rng, device).map_err(|source| ModelError::Config { part: "encoder", source })?;
        let decoder = Decoder::new(self, rng, device);
        Ok(with_path_ids(Mae { encoder, decoder, config: *self }))
    }
}

impl Mae {
    /// The model's configuration.
    pub fn config(&self) -> &MaeConfig {
        &self.config
    }

    /// Returns the model with other compute settings.
    #[must_use]
    pub fn with_compute(mut self, compute: Compute) -> Self {
        self.encoder = self.encoder.with_compute(compute);
        self.decoder = self.decoder.with_compute(compute);
        self
    }

    /// Computes the reconstruction loss of a batch: encodes the visible patches and predicts the masked ones.
    ///
    /// Only visible patches are projected and encoded, and only masked ones predicted.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[1]`
    ///
    /// # Panics
    /// If the mask hides no patch, since nothing is left to predict.
    pub fn forward(&self, images: Tensor<4>, masks: &MaskBatch) -> Tensor<1> {
        self.forward_present(images, None, masks)
    }

    /// Like [`forward`](Self::forward), for images with missing pixels. The loss is the mean over the present pixels.
    /// Missing ones do not count in the mean and standard deviation of a target patch either.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]`, 0 where a pixel is missing; `present`, `[B, C, H, W]`, 1 where a pixel is
    /// present and 0 where it is missing, or `None` if no pixel is missing → `[1]`
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_present(
        &self,
        images: Tensor<4>,
        present: Option<Tensor<4>>,
        masks: &MaskBatch,
    ) -> Tensor<1> {
        assert!(
            masks.num_keep() < masks.num_patches(),
            "a mask that hides no patch leaves nothing to predict"
        );
        let ids = Ids::new(masks, &images.device());
        let patches = patchify(images, &self.config.geometry); // [B, L, P·P·C]
        let latent = self.encoder.forward_kept(patches.clone(), ids.keep); // [B, 1 + K, D]
        let pred = self.decoder.forward_masked(latent, ids.shuffle); // [B, M, P·P·C]
        self.loss(pred, ops::take_rows(patches, ids.masked.clone()), present, ids.masked)
    }

    /// The loss of predicting zero everywhere: a baseline for [`forward_present`](Self::forward_present).
    ///
    /// # Shapes
    /// As [`forward_present`](Self::forward_present).
    pub fn zero_loss(&self, images: Tensor<4>, present: Option<Tensor<4>>, masks: &MaskBatch) -> Tensor<1> {
        let ids = Ids::new(masks, &images.device());
        let patches = patchify(images, &self.config.geometry); // [B, L, P·P·C]
        let masked = ops::take_rows(patches, ids.masked.clone()); // [B, M, P·P·C]
        self.loss(masked.zeros_like(), masked, present, ids.masked)
    }

    /// The loss of predicted masked patches, `[B, M, P·P·C]`.
    fn loss(
        &self,
        pred: Tensor<3>,
        patches: Tensor<3>,
        present: Option<Tensor<4>>,
        masked: Tensor<2, Int>,
    ) -> Tensor<1> {
        match present {
            None => ops::reconstruction_loss(pred, patches, self.norm_eps()),
            Some(present) => {
                let present = ops::take_rows(patchify(present, &self.config.geometry), masked);
                ops::reconstruction_loss_present(pred, patches, present, self.norm_eps())
            }
        }
    }

    /// Predicts all patches of masked images.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]`
    pub fn reconstruct(&self, images: Tensor<4>, masks: &MaskBatch) -> Reconstruction {
        let ids = Ids::new(masks, &images.device());
        let patches = patchify(images, &self.config.geometry); // [B, L, P·P·C]
        let latent = self.encoder.forward_kept(patches.clone(), ids.keep); // [B, 1 + K, D]
        let pred = self.decoder.forward(latent.clone(), ids.shuffle, ids.restore); // [B, L, P·P·C]
        let pixels = if self.config.norm_pix_loss {
            let (mean, std) = patch_statistics(patches); // [B, L, 1]
            pred.clone() * std + mean
        } else {
            pred.clone()
        };
        Reconstruction { images: unpatchify(pixels, &self.config.geometry), latent, pred }
    }

    /// Encodes whole images into tokens, without masking.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, 1 + L, D]`
    pub fn encode(&self, images: Tensor<4>) -> Tensor<3> {
        self.encoder.forward(images)
    }

    /// Returns a feature extractor with this model's encoder.
    pub fn features(&self, pooling: Pooling) -> FeatureExtractor {
        FeatureExtractor::new(self.encoder.clone(), pooling)
    }

    /// The epsilon that normalises target patches, or `None` if targets are raw pixels.
    fn norm_eps(&self) -> Option<f64> {
        self.config.norm_pix_loss.then_some(PATCH_EPS)
    }
}

/// Mean and standard deviation of each patch, `[B, L, 1]`. The variance is unbiased, with `PATCH_EPS` added.
fn patch_statistics(patches: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let (var, mean) = patches.var_mean(2);
    (mean, var.add_scalar(PATCH_EPS).sqrt())
}

/// A batch's index tensors on the device.
struct Ids {
    keep: Tensor<2, Int>,
    masked: Tensor<2, Int>,
    shuffle: Tensor<2, Int>,
    restore: Tensor<2, Int>,
}

impl Ids {
    fn new(masks: &MaskBatch, device: &Device) -> Self {
        let batch = masks.batch_size();
        let dtype = DType::from(device.settings().int_dtype);
        let tensor = |ids: &[i32]| {
            let data = TensorData::new(ids.to_vec(), [batch, ids.len() / batch]);
            ops::upload_ints(data.convert_dtype(dtype), device)
        };
        let (keep, masked) = (tensor(masks.ids_keep()), tensor(masks.ids_masked()));
        let shuffle = Tensor::cat(vec![keep.clone(), masked.clone()], 1); // [B, L]
        Self { keep, masked, shuffle, restore: tensor(masks.ids_restore()) }
    }
}
