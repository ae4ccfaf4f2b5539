"""Makes small TIFF and NumPy files of every kind with the libraries in common use.

tifffile, GDAL (by rasterio), Pillow and numpy write them. If a library can read its file back, it must read the same values.
"""

import itertools
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import tifffile
from PIL import Image

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
OUT = Path()  # set by `make`
rng = np.random.default_rng()
read: list["Read"] = []
refused: list["Refused"] = []


@dataclass
class Read:
    """A file and its values `[H, W, C]`, upright."""

    path: Path
    numbers: np.ndarray
    alpha: bool


@dataclass
class Refused:
    """A file, the kind of error (damaged or unsupported), and words of the message."""

    path: Path
    kind: str
    words: str


def make(folder: Path, seed: int) -> tuple[list[Read], list[Refused]]:
    """Writes all files into a folder. Returns those to be read and those to be refused."""
    global OUT, rng
    OUT, rng = folder, np.random.default_rng(seed)
    read.clear()
    refused.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for files in [matrix, more_tiff, geotiff, stacks, not_read, npy]:
            files()
    return read, refused


def numbers(dtype, shape):
    """Draws values over the whole range of a type that a 32-bit float represents exactly."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        a = (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)).astype(kind)
        flat = a.reshape(-1)
        flat[:3] = [np.nan, np.inf, -np.inf]
        flat[3] = np.finfo(kind).smallest_subnormal
        return a
    info = np.iinfo(kind)
    if kind.itemsize <= 2:
        a = rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)
    else:
        a = rng.integers(-(2**24) if info.min else 0, 2**24, shape, endpoint=True).astype(kind)
        flat = a.reshape(-1)
        # Large values with few significant bits.
        flat[:3] = [info.max // 2 + 1, info.min, 2 ** (kind.itemsize * 8 - 3) * 3]
    return a


def expect(name, array, alpha=False, floats=False):
    """Registers a file with the values that must be read, `[H, W]` or `[H, W, C]`."""
    a = array[..., None] if array.ndim == 2 else array
    kind = {"u1": "u1", "u2": "u2"}.get(a.dtype.str[1:], "f4") if not floats else "f4"
    read.append(Read(OUT / name, np.ascontiguousarray(a.astype(kind)), alpha))


def refuse(name, kind, words):
    """Registers a file that must be refused."""
    refused.append(Refused(OUT / name, kind, words))


def same(a, b):
    """Asserts that two arrays are equal to the bit."""
    assert a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes(), (a.shape, b.shape)


def write(name, array, check=True, alpha=False, **options):
    """Writes [H, W] or [H, W, C] with tifffile; `planar` moves the channels first."""
    a = array
    planar = options.pop("planar", False)
    if a.ndim == 3:
        options["planarconfig"] = "separate" if planar else "contig"
        options.setdefault("photometric", "minisblack")
    stored = np.moveaxis(a, -1, 0) if planar and a.ndim == 3 else a
    tifffile.imwrite(OUT / name, stored, metadata=None, **options)
    if check:
        with tifffile.TiffFile(OUT / name) as file:
            got = file.pages[0].asarray()
        same(got.astype(got.dtype.newbyteorder("<")), stored.astype(stored.dtype.newbyteorder("<")))
    expect(name, a, alpha=alpha)


def matrix():
    """Every type, number of bands, layout, compression and byte order."""
    n = 0
    codecs = [None, "zlib", "lzw", "packbits"]
    layouts = ["strips", "one", "tiles"]
    for dtype, bands, planar in itertools.product(DTYPES, [1, 2, 3, 4, 5, 13, 64], [False, True]):
        if bands == 1 and planar:
            continue
        # Each file takes the next of each kind, so that all pairs occur.
        codec = codecs[n % 4]
        layout = layouts[(n // 4) % 3]
        big = (n // 2) % 3 == 0
        order = "<>"[(n // 3 + n) % 2]
        predictors = [None]
        if codec in ("zlib", "lzw"):
            # tifffile writes predictor 2 only for integers. GDAL also does for floats, see `geotiff`.
            predictors = [None, 3 if dtype[0] == "f" else 2]
        for predictor in predictors:
            h, w = [(11, 21), (16, 48), (21, 9)][n % 3]
            shape = (h, w) if bands == 1 else (h, w, bands)
            options = dict(compression=codec, bigtiff=big, byteorder=order)
            if predictor:
                options["predictor"] = predictor
            if layout == "tiles":
                options["tile"] = (16, 16)
            elif layout == "strips":
                options["rowsperstrip"] = 5
            name = f"{dtype}_{bands}_{'planar' if planar else 'chunky'}_{layout}_{codec}_{predictor}_{'be' if order == '>' else 'le'}{'_big' if big else ''}.tif"
            write(name, numbers(dtype, shape), planar=planar, **options)
            n += 1


def more_tiff():
    """Predictors, alpha, additional bands, thumbnails, JPEG, and files by Pillow."""
    # Every predictor in every layout and byte order, chunky; tiles are wider than the image.
    for dtype, predictor, tile, order, bands in itertools.product(
        ["u1", "u2", "u4", "u8", "f2", "f4", "f8"], [2, 3], [None, (32, 64)], "<>", [1, 7]
    ):
        if (predictor == 3) != (dtype[0] == "f"):
            continue
        shape = (21, 50) if bands == 1 else (21, 50, bands)
        name = f"pred{predictor}_{dtype}_{bands}_{'tile' if tile else 'strip'}_{'be' if order == '>' else 'le'}.tif"
        write(name, numbers(dtype, shape), compression="zlib", predictor=predictor, tile=tile, byteorder=order)
    # Alpha and other bands beyond the colours.
    for dtype, planar in itertools.product(["u1", "u2", "f4"], [False, True]):
        tag = f"{dtype}_{'planar' if planar else 'chunky'}.tif"
        for extra in ["unassalpha", "assocalpha"]:
            write(f"rgba_{extra}_{tag}", numbers(dtype, (9, 11, 4)), alpha=True, planar=planar, photometric="rgb", extrasamples=[extra])
            write(f"greya_{extra}_{tag}", numbers(dtype, (9, 11, 2)), alpha=True, planar=planar, extrasamples=[extra])
        write(f"rgbn_{tag}", numbers(dtype, (9, 11, 4)), planar=planar, photometric="rgb", extrasamples=["unspecified"])
        for codec in [None, "lzw"]:
            write(f"rgb10_{codec}_{tag}", numbers(dtype, (9, 11, 13)), planar=planar, photometric="rgb", extrasamples=["unspecified"] * 10, compression=codec, predictor=(3 if dtype == "f4" else 2) if codec else None)
    for dtype in ["u1", "u2", "u4", "i1", "i2", "f2", "f4"]:
        write(f"white_{dtype}.tif", numbers(dtype, (8, 9)), photometric="miniswhite")
        write(f"white3_{dtype}.tif", numbers(dtype, (8, 9, 3)), photometric="miniswhite")
    for dtype in ["i1", "i2", "i4", "f4", "f8", "u4"]:
        write(f"rgb_{dtype}.tif", numbers(dtype, (8, 9, 3)), photometric="rgb", compression="zlib")
    # Thumbnails before and after the image; pages that are not channels.
    a, b = numbers("u2", (30, 20)), numbers("u2", (15, 10))
    for name, pages in [("thumb_first.tif", [(b, 1), (a, 0)]), ("thumb_last.tif", [(a, 0), (b, 1)])]:
        with tifffile.TiffWriter(OUT / name) as file:
            for page, kind in pages:
                file.write(page, subfiletype=kind, metadata=None, photometric="minisblack")
        expect(name, a)
    with tifffile.TiffWriter(OUT / "two_pages.tif") as file:
        file.write(a, metadata=None, photometric="minisblack")
        file.write(b, metadata=None, photometric="minisblack")
    expect("two_pages.tif", a)
    # libjpeg and zune-jpeg may differ by one when they decode JPEG, so each block has a single grey.
    grey = np.kron(rng.integers(0, 256, (6, 8)), np.ones((8, 8))).astype("u1")
    write("jpeg_grey.tif", grey, compression="jpeg", compressionargs={"level": 100})
    write("jpeg_grey_tiles.tif", grey, compression="jpeg", compressionargs={"level": 100}, tile=(32, 32))
    for bands, interleave, options in [(3, "pixel", dict(photometric="rgb")), (3, "band", {}), (1, "band", {}), (13, "band", dict(photometric="minisblack"))]:
        a = np.kron(rng.integers(0, 256, (bands, 6, 8)), np.ones((1, 8, 8))).astype("u1")
        gdal(f"geo_jpeg_{bands}_{interleave}.tif", a, floats=False, compress="jpeg", jpeg_quality=100, interleave=interleave, tiled=True, blockxsize=16, blockysize=16, **options)
    a = numbers("u1", (6, 9, 3))
    write("orientation.tif", a, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    read[-1].numbers = np.ascontiguousarray(np.rot90(a, -1))
    # Pillow writes files of its own.
    p = numbers("u1", (17, 13, 4))
    for codec in ["raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"]:
        Image.fromarray(p, "RGBA").save(OUT / f"pillow_{codec}.tif", compression=codec)
        expect(f"pillow_{codec}.tif", p, alpha=True)
    f = numbers("f4", (17, 13))
    Image.fromarray(f, "F").save(OUT / "pillow_float.tif")
    expect("pillow_float.tif", f)


def gdal(name, array, check=True, alpha=False, floats=True, **options):
    """Writes [C, H, W] with rasterio."""
    c, h, w = array.shape
    with rasterio.open(OUT / name, "w", driver="GTiff", height=h, width=w, count=c, dtype=array.dtype, **options) as file:
        file.write(array)
    with rasterio.open(OUT / name) as file:
        same(file.read(), array)
    nodata = options.get("nodata")
    out = np.moveaxis(array, 0, -1)
    if nodata is not None:
        gone = out == np.array(nodata).astype(out.dtype) if out.dtype.kind == "f" else out == nodata
        with np.errstate(over="ignore"):
            out = np.where(gone, np.float32(np.nan), out.astype("f4"))
    expect(name, out, alpha=alpha, floats=nodata is not None)


def geotiff():
    """Files by GDAL: "no data", sparse files, overviews."""
    for dtype, nodata in [
        ("u1", 255), ("u1", 0), ("u2", 65535), ("i2", -9999), ("i4", -2147483648), ("u4", 4294967295),
        ("f4", -9999.0), ("f4", float("nan")), ("f4", -3.4028234663852886e38), ("f4", 0.1),
        ("f8", -1.7976931348623157e308), ("f8", 0.1), ("f8", -9999.0), ("i1", -128), ("u1", None), ("f4", None),
    ]:
        for i, (tiled, interleave) in enumerate(itertools.product([False, True], ["band", "pixel"])):
            a = numbers(dtype, (3, 33, 40))
            if dtype == "f8":
                a.reshape(-1)[3] = 1.0  # values too small for an f32 become 0 anyway
            if nodata is not None:
                a[:, 5:9, 7:30] = nodata
                a[1] = nodata
            options = dict(tiled=True, blockxsize=16, blockysize=16) if tiled else {}
            codec = ["deflate", "lzw", "packbits", None][i]
            name = f"geo_{dtype}_{nodata}_{interleave}_{'tiled' if tiled else 'strips'}.tif"
            gdal(name, a, nodata=nodata, interleave=interleave, compress=codec, photometric="minisblack", **options)
    # "No data" texts that rasterio does not write.
    big = np.zeros((8, 8), "u8")
    big[0, 0], big[0, 1] = 2**64 - 1, 2**63
    least = np.finfo("f4").min
    for i, (text, array, gone) in enumerate([
        ("18446744073709551615", big, big == 2**64 - 1),
        ("18446744073709551616", big % (2**64 - 1), None),
        ("9223372036854775807", big.astype("i8") // 2**62 * 2**62, None),
        (" 7.0 ", numbers("u1", (8, 8)) % 9, 7),
        ("7.5", numbers("u1", (8, 8)) % 9, None),
        ("-9999", numbers("u2", (8, 8)), None),
        ("1e2", numbers("i1", (8, 8)) % 3 + np.int8(99), 100),
        ("-3.40282346638529e+38", np.full((8, 8), least), least),
        ("1e300", np.full((8, 8), np.inf, "f4"), None),
        ("-inf", np.full((8, 8), -np.inf, "f4"), -np.inf),
        ("0.1", np.full((8, 8), 0.1, "f2"), np.float16(0.1)),
        ("NaN", numbers("u1", (8, 8)), None),
    ]):
        name = f"no_data_{i}.tif"
        tifffile.imwrite(OUT / name, array, metadata=None, extratags=[(42113, "s", 0, text, True)])
        lost = gone if isinstance(gone, np.ndarray) else np.zeros((8, 8), bool) if gone is None else array == gone
        assert lost.any() == (gone is not None), text
        expect(name, np.where(lost, np.float32(np.nan), array.astype("f4")))
    gdal("geo_f8_predictor.tif", numbers("f4", (2, 33, 40)).astype("f8"), nodata=-1.0, compress="deflate", predictor=3)
    for dtype in ["f4", "f8"]:
        for interleave in ["band", "pixel"]:
            gdal(f"geo_{dtype}_predictor2_{interleave}.tif", numbers("f4", (3, 33, 40)).astype(dtype), compress="lzw", predictor=2, interleave=interleave, photometric="minisblack")
    gdal("geo_13.tif", numbers("u2", (13, 64, 64)), floats=False, compress="deflate", predictor=2, tiled=True, blockxsize=32, blockysize=32, interleave="pixel")
    # GDAL marks the fourth 8-bit band as alpha.
    gdal("geo_4_u1.tif", numbers("u1", (4, 20, 20)), alpha=True, floats=False)
    # GDAL leaves out chunks that are all zero or all "no data".
    for nodata in [None, 0, -9999]:
        a = numbers("i2", (2, 64, 64))
        a[:, :32] = nodata or 0
        gdal(f"geo_sparse_{nodata}.tif", a, nodata=nodata, sparse_ok=True, tiled=True, blockxsize=16, blockysize=16)
    # Overviews are pages of their own.
    a = numbers("u2", (3, 128, 128))
    name = "geo_overviews.tif"
    with rasterio.open(OUT / name, "w", driver="GTiff", height=128, width=128, count=3, dtype="uint16", tiled=True, blockxsize=32, blockysize=32) as file:
        file.write(a)
    with rasterio.open(OUT / name, "r+") as file:
        file.build_overviews([2, 4])
    expect(name, np.moveaxis(a, 0, -1))
    # A cloud-optimised file.
    with rasterio.open(OUT / "geo_cog.tif", "w", driver="COG", height=128, width=128, count=3, dtype="uint16", compress="deflate", blocksize=128) as file:
        file.write(a)
    expect("geo_cog.tif", np.moveaxis(a, 0, -1))


def stacks():
    """The channels of ImageJ and OME files."""
    for dtype, c in itertools.product(["u1", "u2", "f4"], [1, 2, 5]):
        a = numbers(dtype, (c, 12, 15))
        name = f"imagej_{dtype}_{c}.tif"
        tifffile.imwrite(OUT / name, a, imagej=True, metadata={"axes": "CYX"})
        same(tifffile.imread(OUT / name), a if c > 1 else a[0])
        expect(name, np.moveaxis(a, 0, -1))
        # Like a large ImageJ stack, which has only the directory of the first page.
        if c > 1:
            data = bytearray((OUT / name).read_bytes())
            with tifffile.TiffFile(OUT / name) as file:
                page = file.pages[0]
                order = file.byteorder
                at = page.offset + 2 + 12 * len(page.tags)
                offsets = [p.dataoffsets[0] for p in file.pages]
            size = a[0].nbytes
            assert offsets == [offsets[0] + size * i for i in range(c)], offsets
            data[at : at + 4] = bytes(4)
            (OUT / f"one_{name}").write_bytes(data)
            expect(f"one_{name}", np.moveaxis(a, 0, -1))
    rgb = numbers("u1", (12, 15, 3))
    tifffile.imwrite(OUT / "imagej_rgb.tif", rgb, imagej=True, metadata={"axes": "YXS"}, photometric="rgb")
    expect("imagej_rgb.tif", rgb)
    for dtype, c, big in itertools.product(["u1", "u2", "f4"], [1, 2, 5], [False, True]):
        a = numbers(dtype, (c, 12, 15))
        name = f"ome_{dtype}_{c}_{big}.ome.tif"
        tifffile.imwrite(OUT / name, a, ome=True, metadata={"axes": "CYX"}, bigtiff=big, compression="zlib", photometric="minisblack")
        same(tifffile.imread(OUT / name).reshape(a.shape), a)
        expect(name, np.moveaxis(a, 0, -1))
    tifffile.imwrite(OUT / "ome_rgb.ome.tif", rgb, ome=True, metadata={"axes": "YXS"}, photometric="rgb")
    expect("ome_rgb.ome.tif", rgb)
    a = numbers("u2", (3, 64, 64))
    with tifffile.TiffWriter(OUT / "ome_pyramid.ome.tif", ome=True) as file:
        file.write(a, subifds=1, metadata={"axes": "CYX"}, photometric="minisblack")
        file.write(a[:, ::2, ::2], subfiletype=1, photometric="minisblack")
    expect("ome_pyramid.ome.tif", np.moveaxis(a, 0, -1))
    for axes in ["ZYX", "TYX", "ZCYX", "TCYX"]:
        shape = (4, 12, 15) if len(axes) == 3 else (4, 3, 12, 15)
        b = numbers("u2", shape)
        tifffile.imwrite(OUT / f"imagej_{axes}.tif", b, imagej=True, metadata={"axes": axes})
        refuse(f"imagej_{axes}.tif", "Unsupported", "a stack of 4 slices" if axes[0] == "Z" else "and 4 frames")
        tifffile.imwrite(OUT / f"ome_{axes}.ome.tif", b, ome=True, metadata={"axes": axes}, photometric="minisblack")
        refuse(f"ome_{axes}.ome.tif", "Unsupported", "a stack of 4 slices" if axes[0] == "Z" else "and 4 frames")


def not_read():
    """Kinds that are refused, and kinds whose colours are computed."""
    def bad(name, array, variant, part, **options):
        tifffile.imwrite(OUT / name, array, metadata=None, **options)
        refuse(name, variant, part)

    grey = numbers("u1", (8, 9))
    bad("palette.tif", grey, "Unsupported", "a palette", photometric="palette", colormap=numbers("u2", (3, 256)))
    inks = numbers("u1", (8, 9, 4))
    tifffile.imwrite(OUT / "cmyk.tif", inks, metadata=None, photometric="separated")
    black = np.float32(1) - inks[..., 3:].astype("f4") / np.float32(255)
    expect("cmyk.tif", ((np.float32(255) - inks[..., :3].astype("f4")) * black).astype("u1"))
    bad("ycbcr.tif", numbers("u1", (16, 16, 3)), "Unsupported", "YCbCr", compression="jpeg", photometric="ycbcr")
    bad("zstd.tif", grey, "Unsupported", "Zstandard", compression="zstd")
    bad("lzma.tif", grey, "Unsupported", "LZMA", compression="lzma")
    bad("webp.tif", numbers("u1", (16, 16, 3)), "Unsupported", "WebP", compression="webp", photometric="rgb")
    for name, white in [("minisblack", 255), ("miniswhite", 0)]:
        tifffile.imwrite(OUT / f"bits1_{name}.tif", grey > 99, metadata=None, photometric=name)
        expect(f"bits1_{name}.tif", np.where(grey > 99, white, 255 - white).astype("u1"))
    bad("bits12.tif", numbers("u2", (8, 9)) >> 4, "Unsupported", "12 bits", bitspersample=12)
    bad("complex.tif", numbers("f4", (8, 9)).astype("c8"), "Unsupported", "complex")
    far = np.zeros((8, 9, 5), "i4")
    far[4, 7, 2] = 16777217
    bad("far_i4.tif", far, "Unsupported", "16777217 at row 4, column 7 and channel 2", photometric="minisblack", planarconfig="contig")
    bad("far_i4_planar.tif", np.moveaxis(far, -1, 0), "Unsupported", "16777217 at row 4, column 7 and channel 2", photometric="minisblack", planarconfig="separate", tile=(16, 16))
    bad("far_f8.tif", np.moveaxis(far * 1e300, -1, 0), "Unsupported", "16777217", photometric="minisblack", planarconfig="separate")
    bad("no_data_text.tif", grey, "Damaged", '"none"', extratags=[(42113, "s", 0, "none", True)])
    # tifffile does not write these, so bytes are patched: sample formats or depths that differ, an unknown compression.
    for name, array, tag, skip, value, part in [
        ("mixed.tif", numbers("i1", (8, 9, 3)), 339, 2, 1, "different kinds (SampleFormat 2, 1, 2)"),
        ("depths.tif", numbers("u2", (8, 9, 3)), 258, 4, 8, "different depths (16, 16, 8 bits)"),
        ("unknown.tif", grey, 259, 0, 12345, "TIFF compression 12345"),
    ]:
        tifffile.imwrite(OUT / name, array, metadata=None)
        with tifffile.TiffFile(OUT / name) as file:
            at = file.pages[0].tags[tag].valueoffset + skip
        data = bytearray((OUT / name).read_bytes())
        data[at : at + 2] = struct.pack("<H", value)
        (OUT / name).write_bytes(data)
        refuse(name, "Unsupported", part)


def npy():
    """NumPy arrays."""
    for dtype, order, fortran in itertools.product(DTYPES, "<>", [False, True]):
        for shape in [(7, 9), (7, 9, 5), (5, 7, 9), (7, 8, 7), (6, 1, 9), (9, 6, 1), (1, 6, 9), (13, 30, 14)]:
            a = numbers(dtype, shape).astype(np.dtype(order + dtype))
            name = f"{dtype}_{'be' if order == '>' else 'le'}_{'f' if fortran else 'c'}_{'x'.join(map(str, shape))}.npy"
            if np.dtype(dtype).itemsize > 1 or order == "<":
                np.save(OUT / name, np.asfortranarray(a) if fortran else a)
                first = len(shape) == 3 and shape[0] < shape[2]
                expect(name, np.moveaxis(a, 0, -1) if first else a)
    for version in [(1, 0), (2, 0), (3, 0)]:
        name = f"version{version[0]}.npy"
        a = numbers("u2", (5, 6))
        with open(OUT / name, "wb") as file:
            np.lib.format.write_array(file, a, version=version)
        expect(name, a)
    for name, array, variant, part in [
        ("bool", np.ones((3, 4), bool), "Unsupported", "|b1"),
        ("complex", np.ones((3, 4), "c8"), "Unsupported", "<c8"),
        ("text", np.full((3, 4), "ab"), "Unsupported", "<U2"),
        ("bytes", np.full((3, 4), b"ab"), "Unsupported", "|S2"),
        ("object", np.full((3, 4), None), "Unsupported", "|O"),
        ("records", np.zeros((3, 4), [("a", "f4"), ("b", "u1")]), "Unsupported", "records: [('a', '<f4')"),
        ("time", np.zeros((3, 4), "M8[s]"), "Unsupported", "<M8[s]"),
        ("d0", np.array(3.0), "Unsupported", "shape []"),
        ("d1", np.zeros(3), "Unsupported", "shape [3]"),
        ("d4", np.zeros((1, 2, 3, 4)), "Unsupported", "shape [1, 2, 3, 4]"),
        ("empty", np.zeros((3, 0, 4)), "Damaged", "is 0, but must be"),
        ("far", np.arange(2**24 - 9, 2**24 + 6).reshape(5, 3), "Unsupported", "16777217 at row 3, column 1 and channel 0"),
    ]:
        np.save(OUT / f"{name}.npy", array, allow_pickle=True)
        refuse(f"{name}.npy", variant, part)
    short = (OUT / "version1.npy").read_bytes()
    (OUT / "short.npy").write_bytes(short[:-1])
    refuse("short.npy", "Damaged", "takes 60 bytes, but the file has 59")
    (OUT / "long.npy").write_bytes(short + b"1")
    refuse("long.npy", "Damaged", "takes 60 bytes, but the file has 61")
