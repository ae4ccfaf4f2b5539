//! UPerNet on a plain vision transformer: a pyramid of its tokens, and the head that fuses it.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mae_vit::dense::{
    Activation, BatchNorm, Conv, ConvTranspose, adaptive_avg_pool, max_pool, resize_bilinear,
};
use mae_vit::{InitRng, Precision};

use super::layers::{ConvNorm, Pass};
use super::{HeadDropout, UperNetConfig};

/// Feature maps from a plain transformer's tokens, at strides of a quarter, a half, one and two patches.
///
/// # Source
/// BEiT's backbone for mmsegmentation, `fpn1` to `fpn4`.
#[derive(Module, Debug)]
pub struct Pyramid {
    /// The first of two upsamplings by 2 for the finest map.
    pub fpn1_first: ConvTranspose,
    /// Normalises its output.
    pub fpn1_norm: BatchNorm,
    /// The second upsampling by 2, after a GELU.
    pub fpn1_second: ConvTranspose,
    /// The upsampling by 2 for the second map.
    pub fpn2: ConvTranspose,
}

/// Fuses a pyramid into logits.
///
/// # Source
/// UPerNet, arXiv 1807.10221 section 3; mmsegmentation's `UPerHead`.
#[derive(Module, Debug)]
pub struct UperHead {
    /// On the coarsest map, pooled to each grid of bins.
    pub psp_modules: Vec<ConvNorm>,
    /// Fuses their outputs with the coarsest map.
    pub bottleneck: ConvNorm,
    /// On the three finer maps.
    pub lateral_convs: Vec<ConvNorm>,
    /// On the sums of these and the upsampled coarser map.
    pub fpn_convs: Vec<ConvNorm>,
    /// Fuses all four maps.
    pub fpn_bottleneck: ConvNorm,
    /// Computes the class logits.
    pub classifier: Conv,
}

/// A 3 x 3 convolution and a classifier.
///
/// # Source
/// mmsegmentation's `FCNHead` of one convolution.
#[derive(Module, Debug)]
pub struct AuxiliaryHead {
    /// The convolution.
    pub conv: ConvNorm,
    /// Computes the class logits.
    pub classifier: Conv,
}

/// Pyramid, head and auxiliary head.
#[derive(Module, Debug)]
pub struct UperNet {
    /// Makes the pyramid from tokens.
    pub neck: Pyramid,
    /// Fuses the pyramid into logits.
    pub decode_head: UperHead,
    /// Used only in training.
    pub auxiliary_head: Option<AuxiliaryHead>,
    #[module(skip)]
    pool_scales: Vec<usize>,
}

impl Pyramid {
    fn new(width: usize, rng: &mut InitRng, device: &Device) -> Self {
        let mut doubling = || ConvTranspose::new([width, width], rng, device);
        Self {
            fpn1_first: doubling(),
            fpn1_norm: BatchNorm::new(width, device),
            fpn1_second: doubling(),
            fpn2: doubling(),
        }
    }

    fn with_precision(self, precision: Precision) -> Self {
        Self {
            fpn1_first: self.fpn1_first.with_precision(precision),
            fpn1_second: self.fpn1_second.with_precision(precision),
            fpn2: self.fpn2.with_precision(precision),
            ..self
        }
    }

    /// # Shapes
    /// four times `[B, h, w, D]` → `[B, 4·h, 4·w, D]`, `[B, 2·h, 2·w, D]`, `[B, h, w, D]`,
    /// `[B, ⌊h / 2⌋, ⌊w / 2⌋, D]`
    fn forward(&self, [first, second, third, fourth]: [Tensor<4>; 4], pass: &mut Pass<'_>) -> [Tensor<4>; 4] {
        let doubled = pass.norm(&self.fpn1_norm, self.fpn1_first.forward(first), Activation::Gelu);
        [self.fpn1_second.forward(doubled), self.fpn2.forward(second), third, max_pool(fourth)]
    }
}

impl UperHead {
    fn new(width: usize, classes: usize, config: &UperNetConfig, rng: &mut InitRng, device: &Device) -> Self {
        let UperNetConfig { channels, pool_scales, .. } = config;
        let channels = *channels;
        let mut conv = |c_in: usize, side: usize| ConvNorm::new([c_in, channels], side, rng, device);
        Self {
            psp_modules: pool_scales.iter().map(|_| conv(width, 1)).collect(),
            bottleneck: conv(width + pool_scales.len() * channels, 3),
            lateral_convs: (0..3).map(|_| conv(width, 1)).collect(),
            fpn_convs: (0..3).map(|_| conv(channels, 3)).collect(),
            fpn_bottleneck: conv(4 * channels, 3),
            classifier: Conv::classifier([channels, classes], rng, device),
        }
    }

    fn with_precision(self, precision: Precision) -> Self {
        let all =
            |convs: Vec<ConvNorm>| convs.into_iter().map(|conv| conv.with_precision(precision)).collect();
        Self {
            psp_modules: all(self.psp_modules),
            bottleneck: self.bottleneck.with_precision(precision),
            lateral_convs: all(self.lateral_convs),
            fpn_convs: all(self.fpn_convs),
            fpn_bottleneck: self.fpn_bottleneck.with_precision(precision),
            classifier: self.classifier.with_precision(precision),
        }
    }

    /// Fuses the coarsest map with its own means over grids of bins.
    ///
    /// # Shapes
    /// `[B, H, W, D]` → `[B, H, W, C]`
    ///
    /// # Source
    /// The pyramid pooling module of PSPNet, arXiv 1612.01105 section 3.2.
    fn pooled(&self, x: Tensor<4>, pool_scales: &[usize], pass: &mut Pass<'_>) -> Tensor<4> {
        let size = size(&x);
        let mut maps = vec![x.clone()];
        for (scale, conv) in pool_scales.iter().zip(&self.psp_modules) {
            let bins = conv.forward(adaptive_avg_pool(x.clone(), (*scale, *scale)), pass); // [B, scale, scale, C]
            maps.push(resize_bilinear(bins, size));
        }
        self.bottleneck.forward(Tensor::cat(maps, 3), pass)
    }

    /// The fused map, from which the classifier computes logits.
    ///
    /// # Shapes
    /// maps of four sizes, the finest `[B, H, W, D]` → `[B, H, W, C]`
    fn fused(&self, pyramid: [Tensor<4>; 4], pool_scales: &[usize], pass: &mut Pass<'_>) -> Tensor<4> {
        let [first, second, third, fourth] = pyramid;
        let finest = size(&first);
        let mut coarser = self.pooled(fourth, pool_scales, pass);
        let mut maps = vec![resize_bilinear(coarser.clone(), finest)];
        // Top-down: each map is summed with the coarser one.
        for (i, map) in [first, second, third].into_iter().enumerate().rev() {
            let size = size(&map);
            coarser = self.lateral_convs[i].forward(map, pass) + resize_bilinear(coarser, size);
            maps.push(resize_bilinear(self.fpn_convs[i].forward(coarser.clone(), pass), finest));
        }
        maps.reverse();
        self.fpn_bottleneck.forward(Tensor::cat(maps, 3), pass)
    }
}

impl UperNet {
    pub(super) fn new(
        width: usize,
        classes: usize,
        config: &UperNetConfig,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        Self {
            neck: Pyramid::new(width, rng, device),
            decode_head: UperHead::new(width, classes, config, rng, device),
            auxiliary_head: config.auxiliary.as_ref().map(|auxiliary| AuxiliaryHead {
                conv: ConvNorm::new([width, auxiliary.channels], 3, rng, device),
                classifier: Conv::classifier([auxiliary.channels, classes], rng, device),
            }),
            pool_scales: config.pool_scales.clone(),
        }
    }

    pub(super) fn with_precision(self, precision: Precision) -> Self {
        Self {
            neck: self.neck.with_precision(precision),
            decode_head: self.decode_head.with_precision(precision),
            auxiliary_head: self.auxiliary_head.map(|head| AuxiliaryHead {
                conv: head.conv.with_precision(precision),
                classifier: head.classifier.with_precision(precision),
            }),
            ..self
        }
    }

    /// The logits of the head, and in training those of the auxiliary head.
    ///
    /// # Shapes
    /// four times `[B, h, w, D]` → `[B, 4·h, 4·w, K]`, `[B, h, w, K]`
    pub(super) fn forward(
        &self,
        maps: [Tensor<4>; 4],
        pass: &mut Pass<'_>,
        dropout: Option<&HeadDropout>,
    ) -> (Tensor<4>, Option<Tensor<4>>) {
        let pyramid = self.neck.forward(maps, pass);
        let third = pyramid[2].clone();
        let fused = self.decode_head.fused(pyramid, &self.pool_scales, pass);
        let fused = match dropout {
            Some(dropout) => dropout.fused(fused),
            None => fused,
        };
        let scores = self.decode_head.classifier.forward(fused);
        let auxiliary = match (&self.auxiliary_head, &pass) {
            (Some(head), Pass::Train(_)) => {
                let x = head.conv.forward(third, pass);
                let x = match dropout {
                    Some(dropout) => dropout.auxiliary(x),
                    None => x,
                };
                Some(head.classifier.forward(x))
            }
            _ => None,
        };
        (scores, auxiliary)
    }
}

/// (height, width) of a map `[B, H, W, C]`.
fn size(x: &Tensor<4>) -> (usize, usize) {
    let [_, height, width, _] = x.dims();
    (height, width)
}
