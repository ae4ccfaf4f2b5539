"""Writes three small sets of real images, from scikit-learn and scikit-image, for tests and examples.

usage: python make_data.py --out DIR    (pip install -r requirements.txt)

    DIR/digits/{train,test}/{0..9}/NNNN.png     1,437 and 360 grey 8x8 images
    DIR/photos/{astronaut,...}/NN.jpg           60 colour crops, 500x375 or 375x500 (width x height)
    DIR/digits-on-photos/{train,val}/images/NNNN.jpg    400 and 100 crops of 128x128 with 1 to 5 digits on them
    DIR/digits-on-photos/{train,val}/masks/NNNN.png     the class of each pixel, exactly: palette files
    DIR/digits-on-photos/classes.toml                   background and the ten digits

The digits are the UCI Optical Recognition of Handwritten Digits set (CC BY 4.0), as
`sklearn.datasets.load_digits` returns it. The photographs are in scikit-image's wheel: astronaut and
hubble_deep_field are NASA's and in the public domain; chelsea, coffee and rocket are CC0.

The third set puts digits on photographs. Training has digits of the first set's training part on the left
part of the photographs, validation has those of its test part on the right part. They share no digit and
no pixel of a photograph.

Every run writes the same files: nothing is downloaded, and all choices come from fixed seeds.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

DIGITS_TEST = 360
DIGITS_SEED = 0

PHOTOS = ["astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field"]
PHOTOS_COUNT = 60
PHOTOS_SEED = 1
# The side of a crop as a share of the photograph's side.
CROP_SHARE = (0.6, 1.0)
# About the size of an ImageNet photograph; every fourth crop is upright.
LANDSCAPE_PX = (500, 375)
JPEG_QUALITY = 92

SCENES_COUNT = {"train": 400, "val": 100}
SCENES_SEED = {"train": 2, "val": 3}
SCENES_PX = 128
# The part of each photograph's width that training sees; validation sees the rest.
SCENES_TRAIN_SHARE = 0.7
# The side of a crop before it is resized, as a share of the shorter side of that part.
SCENES_CROP_SHARE = (0.4, 1.0)
SCENES_DIGITS = (1, 5)
# The side of a digit's square; its strokes are about two thirds as high.
SCENES_DIGIT_PX = (24, 80)
# The least difference between a digit's colour and the median colour behind it, summed over the channels.
SCENES_CONTRAST = 180


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


def digit_ink(image: np.ndarray, side: int) -> np.ndarray:
    """Returns the share of ink in each pixel of a digit of `side` pixels, 0 to 1, with edges about a pixel wide."""
    grey = Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8))
    smooth = np.asarray(grey.resize((side, side), Image.Resampling.BICUBIC)).astype(np.float64) / 255
    # An edge of the 8-pixel digit spans `side / 8` of these pixels: sharpen it to about one.
    return np.clip((smooth - 0.5) * side / 8 + 0.5, 0, 1)


def draw_scene(
    rng: random.Random, photo: Image.Image, digits: list[tuple[np.ndarray, int]]
) -> tuple[Image.Image, np.ndarray]:
    """Draws digits on a crop of a photograph. Returns it with the class of each pixel: 0, or the digit plus 1."""
    side = int(min(photo.size) * rng.uniform(*SCENES_CROP_SHARE))
    left, top = rng.randint(0, photo.width - side), rng.randint(0, photo.height - side)
    crop = photo.crop((left, top, left + side, top + side))
    if rng.random() < 0.5:
        crop = ImageOps.mirror(crop)
    pixels = np.asarray(crop.resize((SCENES_PX, SCENES_PX), Image.Resampling.BICUBIC)).astype(np.float64)
    classes = np.zeros((SCENES_PX, SCENES_PX), np.uint8)
    for _ in range(rng.randint(*SCENES_DIGITS)):
        image, label = digits[rng.randrange(len(digits))]
        side = rng.randint(*SCENES_DIGIT_PX)
        left, top = rng.randint(0, SCENES_PX - side), rng.randint(0, SCENES_PX - side)
        at = np.s_[top : top + side, left : left + side]
        behind = np.median(pixels[at].reshape(-1, 3), axis=0)
        colour = np.array([rng.randint(0, 255) for _ in range(3)])
        while np.abs(colour - behind).sum() < SCENES_CONTRAST:
            colour = np.array([rng.randint(0, 255) for _ in range(3)])
        ink = digit_ink(image, side)
        pixels[at] += (colour - pixels[at]) * ink[..., None]
        # A pixel belongs to the digit if at least half of it is ink.
        classes[at] = np.where(ink >= 0.5, label + 1, classes[at])
    return Image.fromarray(np.rint(pixels).astype(np.uint8)), classes


def label_palette() -> list[int]:
    """Returns PASCAL VOC's label colours: a label's bits in groups of three, from the highest bit of each colour down."""
    bit = lambda label, at: label >> at & 1
    colour = lambda label, channel: sum(bit(label, 3 * place + channel) << (7 - place) for place in range(8))
    return [colour(label, channel) for label in range(256) for channel in range(3)]


def write_scenes(out: Path) -> int:
    """Writes photographs with digits on them, and their label maps, into `out/{train,val}/{images,masks}`."""
    digits = load_digits()
    order = np.random.RandomState(DIGITS_SEED).permutation(len(digits.images)).tolist()
    indices = {"train": order[:-DIGITS_TEST], "val": order[-DIGITS_TEST:]}
    photos = [Image.fromarray(getattr(skimage.data, name)()) for name in PHOTOS]
    for part, count in SCENES_COUNT.items():
        rng = random.Random(SCENES_SEED[part])
        of_part = [(digits.images[index], int(digits.target[index])) for index in indices[part]]
        images, masks = out / part / "images", out / part / "masks"
        images.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            photo = photos[index % len(photos)]
            middle = int(photo.width * SCENES_TRAIN_SHARE)
            bounds = (0, middle) if part == "train" else (middle, photo.width)
            image, classes = draw_scene(rng, photo.crop((bounds[0], 0, bounds[1], photo.height)), of_part)
            image.save(images / f"{index:04}.jpg", quality=JPEG_QUALITY)
            mask = Image.fromarray(classes, "P")
            mask.putpalette(label_palette())
            mask.save(masks / f"{index:04}.png", optimize=True)
    names = ["background", *map(str, range(10))]
    text = "".join(f'[[class]]\nname = "{name}"\nvalue = {value}\n\n' for value, name in enumerate(names))
    (out / "classes.toml").write_text(text.rstrip() + "\n")
    return sum(SCENES_COUNT.values())


def main() -> None:
    """Parses the command line, writes the sets and prints their numbers of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    out = parser.parse_args().out
    print(
        f"{write_digits(out / 'digits')} digits, {write_photos(out / 'photos')} photos, "
        f"{write_scenes(out / 'digits-on-photos')} photos with digits in {out}"
    )


if __name__ == "__main__":
    main()
