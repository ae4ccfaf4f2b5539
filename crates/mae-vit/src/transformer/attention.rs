//! The attention weights of a transformer's blocks, and attention rollout.

use burn::tensor::Tensor;

use crate::VisionTransformer;

impl VisionTransformer {
    /// The attention weights of every block on whole images, in the order of the blocks; each row sums to 1.
    ///
    /// The iterator is lazy: it computes the weights of one block at a time and keeps none of them.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, N, 1 + L, 1 + L]` per block, the class token first
    pub fn attentions(&self, images: Tensor<4>) -> impl Iterator<Item = Tensor<4>> {
        self.blocks.iter().scan(self.embed(images), |tokens, block| {
            let weights = block.attention(tokens.clone());
            *tokens = block.forward(tokens.clone());
            Some(weights)
        })
    }

    /// The attention weights of the class token over the patches in the last block, per head.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, N, L]`
    pub fn class_attention(&self, images: Tensor<4>) -> Tensor<3> {
        let last = self.blocks.len() - 1;
        let weights = self.blocks[last].attention(self.forward_to(images, last)); // [B, N, 1 + L, 1 + L]
        let [batch, heads, len, _] = weights.dims();
        weights.slice([0..batch, 0..heads, 0..1, 1..len]).squeeze_dim(2) // [B, N, L]
    }

    /// Attention rollout: how much of each patch reaches the class token through all blocks.
    ///
    /// In each block, the heads are averaged, and the residual connection has the same weight as their average. The
    /// product of these matrices over the blocks says how much of each input token is in each output token. Each of its
    /// rows sums to 1, including the class token's share, which is not returned.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, L]`
    ///
    /// # Source
    /// Abnar and Zuidema, arXiv 2005.00928, section 3 "attention rollout".
    pub fn rollout(&self, images: Tensor<4>) -> Tensor<2> {
        let [batch, ..] = images.dims();
        let len = 1 + self.config().geometry.num_patches();
        let identity = Tensor::<2>::eye(len, &images.device()).unsqueeze::<3>(); // [1, 1 + L, 1 + L]
        let rollout = self.attentions(images).fold(identity.clone(), |rollout, weights| {
            let mean = weights.mean_dim(1).squeeze_dim::<3>(1); // [B, 1 + L, 1 + L]
            (mean + identity.clone()).mul_scalar(0.5).matmul(rollout) // [B, 1 + L, 1 + L]
        });
        rollout.slice([0..batch, 0..1, 1..len]).squeeze_dim(1) // [B, L]
    }
}
