"""Writes the results of RandAugment's operations by timm and Pillow, and the distribution of timm's random erasing.

pip install -r requirements.txt
python make_augment.py            # writes augment/
python make_augment.py --check    # makes the files again and compares
"""

import random
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from timm.data import auto_augment, random_erasing

sys.path.append(str(Path(__file__).resolve().parents[4] / "scripts"))
from golden_files import Store  # noqa: E402 - shared with other crates

FILL = (124, 116, 104)

# (height, width); square only for the pixel. Only the last has enough pixels to be equalised.
SIZES = {"pixel": (1, 1), "row": (1, 9), "column": (7, 1), "thin": (2, 11), "small": (13, 17), "large": (21, 24)}

# Some arguments exceed those of every magnitude. The small picture takes all, the others the second or the only one.
ARGUMENTS = {
    "AutoContrast": [None],
    "Equalize": [None],
    "Invert": [None],
    "Rotate": [0.0, 27.0, -27.0, 3.3, 90.0, -180.0, 200.5],
    "PosterizeIncreasing": [1, 2, 3, 4, 7, 8],
    "SolarizeIncreasing": [0, 1, 26, 128, 255, 256],
    "SolarizeAdd": [0, 1, 99, 128],
    "ColorIncreasing": [0.0, 0.1, 0.19, 1.0, 1.81, 1.9, 3.7],
    "ContrastIncreasing": [0.0, 0.1, 0.19, 1.0, 1.81, 1.9, 3.7],
    "BrightnessIncreasing": [0.0, 0.1, 0.19, 1.0, 1.81, 1.9, 3.7],
    "SharpnessIncreasing": [0.0, 0.1, 0.19, 1.0, 1.81, 1.9, 3.7],
    "ShearX": [0.27, -0.27, 0.031, -1.7],
    "ShearY": [0.27, -0.27, 0.031, -1.7],
    "TranslateXRel": [0.405, -0.405, 0.017, -0.5, 1.5],
    "TranslateYRel": [0.405, -0.405, 0.017, -0.5, 1.5],
}

MAGNITUDES = [level / 4 for level in range(41)]

ERASED = [(224, 224), (33, 21), (8, 8), (3, 5), (2, 2), (1, 7), (30, 300)]
DRAWS = 20_000
POINTS = 24


def picture(height, width):
    """Draws waves of different phase and range in each channel, and some outlying pixels."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    waves = 118 + 11 * c + (80 - 13 * c) * np.sin(0.61 * x + 0.37 * y + 1.3 * c) * np.cos(0.23 * x - 0.41 * y * (c - 1))
    noise = (x * 7919 + y * 104729 + c * 1299709) % 251 % 29 - 14
    return Image.fromarray(np.clip(waves + noise, 0, 255).astype(np.uint8))


def applied(name, image, argument, fill):
    hparams = {"img_mean": fill, "interpolation": Image.Resampling.BICUBIC}
    op = auto_augment.AugmentOp(name, prob=1.0, hparams=hparams)
    arguments = [] if argument is None else [argument]
    return op.aug_fn(image, *arguments, **op.kwargs)


def level_to_argument(name, magnitude, negative):
    level_to_arg = auto_augment.LEVEL_TO_ARG[name]
    if level_to_arg is None:
        return None
    with mock.patch.object(random, "random", lambda: 0.75 if negative else 0.25):
        (argument,) = level_to_arg(magnitude, {})
    return argument


def erased(height, width):
    """Returns points on the cumulative distribution of each value that describes a rectangle, and the number of rectangles."""
    eraser = random_erasing.RandomErasing(probability=1.0, device="cpu")
    rectangles = []
    for _ in range(DRAWS):
        # In the mode `const`, timm erases to zero.
        image = eraser(torch.ones(1, height, width))[0] == 0
        rows, columns = image.any(1).nonzero(), image.any(0).nonzero()
        if len(rows):
            rectangles.append((int(rows[0]), int(columns[0]), len(rows), len(columns)))
    points = {}
    if rectangles:
        top, left, h, w = np.array(rectangles).T
        columns = {"top": top, "left": left, "height": h, "width": w, "area": h * w, "aspect": h * 1000 // w}
        for name, values in columns.items():
            values = np.sort(values)
            at = np.unique(values[np.linspace(0, len(values) - 1, POINTS).astype(int)])
            points[name] = [[int(x), int(np.searchsorted(values, x, side="right"))] for x in at]
    return {"image": [height, width], "draws": DRAWS, "erased": len(rectangles), "points": points}


def main():
    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    store = Store(Path(__file__).with_name("augment"))
    images = {name: picture(*size) for name, size in SIZES.items()}
    images["flat"] = Image.new("RGB", (21, 14), (9, 200, 77))
    # Has so few values that the last steps of its equalised histogram exceed a byte.
    images["steps"] = images["large"].crop((0, 0, 22, 19)).point(lambda value: value // 32 * 32)
    # Grey in Pillow (mode L).
    images["grey"] = images["small"].getchannel(0)

    described = {}
    for name, image in images.items():
        shape = [image.height, image.width, len(image.getbands())]
        described[name] = {"shape": shape, "bytes": image.tobytes().hex()}
    store.json("images.json", described)

    # Arguments are text, because JSON readers may round numbers.
    cases = []
    for name, arguments in ARGUMENTS.items():
        for source, image in images.items():
            # A grey image has one channel to fill.
            fill = FILL if image.mode == "RGB" else Image.new("RGB", (1, 1), FILL).convert("L").getpixel((0, 0))
            for argument in arguments if source == "small" else arguments[:2][-1:]:
                expected = applied(name, image, argument, fill).tobytes().hex()
                cases.append({"op": name, "argument": str(argument), "image": source, "expected": expected})
    store.json("ops.json", cases)

    levels = []
    for magnitude in MAGNITUDES:
        for negative in (False, True):
            ops = auto_augment._RAND_INCREASING_TRANSFORMS
            arguments = [[name, str(level_to_argument(name, magnitude, negative))] for name in ops]
            levels.append({"magnitude": magnitude, "negative": negative, "ops": arguments})
    store.json("levels.json", levels)

    store.json("erased.json", [erased(height, width) for height, width in ERASED])
    store.finish()


main()
