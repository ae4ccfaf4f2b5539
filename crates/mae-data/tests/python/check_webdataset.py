"""Reads packed shards with WebDataset's own package, and makes the shard that our reader is tested with.

usage: python check_webdataset.py [--write]    (Python 3.11, pip install -r requirements.txt)

Packs the photographs of golden/transforms with `cargo run --example pack`, as JPEG and as PPM, reads the shards
with webdataset and Pillow and compares them with the index. Then compares golden/shards/webdataset.tar, which
tests/shards.rs reads, with what webdataset writes; --write writes it.
"""

import argparse
import io
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import webdataset as wds
from PIL import Image

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
FIXTURE = GOLDEN / "shards" / "webdataset.tar"
PHOTOS = ["astronaut", "chelsea", "coffee"]
SHORT_SIDE = 24


def check_packed(store: str, folder: Path) -> None:
    """Packs photographs in two classes and reads them with webdataset."""
    photos, out = folder / "photos", folder / store
    for number, name in enumerate(PHOTOS):
        (photos / f"class-{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(GOLDEN / "transforms" / f"{name}.png", photos / f"class-{number % 2}")
    command = ["cargo", "run", "--quiet", "--package", "mae-data", "--example", "pack", "--", photos, out]
    options = ["--store", store, "--short-side", str(SHORT_SIDE), "--images-per-shard", "2"]
    subprocess.run([*map(str, command), *options], check=True)

    index = [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]
    header, samples = index[0], {f"{line['index']:08}": line for line in index[1:]}
    shards = [str(out / shard["file"]) for shard in header["shards"]]
    assert len(shards) == 2 and len(samples) == len(PHOTOS)
    seen = []
    # empty_check is for workers that have no shard of their own.
    for sample in wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode("rgb8"):
        line = samples[sample["__key__"]]
        pixels = sample["jpg" if store == "jpeg" else "ppm"]
        assert pixels.dtype == np.uint8 and min(pixels.shape[:2]) == SHORT_SIDE, pixels.shape
        assert sample["cls"] == line["label"]
        original = Image.open(photos / line["path"]).convert("RGB")
        expected = original.resize(pixels.shape[1::-1], Image.Resampling.BICUBIC)
        off = np.abs(np.asarray(expected, dtype=int) - pixels).mean()
        assert off < (6 if store == "jpeg" else 0.5), off
        seen.append(sample["__key__"])
    assert sorted(seen) == sorted(samples), seen
    print(f"{store}: webdataset reads {len(seen)} images from {len(shards)} shards")


def fixture() -> bytes:
    """Three samples as webdataset writes them: an encoded image, raw bytes of a PPM, and one without a class."""
    ramp = np.stack([np.add.outer(np.arange(6), np.arange(9)) * step for step in (5, 11, 17)], axis=-1).astype(np.uint8)
    image = io.BytesIO()
    Image.fromarray(ramp).save(image, format="png")
    raw = io.BytesIO()
    Image.fromarray(ramp[::-1]).save(raw, format="ppm")
    tar = io.BytesIO()
    with wds.TarWriter(tar, mtime=0, user="nobody", group="nobody") as writer:
        writer.write({"__key__": "train/0001", "png": image.getvalue(), "cls": 1, "json": {"a": [1, 2]}})
        writer.write({"__key__": "train/0002", "ppm": raw.getvalue(), "cls": 0})
        writer.write({"__key__": "0003", "png": image.getvalue()})
    return tar.getvalue()


def main() -> None:
    """Parses the command line and does both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the fixture")
    if parser.parse_args().write:
        FIXTURE.parent.mkdir(exist_ok=True)
        FIXTURE.write_bytes(fixture())
    assert FIXTURE.read_bytes() == fixture(), f"{FIXTURE} is not what webdataset writes"
    print(f"{FIXTURE.name}: {FIXTURE.stat().st_size} bytes, as webdataset writes them")
    with tempfile.TemporaryDirectory() as folder:
        for store in ("jpeg", "ppm"):
            check_packed(store, Path(folder))


if __name__ == "__main__":
    main()
