"""Reads our packed shards with the package webdataset, and makes the shard for the tests of our reader.

usage: python check_webdataset.py EXAMPLES [--write]    (Python 3.11, pip install -r requirements.txt)

EXAMPLES is the folder that `cargo build --examples` builds into.

1. Packs the photographs of golden/transforms with the example `pack`, as JPEG and as PPM. Reads the shards with
   webdataset and Pillow, and compares them with the index.
2. Makes random tar files of every dialect with Python's tarfile: long names, names outside ASCII or UTF-8, links,
   folders, classes before their images or far from them, several dots. Compares what the example `list` reads with
   what webdataset reads.
3. Compares golden/shards/webdataset.tar, which tests/shards.rs reads, with the shard that webdataset writes. --write
   writes the file.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from random import Random

import numpy as np
import webdataset as wds
from PIL import Image

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
FIXTURE = GOLDEN / "shards" / "webdataset.tar"
PHOTOS = ["astronaut", "chelsea", "coffee"]
SHORT_SIDE = 24


def check_packed(examples: Path, store: str, folder: Path) -> None:
    """Packs photographs of two classes and reads them with webdataset."""
    photos, out = folder / "photos", folder / store
    for number, name in enumerate(PHOTOS):
        (photos / f"class-{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(GOLDEN / "transforms" / f"{name}.png", photos / f"class-{number % 2}")
    command = [examples / "pack", photos, out]
    options = ["--store", store, "--short-side", str(SHORT_SIDE), "--images-per-shard", "2"]
    subprocess.run([*map(str, command), *options], check=True)

    index = [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]
    header, samples = index[0], {f"{line['index']:08}": line for line in index[1:]}
    shards = [str(out / shard["file"]) for shard in header["shards"]]
    assert len(shards) == 2 and len(samples) == len(PHOTOS)
    seen = []
    # Without empty_check, workers may have no shard.
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
    """Returns a shard of three samples, written by webdataset: an encoded image, raw bytes of a PPM, and one without a class."""
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


def random_tar(random: Random, path: Path) -> None:
    """Writes a tar file of a random dialect with samples in random order."""
    dialect = random.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    encoding = random.choice(["utf-8", "utf-8", "latin-1"])
    folders = ["", "", "./", "train/", "a.b/", "/", "__meta__/", "grün/", "x" * 60 + "/" + "y" * 60 + "/"]
    stems = ["1", "IMG_1", "höhle", "a b", "x" * 90, "back\\slash", "", "__about__"]
    if dialect != tarfile.PAX_FORMAT:
        stems.append("two\nlines")  # an error: the tar crate splits PAX headers at line breaks
    if dialect != tarfile.USTAR_FORMAT:
        folders.append("deep/" * 60)
        stems.append("z" * 200)
    images = random.choice([["jpg"], ["JPG"], ["png"], ["jpeg"], ["jpg", "png"], ["seg.png"], ["jpg", "seg.png"], ["v2.jpg"], ["PPM"]])
    files = []
    for number in range(random.randint(1, 6)):
        key = random.choice(folders) + random.choice(stems) + random.choice(["", str(number)])
        sample = [(f"{key}.{end}", number) for end in [*images, "cls", "json"] if random.random() < 0.85]
        if random.random() < 0.5:
            random.shuffle(sample)
        files.append(sample)
    order = random.choice(["together", "together", "mixed", "classes first"])
    files = [file for sample in files for file in sample]
    if order == "mixed":
        random.shuffle(files)
    elif order == "classes first":
        files.sort(key=lambda file: not file[0].endswith(".cls"))
    with tarfile.open(path, "w", format=dialect, encoding=encoding) as tar:
        for name, number in files:
            info = tarfile.TarInfo(name)
            if random.random() < 0.05:
                info.type = random.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
                info.linkname = files[0][0][-90:] if info.type == tarfile.LNKTYPE else "elsewhere.jpg"
                tar.addfile(info)
                continue
            if random.random() < 0.1 and len(name) < 99:
                info.type = random.choice([tarfile.AREGTYPE, tarfile.CONTTYPE])
            data = io.BytesIO()
            if name.endswith((".cls", ".json")):
                data.write(random.choice([b"%d", b" %d\n", b"0%d"]) % number)
            else:
                Image.new("RGB", (1, 1), (40 * number, 9, 9)).save(data, "PNG")
            info.size = data.tell()
            data.seek(0)
            tar.addfile(info, data)


ENDS = {"jpg", "jpeg", "png", "ppm"}


def as_webdataset_reads(path: Path) -> list | str:
    """Returns name, first byte and class of each sample's first image. A class apart from its image is joined by the key."""
    try:
        samples = list(wds.WebDataset([str(path)], shardshuffle=False, empty_check=False))
    except ValueError as error:
        return str(error)
    found, apart = [], {}
    for sample in samples:
        image = next((end for end in sample if end in ENDS), None)
        label = int(sample["cls"]) if "cls" in sample else None
        if image:
            first = np.asarray(Image.open(io.BytesIO(sample[image])))[0, 0, 0]
            found.append([sample["__key__"], image, int(first), label])
        elif label is not None:
            apart.setdefault(sample["__key__"], []).append(label)
    for key, labels in apart.items():
        alone = [sample for sample in found if sample[0] == key and sample[3] is None]
        if len(alone) > 1:
            return f"{key} is the class of several images"
        for sample in alone:
            sample[3] = labels[0]
    return found


def as_text(name: str) -> str:
    """Writes a name in a tar file as mae-data does: on one line, whatever its bytes."""
    text = ""
    for character in os.fsencode(name).decode("utf-8", "surrogateescape"):
        code = ord(character)
        escape = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, character)
        text += f"\\x{code & 0xFF:02X}" if 0xDC80 <= code <= 0xDCFF else escape
    return text


def check_dialects(examples: Path, files: int) -> None:
    """Compares what `list` reads from random tar files with webdataset."""
    random, images, refused, passed_over = Random(0), 0, 0, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.tar"
        for _ in range(files):
            random_tar(random, path)
            theirs = as_webdataset_reads(path)
            out = subprocess.run([examples / "list", folder], capture_output=True, check=True, text=True).stdout
            *listed, last = map(json.loads, out.splitlines())
            if isinstance(theirs, str) or not theirs:
                assert "error" in last, (theirs, out)
                refused += 1
                continue
            assert "error" not in last, (theirs, out)
            for line, (key, end, first, label) in zip(listed, theirs, strict=True):
                name = line["name"].removeprefix(f"{path}/")
                stem, dot, extension = name.rpartition(".")
                assert (stem, dot, extension.lower()) == (as_text(key), ".", end), (line, key)
                assert (line["first"], line["label"]) == (first, label), (line, key, label)
                images += 1
            for what, count in last["passed_over"]["files"].items():
                passed_over[what] = passed_over.get(what, 0) + count
    print(f"{files} tar files: {images} images with webdataset's names, pixels and classes, {refused} refused")
    print(f"passed over and counted: {passed_over}")
    assert images > files and re.search("several dots", str(passed_over)), "too few were compared"


def main() -> None:
    """Parses the command line and runs all checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--write", action="store_true", help="write the fixture")
    args = parser.parse_args()
    if args.write:
        FIXTURE.parent.mkdir(exist_ok=True)
        FIXTURE.write_bytes(fixture())
    assert FIXTURE.read_bytes() == fixture(), f"{FIXTURE} is not what webdataset writes"
    print(f"{FIXTURE.name}: {FIXTURE.stat().st_size} bytes, as webdataset writes them")
    with tempfile.TemporaryDirectory() as folder:
        for store in ("jpeg", "ppm"):
            check_packed(args.examples, store, Path(folder))
    check_dialects(args.examples, files=400)


if __name__ == "__main__":
    main()
