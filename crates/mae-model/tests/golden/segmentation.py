"""Makes segmentation.safetensors, the reference tensors for `../segmentation.rs`.

usage: python segmentation.py            write the file beside this script
       python segmentation.py --check    make it again in memory and compare; exit status 1 if anything differs
(Python 3.11, pip install -r requirements.txt)

The encoder is timm's VisionTransformer. Pyramid and heads are the modules of transformers' `BeitForSemanticSegmentation`; the
head has fewer channels than the encoder's width. The linear head is PyTorch's batch norm and convolution. The grid of patches
has odd sides. Everything is float32 on one CPU thread, from fixed seeds.

    w.NAME                     weights of encoder and UPerNet, under the names of published BEiT checkpoints
    linear.w.NAME              weights of the linear head
    image, labels              [B, C, H, W], [B, H, W]
    HEAD.eval                  scores with the running statistics of w.NAME, [B, K, h, w]
    HEAD.eval.grad.image       gradient of their cross entropy with respect to the image
    HEAD.train, uper.auxiliary scores in training
    HEAD.loss                  cross entropy of resized scores, plus 0.4 times the auxiliary head's
    HEAD.grad.NAME             its gradients with respect to parameters and image
    HEAD.running.NAME          running statistics after that step

HEAD is uper or linear.
"""

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import BeitConfig
from transformers.models.beit import modeling_beit as beit

from inputs import Shape, make_image, make_weights, prefixed

FILE = Path(__file__).with_name("segmentation.safetensors")
# Relative to a tensor's largest value. Another CPU may add in another order.
TOLERANCE = 1e-5

SHAPE = Shape((20, 28), 3, 4, 12, 5, 3, mlp_ratio=2)
BLOCKS = (1, 2, 4, 5)  # counted from 1
CHANNELS, AUXILIARY, CLASSES = 10, 6, 4
POOL_SCALES = (1, 2, 3, 6)
AUXILIARY_WEIGHT = 0.4
# Momentum and epsilon of the batch norms are PyTorch's defaults.


def encoder() -> VisionTransformer:
    """Returns timm's encoder without a head."""
    return VisionTransformer(
        img_size=SHAPE.image,
        patch_size=SHAPE.patch,
        embed_dim=SHAPE.embed_dim,
        depth=SHAPE.depth,
        num_heads=SHAPE.num_heads,
        mlp_ratio=SHAPE.mlp_ratio,
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )


class Uper(nn.Module):
    """transformers' neck and heads on an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()
        width = SHAPE.embed_dim
        options = {"num_labels": CLASSES, "pool_scales": POOL_SCALES, "auxiliary_channels": AUXILIARY}
        wide, narrow = (BeitConfig(hidden_size=size, **options) for size in (width, CHANNELS))
        self.fpn = beit.BeitFPNNeck(wide)
        self.auxiliary_head = beit.BeitFCNHead(wide)
        self.decode_head = head = beit.BeitUperHead(narrow)
        # The input has as many channels as the encoder is wide.
        head.psp_modules = beit.BeitPyramidPoolingModule(POOL_SCALES, width, CHANNELS)
        joined = width + len(POOL_SCALES) * CHANNELS
        head.psp_bottleneck = beit.BeitConvLayer(joined, CHANNELS, kernel_size=3, padding=1)
        head.lateral_convs = nn.ModuleList(beit.BeitConvLayer(width, CHANNELS, kernel_size=1) for _ in range(3))

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        maps = self.encoder.forward_intermediates(
            image, indices=[block - 1 for block in BLOCKS], norm=False, intermediates_only=True
        )
        pyramid = self.fpn(maps)
        return [self.decode_head(pyramid), self.auxiliary_head(pyramid)]


class Linear(nn.Module):
    """A batch norm and a convolution on the encoder's tokens, after its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()
        self.decode_head = nn.ModuleDict(
            {"bn": nn.BatchNorm2d(SHAPE.embed_dim), "classifier": nn.Conv2d(SHAPE.embed_dim, CLASSES, 1)}
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        tokens = self.encoder.forward_features(image)[:, 1:]  # [B, L, D]
        grid = tokens.transpose(1, 2).unflatten(2, SHAPE.grid)  # [B, D, h, w]
        return [self.decode_head["classifier"](self.decode_head["bn"](grid))]


# Parts of names in memory, and the same parts in published checkpoints.
NAMES = {
    "encoder.": "",
    "fpn.fpn1.conv_transpose1": "fpn1.0",
    "fpn.fpn1.normalization": "fpn1.1",
    "fpn.fpn1.conv_transpose2": "fpn1.3",
    "fpn.fpn2": "fpn2.0",
    "psp_bottleneck": "bottleneck",
    ".convolution": ".conv",
    ".normalization": ".bn",
}


def published(name: str) -> str:
    """Returns a parameter's name in published checkpoints."""
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    head, blocks, rest = name.partition("psp_modules.blocks.")
    if blocks:
        index, rest = rest.split(".conv.", 1)
        name = f"{head}psp_modules.{index}.1.{rest}"
    return name


def randomize(model: nn.Module, seed: int) -> None:
    """Sets every parameter and running statistic to noise, as in `make_weights`."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.startswith("encoder.") or not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=rng)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.square())
            elif tensor.ndim == 4:
                tensor.copy_(noise * (tensor[0].numel()) ** -0.5)
            else:
                scale = name.endswith("weight")
                tensor.copy_(float(scale) + 0.2 * noise)


def cross_entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the cross entropy of scores, resized to the image's resolution."""
    resized = F.interpolate(scores, size=labels.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(resized, labels)


def case(name: str, model: nn.Module, image: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Returns scores, losses and gradients of a model for a batch, in evaluation and in training."""
    out = {}
    image = image.clone().requires_grad_()
    model.eval()
    scores = model(image)[0]
    (gradient,) = torch.autograd.grad(cross_entropy(scores, labels), [image])
    out |= {f"{name}.eval": scores, f"{name}.eval.grad.image": gradient}
    model.train()
    scores, *auxiliary = model(image)
    loss = cross_entropy(scores, labels)
    for more in auxiliary:
        loss = loss + AUXILIARY_WEIGHT * cross_entropy(more, labels)
        out[f"{name}.auxiliary"] = more
    loss.backward()
    out |= {f"{name}.train": scores, f"{name}.loss": loss, f"{name}.grad.image": image.grad}
    for parameter, value in model.named_parameters():
        if value.grad is not None:
            out[f"{name}.grad.{published(parameter)}"] = value.grad
    for parameter, value in model.named_buffers():
        if "running" in parameter:
            out[f"{name}.running.{published(parameter)}"] = value
    return out


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies parameters and running statistics under published names."""
    state = model.state_dict().items()
    return {published(name): value.clone() for name, value in state if value.is_floating_point()}


def make() -> dict[str, torch.Tensor]:
    """Makes all tensors of the file."""
    vit = make_weights(SHAPE, seed=61)
    # Three images, because a batch norm over two values returns 1 and -1, whatever they were.
    image = torch.cat([make_image(SHAPE, seed=62), make_image(SHAPE, seed=66)[:1]])
    labels = torch.randint(CLASSES, (len(image), *SHAPE.image), generator=torch.Generator().manual_seed(63))
    uper, linear = Uper(), Linear()
    for model, seed in ((uper, 64), (linear, 65)):
        model.encoder.load_state_dict(vit)
        randomize(model, seed)
    of_linear = {name: value for name, value in weights(linear).items() if name not in vit}
    return {
        **prefixed("w.", weights(uper)),
        **prefixed("linear.w.", of_linear),
        "image": image,
        "labels": labels,
        **case("uper", uper, image, labels),
        **case("linear", linear, image, labels),
    }


def main() -> None:
    """Writes the file or compares it."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in make().items()}
    if "--check" not in sys.argv[1:]:
        config = asdict(SHAPE) | {"blocks": BLOCKS, "head_channels": CHANNELS, "auxiliary": AUXILIARY}
        config |= {"classes": CLASSES, "pool_scales": POOL_SCALES}
        save_file(tensors, FILE, metadata={"config": json.dumps(config)})
        print(f"{FILE.name}: {len(tensors)} tensors, {FILE.stat().st_size} bytes")
        return
    stored = load_file(FILE)
    differ = sorted(tensors.keys() ^ stored.keys())
    for name in tensors.keys() & stored.keys():
        ours, theirs = tensors[name].double(), stored[name].double()
        # A parameter that a batch norm cancels has only rounding errors as its gradient.
        least = 1e-3 if ".grad." in name else 0.0
        largest = max(theirs.abs().max().item(), least)
        if ours.shape != theirs.shape or (ours - theirs).abs().max().item() > TOLERANCE * largest:
            differ.append(name)
    print(f"{FILE.name}: {len(tensors)} tensors, {len(differ)} differ", *differ, sep="\n  ")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
