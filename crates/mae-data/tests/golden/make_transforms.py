"""Writes crops, resized images and evaluation views of photographs, made by torchvision on Pillow images.

pip install -r requirements.txt
python make_transforms.py            # writes transforms/
python make_transforms.py --check    # makes the files again and compares
"""

import sys
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

sys.path.append(str(Path(__file__).resolve().parents[4] / "scripts"))
from golden_files import Store  # noqa: E402 - shared with other crates

BICUBIC = InterpolationMode.BICUBIC

# name: (photograph, left, top, width, height) of a crop of it, square only for the pixel.
SOURCES = {
    "astronaut": (skimage.data.astronaut, 120, 0, 187, 251),
    "chelsea": (skimage.data.chelsea, 100, 40, 223, 149),
    "coffee": (skimage.data.coffee, 150, 80, 300, 37),
    "tower": (skimage.data.astronaut, 211, 7, 41, 301),
    # One pixel high, one pixel wide, one pixel.
    "row": (skimage.data.chelsea, 80, 120, 150, 1),
    "column": (skimage.data.astronaut, 220, 100, 1, 90),
    "pixel": (skimage.data.coffee, 300, 200, 1, 1),
}

# (source, top, left, height, width, output height, output width)
CROPS = [
    ("astronaut", 0, 0, 251, 187, 64, 48),  # the whole image, smaller
    ("astronaut", 17, 23, 151, 120, 96, 112),  # smaller, non-square
    ("astronaut", 100, 60, 31, 43, 112, 96),  # larger
    ("astronaut", 3, 5, 240, 180, 5, 7),  # much smaller
    ("astronaut", 0, 0, 251, 187, 1, 1),  # to one pixel
    ("astronaut", 30, 40, 64, 80, 64, 80),  # only cropped
    ("astronaut", 30, 40, 64, 80, 64, 40),  # only one side resized
    ("astronaut", 30, 40, 64, 80, 96, 80),  # only the other side
    ("chelsea", 10, 20, 120, 160, 224, 224),  # the size in training
    ("chelsea", 0, 0, 149, 223, 50, 110),
    ("chelsea", 148, 0, 1, 223, 16, 64),  # a row of a larger image
    ("chelsea", 0, 222, 149, 1, 64, 16),  # a column of it
    ("chelsea", 77, 99, 1, 1, 9, 11),
    ("chelsea", 77, 99, 2, 3, 40, 50),
    ("coffee", 0, 0, 37, 300, 37, 29),
    ("coffee", 5, 7, 30, 290, 33, 40),
    ("row", 0, 0, 1, 150, 16, 32),
    ("column", 0, 0, 90, 1, 32, 16),
    ("tower", 0, 0, 301, 41, 29, 83),  # shorter and wider: Pillow resizes columns first
    ("tower", 3, 2, 203, 37, 97, 31),
    ("pixel", 0, 0, 1, 1, 8, 12),
]

# (source, shorter side, output height, output width)
EVALS = [
    ("astronaut", 64, 56, 56),
    ("astronaut", 73, 56, 63),  # odd remainders on both sides
    ("astronaut", 74, 56, 63),
    ("astronaut", 187, 100, 101),  # only cropped
    ("astronaut", 220, 128, 96),  # larger
    ("chelsea", 64, 56, 56),
    ("chelsea", 61, 48, 58),
    ("chelsea", 40, 64, 48),  # padded above and below, cropped at the sides
    ("chelsea", 20, 45, 60),  # padded on all sides, by odd lengths
    ("coffee", 48, 48, 48),
    ("coffee", 7, 7, 7),
    ("coffee", 37, 41, 211),  # not resized: padded above and below, cropped at the sides
    ("chelsea", 97, 91, 87),
    ("chelsea", 301, 97, 131),  # larger, by an odd factor
    ("astronaut", 31, 33, 29),  # much smaller, padded by a pixel
    ("tower", 19, 33, 17),  # tall and smaller: Pillow resizes columns first
    ("tower", 30, 299, 33),
    ("tower", 67, 61, 53),  # tall and larger
    ("row", 8, 8, 8),
    ("column", 8, 9, 12),
    ("pixel", 16, 12, 14),
]

# By timm's transform: (source, (height, width) to cover or squash to, (height, width) of the crop, mode, filter)
TIMM = [
    ("astronaut", (64, 64), (64, 64), "center", "bicubic"),
    ("astronaut", (16, 64), (16, 64), "center", "bicubic"),
    ("astronaut", (64, 24), (64, 24), "center", "bicubic"),
    ("chelsea", (73, 146), (64, 128), "center", "bicubic"),
    ("chelsea", (149, 223), (149, 223), "center", "bicubic"),  # its own size
    ("chelsea", (201, 100), (192, 96), "center", "bilinear"),
    ("coffee", (33, 75), (31, 71), "center", "lanczos"),
    ("tower", (53, 30), (51, 29), "center", "hamming"),
    ("tower", (41, 83), (41, 83), "center", "box"),
    ("row", (8, 20), (8, 20), "center", "bicubic"),
    ("column", (9, 5), (9, 5), "center", "lanczos"),
    ("astronaut", (64, 64), (64, 64), "squash", "bilinear"),
    ("chelsea", (48, 112), (48, 112), "squash", "bicubic"),
    ("chelsea", (300, 100), (288, 96), "squash", "lanczos"),
    ("coffee", (70, 70), (64, 64), "squash", "hamming"),
    ("tower", (29, 83), (29, 83), "squash", "box"),
    ("pixel", (8, 12), (8, 12), "squash", "bilinear"),
]

# Heights and widths of images for which crops are drawn. The last four reach the fallback, a central crop.
DRAWN = [(375, 500), (500, 375), (224, 224), (33, 21), (8, 8), (2, 3), (1, 1), (30, 300), (1000, 10), (3, 1)]
RECIPES = {
    "pretrain": ((0.2, 1.0), (3 / 4, 4 / 3)),
    "probe": ((0.08, 1.0), (3 / 4, 4 / 3)),
    "odd": ((0.3, 0.7), (0.5, 0.9)),
}
DRAWS = 20_000
POINTS = 24


def images():
    for name, (load, left, top, width, height) in SOURCES.items():
        yield name, Image.fromarray(load()).convert("RGB").crop((left, top, left + width, top + height))


def distribution(height, width, scale, ratio):
    """Returns points on the cumulative distribution of each value that describes a crop."""
    image = torch.empty(1, height, width)
    draw = transforms.RandomResizedCrop.get_params
    crops = np.array([draw(image, list(scale), list(ratio)) for _ in range(DRAWS)])
    top, left, h, w = crops.T
    columns = {"top": top, "left": left, "height": h, "width": w, "area": h * w, "aspect": h * 1000 // w}
    points = {}
    for name, values in columns.items():
        values = np.sort(values)
        at = np.unique(values[np.linspace(0, DRAWS - 1, POINTS).astype(int)])
        points[name] = [[int(x), int(np.searchsorted(values, x, side="right"))] for x in at]
    return points


def same_for_each_band(image, transform):
    """Transforms an image. Asserts that each band alone, and four bands in one image, give the same result."""
    expected = transform(image)
    bands, expected_bands = image.split(), expected.split()
    four = transform(Image.merge("CMYK", (*bands, bands[0]))).split()
    for band, alone in zip((*expected_bands, expected_bands[0]), (*map(transform, bands), four[3])):
        assert np.array_equal(band, alone)
    assert all(np.array_equal(*pair) for pair in zip(expected_bands, four))
    return expected


def floats(image):
    """Returns the green band as floats that use the whole mantissa."""
    return Image.fromarray(np.asarray(image)[..., 1].astype(np.float32) * np.float32(137.77) - np.float32(9000))


# Floats are stored only for images of at most this many pixels, to save space.
MOST_FLOATS = 2400


def keep_floats(store, case, image, view):
    """Stores the view of the floats too, if the image is small."""
    if case["size"][0] * case["size"][1] <= MOST_FLOATS:
        case["floats"] = case["expected"].replace(".png", ".npy")
        store.array(case["floats"], np.asarray(view(image)))


def timm_view(fitted, size, mode, name):
    """Returns timm's evaluation transform without the conversion to a tensor: resizes to `fitted` and crops to `size`."""
    percent = size[0] / fitted[0]
    view = transforms_imagenet_eval(size, percent, mode, interpolation=name, normalize=False)
    resize, crop = view.transforms[:2]
    chosen = resize.size if isinstance(resize.size, (tuple, list)) else (resize.size, resize.size)
    assert tuple(chosen) == fitted, (chosen, fitted)
    return transforms.Compose([resize, crop])


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    store = Store(Path(__file__).with_name("transforms"))
    sources = dict(images())
    for name, image in sources.items():
        store.pixels(f"{name}.png", image)

    crops = []
    for number, (source, top, left, height, width, *size) in enumerate(CROPS):
        file = f"crop-{number:02}.png"
        crop = [top, left, height, width]
        resized = same_for_each_band(sources[source], lambda image: F.resized_crop(image, *crop, size, BICUBIC))
        store.pixels(file, resized)
        crops.append({"source": f"{source}.png", "crop": crop, "size": size, "expected": file})
        if size[0] * size[1] <= MOST_FLOATS:
            cut = floats(sources[source]).crop((left, top, left + width, top + height))
            crops[-1]["floats"] = f"crop-{number:02}.npy"
            store.array(crops[-1]["floats"], np.asarray(F.resize(cut, size, BICUBIC)))
    store.json("crops.json", crops)

    evals = []
    for number, (source, short, *size) in enumerate(EVALS):
        file = f"eval-{number:02}.png"
        view = transforms.Compose([transforms.Resize(short, BICUBIC), transforms.CenterCrop(size)])
        store.pixels(file, same_for_each_band(sources[source], view))
        fitted = {"mode": "cover", "fitted": [short, short], "filter": "bicubic"}
        evals.append({"source": f"{source}.png", **fitted, "size": size, "expected": file})
        keep_floats(store, evals[-1], floats(sources[source]), view)
    for number, (source, fitted, size, mode, name) in enumerate(TIMM):
        file = f"timm-{number:02}.png"
        view = timm_view(fitted, size, mode, name)
        store.pixels(file, same_for_each_band(sources[source], view))
        how = {"mode": "cover" if mode == "center" else mode, "fitted": fitted, "filter": name}
        evals.append({"source": f"{source}.png", **how, "size": size, "expected": file})
        keep_floats(store, evals[-1], floats(sources[source]), view)
    store.json("evals.json", evals)

    draws = []
    for recipe, (scale, ratio) in RECIPES.items():
        for height, width in DRAWN:
            points = distribution(height, width, scale, ratio)
            described = {"recipe": recipe, "scale": scale, "ratio": ratio, "image": [height, width]}
            draws.append({**described, "draws": DRAWS, "points": points})
    store.json("draws.json", draws)
    store.finish()


main()
