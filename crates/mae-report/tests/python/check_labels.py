"""Reads label maps of the example `segmentation` with Pillow and GDAL, and checks labels, palette, mode and georeference.

    python check_labels.py PROGRAM
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin

IGNORED = 65535


def voc_palette():
    colours = np.zeros((256, 3), int)
    for label in range(256):
        for bit in range(8):
            colours[label, bit % 3] |= (label >> bit & 1) << (7 - bit // 3)
    return colours


def pattern(classes, ignores):
    y, x = np.mgrid[:61, :83]
    labels = (7 * x + 13 * y) % classes
    return np.where((x + 2 * y) % 11 == 0, IGNORED, labels) if ignores else labels


def check_labels(path, classes, ignores):
    expected = pattern(classes, ignores)
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


PLACE = dict(crs="EPSG:32633", transform=from_origin(432100.5, 5291000.25, 10.0, 20.0))


def write_scene(path):
    with rasterio.open(path, "w", driver="GTiff", height=61, width=83, count=4, dtype="uint16", **PLACE) as scene:
        scene.write(np.ones((4, 61, 83), "uint16"))


def check_place(path, classes):
    expected = pattern(classes, True)
    with rasterio.open(path) as labels:
        assert labels.crs.to_epsg() == 32633, (path.name, labels.crs)
        assert labels.transform == PLACE["transform"], (path.name, labels.transform)
        if classes < 256:
            expected = np.where(expected == IGNORED, 255, expected)
            colours = labels.colormap(1)
            assert all((voc_palette()[label] == colours[label][:3]).all() for label in range(256)), path.name
        assert (labels.read(1) == expected).all(), path.name
    print(f"{path.name}: agrees")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_scene(folder / "scene.tif")
        subprocess.run([sys.argv[1], folder, folder / "scene.tif"], check=True)
        for classes in (21, 1000):
            check_place(folder / f"labels-{classes}-ignored.tif", classes)
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
