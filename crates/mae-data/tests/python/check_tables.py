"""Writes lists of images and Parquet tables by Python packages, and compares what our readers read from them with Pillow.

usage: python check_tables.py EXAMPLES    (Python 3.11, pip install -r requirements.txt)

EXAMPLES is the folder that `cargo build --examples` builds into.

1. Makes random JPEG and PNG files.
2. Writes them with datasets, pandas, polars and pyarrow: as Parquet files with every supported compression, and as CSV and JSON Lines
   tables.
3. Compares the names, labels, classes and pixels that the example `list` prints with those written.
"""

import argparse
import io
import json
import subprocess
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ["dog", "cat", "10", "ape"]
ROWS = 61


class Images:
    """Random images as files, with classes."""

    def __init__(self, folder: Path) -> None:
        """Writes the files below `folder`."""
        random = np.random.default_rng(0)
        self.folder, self.names, self.bytes, self.sums = folder, [], [], []
        folder.mkdir()
        for number in range(ROWS):
            height, width = random.integers(9, 60, 2)
            rows, columns = np.mgrid[:height, :width]
            pixels = np.stack([rows * 4, columns * 4, rows + columns], -1) + random.integers(0, 40, (height, width, 3))
            name = f"{number:02}.{'jpg' if number % 2 else 'png'}"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
            data = (folder / name).read_bytes()
            decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).ravel().astype(np.uint64)
            self.names.append(name)
            self.bytes.append(data)
            self.sums.append(int((decoded * np.arange(1, decoded.size + 1, dtype=np.uint64)).sum()))
        self.labels = [int(label) for label in random.integers(0, len(CLASSES), ROWS)]
        self.several = [sorted(set(random.integers(0, len(CLASSES), 3).tolist()))[: number % 3] for number in range(ROWS)]

    def structs(self) -> list:
        """Returns the images in the form of the feature `datasets.Image`."""
        return [{"bytes": data, "path": name} for data, name in zip(self.bytes, self.names)]


def listed(examples: Path, table: Path) -> tuple[list, list]:
    """Returns the images that `list` prints, and the names of the classes."""
    out = subprocess.run([examples / "list", table], capture_output=True, check=True, text=True).stdout
    *images, last = map(json.loads, out.splitlines())
    assert "error" not in last, last
    return images, last["classes"]


def check(examples: Path, table: Path, images: Images, names: list, classes: list, labels: list) -> None:
    """Compares the images read from a table with those written. `labels` are names of classes, or lists of them."""
    found, found_classes = listed(examples, table)
    assert found_classes == classes, (table, found_classes, classes)
    assert [image["sum"] for image in found] == images.sums, f"{table}: other pixels"
    assert [image["name"] for image in found] == names, (table, found[0], names[0])
    for image, label in zip(found, labels, strict=True):
        several = label if isinstance(label, list) else None if label is None else [label]
        read = image["labels"] if image["labels"] is None else [classes[number] for number in image["labels"]]
        assert read == several, (table, image, label)
    print(f"{table.name}: {len(found)} images")


def check_datasets(examples: Path, folder: Path, images: Images) -> None:
    """Checks Parquet files of the package datasets: with classes, without, multi-label, in splits and in several row groups."""
    label, named = datasets.ClassLabel(names=CLASSES), [CLASSES[label] for label in images.labels]
    features = datasets.Features({"image": datasets.Image(), "label": label})
    data = datasets.Dataset.from_dict({"image": images.structs(), "label": images.labels}, features=features)
    rows = list(enumerate(images.names))
    for options in ({}, {"batch_size": 7}, {"batch_size": 20, "write_page_index": False, "use_content_defined_chunking": False}):
        path = folder / f"datasets-{len(options)}.parquet"
        data.to_parquet(path, **options)
        check(examples, path, images, [f"{path}/{row} ({name})" for row, name in rows], CLASSES, named)

    several = datasets.Features({"labels": datasets.List(label), "picture": datasets.Image()})
    path = folder / "several.parquet"
    datasets.Dataset.from_dict({"picture": images.structs(), "labels": images.several}, features=several).to_parquet(path)
    names = [f"{path}/{row} ({name})" for row, name in rows]
    check(examples, path, images, names, CLASSES, [[CLASSES[label] for label in row] for row in images.several])

    splits = folder / "splits" / "data"
    splits.mkdir(parents=True)
    for shard in range(3):
        path = splits / f"train-{shard:05}-of-00003.parquet"
        data.shard(3, shard, contiguous=True).to_parquet(path)
    data.to_parquet(splits / "test-00000-of-00001.parquet")
    files, lengths = sorted(splits.glob("train-*")), [len(data.shard(3, shard, contiguous=True)) for shard in range(3)]
    names = [f"{file}/{row}" for file, length in zip(files, lengths) for row in range(length)]
    names = [f"{place} ({name})" for place, name in zip(names, images.names, strict=True)]
    check(examples, folder / "splits" / "train", images, names, CLASSES, named)
    out = subprocess.run([examples / "list", folder / "splits"], capture_output=True, check=True, text=True).stdout
    assert "splits: test, train" in json.loads(out)["error"], out


def check_frames(examples: Path, folder: Path, images: Images) -> None:
    """Checks Parquet files of pandas, polars and pyarrow: bytes or structs, classes as text, in every compression."""
    named = [CLASSES[label] if row % 9 else None for row, label in enumerate(images.labels)]
    numbers, text = [str(number) for number in range(len(CLASSES))], sorted(CLASSES)
    plain = pd.DataFrame({"label": named, "image": images.bytes})
    structs = pl.DataFrame({"image": images.structs(), "class": images.labels})
    for compression in (None, "snappy", "gzip", "zstd"):
        for version in ("1.0", "2.0"):
            path = folder / f"pandas-{compression}-{version}.parquet"
            plain.to_parquet(path, compression=compression, row_group_size=17, data_page_version=version)
            check(examples, path, images, [f"{path}/{row}" for row in range(ROWS)], text, named)
    for compression in ("uncompressed", "snappy", "gzip", "zstd"):
        path = folder / f"polars-{compression}.parquet"
        structs.write_parquet(path, compression=compression, row_group_size=25)
        names = [f"{path}/{row} ({name})" for row, name in enumerate(images.names)]
        check(examples, path, images, names, numbers, [str(label) for label in images.labels])
    path = folder / "pyarrow-pages.parquet"
    pq.write_table(structs.to_arrow(), path, data_page_size=4000, write_batch_size=2, use_dictionary=False)
    names = [f"{path}/{row} ({name})" for row, name in enumerate(images.names)]
    check(examples, path, images, names, numbers, [str(label) for label in images.labels])


def check_lists(examples: Path, folder: Path, images: Images) -> None:
    """Checks tables of pandas and polars that name the files."""
    named, text = [CLASSES[label] for label in images.labels], sorted(CLASSES)
    below = [f"{images.folder.name}/{name}" for name in images.names]
    names = [str(images.folder / name) for name in images.names]
    rows = {"file_name": below, "label": named}
    pd.DataFrame(rows).to_csv(folder / "pandas.csv", index=False)
    pd.DataFrame({"label": named, "path": names}).to_csv(folder / "pandas.tsv", index=False, sep="\t")
    pd.DataFrame(rows).to_json(folder / "pandas.jsonl", orient="records", lines=True)
    pl.DataFrame(rows).write_csv(folder / "polars.csv")
    pl.DataFrame(rows).write_ndjson(folder / "polars.jsonl")
    for table in ("pandas.csv", "pandas.tsv", "pandas.jsonl", "polars.csv", "polars.jsonl"):
        check(examples, folder / table, images, names, text, named)
    pl.DataFrame({"path": below}).write_csv(folder / "unlabelled.csv")
    check(examples, folder / "unlabelled.csv", images, names, [], [None] * ROWS)
    several = [[CLASSES[label] for label in row] for row in images.several]
    pl.DataFrame({"path": below, "labels": several}).write_ndjson(folder / "several.jsonl")
    columns = {name: [int(name in row) for row in several] for name in CLASSES}
    pd.DataFrame({"path": below} | columns).to_csv(folder / "columns.csv", index=False)
    several = [sorted(row) for row in several]
    for table in ("several.jsonl", "columns.csv"):
        check(examples, folder / table, images, names, text, several)


def main() -> None:
    """Parses the command line and checks all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("examples", type=Path)
    args = parser.parse_args()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        images = Images(Path(folder) / "images")
        check_datasets(args.examples, Path(folder), images)
        check_frames(args.examples, Path(folder), images)
        check_lists(args.examples, Path(folder), images)


if __name__ == "__main__":
    main()
