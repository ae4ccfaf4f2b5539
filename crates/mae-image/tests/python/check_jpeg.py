"""Compares our JPEG decoder with Pillow, byte for byte, on random files of every layout, and our reader of orientations.

usage: python check_jpeg.py DECODE [--files N] [--seed N] [--keep DIR]    (Python 3.11, pip install -r requirements.txt)

The test makes the files: by Pillow (progressive, subsampled, with restarts, grey, colour, CMYK) and by jpeg_files.py
(sampling factors of 1 to 4 for each component, scans in any number and order, tables redefined between them, JFIF and
Adobe markers that agree or not, Huffman codes of any length). Our decoder must refuse the files that Pillow refuses, and
read all others to the same bytes. DECODE is the program of `cargo build --example decode`. --keep writes the files that
differ into DIR.
"""

import argparse
import io
import struct
import subprocess
import tempfile
import warnings
from pathlib import Path
from random import Random

import numpy as np
from jpeg_files import random_jpeg, segment
from PIL import Image, ImageOps

ORIENTATION = 0x0112


def random_image(random: Random, mode: str) -> Image.Image:
    """Draws a smooth picture with some noise."""
    width, height = random.randint(1, 90), random.randint(1, 90)
    channels = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(random.getrandbits(32))
    y, x, c = np.mgrid[:height, :width, :channels]
    waves = 127 + 90 * np.sin(x / random.uniform(2, 30) + c) + 60 * np.cos(y / random.uniform(2, 30) - c)
    pixels = (waves + noise.normal(0, random.choice([0, 4, 40]), waves.shape)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels, mode)


def pillow_jpeg(random: Random) -> bytes:
    """Draws a file that Pillow writes."""
    options = {"quality": random.choice([1, 30, 75, 92, 100]), "progressive": random.random() < 0.7}
    options |= {"subsampling": random.choice(["4:4:4", "4:2:2", "4:2:0"]), "optimize": random.random() < 0.3}
    if random.random() < 0.4:
        options[random.choice(["restart_marker_blocks", "restart_marker_rows"])] = random.randint(1, 9)
    file = io.BytesIO()
    random_image(random, random.choice(["L", "RGB", "RGB", "RGB", "CMYK"])).save(file, "JPEG", **options)
    return file.getvalue()


def exif(random: Random) -> bytes:
    """Draws a TIFF structure with an orientation in one of several encodings, or without one."""
    order = random.choice("<>")
    value = random.choice([*range(1, 9), 6, 8, 0, 9, 256, 262, 65535])
    kind = random.choice([3, 3, 3, 4, 4, 1, 2, 5, 6, 7, 8, 9, 11, 12, 99])
    formats = {3: "H", 4: "L", 1: "B", 2: "B", 6: "B", 7: "B", 8: "H", 9: "L", 5: "LL", 11: "f", 12: "d", 99: "L"}
    count = random.choice([1, 1, 1, 1, 2])
    single = struct.pack(order + formats[kind], *([value & 255] if "B" in formats[kind] else [value] + [1] * (kind == 5)))
    data = single + struct.pack(order + formats[kind], *([3] + [1] * (kind == 5))) * (count - 1)
    entries = [(ORIENTATION, kind, count, data)]
    if random.random() < 0.3:
        entries.append((ORIENTATION, 3, 1, struct.pack(order + "H", random.randint(1, 8))))
    if random.random() < 0.3:
        entries.insert(0, (0x010F, 2, 6, b"maker\0"))
    if random.random() < 0.1:
        entries = [entry for entry in entries if entry[0] != ORIENTATION]
    begin = random.choice([8, 8, 20])
    behind, listed = b"", struct.pack(order + "H", len(entries))
    for tag, kind, count, data in entries:
        if len(data) > 4:
            place = struct.pack(order + "L", begin + 2 + 12 * len(entries) + 4 + len(behind))
            behind, data = behind + data, place
        listed += struct.pack(order + "HHL", tag, kind, count) + data.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", begin)
    return head.ljust(begin, b"\0") + listed + b"\0\0\0\0" + behind


def xmp(random: Random) -> bytes:
    """Draws XMP text with an orientation in one of two forms."""
    value = random.randint(0, 9)
    inside = random.choice([f'tiff:Orientation="{value}"', f"><tiff:Orientation>{value}</tiff:Orientation"])
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf {inside}></x:xmpmeta>'.encode()


def turned(random: Random) -> tuple[str, bytes]:
    """Draws a file of some format with EXIF data, XMP text, or several of these."""
    image, file = random_image(random, "RGB"), io.BytesIO()
    format = random.choice(["jpg", "jpg", "jpg", "png", "webp", "tif"])
    with_xmp = random.random() < 0.3
    if format == "jpg":
        image.save(file, "JPEG", subsampling=random.choice([0, 2]), progressive=random.random() < 0.3)
        jpeg, extra = file.getvalue(), b""
        for _ in range(random.choice([0, 1, 1, 2, 2, 3])):
            extra += segment(0xE1, b"Exif\0\0" + exif(random))
        for _ in range(random.choice([1, 2]) if with_xmp else 0):
            extra += segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(random))
        return format, jpeg[:20] + extra + jpeg[20:]
    if format == "png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        if with_xmp:
            info.add_itxt("XML:com.adobe.xmp", xmp(random).decode())
        exif_data = {"exif": b"Exif\0\0" + exif(random)} if random.random() < 0.8 else {}
        image.save(file, "PNG", pnginfo=info, **exif_data)
    elif format == "webp":
        options = {"exif": b"Exif\0\0" + exif(random)} if random.random() < 0.8 else {}
        image.save(file, "WEBP", lossless=True, **options, **({"xmp": xmp(random)} if with_xmp else {}))
    else:
        orientation = random.choice([*range(1, 9), 0, 9])
        options = {"exif": Image.Exif()}
        options["exif"][ORIENTATION] = orientation
        if random.random() < 0.3:
            image.save(file, "TIFF", big_tiff=True, **options)
        else:
            image.save(file, "TIFF", **options)
    return format, file.getvalue()


def as_pillow_reads(path: Path) -> np.ndarray | str:
    """Returns the pixels, or Pillow's reason for refusing the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    except Exception as error:  # noqa: BLE001 - Pillow passes on the exceptions of its plugins and libraries
        return f"{type(error).__name__}: {error}"


def as_we_read(program: Path, paths: list[Path]) -> list[np.ndarray | str]:
    """Returns the pixels of many files by our decoder, or the reasons for refusing them."""
    lines = "".join(f"{path}\n" for path in paths).encode()
    out = io.BytesIO(subprocess.run([program], input=lines, capture_output=True, check=True).stdout)
    results = []
    for _ in paths:
        line = out.readline().decode()
        if line.startswith("error"):
            results.append(line.strip())
            continue
        height, width = map(int, line.split())
        results.append(np.frombuffer(out.read(3 * height * width), np.uint8).reshape(height, width, 3))
    return results


def main() -> None:
    """Makes the files and compares the decoders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("decode", type=Path)
    parser.add_argument("--files", type=int, default=1000, help="files of each of the three kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    random, wrong = Random(args.seed), []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ["layouts", "pillow", "orientations"]:
            paths = []
            for number in range(args.files):
                made = {"layouts": lambda: ("jpg", random_jpeg(random)), "pillow": lambda: ("jpg", pillow_jpeg(random))}
                extension, data = made.get(kind, lambda: turned(random))()
                paths.append(Path(folder) / f"{kind}-{number}.{extension}")
                paths[-1].write_bytes(data)
            read = refused = 0
            for path, ours in zip(paths, as_we_read(args.decode, paths), strict=True):
                theirs = as_pillow_reads(path)
                if isinstance(theirs, str) and isinstance(ours, str):
                    refused += 1
                elif isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray) and np.array_equal(ours, theirs):
                    read += 1
                else:
                    show = [x if isinstance(x, str) else str(x.shape) for x in (theirs, ours)]
                    if show[0] == show[1]:
                        off = np.abs(theirs.astype(int) - ours)
                        show.append(f"{(off > 0).any(-1).mean():.0%} of pixels differ, by up to {off.max()}")
                    wrong.append(f"{path.name}: Pillow {show[0]}, ours {'; '.join(show[1:])}")
                    if args.keep:
                        args.keep.mkdir(exist_ok=True)
                        (args.keep / path.name).write_bytes(path.read_bytes())
            print(f"{kind}: {read} files equal Pillow's to the byte, {refused} refused by both, of {len(paths)}")
            assert read > args.files // 2, kind
    for line in wrong[:20]:
        print(line)
    assert not wrong, f"{len(wrong)} files are not read as Pillow reads them"


if __name__ == "__main__":
    main()
