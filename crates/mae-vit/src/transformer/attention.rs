//! Where a transformer looks: the attention weights of its blocks, and attention rollout.

use burn::tensor::Tensor;

use crate::VisionTransformer;

impl VisionTransformer {
    /// The attention weights of every block on whole images, the first block's first; each row sums to 1.
    ///
    /// A block's are computed when they are asked for, so that no more of them are held than are wanted.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, N, 1 + L, 1 + L]` a block, the class token first
    pub fn attentions(&self, images: Tensor<4>) -> impl Iterator<Item = Tensor<4>> {
        self.blocks.iter().scan(self.embed(images), |tokens, block| {
            let weights = block.attention(tokens.clone());
            *tokens = block.forward(tokens.clone());
            Some(weights)
        })
    }

    /// How much the class token takes of each patch in the last block, by head.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, N, L]`
    pub fn class_attention(&self, images: Tensor<4>) -> Tensor<3> {
        let last = self.blocks.len() - 1;
        let weights = self.blocks[last].attention(self.forward_to(images, last)); // [B, N, 1 + L, 1 + L]
        let [batch, heads, len, _] = weights.dims();
        weights.slice([0..batch, 0..heads, 0..1, 1..len]).squeeze_dim(2) // [B, N, L]
    }

    /// How much of each patch arrives at the class token through all blocks: attention rollout.
    ///
    /// In each block the heads are averaged, and the residual connection counts as much as they do; the product of
    /// these over the blocks is how much of each token of the input is in each of the output. Every row of it sums to 1,
    /// the class token's share included, which is not returned.
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
