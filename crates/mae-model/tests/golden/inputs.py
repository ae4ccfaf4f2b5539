"""Geometry, random weights and random images for the golden cases, all from fixed seeds."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

BATCH = 2


@dataclass(frozen=True)
class Shape:
    """The geometry and widths of one model; `image` is (height, width) in pixels."""

    image: tuple[int, int]
    channels: int
    patch: int
    embed_dim: int
    depth: int
    num_heads: int
    decoder_embed_dim: int = 0
    decoder_depth: int = 0
    decoder_num_heads: int = 0
    mlp_ratio: int = 4
    mask_ratio: float = 0.75

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across."""
        return self.image[0] // self.patch, self.image[1] // self.patch

    @property
    def num_patches(self) -> int:
        """L, the number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def num_kept(self) -> int:
        """K, the number of kept patches."""
        return int(self.num_patches * (1 - self.mask_ratio))

    @property
    def patch_dim(self) -> int:
        """The number of values in a patch vector."""
        return self.patch**2 * self.channels


def sincos_positions(grid: tuple[int, int], dim: int) -> torch.Tensor:
    """Returns fixed 2-D positions [1 + L, D]: quarters sin(x), cos(x), sin(y), cos(y); zeros for the class token."""
    quarter = dim // 4
    omega = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    rows, cols = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    x, y = cols.reshape(-1, 1) * omega, rows.reshape(-1, 1) * omega  # [L, D/4]
    table = torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)  # [L, D]
    return F.pad(table, (0, 0, 1, 0)).float()  # [1 + L, D]


def make_weights(shape: Shape, seed: int) -> dict[str, torch.Tensor]:
    """Draws a random model under the official names, with sin-cos positions. It has no decoder if the decoder's width is 0.

    All other parameters are noise, because a bias, norm or token at its usual 0 or 1 could hide an error.
    """
    rng = torch.Generator().manual_seed(seed)
    w = {}

    def noise(name: str, *size: int, mean: float = 0.0, std: float = 0.2) -> None:
        w[name] = mean + std * torch.randn(size, generator=rng)

    def linear(name: str, rows: int, *columns: int) -> None:
        noise(f"{name}.weight", rows, *columns, std=torch.Size(columns).numel() ** -0.5)
        noise(f"{name}.bias", rows)

    def norm(name: str, dim: int) -> None:
        noise(f"{name}.weight", dim, mean=1.0)
        noise(f"{name}.bias", dim)

    def tower(prefix: str, dim: int, depth: int) -> None:
        w[f"{prefix}pos_embed"] = sincos_positions(shape.grid, dim)[None]
        for block in (f"{prefix}blocks.{i}" for i in range(depth)):
            norm(f"{block}.norm1", dim)
            linear(f"{block}.attn.qkv", 3 * dim, dim)
            linear(f"{block}.attn.proj", dim, dim)
            norm(f"{block}.norm2", dim)
            linear(f"{block}.mlp.fc1", shape.mlp_ratio * dim, dim)
            linear(f"{block}.mlp.fc2", dim, shape.mlp_ratio * dim)
        norm(f"{prefix}norm", dim)

    noise("cls_token", 1, 1, shape.embed_dim)
    linear("patch_embed.proj", shape.embed_dim, shape.channels, shape.patch, shape.patch)
    tower("", shape.embed_dim, shape.depth)
    if shape.decoder_embed_dim:
        noise("mask_token", 1, 1, shape.decoder_embed_dim)
        linear("decoder_embed", shape.decoder_embed_dim, shape.embed_dim)
        tower("decoder_", shape.decoder_embed_dim, shape.decoder_depth)
        linear("decoder_pred", shape.patch_dim, shape.decoder_embed_dim)
    return w


def make_noise(*size: int, seed: int) -> torch.Tensor:
    """Draws uniform noise, as used for masking."""
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def make_image(shape: Shape, seed: int, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Draws noise on a ramp that differs by axis and channel: no symmetry, and patches of different means."""
    height, width = size or shape.image
    rng = torch.Generator().manual_seed(seed)
    down, across = torch.linspace(-1, 0.5, height)[:, None], torch.linspace(-0.3, 1.2, width)
    ramp = torch.stack([(c + 1) * down - across / (c + 1) for c in range(shape.channels)])
    return ramp + 0.7 * torch.randn(BATCH, shape.channels, height, width, generator=rng)


def prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Puts `prefix` before each name."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
