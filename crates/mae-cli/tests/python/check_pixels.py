"""Checks 16-bit and float images with one to thirteen channels: features beside timm's, and runs from the files to the pictures.

usage: python check_pixels.py MAE
(Python 3.11, pip install -r ../../../mae-model/tests/golden/requirements.txt -r ../../../mae-image/tests/python/requirements.txt)
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import rasterio
import tifffile
import timm
import torch
from PIL import Image
from rasterio.transform import from_origin
from safetensors.torch import save_file

SIZE = 64
# Relative: the largest difference of a vector over its largest magnitude.
TOLERANCE = 1e-4


def scene(rng, height: int, width: int, channels: int, dtype) -> np.ndarray:
    """Draws waves and a gradient, at a different level in each channel, `[H, W, C]`."""
    y, x = np.mgrid[:height, :width][..., None] / SIZE
    speed, phase = rng.uniform(1, 9, (2, channels)), rng.uniform(0, 6, channels)
    waves = np.sin(speed[0] * x + phase) * np.cos(speed[1] * y) + x - y
    if dtype == np.float32:
        return (waves * 10.0 ** rng.integers(-3, 4, channels)).astype(np.float32)
    return np.clip(waves * 3000 + 9000 + 4000 * rng.uniform(size=channels), 0, 65535).astype(np.uint16)


def covered(image: np.ndarray) -> np.ndarray:
    """Resizes to cover the model's size and crops the centre, by Pillow on floats: timm's evaluation with a crop of 1."""
    height, width = image.shape[:2]
    scale = SIZE / min(height, width)
    size = (SIZE, int(width * scale)) if height < width else (int(height * scale), SIZE)
    bands = [
        np.asarray(Image.fromarray(band.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC))
        for band in np.moveaxis(image, -1, 0)
    ]
    top, left = round((size[0] - SIZE) / 2), round((size[1] - SIZE) / 2)
    resized = np.stack(bands, -1)[top : top + SIZE, left : left + SIZE]
    return np.clip(np.round(resized), 0, 65535) if image.dtype == np.uint16 else resized


def write(path: Path, image: np.ndarray) -> Path:
    """Writes an image in the format of the extension."""
    if path.suffix == ".npy":
        np.save(path, image)
    elif path.suffix == ".png":
        Image.fromarray(image[..., 0]).save(path)
    else:
        tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig", predictor=True, compression="zlib")
    return path


@torch.no_grad()
def check_features(mae: str, folder: Path, suffix: str, channels: int, dtype) -> None:
    rng = np.random.default_rng(channels)
    vit = dict(img_size=SIZE, patch_size=8, embed_dim=192, depth=2, num_heads=3, num_classes=0, in_chans=channels)
    torch.manual_seed(0)
    model = timm.models.vision_transformer.VisionTransformer(**vit).eval()
    save_file(model.state_dict(), folder / "weights.safetensors")
    images = folder / "images"
    images.mkdir()
    sizes = [(SIZE, SIZE), (97, 130), (51, 40), (200, 64)]
    scenes = [scene(rng, *size, channels, dtype) for size in sizes]
    if dtype == np.float32:
        # This scene has the model's size, because resizing would spread missing values.
        scenes[0][3:9, 40:, 0] = np.nan
        scenes[0][17, 21, -1] = np.inf
    paths = [write(images / f"{i}{suffix}", image) for i, image in enumerate(scenes)]
    numbers = np.concatenate([image.reshape(-1, channels) for image in scenes]).astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    mean, std = np.nanmean(numbers, 0).astype(np.float32), np.nanstd(numbers, 0).astype(np.float32)
    out = folder / "features.npy"
    listed = lambda values: ",".join(repr(float(value)) for value in values)
    pixels = f"{'f32' if dtype == np.float32 else 'u16'}x{channels}"
    command = [mae, "embed", folder / "weights.safetensors", images, out, "--pixels", pixels]
    command += [f"--mean={listed(mean)}", f"--std={listed(std)}"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    worst = 0.0
    for path, image, ours in zip(paths, scenes, np.load(out), strict=True):
        normalised = (covered(image).astype(np.float32) - mean) / std
        normalised = np.where(np.isfinite(normalised), normalised, 0)
        theirs = model.forward_features(torch.tensor(np.moveaxis(normalised, -1, 0))[None])[0, 1:].mean(0).numpy()
        worst = max(worst, np.abs(ours - theirs).max() / np.abs(theirs).max())
    print(f"{pixels} in {suffix}: {len(paths)} images, features within {worst:.1e}")
    assert worst < TOLERANCE, worst


def check_run(mae: str, folder: Path) -> None:
    """Checks that mean and deviation of four bands equal numpy's, and that the run's weights say how to decode images."""
    rng = np.random.default_rng(4)
    scenes = [scene(rng, 40, 56, 4, np.uint16) for _ in range(24)]
    data, run = folder / "data", folder / "run"
    for i, image in enumerate(scenes):
        write_to = data / ("water" if i % 2 else "land")
        write_to.mkdir(parents=True, exist_ok=True)
        write(write_to / f"{i}.tif", image)
    quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    options = ["--epochs", "2", "--batch-size", "4", "--show", "4,3,2", "--flip-vertical", "--quarter-turns"]
    subprocess.run([mae, "pretrain", "--data", data, "--out", run, *options], **quiet)
    recipe = tomllib.loads((run / "recipe.toml").read_text())["data"]
    assert recipe["pixels"] == "u16x4" and recipe["normalize"]["dtype"] == "u16", recipe
    numbers = np.concatenate([image.reshape(-1, 4) for image in scenes]).astype(np.float64)
    for name, values in {"mean": numbers.mean(0), "std": numbers.std(0)}.items():
        assert np.allclose(recipe["normalize"][name], values, rtol=1e-6), (name, recipe["normalize"], values)
    pictures = folder / "pictures"
    one = data / "land" / "0.tif"
    subprocess.run([mae, "reconstruct", run, one, pictures / "reconstruct", "--show", "4,3,2"], **quiet)
    subprocess.run([mae, "attention", run, one, pictures / "attention", "--show", "1"], **quiet)
    for verb in ["probe", "finetune"]:
        subprocess.run([mae, verb, run, data, "--val-share", "0.25", "--epochs", "2",
                        "--batch-size", "4", "--out", folder / verb], **quiet)  # fmt: skip
    subprocess.run([mae, "knn", run, data, "--val-share", "0.25"], **quiet)
    subprocess.run([mae, "predict", folder / "finetune", data, folder / "classes.csv"], **quiet)
    drawn = {path.relative_to(folder) for path in folder.rglob("*.png")}
    print(f"a run of u16x4 with its probe, fine-tuning, kNN and {len(drawn)} pictures")
    # An image of another format is refused: the error names it, its format and the required one.
    write(folder / "grey.png", scenes[0][..., :1])
    refused = subprocess.run([mae, "embed", run, folder / "grey.png", folder / "x.npy"], capture_output=True, text=True)
    assert "grey.png" in refused.stderr and "u16x1" in refused.stderr and "u16x4" in refused.stderr, refused.stderr


def check_segment(mae: str, folder: Path, run: Path) -> None:
    """Checks a segmenter of four 16-bit bands: label maps of GeoTIFF scenes have the scenes' georeference."""
    rng = np.random.default_rng(7)
    images, masks, out = folder / "scenes", folder / "labels", folder / "predicted"
    images.mkdir(), masks.mkdir()
    place = dict(crs="EPSG:32633", transform=from_origin(432100.5, 5291000.25, 10.0, 20.0))
    sizes = [(40, 56), (64, 33), (90, 120), (47, 47)] * 3
    for i, size in enumerate(sizes):
        image = scene(rng, *size, 4, np.uint16)
        with rasterio.open(images / f"{i}.tif", "w", driver="GTiff", height=size[0], width=size[1], count=4, dtype="uint16", **place) as file:
            file.write(np.moveaxis(image, -1, 0))
        Image.fromarray((image[..., 0] > np.median(image[..., 0])).astype(np.uint8)).save(masks / f"{i}.png")
    quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([mae, "segment", run, images, masks, "--val-share", "0.25", "--channels", "8", "--short-side", "0", "--epochs", "2",
                    "--batch-size", "3", "--out", folder / "segment"], **quiet)  # fmt: skip
    subprocess.run([mae, "segment", "predict", folder / "segment", images, out, "--show", "4,3,2"], **quiet)
    for i, size in enumerate(sizes):
        with rasterio.open(out / "masks" / f"{i}.tif") as labels:
            assert labels.crs.to_epsg() == 32633 and labels.transform == place["transform"], (i, labels.crs, labels.transform)
            values = labels.read(1)
        assert values.shape == size and set(np.unique(values)) <= {0, 1}, (i, values.shape, np.unique(values))
        assert (out / "overlays" / f"{i}.png").exists(), i
    print(f"a segmenter of u16x4: {len(sizes)} label maps with the georeference of their scenes")


def main() -> None:
    mae = sys.argv[1]
    for suffix, channels, dtype in [(".png", 1, np.uint16), (".npy", 13, np.uint16), (".tif", 5, np.float32), (".npy", 1, np.float32)]:
        with tempfile.TemporaryDirectory() as folder:
            check_features(mae, Path(folder), suffix, channels, dtype)
    with tempfile.TemporaryDirectory() as folder:
        check_run(mae, Path(folder))
        check_segment(mae, Path(folder), Path(folder) / "run")


if __name__ == "__main__":
    main()
