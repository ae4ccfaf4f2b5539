"""Compares our TIFF and NumPy readers with the libraries that write such files, value by value.

usage: python check_pixels.py DECODE_STORED [--seed N] [--keep DIR]    (Python 3.11, pip install -r requirements.txt)

pixel_files.py makes the files. Every value must be read to the bit; any NaN may stand for a NaN. Unsupported files must be refused with
the reason. A random window of each file is read too.
DECODE_STORED is the program of `cargo build --example decode_stored`. --keep writes the files that differ into DIR.
"""

import argparse
import io
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pixel_files

TYPES = {"u8": np.dtype("u1"), "u16": np.dtype("u2"), "f32": np.dtype("f4")}
NAMES = {kind: name for name, kind in TYPES.items()}


def format_of(numbers: np.ndarray) -> str:
    """Returns the format with all channels."""
    return f"{NAMES[numbers.dtype]}x{numbers.shape[2]}"


def stored_format(file: pixel_files.Read) -> str:
    """Returns the format to detect: without alpha, and rgb8 for 8-bit grey or RGB, except in NumPy files."""
    shown = format_of(file.numbers[..., :-1] if file.alpha else file.numbers)
    return "rgb8" if shown in ("u8x1", "u8x3") and file.path.suffix != ".npy" else shown


def random_crop(rng: np.random.Generator, file: pixel_files.Read) -> list[int]:
    """Draws row, column, number of rows and number of columns of a part of an image."""
    starts = [int(rng.integers(side)) for side in file.numbers.shape[:2]]
    lengths = [1 + int(rng.integers(side - start)) for side, start in zip(file.numbers.shape, starts, strict=False)]
    return starts + lengths


class Ours(NamedTuple):
    """The values that we read, the stored format of the file, and the first row and column."""

    numbers: np.ndarray
    stored: str
    top: int
    left: int


def as_we_read(program: Path, lines: list[str]) -> list[Ours | str]:
    """Returns what we read of each file, or the reason for refusing it."""
    text = "".join(f"{line}\n" for line in lines).encode()
    out = io.BytesIO(subprocess.run([program], input=text, capture_output=True, check=True).stdout)
    results = []
    for _ in lines:
        line = out.readline().decode()
        if line.startswith("error"):
            results.append(line.strip())
            continue
        *sides, kind, stored, top, left = line.split()
        height, width, channels = map(int, sides)
        count = height * width * channels
        numbers = np.frombuffer(out.read(count * TYPES[kind].itemsize), TYPES[kind])
        results.append(Ours(numbers.reshape(height, width, channels), stored, int(top), int(left)))
    assert not out.read(), "more than was asked for"
    return results


def differs(file: pixel_files.Read, ours: Ours | str, crop: list[int] | None = None) -> str | None:
    """Describes how our values differ from a file's, or from those of a crop (row, column, rows, columns). None if equal."""
    if isinstance(ours, str):
        return ours
    numbers, stored, top, left = ours
    expected = stored_format(file)
    if stored != expected:
        return f"the format is {stored}, not {expected}"
    theirs = file.numbers
    if crop is not None:
        height, width = numbers.shape[:2]
        # Files that cannot be read in part are read whole.
        if [top, left, height, width] not in (crop, [0, 0, *theirs.shape[:2]]):
            return f"the window {[top, left, height, width]}, not {crop}"
        theirs = theirs[top : top + height, left : left + width]
    if numbers.shape != theirs.shape or numbers.dtype != theirs.dtype:
        return f"{numbers.dtype} of {numbers.shape}, not {theirs.dtype} of {theirs.shape}"
    bits = f"u{numbers.dtype.itemsize}"
    same = numbers.view(bits) == np.ascontiguousarray(theirs).view(bits)
    if numbers.dtype.kind == "f":
        same |= np.isnan(numbers) & np.isnan(theirs)
    return None if same.all() else f"{(~same).sum()} of {same.size} numbers differ, first at {np.argwhere(~same)[0]}"


def main() -> None:
    """Makes the files and compares the readers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("decode_stored", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        read, refused = pixel_files.make(Path(folder), args.seed)
        rng = np.random.default_rng(args.seed)
        crops = [random_crop(rng, file) for file in read]
        lines = [f"{format_of(file.numbers)} {file.path}" for file in read] + [f"u8x1 {file.path}" for file in refused]
        for file, crop in zip(read, crops, strict=True):
            lines.append(f"{format_of(file.numbers)} {','.join(map(str, crop))} {file.path}")
        ours = as_we_read(args.decode_stored, lines)
        ours, windows = ours[: len(read) + len(refused)], ours[len(read) + len(refused) :]
        found_of = list(zip(read, windows, strict=True))
        for (file, found), crop in zip(found_of, crops, strict=True):
            if (reason := differs(file, found, crop)) is not None:
                wrong.append((file.path, f"its window {crop}: {reason}"))
        parts = sum(not isinstance(found, str) and found.numbers.shape != file.numbers.shape for file, found in found_of)
        for file, found in zip(read, ours[: len(read)], strict=True):
            if (reason := differs(file, found)) is not None:
                wrong.append((file.path, reason))
        for file, found in zip(refused, ours[len(read) :], strict=True):
            start = {"Damaged": "error cannot decode the image", "Unsupported": "error the image"}[file.kind]
            if not isinstance(found, str) or not found.startswith(start) or file.words not in found:
                shown = found if isinstance(found, str) else "read"
                wrong.append((file.path, f"{shown}; must be refused with '{file.words}'"))
        for path, _ in wrong if args.keep else []:
            args.keep.mkdir(exist_ok=True)
            (args.keep / path.name).write_bytes(path.read_bytes())
    numbers = sum(file.numbers.size for file in read)
    print(f"{len(read)} files of {numbers} numbers compared to the bit, {parts} windows, {len(refused)} files refused; {len(wrong)} differ")
    for path, reason in wrong[:20]:
        print(f"{path.name}: {reason}")
    assert len(read) > 700 and parts > 400 and len(refused) > 30
    assert not wrong, f"{len(wrong)} files are not read as they were written"


if __name__ == "__main__":
    main()
