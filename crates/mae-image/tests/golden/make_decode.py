"""Writes image files of every supported kind, and the pixels that Pillow reads from them.

pip install -r requirements.txt
python make_decode.py            # writes decode/
python make_decode.py --check    # makes the files again and compares
"""

import io
import struct
import sys
from pathlib import Path
from random import Random

import numpy as np
import skimage.data
from PIL import Image, ImageOps

sys.path += [str(Path(__file__).resolve().parents[up] / folder) for up, folder in ((1, "python"), (4, "scripts"))]
from golden_files import Store  # noqa: E402 - shared with other crates
from jpeg_files import random_jpeg, segment  # noqa: E402 - shared with check_jpeg.py

ORIENTATION = 0x0112


def encode(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def without_adobe(jpeg):
    """Removes the APP14 segment, as in CMYK files by other programs: then colours are not inverted."""
    start = jpeg.index(b"\xff\xee")
    (length,) = struct.unpack(">H", jpeg[start + 2 : start + 4])
    return jpeg[:start] + jpeg[start + 2 + length :]


def as_ycck(jpeg):
    """Declares the same samples to be YCCK, which Adobe's programs write."""
    start = jpeg.index(b"\xff\xee")
    transform = start + 2 + struct.unpack(">H", jpeg[start + 2 : start + 4])[0] - 1
    return jpeg[:transform] + b"\x02" + jpeg[transform + 1 :]


def files():
    """Yields name, bytes, and the expected RGB if it differs from Pillow's."""
    photo = Image.fromarray(skimage.data.astronaut()).crop((180, 20, 300, 110))
    photo = photo.resize((61, 46), Image.BICUBIC)
    grey = photo.convert("L")
    alpha = Image.fromarray(np.tile(np.arange(61, dtype=np.uint8) * 4, (46, 1)))
    la = Image.merge("LA", (grey, alpha))
    rgba = Image.merge("RGBA", (*photo.split(), alpha))
    palette = photo.quantize(40)
    # 16 bits per pixel, with low bytes that affect rounding.
    deep = np.asarray(grey).astype(np.uint32) * 257 + np.asarray(alpha)
    deep = np.minimum(deep, 65535).astype(np.uint16)
    narrowed = np.stack([((deep.astype(np.uint32) * 2 + 257) // 514).astype(np.uint8)] * 3, axis=-1)

    yield "grey.png", encode(grey, "PNG"), None
    yield "one-bit.png", encode(photo.convert("1"), "PNG"), None
    yield "grey-alpha.png", encode(la, "PNG"), None
    yield "rgb.png", encode(photo, "PNG"), None
    yield "rgba.png", encode(rgba, "PNG"), None
    yield "palette.png", encode(palette, "PNG"), None
    yield "palette-transparent.png", encode(palette, "PNG", transparency=3), None
    yield "grey-16.png", encode(Image.fromarray(deep), "PNG"), narrowed
    yield "pixel.png", encode(photo.crop((5, 5, 6, 6)), "PNG"), None

    yield "rgb.bmp", encode(photo, "BMP"), None
    yield "palette.bmp", encode(palette, "BMP"), None
    yield "rgb-lzw.tif", encode(photo, "TIFF", compression="tiff_lzw"), None
    yield "grey-16.tif", encode(Image.fromarray(deep), "TIFF"), narrowed
    yield "big.tif", encode(photo, "TIFF", big_tiff=True, exif=orientation(3)), None
    yield "rgb-orientation-6.tif", encode(photo, "TIFF", exif=orientation(6)), None

    small = photo.resize((13, 9), Image.BICUBIC)
    values = np.asarray(small)
    yield "rgb.ppm", encode(small, "PPM"), None
    yield "grey.pgm", encode(small.convert("L"), "PPM"), None
    yield "one-bit.pbm", encode(small.convert("1"), "PPM"), None
    yield "text-one-bit.pbm", b"P1\n# dots\n3 2\n1 0 1\n010\n", None
    yield "text-grey.pgm", b"P2 3 2 # white is\n15\n0 1 7\n8 14 15\n", None
    yield "text-rgb.ppm", b"P3\n2 1\n10\n0 1 3 5 9 10\n", None
    yield "sixteen-levels.ppm", b"P6 13 9 15\n" + (values >> 4).tobytes(), None
    yield "rgb-16.ppm", b"P6 13 9 1000\n" + (values.astype(">u2") * 3).tobytes(), None
    deep_small = np.asarray(small.convert("L")).astype(np.uint32) * 257 + 100
    deep_small = np.minimum(deep_small, 65535)
    narrow = np.stack([((deep_small * 2 + 257) // 514).astype(np.uint8)] * 3, axis=-1)
    yield "grey-16.pgm", b"P5\n13 9\n65535\n" + deep_small.astype(">u2").tobytes(), narrow

    yield "palette.gif", encode(palette, "GIF"), None
    yield "transparent.gif", encode(palette, "GIF", transparency=3), None
    second = ImageOps.mirror(photo).quantize(16)
    yield "animated.gif", encode(palette, "GIF", save_all=True, append_images=[second], duration=50), None

    yield "lossless.webp", encode(photo, "WEBP", lossless=True), None
    yield "lossless-alpha.webp", encode(rgba, "WEBP", lossless=True, exact=True), None
    yield "lossy.webp", encode(photo, "WEBP", quality=80), None
    yield "lossy-alpha.webp", encode(rgba, "WEBP", quality=80), None
    frames = {"save_all": True, "append_images": [ImageOps.mirror(photo)]}
    yield "animated.webp", encode(photo, "WEBP", lossless=True, **frames), None

    yield "grey.jpg", encode(grey, "JPEG", quality=90), None
    yield "full-chroma.jpg", encode(photo, "JPEG", quality=90, subsampling="4:4:4"), None
    yield "half-chroma.jpg", encode(photo, "JPEG", quality=90, subsampling="4:2:2"), None
    yield "quarter-chroma.jpg", encode(photo, "JPEG", quality=90, subsampling="4:2:0"), None
    yield "progressive.jpg", encode(photo, "JPEG", quality=90, progressive=True), None
    cmyk = encode(photo.convert("CMYK"), "JPEG", quality=95)
    yield "cmyk-adobe.jpg", cmyk, None
    yield "cmyk.jpg", without_adobe(cmyk), None
    yield "ycck.jpg", as_ycck(cmyk), None
    for value in range(1, 9):
        yield f"orientation-{value}.jpg", encode(photo, "JPEG", quality=90, exif=orientation(value)), None
    for name, data in layouts(12):
        yield name, data, None
    plain = encode(photo, "JPEG", quality=90, subsampling="4:2:0")
    exifs = {value: segment(0xE1, orientation(value)) for value in (1, 6)}
    yield "exif-6-then-1.jpg", plain[:20] + exifs[6] + exifs[1] + plain[20:], None
    yield "exif-1-then-6.jpg", plain[:20] + exifs[1] + exifs[6] + plain[20:], None
    for order, name in [("<", "little"), (">", "big")]:
        for value in (0, 3, 9):
            yield f"exif-long-{value}-{name}.jpg", plain[:20] + long_exif(order, value) + plain[20:], None
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    yield "xmp-8.jpg", plain[:20] + segment(0xE1, xmp) + plain[20:], None
    yield "jfif-with-adobe-0.jpg", plain[:20] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + plain[20:], None
    yield "restarts.jpg", encode(photo, "JPEG", quality=90, subsampling="4:2:0", restart_marker_blocks=3), None
    # Damage that libjpeg does not notice: coefficients coded beyond the end of a block; repeated 0xFF before a stuffed zero.
    # Fuzzing found these files; they are kept unchanged.
    for name in ("beyond-the-block.jpg", "fill-bytes.jpg"):
        yield name, (Path(__file__).parent / "decode" / name).read_bytes(), None
    yield "orientation-8.png", encode(photo, "PNG", exif=orientation(8)), None
    yield "orientation-5.webp", encode(photo, "WEBP", lossless=True, exif=orientation(5)), None


def layouts(count):
    """Yields the first `count` random files, in layouts that no common encoder writes, that Pillow reads."""
    seed = 0
    while count:
        data = random_jpeg(Random(seed))
        try:
            Image.open(io.BytesIO(data)).load()
            yield f"layout-{seed}.jpg", data
            count -= 1
        except OSError:
            pass
        seed += 1


def long_exif(order, value):
    """Returns an EXIF segment whose orientation is a LONG."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    tiff = head + struct.pack(order + "LHHHLLL", 8, 1, ORIENTATION, 4, 1, value, 0)
    return segment(0xE1, b"Exif\0\0" + tiff)


def orientation(value):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif.tobytes()


def main():
    store = Store(Path(__file__).with_name("decode"))
    cases = []
    for name, data, expected in files():
        store.bytes(name, data)
        if expected is None:
            expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
        file = name.replace(".", "-") + ".rgb.png"
        store.pixels(file, expected)
        cases.append({"file": name, "expected": file})
    store.json("cases.json", cases)
    store.finish()


main()
