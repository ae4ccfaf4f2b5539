"""Compares `mae embed` with timm's features of the same photographs, through timm's evaluation transform on Pillow.

usage: python check_embed.py MAE PHOTOS
(Python 3.11, pip install -r ../../../mae-model/tests/golden/requirements.txt)
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from timm.models.vision_transformer import VisionTransformer

# Relative: for a vector, the largest difference over the largest magnitude; for all tokens, the norm of the difference over the norm.
TOLERANCE = {"class": 1e-3, "mean": 1e-3, "all": 1e-3}


def check_parquet(path: Path, names: list[str], features: np.ndarray) -> None:
    """Checks that pyarrow reads the same names and, to the bit, the same features."""
    table = parquet.read_table(path)
    assert table["path"].to_pylist() == names
    # The class is the folder at the first level, or null if there are no such folders.
    classes = {Path(name).parent.name for name in names}
    labels = set(table["label"].to_pylist())
    assert labels == (classes if len(classes) > 1 else {None}), labels
    shape = json.loads(table.schema.metadata[b"shape"])
    assert shape == list(features.shape[1:]), shape
    rows = table["feature"].combine_chunks().flatten().to_numpy().reshape(-1, *shape)
    assert np.array_equal(rows, features)


@torch.no_grad()
def main() -> None:
    mae, photos = sys.argv[1], Path(sys.argv[2])
    torch.manual_seed(0)
    # Images for timm's MAE weights are normalised by ImageNet's mean and deviation, those for its tiny models by 0.5. Both are tested.
    halves = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]
    for name, size, crop_pct, options in [
        ("vit_tiny_patch16_224", None, None, halves),
        ("vit_base_patch16_224.mae", None, None, []),
        ("vit_tiny_patch16_224", (96, 160), 1.0, [*halves, "--image-size", "96x160"]),
        ("vit_tiny_patch16_224", (160, 96), 0.8, [*halves, "--image-size", "160x96"]),
    ]:
        model = timm.create_model(name, pretrained=False, num_classes=0, **({"img_size": size} if size else {})).eval()
        config = resolve_data_config({"input_size": (3, *size), "crop_pct": crop_pct} if size else {}, model=model)
        transform = create_transform(**config)
        resize = int(min(config["input_size"][1:]) / config["crop_pct"])
        with tempfile.TemporaryDirectory() as folder:
            weights, out = Path(folder, "weights.safetensors"), Path(folder, "features.npy")
            save_file(model.state_dict(), weights)
            command = [mae, "embed", weights, photos, out, "--tokens", "all", "--resize", str(resize), *options]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            ours = np.load(out)
            names = Path(f"{out}.txt").read_text().splitlines()
            table = Path(folder, "features.parquet")
            command[4] = table
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            check_parquet(table, names, ours)
        assert len(names) == len(ours) >= 10, (len(names), ours.shape)
        worst = dict.fromkeys(TOLERANCE, 0.0)
        for path, tokens in zip(names, ours):
            image = transform(Image.open(path).convert("RGB"))[None]
            theirs = model.forward_features(image)[0].numpy()
            pairs = {"class": (tokens[0], theirs[0]), "mean": (tokens[1:].mean(0), theirs[1:].mean(0))}
            found = {what: np.abs(a - b).max() / np.abs(b).max() for what, (a, b) in pairs.items()}
            found["all"] = np.linalg.norm(tokens - theirs) / np.linalg.norm(theirs)
            worst = {what: max(worst[what], float(found[what])) for what in worst}
        print(f"{name} {size or ''}: {len(ours)} images, within", ", ".join(f"{x:.1e} ({what})" for what, x in worst.items()))
        assert all(worst[what] < TOLERANCE[what] for what in worst), worst
    check_memory(mae)


# Measured from a separate process, because a child starts with the memory of its parent, and torch's is large.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def peak_mb(command: list) -> float:
    """Returns the peak memory of a command in MiB."""
    return float(subprocess.check_output([sys.executable, "-c", PEAK, *map(str, command)]))


def check_memory(mae: str) -> None:
    """Checks that ten times as many images take no more memory."""
    few, many = 150, 1500
    torch.manual_seed(0)
    vit = dict(img_size=64, patch_size=8, embed_dim=192, depth=1, num_heads=3, num_classes=0)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        save_file(VisionTransformer(**vit).state_dict(), weights)
        Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(Path(folder, "image.png"))
        for suffix in ["npy", "parquet"]:
            peaks = []
            for count in [few, many]:
                images, out = Path(folder, f"{suffix}-{count}"), Path(folder, f"{count}.{suffix}")
                images.mkdir()
                for i in range(count):
                    os.link(Path(folder, "image.png"), images / f"{i:05}.png")
                peaks.append(peak_mb([mae, "embed", weights, images, out, "--tokens", "all"]))
                megabytes = out.stat().st_size / 1e6
            print(f".{suffix}: {peaks[0]:.0f} MB for {few} images, {peaks[1]:.0f} MB for {many} and {megabytes:.0f} MB of rows")
            # 30 MB is the variation of the allocator's peak between runs, and far less than the rows.
            assert peaks[1] < peaks[0] + 30 < peaks[0] + megabytes / 2, peaks


if __name__ == "__main__":
    main()
