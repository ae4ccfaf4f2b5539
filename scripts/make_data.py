"""Writes two small sets of real images, from scikit-learn and scikit-image, for tests and examples.

usage: python make_data.py --out DIR    (pip install -r requirements.txt)

    DIR/digits/{train,test}/{0..9}/NNNN.png     1,437 and 360 grey 8x8 images
    DIR/photos/{astronaut,...}/NN.jpg           60 colour crops, 500x375 or 375x500 (width x height)

The digits are the UCI Optical Recognition of Handwritten Digits set (CC BY 4.0), as
`sklearn.datasets.load_digits` returns it. Of the photographs, which scikit-image ships in its wheel,
astronaut and hubble_deep_field are NASA's and in the public domain; chelsea, coffee and rocket are CC0.

Both are the same on every run: nothing is downloaded, and all choices come from fixed seeds.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_digits

DIGITS_TEST = 360
DIGITS_SEED = 0

PHOTOS = ["astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field"]
PHOTOS_COUNT = 60
PHOTOS_SEED = 1
# The side of a crop, as a share of the photograph's.
CROP_SHARE = (0.6, 1.0)
# About the size of an ImageNet photograph; every fourth crop is upright.
LANDSCAPE_PX = (500, 375)
JPEG_QUALITY = 92


def write_digits(out: Path) -> int:
    """Writes the digits into `out/{train,test}/{label}`; file names are indices into scikit-learn's set."""
    digits = load_digits()
    order = np.random.RandomState(DIGITS_SEED).permutation(len(digits.images))
    test = set(order[-DIGITS_TEST:].tolist())
    for index, (image, label) in enumerate(zip(digits.images, digits.target)):
        folder = out / ("test" if index in test else "train") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        grey = np.rint(image * 255 / 16).astype(np.uint8)  # scikit-learn counts 0..16
        Image.fromarray(grey).save(folder / f"{index:04}.png", optimize=True)
    return len(digits.images)


def write_photos(out: Path) -> int:
    """Writes crops of the photographs, taken in turn, into `out/{name}`."""
    rng = random.Random(PHOTOS_SEED)
    sources = [Image.fromarray(getattr(skimage.data, name)()) for name in PHOTOS]
    for index in range(PHOTOS_COUNT):
        name, source = PHOTOS[index % len(PHOTOS)], sources[index % len(PHOTOS)]
        share = rng.uniform(*CROP_SHARE)
        width, height = int(source.width * share), int(source.height * share)
        left, top = rng.randint(0, source.width - width), rng.randint(0, source.height - height)
        size = LANDSCAPE_PX[::-1] if index % 4 == 0 else LANDSCAPE_PX
        crop = source.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BICUBIC)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        crop.save(folder / f"{index:02}.jpg", quality=JPEG_QUALITY)
    return PHOTOS_COUNT


def main() -> None:
    """Parses the command line, writes both sets and says how many images they have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    out = parser.parse_args().out
    print(f"{write_digits(out / 'digits')} digits, {write_photos(out / 'photos')} photos in {out}")


if __name__ == "__main__":
    main()
