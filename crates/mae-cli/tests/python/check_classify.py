"""Compares `mae probe` and `mae finetune` with PyTorch: trains a probe on the same features, and loads a fine-tuned model.

usage: python check_classify.py MAE RUN DIGITS
       MAE is the program, RUN a run of the recipe `digits`, DIGITS the folder with train and test
(Python 3.11, pip install -r ../../../mae-model/tests/golden/requirements.txt)

The probe sees all images in every update, so that their order does not matter. timm loads the weights of `mae finetune` with
strict=True. It must reach the accuracy that `mae` prints, and the probabilities of `mae predict`.
"""

import json
import math
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from timm.optim import Lars
from torch import nn

EPOCHS, WARMUP, BASE_LR = 1000, 100, 10.0
# The recipe's encoder, and its normalisation of images.
SHAPE = dict(img_size=8, patch_size=2, embed_dim=96, depth=4, num_heads=4)
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def run(mae: str, *args: object) -> str:
    return subprocess.run([mae, *map(str, args)], check=True, capture_output=True, text=True).stdout


def labels(names: list[str]) -> torch.Tensor:
    return torch.tensor([int(Path(name).parent.name) for name in names])


def features(mae: str, weights: str, images: Path, folder: str) -> tuple[torch.Tensor, torch.Tensor]:
    out = Path(folder, f"{images.name}.npy")
    run(mae, "embed", weights, images, out, "--tokens", "mean", "--quiet")
    return torch.tensor(np.load(out)), labels(Path(f"{out}.txt").read_text().splitlines())


def probabilities(mae: str, weights: Path, images: Path, paths: list[str]) -> torch.Tensor:
    """Returns the probabilities of all classes by `mae predict`, in the order of their names."""
    lines = run(mae, "predict", weights, images, "--json", "--top-k", 10, "--quiet").splitlines()
    found = {}
    for line in map(json.loads, lines):
        ends = [""] + [f"_{place}" for place in range(2, 11)]
        of = {line[f"class{end}"]: line[f"probability{end}"] for end in ends}
        found[line["path"]] = [of[str(digit)] for digit in range(10)]
    return torch.tensor([found[path] for path in paths])


def probe(train: tuple, test: tuple) -> float:
    """Returns the accuracy of a batch norm and a linear layer, trained by LARS like the official main_linprobe.py."""
    torch.manual_seed(0)
    (x, y), (x_test, y_test) = train, test
    model = nn.Sequential(nn.BatchNorm1d(x.shape[1], affine=False, eps=1e-6), nn.Linear(x.shape[1], 10))
    nn.init.trunc_normal_(model[1].weight, std=0.01)
    nn.init.zeros_(model[1].bias)
    groups = [dict(params=[model[1].weight], always_adapt=True), dict(params=[model[1].bias], always_adapt=False)]
    optimizer = Lars(groups, lr=1.0, momentum=0.9, weight_decay=0.0, trust_coeff=0.001, eps=0.0)
    peak = BASE_LR * len(x) / 256
    for step in range(EPOCHS):
        turned = math.pi * (step - WARMUP) / (EPOCHS - WARMUP)
        lr = peak * step / WARMUP if step < WARMUP else peak * 0.5 * (1 + math.cos(turned))
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    return (model(x_test).argmax(1) == y_test).float().mean().item()


@torch.no_grad()
def by_timm(mae: str, weights: Path, images: Path) -> float:
    """Returns the accuracy of timm's model with our weights. Also compares its features with those of `mae embed`."""
    norm = partial(nn.LayerNorm, eps=1e-6)
    model = VisionTransformer(**SHAPE, num_classes=10, global_pool="avg", norm_layer=norm).eval()
    model.load_state_dict(load_file(weights), strict=True)
    paths = sorted(str(path) for path in images.rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB"), np.float32) / 255 for path in paths])
    pixels = torch.tensor((pixels - MEAN) / STD).permute(0, 3, 1, 2)
    with tempfile.TemporaryDirectory() as folder:
        ours, _ = features(mae, weights, images, folder)
    theirs = model.forward_head(model.forward_features(pixels), pre_logits=True)
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    print(f"features of the fine-tuned encoder: within {error:.1e} of timm's")
    assert error < 1e-4, error
    scores = model(pixels)
    ours = probabilities(mae, weights, images, paths)
    error = (ours - scores.softmax(1)).abs().max().item()
    print(f"probabilities of {len(paths)} images: within {error:.1e} of timm's")
    assert error < 1e-5, error
    return (scores.argmax(1) == labels(paths)).float().mean().item()


def main() -> None:
    mae, weights, digits = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    train, test = digits / "train", digits / "test"
    with tempfile.TemporaryDirectory() as folder:
        sets = [features(mae, weights, images, folder) for images in (train, test)]
        theirs = probe(*sets)
        recipe = ["--recipe", "probe-digits", "--epochs", EPOCHS, "--warmup-epochs", WARMUP, "--base-lr", BASE_LR]
        whole = ["--batch-size", len(sets[0][1]), "--json", "--out", Path(folder, "probe")]
        ours = json.loads(run(mae, "probe", weights, train, test, *recipe, *whole))["top1"]
        print(f"linear probe: ours {100 * ours:.2f}%, PyTorch's {100 * theirs:.2f}%")
        assert abs(ours - theirs) <= 0.01, (ours, theirs)

        tuned = Path(folder, "finetune")
        short = ["--recipe", "finetune-digits", "--epochs", 6, "--warmup-epochs", 1, "--mixup", 0, "--cutmix", 0]
        ours = json.loads(run(mae, "finetune", weights, train, test, *short, "--json", "--out", tuned))["top1"]
        theirs = by_timm(mae, tuned / "model.safetensors", test)
        print(f"fine-tuned: ours {100 * ours:.2f}%, the same weights in timm {100 * theirs:.2f}%")
        assert abs(ours - theirs) < 1e-6 and theirs > 0.3, (ours, theirs)


if __name__ == "__main__":
    main()
