"""Image files of every kind that is read, and what Pillow makes of them.

pip install -r requirements.txt
python make_decode.py            # writes decode/
python make_decode.py --check    # compares decode/ with what this makes
"""

import io
import struct

import numpy as np
import skimage.data
from PIL import Image, ImageOps
from store import Store

ORIENTATION = 0x0112


def encode(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def without_adobe(jpeg):
    """A CMYK JPEG as other programs write it: no APP14 segment, and so no inversion."""
    start = jpeg.index(b"\xff\xee")
    (length,) = struct.unpack(">H", jpeg[start + 2 : start + 4])
    return jpeg[:start] + jpeg[start + 2 + length :]


def as_ycck(jpeg):
    """The same samples declared to be YCCK, which Adobe's programs write."""
    start = jpeg.index(b"\xff\xee")
    transform = start + 2 + struct.unpack(">H", jpeg[start + 2 : start + 4])[0] - 1
    return jpeg[:transform] + b"\x02" + jpeg[transform + 1 :]


def files():
    """Name, bytes, and the RGB that is expected where it is not simply Pillow's."""
    photo = Image.fromarray(skimage.data.astronaut()).crop((180, 20, 300, 110))
    photo = photo.resize((61, 46), Image.BICUBIC)
    grey = photo.convert("L")
    alpha = Image.fromarray(np.tile(np.arange(61, dtype=np.uint8) * 4, (46, 1)))
    la = Image.merge("LA", (grey, alpha))
    rgba = Image.merge("RGBA", (*photo.split(), alpha))
    palette = photo.quantize(40)
    # 16 bits a pixel, with low bytes that matter to rounding.
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
    yield "rgb-orientation-6.tif", encode(photo, "TIFF", exif=orientation(6)), None

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
    yield "orientation-8.png", encode(photo, "PNG", exif=orientation(8)), None
    yield "orientation-5.webp", encode(photo, "WEBP", lossless=True, exif=orientation(5)), None


def orientation(value):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif.tobytes()


def main():
    store = Store("decode")
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
