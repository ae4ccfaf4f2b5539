"""Holds our TIFF and NumPy readers against the libraries that write such files, number by number.

usage: python check_pixels.py DECODE_STORED [--seed N] [--keep DIR]    (Python 3.11, pip install -r requirements.txt)

pixel_files.py makes the files. Every number must be read to the bit, any NaN for a NaN; what is not read must be refused with the reason.
DECODE_STORED is the program of `cargo build --example decode_stored`. --keep writes the files that differ.
"""

import argparse
import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pixel_files

TYPES = {"u8": np.dtype("u1"), "u16": np.dtype("u2"), "f32": np.dtype("f4")}
NAMES = {kind: name for name, kind in TYPES.items()}


def format_of(numbers: np.ndarray) -> str:
    """The format of all the channels."""
    return f"{NAMES[numbers.dtype]}x{numbers.shape[2]}"


def stored_format(file: pixel_files.Read) -> str:
    """The format that a file is said to have: without alpha, and colours for grey or RGB of 8 bits, but in NumPy files."""
    shown = format_of(file.numbers[..., :-1] if file.alpha else file.numbers)
    return "rgb8" if shown in ("u8x1", "u8x3") and file.path.suffix != ".npy" else shown


def as_we_read(program: Path, lines: list[str]) -> list[tuple[np.ndarray, str] | str]:
    """The numbers and the stored format of each file, or why it is refused."""
    text = "".join(f"{line}\n" for line in lines).encode()
    out = io.BytesIO(subprocess.run([program], input=text, capture_output=True, check=True).stdout)
    results = []
    for _ in lines:
        line = out.readline().decode()
        if line.startswith("error"):
            results.append(line.strip())
            continue
        *sides, kind, stored = line.split()
        height, width, channels = map(int, sides)
        count = height * width * channels
        numbers = np.frombuffer(out.read(count * TYPES[kind].itemsize), TYPES[kind])
        results.append((numbers.reshape(height, width, channels), stored))
    assert not out.read(), "more than was asked for"
    return results


def differs(file: pixel_files.Read, ours: tuple[np.ndarray, str] | str) -> str | None:
    """How what we read differs from what a file holds."""
    if isinstance(ours, str):
        return ours
    numbers, stored = ours
    expected = stored_format(file)
    if stored != expected:
        return f"the format is {stored}, not {expected}"
    if numbers.shape != file.numbers.shape or numbers.dtype != file.numbers.dtype:
        return f"{numbers.dtype} of {numbers.shape}, not {file.numbers.dtype} of {file.numbers.shape}"
    bits = f"u{numbers.dtype.itemsize}"
    same = numbers.view(bits) == file.numbers.view(bits)
    if numbers.dtype.kind == "f":
        same |= np.isnan(numbers) & np.isnan(file.numbers)
    return None if same.all() else f"{(~same).sum()} of {same.size} numbers differ, first at {np.argwhere(~same)[0]}"


def main() -> None:
    """Makes the files and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("decode_stored", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        read, refused = pixel_files.make(Path(folder), args.seed)
        lines = [f"{format_of(file.numbers)} {file.path}" for file in read] + [f"u8x1 {file.path}" for file in refused]
        ours = as_we_read(args.decode_stored, lines)
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
    print(f"{len(read)} files of {numbers} numbers compared to the bit, {len(refused)} files refused; {len(wrong)} differ")
    for path, reason in wrong[:20]:
        print(f"{path.name}: {reason}")
    assert len(read) > 700 and len(refused) > 30
    assert not wrong, f"{len(wrong)} files are not read as they were written"


if __name__ == "__main__":
    main()
