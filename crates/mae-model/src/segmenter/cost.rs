//! The cost of a segmenter: operations, parameters, memory.

use burn::tensor::Device;
use mae_vit::Compute;

use super::{SegmentationHead, SegmenterConfig, UperNetConfig};

/// A convolution of a head. Its sizes are floats, because a file may claim any size.
struct Product {
    /// Positions in an image at which it is computed.
    pixels: f64,
    /// Input values of its window.
    window: f64,
    /// Output values per window.
    outputs: f64,
    /// Input channels: windows overlap, so each position adds only these.
    inputs: f64,
}

impl SegmenterConfig {
    /// Floating-point operations of one forward pass of one image. A multiply-add counts as two.
    pub fn flops(&self) -> f64 {
        let geometry = self.vit.geometry;
        let (patches, width) = (geometry.num_patches(), self.vit.stack.embed_dim);
        let projection = 2.0 * (patches * geometry.patch_dim() * width) as f64;
        let head: f64 = self
            .products()
            .iter()
            .map(|product| 2.0 * product.pixels * product.window * product.outputs)
            .sum();
        projection + self.vit.stack.flops(1 + patches) + head
    }

    /// Estimates the bytes per image that a forward pass keeps for the backward pass on `device`, from the shapes of
    /// the kept tensors.
    pub fn activation_bytes(&self, compute: Compute, device: &Device) -> usize {
        let geometry = self.vit.geometry;
        let encoder = self.vit.stack.activation_bytes(1 + geometry.num_patches(), compute, device);
        // A convolution keeps its input, its output, the norm's output and the mask of the ReLU.
        let numbers: f64 = self
            .products()
            .iter()
            .map(|product| product.pixels * (product.inputs + 3.0 * product.outputs))
            .sum();
        encoder.saturating_add((size_of::<f32>() as f64 * numbers) as usize)
    }

    /// The number of weights in the head.
    pub(crate) fn head_numbers(&self) -> f64 {
        self.products().iter().map(|product| product.window * product.outputs).sum()
    }

    fn products(&self) -> Vec<Product> {
        let (rows, columns) = self.vit.geometry.grid();
        let (patches, coarsest) = ((rows * columns) as f64, ((rows / 2) * (columns / 2)) as f64);
        let (width, classes) = (self.vit.stack.embed_dim as f64, self.classes.len() as f64);
        let pointwise = |pixels, inputs, outputs| Product { pixels, window: inputs, outputs, inputs };
        let SegmentationHead::UperNet(UperNetConfig { channels, pool_scales, auxiliary, .. }) = &self.head
        else {
            return vec![pointwise(patches, width, classes)];
        };
        let channels = *channels as f64;
        let square = |pixels, inputs, outputs| Product { pixels, window: 9.0 * inputs, outputs, inputs };
        let finest = 16.0 * patches;
        let mut products = vec![
            pointwise(patches, width, 4.0 * width),
            pointwise(4.0 * patches, width, 4.0 * width),
            pointwise(patches, width, 4.0 * width),
        ];
        for pixels in [finest, 4.0 * patches, patches] {
            products.push(pointwise(pixels, width, channels));
            products.push(square(pixels, channels, channels));
        }
        products.extend(pool_scales.iter().map(|scale| pointwise((*scale as f64).powi(2), width, channels)));
        products.push(square(coarsest, width + pool_scales.len() as f64 * channels, channels));
        products.push(square(finest, 4.0 * channels, channels));
        products.push(pointwise(finest, channels, classes));
        if let Some(auxiliary) = auxiliary {
            products.push(square(patches, width, auxiliary.channels as f64));
            products.push(pointwise(patches, auxiliary.channels as f64, classes));
        }
        products
    }
}
