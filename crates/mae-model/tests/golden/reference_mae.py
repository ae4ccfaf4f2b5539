"""A plain masked autoencoder on a dictionary of weights, for shapes that no other implementation accepts.

It is written from the paper (arXiv 2111.06377) and without modules, so that it shares only PyTorch's operations with
the other implementations. `make_golden.py` first compares it with transformers on square images, then uses it for
images that transformers does not accept.

Weights have the official names. B batch, C channels, P patch, L patches, K kept, D width, N heads.
"""

import math

import torch
import torch.nn.functional as F

from inputs import Shape

EPS = 1e-6  # of every LayerNorm, and of norm_pix_loss's variance


def patchify(image: torch.Tensor, patch: int) -> torch.Tensor:
    """Converts [B, C, H, W] to patch vectors [B, L, P*P*C], each in the order row, column, channel."""
    vectors = F.unfold(image, patch, stride=patch).transpose(1, 2)  # [B, L, C*P*P]
    return vectors.unflatten(2, (image.shape[1], -1)).transpose(2, 3).flatten(2)  # [B, L, P*P*C]


def linear(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    """Applies the linear layer `name`."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    """Applies the layer norm `name`, with the biased variance."""
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(w: dict, name: str, x: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Applies multi-head self-attention. The rows of the fused projection are q, k, v, each split into heads."""
    qkv = linear(w, f"{name}.qkv", x).unflatten(2, (3, num_heads, -1))  # [B, T, 3, N, D/N]
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [B, N, T, D/N]
    weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1)  # [B, N, T, T]
    return linear(w, f"{name}.proj", (weights @ v).transpose(1, 2).flatten(2))  # [B, T, D]


def blocks(w: dict, name: str, x: torch.Tensor, num_heads: int, depth: int) -> torch.Tensor:
    """Applies `depth` pre-norm blocks."""
    for block in (f"{name}.{i}" for i in range(depth)):
        x = x + attention(w, f"{block}.attn", layer_norm(w, f"{block}.norm1", x), num_heads)
        hidden = F.gelu(linear(w, f"{block}.mlp.fc1", layer_norm(w, f"{block}.norm2", x)))
        x = x + linear(w, f"{block}.mlp.fc2", hidden)
    return x  # [B, T, D]


def take(x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Returns row `ids[b, i]` of each `x[b]`."""
    return torch.stack([rows[index] for rows, index in zip(x, ids)])


def encode(w: dict, shape: Shape, image: torch.Tensor, ids_keep: torch.Tensor | None = None) -> torch.Tensor:
    """Returns the class token and the kept patches (by default, all), after the last norm."""
    kernel = w["patch_embed.proj.weight"].permute(0, 2, 3, 1).flatten(1)  # [D, P*P*C]
    x = patchify(image, shape.patch) @ kernel.T + w["patch_embed.proj.bias"]  # [B, L, D]
    x = x + w["pos_embed"][:, 1:]
    x = x if ids_keep is None else take(x, ids_keep)  # [B, K, D]
    cls = (w["cls_token"] + w["pos_embed"][:, :1]).expand(len(x), -1, -1)
    x = blocks(w, "blocks", torch.cat([cls, x], dim=1), shape.num_heads, shape.depth)
    return layer_norm(w, "norm", x)  # [B, 1 + K, D]


def decode(w: dict, shape: Shape, latent: torch.Tensor, ids_restore: torch.Tensor) -> torch.Tensor:
    """Predicts patch vectors [B, L, P*P*C] from the encoder's output."""
    x = linear(w, "decoder_embed", latent)  # [B, 1 + K, D]
    hidden = w["mask_token"].expand(len(x), shape.num_patches - shape.num_kept, -1)
    patches = take(torch.cat([x[:, 1:], hidden], dim=1), ids_restore)  # [B, L, D]
    x = torch.cat([x[:, :1], patches], dim=1) + w["decoder_pos_embed"]
    x = blocks(w, "decoder_blocks", x, shape.decoder_num_heads, shape.decoder_depth)
    return linear(w, "decoder_pred", layer_norm(w, "decoder_norm", x))[:, 1:]


def loss(pred: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, norm_pix: bool) -> torch.Tensor:
    """Returns the mean square error over the masked patches. With `norm_pix`, each target patch is standardised."""
    if norm_pix:
        var, mean = torch.var_mean(target, dim=-1, correction=1, keepdim=True)
        target = (target - mean) / (var + EPS).sqrt()
    return (pred - target).square().mean(-1)[mask.bool()].mean()


def forward(w: dict, shape: Shape, image: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
    """Runs one pass. The patches with the least noise are kept."""
    ids_shuffle = noise.argsort(dim=1)
    ids_restore = ids_shuffle.argsort(dim=1)
    latent = encode(w, shape, image, ids_shuffle[:, : shape.num_kept])
    return {
        "latent": latent,
        "pred": decode(w, shape, latent, ids_restore),
        "mask": (ids_restore >= shape.num_kept).float(),
        "ids_restore": ids_restore,
    }
