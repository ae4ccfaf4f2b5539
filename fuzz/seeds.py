"""The small files that fuzzing begins with, beside golden files of the crates: corpus/TARGET/.

pip install -r ../crates/mae-model/tests/golden/requirements.txt -r ../crates/mae-data/tests/golden/requirements.txt
python seeds.py
"""

import collections
import io
import json
import struct
import tarfile
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save

HERE = Path(__file__).parent
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 17, 3), dtype=np.uint8))
PPM = b"P6\n2 1\n255\nabcdef"


def encoded(format, image=PICTURE, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def jpeg():
    yield "restarts", encoded("JPEG", quality=30, subsampling="4:2:0", restart_marker_blocks=1)
    yield "rows", encoded("JPEG", quality=30, subsampling="4:2:2", restart_marker_rows=1)
    yield "full", encoded("JPEG", quality=30, subsampling="4:4:4", optimize=True)
    yield "progressive", encoded("JPEG", quality=30, progressive=True)
    yield "rgb", encoded("JPEG", quality=30, keep_rgb=True)
    yield "grey", encoded("JPEG", PICTURE.convert("L"), quality=30)
    yield "cmyk", encoded("JPEG", PICTURE.convert("CMYK"), quality=30)


def exif():
    """The first byte cuts the rest in two."""

    def data(order, kind, value, count=1):
        mark, sign = {"<": b"II", ">": b"MM"}[order], order
        place = struct.pack(sign + {3: "HH", 4: "I"}[kind], *([value, 0] if kind == 3 else [value]))
        entry = struct.pack(sign + "HHI", 0x0112, kind, count) + place
        return mark + struct.pack(sign + "HI", 42, 8) + struct.pack(sign + "H", 1) + entry + bytes(4)

    yield "short", b"\x00" + data("<", 3, 6)
    yield "big-endian", b"\x00" + data(">", 3, 8)
    yield "long", b"\x00" + data(">", 4, 3)
    yield "two", b"\x80" + data("<", 3, 6) + data("<", 3, 1)
    yield "none", b"\x00" + data("<", 3, 0)


def ppm():
    yield "plain", PPM
    yield "comment", b"P6 # a comment\n2 1\n255\nabcdef"
    yield "grey", b"P5\n2 1\n255\nab"
    yield "deep", b"P6\n2 1\n65535\nabcdefghijkl"


def archive(members, format):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format, bufsize=512) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    # Without the blocks that fill a tape's record.
    data = file.getvalue()
    return data.rstrip(b"\0").ljust((len(data.rstrip(b"\0")) + 511) // 512 * 512, b"\0") + bytes(1024)


def tar():
    plain = [("a.ppm", PPM), ("a.cls", b"3\n")]
    strange = [("é.ppm", PPM), ("n" * 120 + ".ppm", PPM)]
    yield "ustar", archive(plain, tarfile.USTAR_FORMAT)
    yield "gnu", archive(strange, tarfile.GNU_FORMAT)
    yield "pax", archive(strange, tarfile.PAX_FORMAT)


def shard_index():
    header = {
        "format": "mae-shards",
        "version": 1,
        "samples": 3,
        "classes": ["cat", "dog"],
        "shards": [{"file": "shard-00000.tar", "bytes": 4096}],
    }
    places = [("0.ppm", 512, 17), ("1.gif", 1536, 43), ("2.png", 2560, 8)]
    lines = [
        {"index": i, "path": f"cat/{name}", "label": i % 2, "shard": 0, "entry": name, "offset": at, "bytes": length}
        for i, (name, at, length) in enumerate(places)
    ]
    yield "whole", "\n".join(json.dumps(line) for line in [header, *lines]).encode() + b"\n"
    yield "none", json.dumps(header | {"samples": 0}).encode() + b"\n"


def webdataset():
    image = PPM.decode()
    yield "pairs", f"a.ppm\n{image}\n==\na.cls\n1\n==\nb.cls\n0\n==\nb.ppm\n{image}".encode()
    yield "dots", f"x/a.left.ppm\n{image}\n==\nx/a.cls\n2\n==\nx/a.json\n{{}}".encode()
    yield "shards", f"a.ppm\n{image}\n====\na.cls\n1\n==\nb.PPM\n{image}".encode()


def mask():
    black_and_white = Image.fromarray(np.tile(np.uint8([0, 255]), (6, 4)))
    yield "stripes", encoded("PNG", black_and_white)
    yield "white", encoded("PNG", Image.new("1", (8, 6), 1))


def tensors(width=4):
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 5, width),
        "patch_embed.proj.weight": (width, 3, 2, 2),
        "blocks.0.attn.qkv.weight": (3 * width, width),
        "blocks.0.attn.proj.weight": (width, width),
        "blocks.0.mlp.fc1.weight": (2 * width, width),
    }
    decoder = {
        "mask_token": (1, 1, 2),
        "decoder_pos_embed": (1, 5, 2),
        "decoder_blocks.0.attn.proj.weight": (2, 2),
        "decoder_blocks.0.mlp.fc1.weight": (4, 2),
    }
    return {name: np.zeros(shape, np.float32) for name, shape in (shapes | decoder).items()}


STACK = {"depth": 1, "num_heads": 2}
CONFIG = {
    "geometry": {"image_size": [4, 4], "patch_size": 2, "in_chans": 3},
    "encoder": {"embed_dim": 4, "mlp_dim": 8} | STACK,
    "decoder": {"embed_dim": 2, "mlp_dim": 4} | STACK,
    "norm_eps": 1e-6,
    "norm_pix_loss": True,
}
NORMALIZE = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
TRANSFORMERS = {
    "vit.embeddings.cls_token": (1, 1, 4),
    "vit.embeddings.position_embeddings": (1, 5, 4),
    "vit.embeddings.patch_embeddings.projection.weight": (4, 3, 2, 2),
    "vit.encoder.layer.0.attention.attention.query.weight": (4, 4),
    "vit.encoder.layer.0.attention.attention.key.weight": (4, 4),
    "vit.encoder.layer.0.attention.attention.value.weight": (4, 4),
    "vit.encoder.layer.0.attention.output.dense.weight": (4, 4),
    "vit.encoder.layer.0.intermediate.dense.weight": (8, 4),
}


def safetensors():
    described = {"mae.config": json.dumps(CONFIG), "mae.normalize": json.dumps(NORMALIZE)}
    yield "described", save(tensors(), described)
    yield "official", save(tensors(), {"format": "pt"})
    yield "transformers", save({name: np.zeros(shape, np.float16) for name, shape in TRANSFORMERS.items()})
    probe = {"head.1.weight": np.zeros((3, 4), np.float32), "head.0.running_mean": np.zeros(4, np.float64)}
    yield "probe", save(tensors() | probe)


def sharded():
    names = list(TRANSFORMERS)
    weights = {name: f"model-0000{1 + (i >= 4)}-of-00002.safetensors" for i, name in enumerate(names)}
    yield "index", json.dumps({"metadata": {"total_size": 1000}, "weight_map": weights}).encode()


def checkpoints():
    model = {name: torch.from_numpy(tensor) for name, tensor in tensors().items()}
    yield "plain", model
    yield "nested", {"model": model, "args": Namespace(lr=0.1, names=["a"]), "epoch": 3, "optimizer": {"state": {}}}
    kinds = collections.defaultdict(list, {"a": [1, 2.5, None, True]})
    shared = model["blocks.0.attn.proj.weight"].half()
    yield "kinds", {
        "state_dict": collections.OrderedDict(model),
        "ema": {"a": shared, "b": shared.T, "c": torch.nn.Parameter(shared)},
        "kinds": kinds,
        "more": (collections.deque([b"x"]), {1, 2}, 10**20, "é", range(3)),
    }


def pth():
    for name, value in checkpoints():
        file = io.BytesIO()
        torch.save(value, file)
        yield name, file.getvalue()
        file = io.BytesIO()
        torch.save(value, file, _use_new_zipfile_serialization=False)
        yield f"{name}-legacy", file.getvalue()


def pickle():
    for name, value in checkpoints():
        file = io.BytesIO()
        torch.save(value, file)
        with zipfile.ZipFile(file) as archive:
            yield name, next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


def config():
    model = {
        "architectures": ["ViTMAEForPreTraining"],
        "hidden_act": "gelu",
        "hidden_size": 4,
        "image_size": [4, 4],
        "layer_norm_eps": 1e-12,
        "mask_ratio": 0.75,
        "norm_pix_loss": False,
        "num_attention_heads": 2,
        "patch_size": 2,
        "qkv_bias": True,
    }
    images = {
        "crop_pct": 0.9,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 4, "width": 4},
    }
    yield "both", f"{json.dumps(model)}\n==\n{json.dumps(images)}".encode()
    yield "edges", f"{json.dumps(model | {'image_size': 4})}\n==\n{json.dumps(images | {'size': {'shortest_edge': 4}})}".encode()


def recipe():
    yield "default", b"seed = 1\nepochs = 20\n[data]\nflip = false\ncrop_scale = [0.2, 1.0]\n[optim]\nclip_grad = 1.0\n"
    yield "model", b"[model]\npreset = 'nano'\nimage_size = [32, 32]\npatch_size = 4\n[masking]\nmask_ratio = 0.5\n"
    yield "classify", b"method = 'probe'\n[model]\nweights = 'w'\n[data]\ntrain = 't'\nval = 'v'\n[mix]\nmixup = 0.8\n"


def metrics():
    lines = [
        {
            "step": step,
            "epoch": step / 4,
            "loss": None if step == 2 else 0.5,
            "lr": 1e-3,
            "grad_norm": 1.5,
            "images_per_s": 10.0,
            "waiting_share": 0.0,
            "elapsed_s": 0.25,
        }
        for step in range(1, 6)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    yield "records", text.encode()
    yield "half-written", text[:-40].encode()
    yield "evaluations", b'{"step":1,"epoch":0.5,"val_loss":0.25,"knn":0.5}\n'


def labels():
    """The first byte chooses CSV, TSV or lines of JSON."""
    yield "csv", b"\x00file_name,label\na/1.png,cat\n2.jpg,dog\n"
    yield "semicolons", b"\x00\xef\xbb\xbfclass;image\r\n3;b/1.png\r\n10;2\r\n"
    yield "headless", b"\x00a/1.png,cat\n\n./b/../b/1.png,\"a \"\"dog\"\"\"\n"
    yield "tsv", b"\x01split\tpath\tclass\ntrain\timages/a/1.png\tcat\n"
    yield "lists", b"\x81path,tags\na/1.png,cat;dog\n2.jpg,dog\nb/1.png,\n"
    yield "columns", b"\x00image,cat,dog\na/1.png,1,1\n2.jpg,0,1\nb/1.png,0.0,0\n"
    yield "json-lists", b'\x02{"path": "a/1.png", "labels": ["cat", "dog"]}\n{"path": "2.jpg", "labels": []}\n'
    yield "nameless", b"\x00image,,cat\na/1.png,1,0\n"
    yield "json", b'\x02{"path": "a/1.png", "class": 3}\n{"class": ["7"], "path": "2.jpg"}\n'


def class_map():
    """The first byte chooses TOML or JSON."""
    yield "toml", b'\x00ignore = [255, "#e0e0c0"]\n[[class]]\nname = "a"\nvalue = [1, 2]\n[[class]]\nname = "b"\ncolour = [1, 2, 3]\n'
    yield "json", b'\x01{"classes": [{"name": "a", "value": 1, "color": "#010203"}, {"name": "b", "value": 0}]}'


def label_image():
    grey = PICTURE.convert("L")
    yield "grey", encoded("PNG", grey)
    yield "palette", encoded("PNG", PICTURE.quantize(3))
    yield "bits", encoded("PNG", PICTURE.convert("1"))
    yield "rgba", encoded("PNG", PICTURE.convert("RGBA"))
    yield "deep", encoded("PNG", Image.fromarray(np.asarray(grey).astype(np.uint16) * 200))
    yield "tiff", encoded("TIFF", PICTURE.quantize(3), compression="tiff_lzw")


TARGETS = [
    *[jpeg, exif, ppm, tar, shard_index, webdataset, mask, labels, class_map, label_image],
    *[safetensors, sharded, pth, pickle, config, recipe, metrics],
]


def main():
    for target in TARGETS:
        folder = HERE / "corpus" / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in target():
            (folder / name).write_bytes(data)


main()
