//! The description of a masked autoencoder, and the published sizes.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use mae_vit::{Compute, Geometry, StackConfig, VitConfig};
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The configuration of a [`Mae`](crate::Mae): everything but its weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaeConfig {
    /// The size of images and patches, and the channels.
    pub geometry: Geometry,
    /// The encoder's blocks.
    pub encoder: StackConfig,
    /// The decoder's blocks.
    pub decoder: StackConfig,
    /// Epsilon of all layer norms.
    pub norm_eps: f64,
    /// Whether each target patch is normalised by its own mean and standard deviation.
    pub norm_pix_loss: bool,
}

impl MaeConfig {
    /// Checks the description.
    ///
    /// # Errors
    /// If a part of it is inconsistent; the message names the part, the value and the bound.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.vit().validate().map_err(|source| ModelError::Config { part: "encoder", source })?;
        self.decoder.validate().map_err(|source| ModelError::Config { part: "decoder", source })
    }

    /// The encoder's description.
    pub fn vit(&self) -> VitConfig {
        VitConfig { geometry: self.geometry, stack: self.encoder, norm_eps: self.norm_eps }
    }

    /// Number of parameters, including the fixed positions of both towers.
    pub fn num_params(&self) -> usize {
        let (l, patch) = (self.geometry.num_patches(), self.geometry.patch_dim());
        let tower = |stack: &StackConfig| {
            let (d, h) = (stack.embed_dim, stack.mlp_dim);
            // Norms, qkv, projection, MLP; then the final norm, the token and the positions.
            let block = 4 * d + 3 * d * (d + 1) + d * (d + 1) + h * (d + 1) + d * (h + 1);
            stack.depth * block + 2 * d + d + (1 + l) * d
        };
        let (e, d) = (self.encoder.embed_dim, self.decoder.embed_dim);
        tower(&self.encoder) + tower(&self.decoder) + e * (patch + 1) + d * (e + 1) + patch * (d + 1)
    }

    /// Floating-point operations of one forward pass of one image with `num_keep` visible patches.
    ///
    /// A multiply-add counts as two. A training step costs three times as much.
    pub fn flops(&self, num_keep: usize) -> f64 {
        let (l, k) = (self.geometry.num_patches(), num_keep);
        let linear = |rows: usize, d_in: usize, d_out: usize| 2.0 * (rows * d_in * d_out) as f64;
        let patch = self.geometry.patch_dim();
        linear(k, patch, self.encoder.embed_dim)
            + self.encoder.flops(1 + k)
            + linear(1 + k, self.encoder.embed_dim, self.decoder.embed_dim)
            + self.decoder.flops(1 + l)
            + linear(l - k, self.decoder.embed_dim, patch)
    }

    /// Estimates the bytes per image that a forward pass with `num_keep` visible patches keeps for the backward pass on
    /// `device`, from the shapes of the kept tensors.
    pub fn activation_bytes(&self, num_keep: usize, compute: Compute, device: &Device) -> usize {
        let patches = self.geometry.num_patches();
        let encoder = self.encoder.activation_bytes(1 + num_keep, compute, device);
        let decoder = self.decoder.activation_bytes(1 + patches, compute, device);
        // In f32: images and their patches; of the masked patches a copy, the normalised targets, predictions and
        // differences.
        let pixels = 4 * (2 * patches + 4 * (patches - num_keep)) * self.geometry.patch_dim();
        encoder + decoder + pixels
    }
}

/// Model sizes by their usual names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Ours, for 32 px images on a CPU: 64 wide, 4 blocks, 4 px patches; decoder 64 × 1 (width × blocks).
    Nano,
    /// ViT-Ti/16: 192 wide, 12 blocks; decoder 128 × 4.
    Tiny,
    /// ViT-S/16: 384 wide, 12 blocks; decoder 256 × 4.
    Small,
    /// ViT-B/16 with the paper's decoder, 512 × 8.
    Base,
    /// ViT-L/16 with the paper's decoder.
    Large,
    /// ViT-H/14 with the paper's decoder.
    Huge,
    /// ViT-B/32 with one decoder block, as in lightly's example.
    Lightly,
}

impl Preset {
    /// All presets: small to large, then lightly's.
    pub const ALL: [Self; 7] =
        [Self::Nano, Self::Tiny, Self::Small, Self::Base, Self::Large, Self::Huge, Self::Lightly];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nano => "nano",
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Base => "base",
            Self::Large => "large",
            Self::Huge => "huge",
            Self::Lightly => "lightly",
        }
    }

    /// The default (height, width) of an image in pixels.
    pub fn image_size(self) -> (usize, usize) {
        match self {
            Self::Nano => (32, 32),
            _ => (224, 224),
        }
    }

    /// The default side of a patch in pixels.
    pub fn patch_size(self) -> usize {
        match self {
            Self::Nano => 4,
            Self::Huge => 14,
            Self::Lightly => 32,
            _ => 16,
        }
    }

    /// The (encoder, decoder) stacks.
    ///
    /// # Source
    /// MAE section 4.1 and ViT table 1 for base, large and huge; DeiT (arXiv 2012.12877) table 1 for tiny and
    /// small, whose decoders the paper does not give; lightly's `mae` example.
    pub fn stacks(self) -> (StackConfig, StackConfig) {
        let paper = StackConfig::new(512, 8, 16);
        match self {
            Self::Nano => (StackConfig::new(64, 4, 2), StackConfig::new(64, 1, 4)),
            Self::Tiny => (StackConfig::new(192, 12, 3), StackConfig::new(128, 4, 4)),
            Self::Small => (StackConfig::new(384, 12, 6), StackConfig::new(256, 4, 8)),
            Self::Base => (StackConfig::new(768, 12, 12), paper),
            Self::Large => (StackConfig::new(1024, 24, 16), paper),
            Self::Huge => (StackConfig::new(1280, 32, 16), paper),
            Self::Lightly => (StackConfig::new(768, 12, 12), StackConfig::new(512, 1, 16)),
        }
    }

    /// The preset's model for images of the given geometry, with normalised-pixel targets.
    pub fn config(self, geometry: Geometry) -> MaeConfig {
        let (encoder, decoder) = self.stacks();
        MaeConfig { geometry, encoder, decoder, norm_eps: NORM_EPS, norm_pix_loss: true }
    }
}

/// Layer-norm epsilon of the official code and timm.
pub const NORM_EPS: f64 = 1e-6;

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        Self::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| ModelError::UnknownName {
            what: "preset",
            name: name.into(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;

    #[test]
    fn published_sizes_have_the_published_numbers_of_parameters() {
        // MAE.pytorch's models with decoder: 111.9 M, 329.5 M and 657.1 M, positions included.
        for (preset, millions) in [(Preset::Base, 111.9), (Preset::Large, 329.5), (Preset::Huge, 657.1)] {
            let geometry = Geometry::new(preset.image_size(), preset.patch_size(), 3).unwrap();
            let config = preset.config(geometry);
            let count = config.num_params() as f64 / 1e6;
            assert!((count - millions).abs() < 0.06, "{preset}: {count} M");
        }
    }

    #[test]
    fn the_count_is_that_of_the_built_model() {
        let config = Preset::Nano.config(Geometry::new((24, 40), 8, 4).unwrap());
        let model = config.init(0, &Device::flex()).unwrap();
        assert_eq!(config.num_params(), model.num_params());
    }

    #[test]
    fn a_base_step_is_the_known_amount_of_work() {
        let config = Preset::Base.config(Geometry::new((224, 224), 16, 3).unwrap());
        let gflop = 3.0 * config.flops(49) / 1e9;
        assert!((57.0..59.0).contains(&gflop), "{gflop}");
    }

    #[test]
    fn errors_name_the_part_and_the_numbers() {
        let mut config = Preset::Nano.config(Geometry::new((32, 32), 4, 3).unwrap());
        config.decoder.num_heads = 7;
        let error = config.init(0, &Device::flex()).unwrap_err();
        assert_eq!(error.to_string(), "the decoder is inconsistent");
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert!(reason.contains("64") && reason.contains('7'), "{reason}");
        assert!("giant".parse::<Preset>().unwrap_err().to_string().contains("lightly"));
    }
}
