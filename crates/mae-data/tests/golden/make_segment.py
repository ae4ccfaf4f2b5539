"""Writes images and label maps that torchvision v2 resizes, crops, flips, rotates and pads together, and images of changed hue.

pip install -r requirements.txt
python make_segment.py            # writes segment/
python make_segment.py --check    # makes the files again and compares
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

sys.path.append(str(Path(__file__).resolve().parents[4] / "scripts"))
from golden_files import Store  # noqa: E402 - shared with other crates

BILINEAR, NEAREST_EXACT = InterpolationMode.BILINEAR, InterpolationMode.NEAREST_EXACT

# (height, width); square only for the pixel.
SIZES = {"wide": (29, 43), "tall": (50, 17), "row": (1, 21), "pixel": (1, 1)}

# The label of ignored pixels in the expected label maps.
IGNORED = 255
FILL = (124, 116, 104)

# (source, resized, crop (top, left, height, width), mirrored, upside down, clockwise quarter turns, output (height, width))
CASES = [
    ("wide", (29, 43), (0, 0, 29, 43), False, False, 0, (29, 43)),  # unchanged
    ("wide", (29, 43), (3, 5, 20, 24), True, False, 0, (20, 24)),  # only cropped and mirrored
    ("wide", (16, 24), (0, 2, 16, 20), False, False, 0, (20, 20)),  # smaller, with a border below
    ("wide", (58, 86), (31, 7, 24, 20), True, False, 0, (24, 20)),  # twice as large
    ("wide", (44, 65), (11, 30, 24, 20), False, True, 0, (24, 20)),
    ("wide", (17, 25), (0, 0, 17, 22), True, True, 1, (24, 20)),  # rotated, with borders on two sides
    ("wide", (31, 46), (4, 9, 20, 24), False, False, 3, (24, 20)),
    ("wide", (7, 10), (0, 0, 7, 10), True, False, 2, (12, 16)),  # much smaller
    ("tall", (100, 34), (60, 6, 16, 28), False, False, 0, (16, 28)),
    ("tall", (25, 9), (2, 0, 16, 9), False, True, 1, (12, 16)),
    ("tall", (71, 24), (55, 1, 16, 20), True, False, 3, (20, 16)),
    ("row", (2, 42), (0, 20, 2, 12), True, False, 0, (9, 12)),
    ("row", (1, 8), (0, 0, 1, 8), False, False, 1, (11, 9)),
    ("pixel", (5, 5), (0, 1, 5, 4), False, True, 0, (8, 6)),
]

HUES = [-0.5, -0.1, -0.033, 0.02, 0.1, 0.5]


def picture(height, width):
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    waves = 120 + 9 * c + (90 - 11 * c) * np.sin(0.71 * x + 0.29 * y + 1.1 * c) * np.cos(0.31 * x - 0.53 * y * (c - 1))
    noise = (x * 7919 + y * 104729 + c * 1299709) % 251 % 37 - 18
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def labels(height, width):
    """Draws patches of a few classes, and single pixels."""
    y, x = np.mgrid[0:height, 0:width]
    patches = ((x // 7) * 3 + (y // 5) * 5) % 6
    return np.where((x * 31 + y * 17) % 11 == 0, 6, patches).astype(np.uint8)


def both(image, mask, resized, crop, mirrored, upside_down, quarters, size):
    """Applies the same geometry to a Pillow image, or a tensor of floats, and to a mask.

    The mask is not a `tv_tensors.Mask`, because these are always resized by `nearest`, which shifts them by up to half a pixel.
    """
    mask = torch.from_numpy(mask)[None]
    image = F.resize(image, list(resized), BILINEAR, antialias=True)
    mask = F.resize(mask, list(resized), NEAREST_EXACT)
    outputs = []
    for inpt, fill in [(image, FILL), (mask, IGNORED)]:
        inpt = F.crop(inpt, *crop)
        inpt = F.horizontal_flip(inpt) if mirrored else inpt
        inpt = F.vertical_flip(inpt) if upside_down else inpt
        # `rotate` turns counterclockwise; `expand` keeps the corners.
        inpt = F.rotate(inpt, -90 * quarters, expand=True) if quarters else inpt
        height, width = F.get_size(inpt)
        if torch.is_tensor(inpt) and inpt.is_floating_point():
            fill = [float(number) for number in FILL[: inpt.shape[0]]]
        outputs.append(F.pad(inpt, [0, 0, size[1] - width, size[0] - height], fill=fill))
    return outputs[0], outputs[1][0].numpy()


def colours():
    """Returns all colours of 8 steps per channel, greys included."""
    steps = np.array([0, 1, 37, 96, 128, 200, 254, 255])
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(16, 32, 3)
    return grid.astype(np.uint8)


def main():
    torch.set_num_threads(1)
    store = Store(Path(__file__).with_name("segment"))
    for name, size in SIZES.items():
        store.pixels(f"{name}.png", picture(*size))
        store.pixels(f"{name}-map.png", labels(*size))

    cases = []
    for at, (name, *arguments) in enumerate(CASES):
        pixels, mask = picture(*SIZES[name]), labels(*SIZES[name])
        image, expected = both(Image.fromarray(pixels), mask, *arguments)
        store.pixels(f"{at:02}.png", np.asarray(image))
        store.pixels(f"{at:02}-map.png", expected)
        keys = ["resized", "crop", "mirrored", "upside_down", "quarters", "size"]
        cases.append({"source": name, **dict(zip(keys, arguments))})
        # Floats of two channels, with the same map.
        if name == "wide" and at % 2 == 1:
            floats = torch.from_numpy(pixels[..., :2].astype(np.float32) * 3.7 - 200).permute(2, 0, 1)
            image, again = both(floats.contiguous(), mask, *arguments)
            assert np.array_equal(again, expected)
            store.array(f"{at:02}.npy", image.permute(1, 2, 0).numpy().copy())
    store.json("cases.json", cases)

    store.pixels("colours.png", colours())
    for at, hue in enumerate(HUES):
        store.pixels(f"hue-{at}.png", np.asarray(F.adjust_hue(Image.fromarray(colours()), hue)))
    # As text, because JSON readers may round numbers.
    store.json("hues.json", [str(hue) for hue in HUES])
    store.finish()


main()
