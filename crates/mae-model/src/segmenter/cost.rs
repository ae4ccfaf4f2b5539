//! What a segmenter costs: operations, numbers, memory.

use burn::tensor::Device;
use mae_vit::Compute;

use super::{SegmentationHead, SegmenterConfig, UperNetConfig};

/// A convolution of a head.
struct Product {
    /// Pixels of an image that it is computed at.
    pixels: usize,
    /// Numbers of its window.
    window: usize,
    /// Numbers that it makes of a window.
    outputs: usize,
    /// Its inputs that are not another's output.
    inputs: usize,
}

impl SegmenterConfig {
    /// Multiply-adds of a forward pass over an image, counted as two operations each.
    pub fn flops(&self) -> f64 {
        let geometry = self.vit.geometry;
        let (patches, width) = (geometry.num_patches(), self.vit.stack.embed_dim);
        let projection = 2.0 * (patches * geometry.patch_dim() * width) as f64;
        let head: f64 = self
            .products()
            .iter()
            .map(|product| 2.0 * product.pixels as f64 * product.window as f64 * product.outputs as f64)
            .sum();
        projection + self.vit.stack.flops(1 + patches) + head
    }

    /// Bytes that a forward pass over an image keeps for the backward pass on a device: an estimate by the shapes of what is kept.
    pub fn activation_bytes(&self, compute: Compute, device: &Device) -> usize {
        let geometry = self.vit.geometry;
        let encoder = self.vit.stack.activation_bytes(1 + geometry.num_patches(), compute, device);
        // A convolution's input and output, what its norm makes of this, and where the ReLU let it pass.
        let numbers: usize = self
            .products()
            .iter()
            .map(|product| product.pixels * (product.inputs + 3 * product.outputs))
            .sum();
        encoder + size_of::<f32>() * numbers
    }

    /// The numbers of the head's weights, in floating point: what is claimed may be any number.
    pub(crate) fn head_numbers(&self) -> f64 {
        self.products().iter().map(|product| product.window as f64 * product.outputs as f64).sum()
    }

    fn products(&self) -> Vec<Product> {
        let ((rows, columns), width, classes) =
            (self.vit.geometry.grid(), self.vit.stack.embed_dim, self.classes.len());
        let patches = rows * columns;
        let pointwise = |pixels, inputs, outputs| Product { pixels, window: inputs, outputs, inputs };
        let SegmentationHead::UperNet(UperNetConfig { channels, pool_scales, auxiliary, .. }) = &self.head
        else {
            return vec![pointwise(patches, width, classes)];
        };
        let channels = *channels;
        let square = |pixels, inputs, outputs| Product { pixels, window: 9 * inputs, outputs, inputs };
        let (finest, coarsest) = (16 * patches, (rows / 2) * (columns / 2));
        let mut products = vec![
            pointwise(patches, width, 4 * width),
            pointwise(4 * patches, width, 4 * width),
            pointwise(patches, width, 4 * width),
        ];
        for pixels in [finest, 4 * patches, patches] {
            products.push(pointwise(pixels, width, channels));
            products.push(square(pixels, channels, channels));
        }
        products.extend(pool_scales.iter().map(|scale| pointwise(scale * scale, width, channels)));
        products.push(square(coarsest, width + pool_scales.len() * channels, channels));
        products.push(square(finest, 4 * channels, channels));
        products.push(pointwise(finest, channels, classes));
        if let Some(auxiliary) = auxiliary {
            products.push(square(patches, width, auxiliary.channels));
            products.push(pointwise(patches, auxiliary.channels, classes));
        }
        products
    }
}
