"""Trains the segmenter of one of our runs in PyTorch, on the same images, from the same pre-trained encoder.

usage: python segment_pytorch.py RUN ENCODER [--seed N] [--threads N]
(Python 3.11, pip install -r requirements-bench.txt)

RUN is the folder of a run of `mae segment`; its recipe.toml names images, label maps and settings. ENCODER is the file that
`mae convert PRETRAINED ENCODER --to timm` writes. The encoder is timm's, pyramid and heads are those of transformers'
`BeitForSemanticSegmentation`, and the transforms are torchvision's. Schedule, layer-wise decay and losses follow the recipe.
The random numbers differ from ours.

Prints a line of JSON: the mIoU on the held-out images, and the seconds and the number of images of all updates.
"""

import argparse
import json
import math
import random
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from bench_peers import Uper

IGNORE = 255
POOL_SCALES = (1, 2, 3, 6)
AUXILIARY_CHANNELS = 256
TRIES = 10


class Segmenter(Uper):
    """UPerNet on a vision transformer, with dropout before the scores and mmsegmentation's initial weights."""

    def __init__(self, recipe: dict, classes: int) -> None:
        settings, encoder = recipe["segment"], recipe["model"]["encoder"]
        geometry = encoder["geometry"] | {"image_size": settings["crop_size"]}
        head = {"channels": settings["channels"], "blocks": settings["levels"], "pool_scales": POOL_SCALES}
        head["auxiliary"] = {"channels": AUXILIARY_CHANNELS}
        config = {"vit": encoder | {"geometry": geometry}, "head": {"uper_net": head}, "classes": range(classes)}
        super().__init__(config, settings["drop_path"])
        dropout = nn.Dropout2d(settings["dropout"])
        for head in (self.decode_head, self.auxiliary_head):
            head.classifier.register_forward_pre_hook(lambda _, inputs: (dropout(inputs[0]),))
            for module in head.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.normal_(head.classifier.weight, std=0.01)
            nn.init.zeros_(head.classifier.bias)
        self.dropout = dropout  # registered as a submodule, so that train() and eval() reach it


class Images(Dataset):
    """Images with 8-bit label maps; in training, random crops at a random scale with random colours."""

    def __init__(self, images: str, maps: str, recipe: dict, train: bool) -> None:
        settings, normalize = recipe["segment"], recipe["data"]["normalize"]
        self.crop, self.train = tuple(settings["crop_size"]), train
        self.short, self.scale, self.most = settings["short_side"], settings["scale"], settings["max_share"]
        self.flip, self.distort = recipe["data"]["flip"], settings["distortion"]
        mean, std = (torch.tensor(normalize[name])[:, None, None] for name in ("mean", "std"))
        self.mean, self.std = mean, std
        self.colours = v2.RandomPhotometricDistort(
            brightness=(0.875, 1.125), contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=(-0.1, 0.1), p=0.5
        )
        maps = Path(maps)
        self.paths = [(path, maps / f"{path.stem}.png") for path in sorted(Path(images).iterdir())]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, labels = self.paths[index]
        image, labels = Image.open(image).convert("RGB"), torch.from_numpy(np.array(Image.open(labels)))[None]
        ratio = random.uniform(*self.scale) if self.train else 1.0
        factor = int(self.short * ratio) / min(image.size)
        size = [max(1, int(side * factor + 0.5)) for side in (image.height, image.width)]
        image = tv.resize(image, size)  # bilinear with antialiasing, by Pillow
        if self.train:
            labels = F.interpolate(labels[None].float(), size=size, mode="nearest-exact")[0].to(torch.uint8)
            image, labels = self.cut(image, labels)
        image = (tv.to_dtype(tv.to_image(image), torch.float32, scale=True) - self.mean) / self.std
        if self.train:
            below, right = (side - have for side, have in zip(self.crop, image.shape[1:]))
            image = F.pad(image, (0, right, 0, below))
            labels = F.pad(labels, (0, right, 0, below), value=IGNORE)
        return image, labels[0].long()

    def cut(self, image: Image.Image, labels: torch.Tensor) -> tuple[Image.Image, torch.Tensor]:
        """Returns a random crop. Draws again while one class has too large a share, up to TRIES times."""
        height, width = (min(crop, side) for crop, side in zip(self.crop, labels.shape[1:]))
        for _ in range(TRIES + 1):
            top = random.randint(0, labels.shape[1] - height)
            left = random.randint(0, labels.shape[2] - width)
            part = labels[:, top : top + height, left : left + width]
            counts = torch.bincount(part[part != IGNORE])
            counts = counts[counts > 0]
            if len(counts) > 1 and counts.max() < self.most * counts.sum():
                break
        image = tv.crop(image, top, left, height, width)
        if self.distort:
            image = self.colours(image)
        if self.flip and random.random() < 0.5:
            image, part = tv.hflip(image), part.flip(2)
        return image, part


def groups(model: Segmenter, optim: dict, layer_decay: float) -> list[dict]:
    """Groups parameters by layer: earlier layers learn more slowly. Vectors, class token and positions have no weight decay."""
    top, out = len(model.encoder.blocks) + 1, []
    for name, value in model.named_parameters():
        if name.startswith(("encoder.cls_token", "encoder.pos_embed", "encoder.patch_embed")):
            layer = 0
        elif name.startswith("encoder.blocks."):
            layer = int(name.split(".")[2]) + 1
        else:
            layer = top
        exempt = value.ndim <= 1 or name in ("encoder.cls_token", "encoder.pos_embed")
        decay = 0.0 if exempt else optim["weight_decay"]
        out.append({"params": [value], "scale": layer_decay ** (top - layer), "weight_decay": decay})
    return out


def rate(step: int, total: int, warmup: int, peak: float, least: float) -> float:
    """Returns the learning rate of an update, counted from 0."""
    if step < warmup:
        return peak * step / warmup
    return least + (peak - least) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def cross_entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the cross entropy of scores, resized to the labels' resolution."""
    scores = F.interpolate(scores, size=labels.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(scores, labels, ignore_index=IGNORE)


def fit(model: Segmenter, data: Images, recipe: dict) -> tuple[float, int]:
    """Trains. Returns the seconds and the number of images of all updates."""
    optim, settings, batch = recipe["optim"], recipe["segment"], recipe["batch_size"]
    loader = DataLoader(data, batch, shuffle=True, drop_last=True, num_workers=1, persistent_workers=True)
    optimizer = torch.optim.AdamW(
        groups(model, optim, settings["layer_decay"]), lr=0.0, betas=tuple(optim["betas"]), eps=optim["eps"]
    )
    total, warmup = recipe["epochs"] * len(loader), round(optim["warmup_epochs"] * len(loader))
    peak, step, seconds = optim["base_lr"] * batch / 256, 0, time.perf_counter()
    model.train()
    for _ in range(recipe["epochs"]):
        for images, labels in loader:
            for group in optimizer.param_groups:
                group["lr"] = group["scale"] * rate(step, total, warmup, peak, optim["min_lr"])
            scores, auxiliary = model(images)
            loss = cross_entropy(scores, labels) + settings["auxiliary"] * cross_entropy(auxiliary, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return time.perf_counter() - seconds, total * batch


def windows(model: Segmenter, image: torch.Tensor, window: tuple[int, int], stride: float) -> torch.Tensor:
    """Returns the scores [K, H, W] of an image [C, H, W], averaged over windows."""
    height, width = image.shape[1:]
    image = F.pad(image, (0, max(0, window[1] - width), 0, max(0, window[0] - height)))

    def places(side: int, window: int) -> list[int]:
        step, last = max(1, round(window * stride)), side - window
        return [min(i * step, last) for i in range(math.ceil(last / step) + 1)]

    total = count = 0
    for top in places(image.shape[1], window[0]):
        for left in places(image.shape[2], window[1]):
            part = image[None, :, top : top + window[0], left : left + window[1]]
            scores = F.interpolate(model(part)[0], size=window, mode="bilinear", align_corners=False)[0]
            around = (left, image.shape[2] - left - window[1], top, image.shape[1] - top - window[0])
            total, count = total + F.pad(scores, around), count + F.pad(torch.ones(1, *window), around)
    return (total / count)[:, :height, :width]


@torch.no_grad()
def miou(model: Segmenter, data: Images, classes: int, stride: float) -> float:
    """Returns the mean IoU over the pixels of all held-out images together."""
    model.eval()
    confusion = torch.zeros(classes, classes, dtype=torch.long)
    for image, labels in data:
        scores = windows(model, image, data.crop, stride)[None]
        probabilities = F.interpolate(scores, size=labels.shape, mode="bilinear", align_corners=False)
        predicted, counted = probabilities[0].argmax(0), labels != IGNORE
        pairs = labels[counted] * classes + predicted[counted]
        confusion += torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    both, either = confusion.diag(), confusion.sum(0) + confusion.sum(1) - confusion.diag()
    return (both / either)[either > 0].mean().item()


def main() -> None:
    """Parses the command line, trains and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: one per core)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    recipe = tomllib.loads((args.run / "recipe.toml").read_text())
    assert recipe["segment"]["head"] == "upernet" and recipe["accum_iter"] == 1, "only UPerNet, without accumulation"
    assert recipe["optim"].get("schedule", "cosine") == "cosine" and recipe["segment"]["dice"] == 0
    classes = tomllib.loads(Path(recipe["maps"]["classes"]).read_text())["class"]
    assert [known["value"] for known in classes] == list(range(len(classes))), "labels are the classes' numbers"
    classes = len(classes)
    train = Images(recipe["data"]["path"], recipe["maps"]["path"], recipe, train=True)
    val = Images(recipe["data"]["val"], recipe["maps"]["val"], recipe, train=False)
    model = Segmenter(recipe, classes)
    missing, unknown = model.encoder.load_state_dict(load_file(args.encoder), strict=False)
    assert not missing, missing
    assert all(name.startswith(("head", "fc_norm")) for name in unknown), unknown
    seconds, images = fit(model, train, recipe)
    score = miou(model, val, classes, recipe["predict"]["stride"])
    print(json.dumps({"mean_iou": score, "seconds": seconds, "images": images}))


if __name__ == "__main__":
    main()
