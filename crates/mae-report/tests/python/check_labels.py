"""Reads label maps that the example `segmentation` wrote, with Pillow: labels, palette and mode are what other programs expect.

    python check_labels.py PROGRAM
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

IGNORED = 65535


def voc_palette():
    colours = np.zeros((256, 3), int)
    for label in range(256):
        for bit in range(8):
            colours[label, bit % 3] |= (label >> bit & 1) << (7 - bit // 3)
    return colours


def check_labels(path, classes, ignores):
    y, x = np.mgrid[:61, :83]
    expected = (7 * x + 13 * y) % classes
    if ignores:
        expected = np.where((x + 2 * y) % 11 == 0, IGNORED, expected)
    with Image.open(path) as image:
        if classes < 256 or (classes == 256 and not ignores):
            assert image.mode == "P", (path.name, image.mode)
            expected = np.where(expected == IGNORED, 255, expected)
            palette = np.array(image.getpalette()).reshape(-1, 3)
            assert (palette == voc_palette()).all(), (path.name, palette)
            rgb = np.asarray(image.convert("RGB"))
            assert (rgb == voc_palette()[expected]).all(), path.name
        else:
            assert image.mode == "I;16", (path.name, image.mode)
        assert (np.asarray(image) == expected).all(), path.name
    print(f"{path.name}: agrees")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([sys.argv[1], folder], check=True)
        checked = 0
        for path in sorted(folder.glob("labels-*.png")):
            _, classes, *ignores = path.stem.split("-")
            check_labels(path, int(classes), bool(ignores))
            checked += 1
        assert checked == 6, checked
        for path in [*folder.glob("gallery-*.png"), *folder.glob("classes-*.png"), *folder.glob("overlay-*.png")]:
            with Image.open(path) as image:
                assert image.mode == "RGB", (path.name, image.mode)
                image.load()
                checked += 1
        assert checked == 15, checked


main()
