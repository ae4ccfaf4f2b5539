"""Makes the reference tensors for `../golden.rs`, one safetensors file per implementation.

usage: python make_golden.py            write the files beside this script
       python make_golden.py --check    make them again in memory and compare; exit status 1 if any differs
(Python 3.11, pip install -r requirements.txt)

Everything is float32 on one CPU thread, from fixed seeds. Each file's metadata holds the model's geometry as JSON under
"config". The function of a case documents its own keys. Several cases have these:

    w.NAME                              weights, under the official MAE names; qkv rows are q, k, v
    image                               [B, C, H, W], treated as already normalised
    noise, mask, ids_restore            [B, L]; patches with the least noise are kept, mask is 1 where masked
    latent                              [B, 1 + K, D], the encoded kept patches, ordered by noise
    pred                                [B, L, P*P*C]
    loss.raw, loss.norm_pix             scalars
    grad.raw.NAME, grad.norm_pix.NAME   gradients of these losses with respect to every trained parameter
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

import peers
import reference_mae as reference
from inputs import BATCH, Shape, make_image, make_noise, make_weights, prefixed, sincos_positions

HERE = Path(__file__).parent
Tensors = dict[str, torch.Tensor]

# Relative to a tensor's largest value. Another CPU may add in another order.
TOLERANCE = 1e-5
# AdamW enlarges such differences.
STEPS_TOLERANCE = 4e-5

# Square, wide and tall grids, a single row, and one row long enough to show errors in rounding the angles.
POSITION_TABLES = [(4, 4, 16), (3, 5, 24), (5, 3, 24), (1, 7, 8), (2, 64, 8)]


def run_reference(shape: Shape, w: Tensors, image: torch.Tensor, noise: torch.Tensor) -> Tensors:
    """Returns the reference's outputs, losses and gradients for one batch."""
    w = {name: tensor.clone().requires_grad_(not name.endswith("pos_embed")) for name, tensor in w.items()}
    trained = {name: tensor for name, tensor in w.items() if tensor.requires_grad}
    out = reference.forward(w, shape, image, noise)
    for kind, norm_pix in peers.LOSSES.items():
        loss = reference.loss(out["pred"], reference.patchify(image, shape.patch), out["mask"], norm_pix)
        gradients = torch.autograd.grad(loss, list(trained.values()), retain_graph=True)
        out |= {f"loss.{kind}": loss, **prefixed(f"grad.{kind}.", dict(zip(trained, gradients)))}
    return out


def reference_case() -> tuple[Shape, Tensors]:
    """Our plain reference on an image that the others refuse: not square, with four channels.

    More keys: patches [B, L, P*P*C] of the image; features [B, 1 + L, D], encoded without a mask;
    pos.HxWxD [1 + H*W, D], position tables.
    """
    shape = Shape((24, 40), 4, 8, 24, 2, 3, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
    w, image = make_weights(shape, seed=31), make_image(shape, seed=32)
    noise = make_noise(BATCH, shape.num_patches, seed=33)
    tables = {f"pos.{h}x{w}x{dim}": sincos_positions((h, w), dim) for h, w, dim in POSITION_TABLES}
    return shape, {
        **prefixed("w.", w),
        "image": image,
        "noise": noise,
        **run_reference(shape, w, image, noise),
        "patches": reference.patchify(image, shape.patch),
        "features": reference.encode(w, shape, image),
        **tables,
    }


def differences(fresh: Tensors, stored: Tensors) -> list[str]:
    """Returns a line for each tensor that is missing, has another shape or dtype, or exceeds the tolerance."""
    lines = [f"{name}: in one of the two only" for name in sorted(fresh.keys() ^ stored.keys())]
    for name in sorted(fresh.keys() & stored.keys()):
        a, b = comparable(name, fresh[name]), comparable(name, stored[name])
        if a.shape != b.shape or a.dtype != b.dtype:
            lines.append(f"{name}: {a.dtype} {list(a.shape)}, stored {b.dtype} {list(b.shape)}")
            continue
        off, largest = (a.double() - b.double()).abs().max().item(), b.abs().max().item()
        tolerance = STEPS_TOLERANCE if name.startswith("steps.w.") else TOLERANCE
        if not off <= (tolerance * largest if b.is_floating_point() else 0):
            lines.append(f"{name}: off by {off:.2e}, {off / max(largest, 1e-30):.2e} of its largest value")
    return lines


def comparable(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Removes key biases that AdamW has trained: their gradient is rounding error, which AdamW enlarges."""
    if name.startswith("steps.w.") and name.endswith("qkv.bias"):
        query, _, value = tensor.chunk(3)
        return torch.cat([query, value])
    return tensor


def make_cases() -> dict[str, tuple[Shape, Tensors]]:
    """Returns all cases by file name. Fails if the reference disagrees with transformers."""
    cases = {
        "transformers": peers.transformers_case(),
        "timm": peers.timm_case(),
        "attention": peers.attention_case(),
        "lightly": peers.lightly_case(),
        "reference": reference_case(),
    }
    cases = {name: (shape, detached(tensors)) for name, (shape, tensors) in cases.items()}
    shape, hf = cases["transformers"]
    w = {name.removeprefix("w."): tensor for name, tensor in hf.items() if name.startswith("w.")}
    ours = run_reference(shape, w, hf["image"], hf["noise"])
    if lines := differences(ours, {name: hf[name] for name in ours}):
        sys.exit("the reference disagrees with transformers:\n" + "\n".join(lines))
    return cases


def detached(tensors: Tensors) -> Tensors:
    """Detaches the tensors and makes them contiguous, as files store them."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def main() -> None:
    """Writes the files or compares them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    failed = False
    for name, (shape, tensors) in make_cases().items():
        path = HERE / f"{name}.safetensors"
        if not check:
            save_file(tensors, path, metadata={"config": json.dumps(asdict(shape))})
            print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")
            continue
        with safe_open(path, "pt") as file:
            lines = differences(tensors, {key: file.get_tensor(key) for key in file.keys()})
        print(f"{path.name}: {len(tensors)} tensors, {len(lines)} differ", *lines, sep="\n  ")
        failed |= bool(lines)
    sys.exit(failed)


if __name__ == "__main__":
    main()
