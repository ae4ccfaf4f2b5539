"""Compares `mae embed` with PyTorch on weights in common forms: folders with configurations, checkpoints with several models or
with Python objects beside the tensors, models in several files, checkpoints of other projects.

usage: python check_folders.py MAE PHOTOS
(Python 3.11, pip install -r ../../../mae-model/tests/golden/requirements.txt)
"""

import argparse
import collections
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from lightly.models.modules import MaskedVisionTransformerTIMM
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_data_config
from timm.layers import LayerNorm
from timm.models import load_state_dict, save_for_hf
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import AutoImageProcessor, ViTConfig, ViTMAEConfig, ViTMAEForPreTraining, ViTModel
from transformers.utils.logging import disable_progress_bar

TOLERANCE = 1e-4
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
SMALL = dict(img_size=32, patch_size=8, embed_dim=192, depth=2, num_heads=3, num_classes=0)
HF = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, image_size=32, patch_size=8)
DECODER = dict(
    decoder_hidden_size=64, decoder_num_hidden_layers=1, decoder_num_attention_heads=4, decoder_intermediate_size=128
)


def drawn(model: nn.Module, seed: int = 0) -> nn.Module:
    """Sets every parameter of the model to a random value."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2 if p.ndim > 1 else 0.1)
    return model.eval()


def vit(seed: int = 0, **more: object) -> VisionTransformer:
    return drawn(VisionTransformer(**{**SMALL, **more}), seed)


class CfgNode(dict):
    """Like yacs' class of this name."""


class Tools:
    def __init__(self, mae: str, folder: Path) -> None:
        self.mae, self.folder, self.count = mae, folder, 0

    def images(self, height: int = 32, width: int = 32) -> tuple[Path, torch.Tensor]:
        """Writes pictures of a size. Returns their folder and their pixels from 0 to 1."""
        folder = self.folder / f"images-{height}-{width}"
        folder.mkdir(exist_ok=True)
        random, pixels = np.random.default_rng(3), []
        for i in range(3):
            noise = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{i}.png")
            pixels.append(noise)
        return folder, torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255

    def run(self, *args: object) -> subprocess.CompletedProcess:
        return subprocess.run([self.mae, *map(str, args)], capture_output=True, text=True, timeout=60)

    def embed(self, weights: Path, images: Path, *more: object) -> torch.Tensor:
        self.count += 1
        out = self.folder / f"{self.count}.npy"
        done = self.run("embed", weights, images, out, *more)
        assert done.returncode == 0, done.stderr
        return torch.tensor(np.load(out))

    def says(self, *args: object) -> str:
        done = self.run(*args)
        assert done.returncode == 0, done
        return done.stdout + done.stderr

    def refuses(self, words: list[str], *args: object) -> None:
        done = self.run(*args)
        assert done.returncode == 1 and done.stderr.startswith("error: "), (args, done)
        assert all(word in done.stderr for word in words), (words, done.stderr)
        print("refused:", done.stderr.strip().replace(str(self.folder), "…")[:160])


def close(ours: torch.Tensor, theirs: torch.Tensor, what: str) -> None:
    """Asserts that two tensors agree within TOLERANCE, relative to the largest magnitude."""
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    print(f"{what}: within {error:.1e}")
    assert error < TOLERANCE, (what, error)


def normed(x: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    return (x - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


def timm_features(model: VisionTransformer, x: torch.Tensor) -> torch.Tensor:
    return model.forward_features(x)[:, model.num_prefix_tokens :].mean(1)


def hf_features(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model(x).last_hidden_state[:, 1:].mean(1)


def transformers_folders(tools: Tools) -> None:
    images, x = tools.images()
    usual = dict(do_normalize=True, do_rescale=True, rescale_factor=1 / 255, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    usual |= dict(image_processor_type="ViTImageProcessor", size=dict(height=32, width=32))
    model = drawn(ViTModel(ViTConfig(**HF)))
    model.save_pretrained(tools.folder / "hf")
    for change in [
        {},
        dict(do_normalize=False),
        dict(do_rescale=False, image_mean=[127.5] * 3, image_std=[64.0] * 3),
        dict(do_rescale=False, do_normalize=False),
        dict(rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[0.5, 0.6, 0.7]),
        dict(image_mean=None, image_std=None),
        dict(image_mean=0.4, image_std=0.3),
    ]:
        config = {name: value for name, value in (usual | change).items() if value is not None}
        (tools.folder / "hf" / "preprocessor_config.json").write_text(json.dumps(config))
        processor = AutoImageProcessor.from_pretrained(tools.folder / "hf")
        pixels = processor([Image.open(path) for path in sorted(images.iterdir())], return_tensors="pt")["pixel_values"]
        close(tools.embed(tools.folder / "hf", images), hf_features(model, pixels), f"preprocessor with {change}")
    for key, value in [("do_flip_channel_order", True), ("rescale_factor", "a lot"), ("image_std", [0.5, 0.5])]:
        (tools.folder / "hf" / "preprocessor_config.json").write_text(json.dumps(usual | {key: value}))
        tools.refuses(["preprocessor_config.json"], "embed", tools.folder / "hf", images, tools.folder / "no.npy")
    assert "preprocessor_config.json" in tools.says("inspect", tools.folder / "hf")

    wide, x = tools.images(16, 64)
    for name, config in [
        ("image_size of 16 x 64", dict(image_size=[16, 64])),
        ("no biases of attention", dict(image_size=[16, 64], qkv_bias=False)),
        ("an epsilon of 0.1", dict(image_size=[16, 64], layer_norm_eps=0.1)),
    ]:
        model = drawn(ViTModel(ViTConfig(**{**HF, **config})))
        shutil.rmtree(tools.folder / "hf")
        model.save_pretrained(tools.folder / "hf")
        features = hf_features(model, normed(x, *IMAGENET))
        close(tools.embed(tools.folder / "hf", wide, "--resize", 16), features, name)
    path = tools.folder / "hf" / "config.json"
    config = json.loads(path.read_text())
    for key, value in [
        ("hidden_act", "quick_gelu"),
        ("hidden_act", "relu"),
        ("model_type", "dinov2"),
        ("num_hidden_layers", 1),
        ("patch_size", [8, 4]),
        ("image_size", [32, 64]),
    ]:
        path.write_text(json.dumps(config | {key: value}))
        tools.refuses([] if key == "image_size" else [key], "embed", tools.folder / "hf", wide, tools.folder / "no.npy")
        tools.refuses([], "convert", tools.folder / "hf", "--to", "transformers", tools.folder / "no")
    tools.refuses(["hidden_act"], "embed", write(path, config | {"hidden_act": "relu"}).parent, wide, tools.folder / "no.npy")
    path.write_text(json.dumps(config))
    tools.refuses(["--num-heads is 8", "says 4"], "embed", path.parent, wide, tools.folder / "no.npy", "--num-heads", 8)


def write(path: Path, config: dict) -> Path:
    path.write_text(json.dumps(config))
    return path


def timm_folders(tools: Tools) -> None:
    images, x = tools.images()
    model = vit(num_heads=6)
    model.pretrained_cfg = dict(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6], input_size=[3, 32, 32], crop_pct=0.875)
    model.pretrained_cfg |= dict(architecture="vit_tiny_patch16_224", interpolation="bilinear", num_classes=0)
    folder = tools.folder / "timm"
    args = dict(img_size=32, patch_size=8, depth=2, num_heads=6)
    save_for_hf(model, folder, model_args=args, safe_serialization=True)
    features = timm_features(model, normed(x, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    close(tools.embed(folder, images, "--resize", 32), features, "timm's folder")
    text = tools.says("inspect", folder)
    assert "6 heads (config.json)" in text and "to 36 px, bilinear (config.json)" in text, text
    config = json.loads((folder / "config.json").read_text())
    for change in [{"architecture": "vit_base_patch32_clip_quickgelu_224"}, {"model_args": args | {"act_layer": "relu"}}]:
        (folder / "config.json").write_text(json.dumps(config | change))
        tools.refuses(list(change), "embed", folder, images, tools.folder / "no.npy")


def several_models(tools: Tools) -> None:
    images, x = tools.images()
    x = normed(x, *IMAGENET)
    models = [vit(seed) for seed in range(2)]
    features = [timm_features(model, x) for model in models]
    one, two = [model.state_dict() for model in models]
    ddp = lambda state, prefix="module.": {prefix + name: t for name, t in state.items()}  # noqa: E731
    head = {"head.0.weight": torch.zeros(4, 192), "head.1.weight": torch.ones(64), "head.3.weight": torch.zeros(8, 64)}
    moco = ddp(one | head, "module.base_encoder.") | ddp(two | head, "module.momentum_encoder.")
    for name, checkpoint, taken, key in [
        ("state_dict_ema", {"state_dict": one, "state_dict_ema": two}, 1, "state_dict"),
        ("model_ema", {"model": one, "model_ema": two}, 1, "model"),
        ("model and ema", {"model": ddp(one), "state_dict_ema": ddp(two)}, 1, "model"),
        ("DINO", {"student": ddp(one, "module.backbone."), "teacher": ddp(two, "backbone.")}, 1, "student"),
        ("MoCo-v3", {"state_dict": moco, "arch": "vit_small"}, 0, "momentum_encoder"),
    ]:
        path = tools.folder / "several.pth"
        torch.save(checkpoint, path)
        if name.endswith("ema"):
            chosen = load_state_dict(str(path))
            assert all(torch.equal(t, [one, two][taken][name]) for name, t in chosen.items())
        close(tools.embed(path, images), features[taken], f"{name}: the usual one")
        close(tools.embed(path, images, "--weights-key", key), features[1 - taken], f"{name}: {key}")
        told = tools.says("inspect", path)
        assert " out of " in told and "classes" not in told, told
        assert "--weights-key" in tools.run("embed", path, images, tools.folder / f"{name}.npy", "-q").stderr
        tools.refuses(["'other'", key], "inspect", path, "--weights-key", "other")
    assert "with a projection head" in told, told
    # MoCo-v3's small model has twelve heads; all others have six.
    for heads, prefix in [(6, ""), (12, "module.base_encoder.")]:
        model = vit(embed_dim=384, num_heads=heads)
        torch.save({"state_dict": ddp(model.state_dict(), prefix)}, path)
        close(tools.embed(path, images), timm_features(model, x), f"small, {heads} heads")


def python_objects(tools: Tools) -> None:
    images, x = tools.images()
    model = vit()
    features, state = timm_features(model, normed(x, *IMAGENET)), model.state_dict()
    nested = CfgNode(MODEL=CfgNode(NAME="vit", SIZE=[32, 32]), LR=1e-3)
    nested["self"] = nested
    halves = {name: t.double() for name, t in state.items()}
    transposed = {name: t.t().contiguous().t() if t.ndim == 2 else t for name, t in state.items()}
    flat, shared, at = torch.cat([t.reshape(-1) for t in state.values()]), {}, 0
    for name, t in state.items():
        shared[name] = flat[at : at + t.numel()].view(t.shape)
        at += t.numel()
    cases = {
        "a defaultdict": {"model": state, "extra": collections.defaultdict(list, a=[1])},
        "a defaultdict of weights": {"model": collections.defaultdict(list, state)},
        "a deque": {"model": state, "extra": collections.deque([1, torch.ones(2)], maxlen=7)},
        "a dict's subclass": {"model": CfgNode(state), "config": nested},
        "a namespace": {"model": state, "args": argparse.Namespace(lr=1.0, more=argparse.Namespace(x=torch.ones(3)))},
        "sets, bytes, large numbers": {"model": state, "extra": [{1, 2}, b"\xff" * 300, 1 << 80, -(1 << 40), 1.5, {(1, 2): 3}]},
        "numpy": {"model": state, "extra": [np.float64(1.5), np.arange(3), np.random.default_rng(0)]},
        "parameters": {"model": dict(model.named_parameters()) | dict(model.named_buffers())},
        "a module": model,
        "strides": {"model": transposed},
        "one storage for all": {"model": shared},
    }
    for name, checkpoint in cases.items():
        for old in (False, True):
            path = tools.folder / "objects.pth"
            torch.save(checkpoint, path, _use_new_zipfile_serialization=not old)
            close(tools.embed(path, images), features, f"{name}{', as before 1.6' if old else ''}")
        torch.save(checkpoint, path, pickle_protocol=4)
        close(tools.embed(path, images), features, f"{name}, protocol 4")
    torch.save({"model": halves}, path)
    out = tools.folder / "double.safetensors"
    tools.says("convert", path, "--to", "timm", out, "--precision", "f32")
    assert all(torch.equal(t, state[name]) for name, t in load_file(out).items())
    # Options in `args` need not be given again.
    mae = official(tools)
    torch.save({"model": mae, "args": argparse.Namespace(norm_pix_loss=True, input_size=32, mask_ratio=0.6)}, path)
    text = tools.says("inspect", path, "--num-heads", 4, "--decoder-num-heads", 4)
    assert "normalised by patch (the checkpoint's options)" in text, text


def official(tools: Tools) -> dict[str, torch.Tensor]:
    """Returns a small model under the official names."""
    model = drawn(ViTMAEForPreTraining(ViTMAEConfig(**HF, **DECODER, norm_pix_loss=True)))
    model.save_pretrained(tools.folder / "mae-hf")
    out = tools.folder / "official.safetensors"
    if not out.exists():
        tools.says("convert", tools.folder / "mae-hf", "--to", "official", out)
    return load_file(out)


def split_and_strange(tools: Tools) -> None:
    images, x = tools.images()
    model = drawn(ViTMAEForPreTraining(ViTMAEConfig(**HF, **DECODER)))
    folder = tools.folder / "sharded"
    model.save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    whole = tools.folder / "whole"
    model.save_pretrained(whole)
    reference = tools.embed(whole, images)
    assert torch.equal(tools.embed(folder, images), reference)
    assert torch.equal(tools.embed(folder / "model.safetensors.index.json", images), reference)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    # The same model in the form of older versions of transformers.
    bins = tools.folder / "bins"
    bins.mkdir()
    names = {name: shard.replace(".safetensors", ".bin") for name, shard in index["weight_map"].items()}
    for shard in set(index["weight_map"].values()):
        torch.save(load_file(folder / shard), bins / shard.replace(".safetensors", ".bin"))
    shutil.copy(folder / "config.json", bins)
    write(bins / "pytorch_model.bin.index.json", {"metadata": {}, "weight_map": names})
    assert torch.equal(tools.embed(bins, images), reference)
    for name, shard in [("vit.layernorm.weight", "../x"), ("no.such.tensor", sorted(set(index["weight_map"].values()))[0])]:
        changed = index["weight_map"] | {name: shard}
        write(folder / "model.safetensors.index.json", {"weight_map": changed})
        tools.refuses([shard], "inspect", folder)
    (folder / sorted(set(index["weight_map"].values()))[0]).unlink()
    tools.refuses(["cannot read"], "inspect", folder)

    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 447000000\n"
    page = "\n<!DOCTYPE html>\n<html lang=en><head><title>Sign in</title></head></html>"
    for name, content, words in [
        ("pointer", pointer.encode(), ["Git LFS pointer", "447000000", "git lfs pull"]),
        ("page", page.encode(), ["a web page"]),
        ("nothing", b"", ["empty"]),
        ("json", b'{"model_type": "vit"}', ["JSON"]),
        ("gzip", b"\x1f\x8b\x08" + bytes(100), ["gzip"]),
        ("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100), ["HDF5"]),
        ("onnx", b"\x08\x07\x12\x07pytorch\x1a\x05" + bytes(100), ["ONNX"]),
        ("gguf", b"GGUF" + bytes(100), ["GGUF"]),
    ]:
        for ending in ["safetensors", "pth"]:
            path = tools.folder / f"{name}.{ending}"
            path.write_bytes(content)
            tools.refuses([path.name, *words], "inspect", path)
    np.savez(tools.folder / "arrays.npz", a=np.ones(3))
    tools.refuses(["NumPy"], "inspect", tools.folder / "arrays.npz")
    with zipfile.ZipFile(tools.folder / "other.zip", "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    tools.refuses(["without data.pkl", "word/document.xml"], "inspect", tools.folder / "other.zip")
    with zipfile.ZipFile(tools.folder / "packed.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("packed/data.pkl", bytes(1000))
    tools.refuses(["compressed"], "inspect", tools.folder / "packed.pth")
    empty = tools.folder / "empty"
    empty.mkdir()
    tools.refuses(["the folder is empty"], "inspect", empty)
    tools.refuses([".png", "no model.safetensors"], "embed", images, images, tools.folder / "no.npy")


def other_projects(tools: Tools) -> None:
    images, x = tools.images()
    x = normed(x, *IMAGENET)
    # lightly's decoder up to version 1.5, and from 1.6 on.
    mae = official(tools)
    encoder = {name: t for name, t in mae.items() if not name.startswith("decoder_") and name != "mask_token"}
    backbone = MaskedVisionTransformerTIMM(VisionTransformer(**{**SMALL, "embed_dim": 64, "num_heads": 4, "mlp_ratio": 2.0}))
    backbone.vit.load_state_dict(encoder)
    base = {f"backbone.{name}": t for name, t in backbone.state_dict().items()}
    new = {"decoder_embed.": "embed.", "decoder_pred.": "head.", "decoder_": "decoder.", "mask_token": "decoder.mask_token"}

    def renamed(name: str) -> str:
        return next(there + name.removeprefix(here) for here, there in new.items() if name.startswith(here))

    decoder = {name: t for name, t in mae.items() if name not in encoder}
    for name, more in [
        ("up to 1.5", {f"decoder.{name}": t for name, t in decoder.items()}),
        ("from 1.6", {renamed(name): t for name, t in decoder.items()}),
    ]:
        for wrapped in (False, True):
            path, out = tools.folder / "lightly.pth", tools.folder / f"lightly-{name}-{wrapped}.safetensors"
            torch.save({"state_dict": base | more, "epoch": 1} if wrapped else base | more, path)
            tools.says("convert", path, "--to", "official", out)
            found = load_file(out)
            assert found.keys() == mae.keys(), found.keys() ^ mae.keys()
            assert all(torch.equal(found[name], mae[name]) for name in mae)
    print("lightly's decoders are carried over")

    model = vit(no_embed_class=True)
    save_file(model.state_dict(), tools.folder / "no-class.safetensors")
    # 16 positions may be 4 x 4 patches, or 3 x 5 patches and the class token: `mae` does not guess.
    for more in [(), ("--image-size", 32)]:
        tools.refuses(["no_embed_class"], "embed", tools.folder / "no-class.safetensors", images, tools.folder / "no.npy", *more)
    model.pretrained_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], input_size=[3, 32, 32], crop_pct=1.0)
    model.pretrained_cfg |= dict(architecture="vit_tiny_patch16_224", interpolation="bicubic", num_classes=0)
    folder = tools.folder / "no-class"
    save_for_hf(model, folder, model_args=dict(img_size=32, no_embed_class=True), safe_serialization=True)
    close(tools.embed(folder, images), timm_features(model, x), "no_embed_class")
    model = vit(qkv_bias=False)
    save_file(model.state_dict(), tools.folder / "no-bias.safetensors")
    close(tools.embed(tools.folder / "no-bias.safetensors", images), timm_features(model, x), "no biases of attention")
    for what, more in [
        ("register tokens", dict(reg_tokens=4)),
        ("register tokens", dict(reg_tokens=4, no_embed_class=True)),
        ("LayerScale", dict(init_values=0.1)),
        ("norms of queries and keys", dict(qk_norm=True)),
        ("a norm before the blocks", dict(pre_norm=True, norm_layer=LayerNorm)),
    ]:
        path = tools.folder / "other.pth"
        torch.save(vit(**more).state_dict(), path)
        tools.refuses([what], "embed", path, images, tools.folder / "no.npy")


def photographs(tools: Tools, photos: Path) -> tuple[Path, list[Path]]:
    """Writes photographs that are not square, in landscape and portrait format."""
    folder, names = tools.folder / "pictures", []
    folder.mkdir(exist_ok=True)
    for i, path in enumerate(sorted(photos.rglob("*.*"))[:6]):
        image = Image.open(path).convert("RGB")
        width, height = image.size
        image = image.crop((0, 0, width, height * 2 // 3)) if i % 2 else image.crop((0, 0, width // 2, height))
        names.append(folder / f"{i}.png")
        image.save(names[-1])
    return folder, names


SHAPE = {**HF, "image_size": 96, "patch_size": 16}


def prepared_as_said(tools: Tools, photos: Path) -> None:
    """Checks that photographs are resized and cropped as the files beside the weights say."""
    pictures, names = photographs(tools, photos)
    usual = dict(do_normalize=True, do_rescale=True, rescale_factor=1 / 255, do_resize=True)
    usual |= dict(image_mean=[0.5] * 3, image_std=[0.25] * 3, resample=3)
    model = drawn(ViTModel(ViTConfig(**SHAPE)))
    folder = tools.folder / "prepared"
    model.save_pretrained(folder)
    square = dict(height=96, width=96)

    def features(change: dict) -> torch.Tensor:
        write(folder / "preprocessor_config.json", usual | change)
        # The Pillow backend, because torchvision rounds differently after each direction: by up to two of 255 levels.
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        pixels = [processor(Image.open(name), return_tensors="pt")["pixel_values"] for name in names]
        return torch.cat([hf_features(model, x) for x in pixels])

    vit_processor = dict(image_processor_type="ViTImageProcessor", size=square)
    for what, change in {
        "ViT, bicubic": vit_processor,
        "ViT, bilinear": vit_processor | dict(resample=2),
        "ViT, of an older version": dict(feature_extractor_type="ViTFeatureExtractor", size=96, resample=2),
        "no type": dict(size=square, resample=2),
        "CLIP": dict(image_processor_type="CLIPImageProcessor", size=dict(shortest_edge=110), do_center_crop=True, crop_size=square),
        "DeiT": dict(image_processor_type="DeiTImageProcessor", size=dict(height=110, width=110), do_center_crop=True, crop_size=square),
    }.items():
        reference = features(change)
        close(tools.embed(folder, pictures), reference, f"photographs for {what}")
    assert "resized         to 110 x 110 px whatever their ratio, bicubic (preprocessor_config.json)" in tools.says("inspect", folder)
    clip = dict(image_processor_type="CLIPImageProcessor", size=dict(shortest_edge=96), crop_size=square)
    for change, words in [
        (vit_processor | dict(do_resize=False), ["resizing is off", "--resize"]),
        (vit_processor | dict(resample=0), ["nearest", "--resize"]),
        (vit_processor | dict(size=dict(height=64, width=64)), ["64 x 64", "96 x 96"]),
        (vit_processor | dict(size=dict(longest_edge=96)), ["size"]),
        (clip | dict(do_center_crop=False), ["without a centre crop", "--resize"]),
        (dict(image_processor_type="ConvNextImageProcessor", size=dict(shortest_edge=96), crop_pct=0.9), ["crop_pct"]),
    ]:
        write(folder / "preprocessor_config.json", usual | change)
        tools.refuses(["preprocessor_config.json", *words], "embed", folder, pictures, tools.folder / "no.npy")
    # Options override the file.
    write(folder / "preprocessor_config.json", usual | vit_processor | dict(do_resize=False))
    ours = tools.embed(folder, pictures, "--resize", 110)
    close(ours, features(clip | dict(size=dict(shortest_edge=110), do_center_crop=True)), "photographs with --resize")

    args = dict(img_size=96, patch_size=16, embed_dim=192, depth=2, num_heads=3)
    model = vit(**args)
    images = dict(mean=[0.5] * 3, std=[0.25] * 3, input_size=[3, 96, 96], num_classes=0)
    folder = tools.folder / "prepared-timm"
    for change in [
        dict(crop_pct=0.875, interpolation="bicubic"),
        dict(crop_pct=0.9, interpolation="bilinear", crop_mode="center"),
        dict(crop_pct=1.0, interpolation="lanczos", crop_mode="squash"),
        dict(interpolation="bicubic"),
    ]:
        model.pretrained_cfg = images | change | dict(architecture="vit_tiny_patch16_224")
        save_for_hf(model, folder, model_args=args, safe_serialization=True)
        config = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
        transform = create_transform(**resolve_data_config(pretrained_cfg=config))
        x = torch.stack([transform(Image.open(name)) for name in names])
        close(tools.embed(folder, pictures), timm_features(model, x), f"photographs for timm with {change}")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in [("crop_mode", "border"), ("interpolation", "nearest"), ("crop_pct", 7)]:
        write(path, config | {"pretrained_cfg": config["pretrained_cfg"] | {key: value}})
        tools.refuses(["config.json", str(value)], "embed", folder, pictures, tools.folder / "no.npy")


def converted(tools: Tools, photos: Path) -> None:
    """Checks that converted files keep what the source folder says about the model and its images, in every scheme."""
    pictures, _ = photographs(tools, photos)
    model = drawn(ViTMAEForPreTraining(ViTMAEConfig(**SHAPE, **DECODER)))
    encoder = drawn(ViTModel(ViTConfig(**SHAPE, layer_norm_eps=1e-3)))
    for kind, source in [("model", model), ("encoder", encoder)]:
        folder = tools.folder / f"from-{kind}"
        source.save_pretrained(folder)
        usual = dict(do_rescale=True, image_mean=[0.5, 0.4, 0.3], image_std=[0.25, 0.3, 0.2])
        square = dict(height=96, width=96)
        for number, change in enumerate([
            dict(image_processor_type="ViTImageProcessor", size=square, resample=2),
            dict(image_processor_type="CLIPImageProcessor", size=dict(shortest_edge=110), crop_size=square, resample=3),
            dict(image_processor_type="DeiTImageProcessor", size=dict(height=120, width=110), do_center_crop=True, crop_size=square, resample=1),
        ]):
            write(folder / "preprocessor_config.json", usual | change)
            expected = tools.embed(folder, pictures)
            for scheme in ["official", "timm", "transformers"]:
                out = tools.folder / f"{kind}-{number}-{scheme}{'' if scheme == 'transformers' else '.safetensors'}"
                tools.says("convert", folder, "--to", scheme, out)
                assert torch.equal(tools.embed(out, pictures), expected), (kind, change, scheme)
            tools.says("convert", folder, "--to", "official", tools.folder / f"{kind}-{number}-large.safetensors", "--resample-to", 192)
            said = tools.says("inspect", tools.folder / f"{kind}-{number}-large.safetensors")
            assert re.search(r"resized +(to 192 x 192|shorter side to 220|to 240 x 220)", said), said
    print("converted files prepare images as their source does")


def to_transformers(tools: Tools, photos: Path) -> None:
    """Checks photographs through the processor that `mae convert` writes beside the model."""
    pictures, names = photographs(tools, photos)
    model = drawn(ViTMAEForPreTraining(ViTMAEConfig(**SHAPE, **DECODER, mask_ratio=0.6)))
    model.save_pretrained(tools.folder / "source")
    out = tools.folder / "written"
    tools.says("convert", tools.folder / "source", "--to", "transformers", out)
    assert ViTMAEConfig.from_pretrained(out).mask_ratio == 0.6
    whole = ViTModel(ViTConfig(**SHAPE, layer_norm_eps=model.config.layer_norm_eps), add_pooling_layer=False).eval()
    whole.load_state_dict(model.vit.state_dict(), strict=True)
    ours = {weights: tools.embed(tools.folder / weights, pictures) for weights in ["source", "written"]}
    assert torch.equal(ours["source"], ours["written"])
    pixels = {}
    for backend in ["pil", "torchvision"]:
        processor = AutoImageProcessor.from_pretrained(out, backend=backend)
        pixels[backend] = torch.cat([processor(Image.open(name), return_tensors="pt")["pixel_values"] for name in names])
    close(ours["written"], hf_features(whole, pixels["pil"]), f"{len(names)} photographs through transformers' processor")
    # After each direction, torchvision rounds differently from Pillow.
    steps = ((pixels["pil"] - pixels["torchvision"]).abs() * torch.tensor(IMAGENET[1]).view(1, 3, 1, 1) * 255).max().item()
    print(f"by its torchvision backend: within {steps:.2f} of 255 steps")
    assert steps < 2.01, steps


@torch.no_grad()
def main() -> None:
    mae, photos = sys.argv[1], Path(sys.argv[2])
    disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(mae, Path(folder))
        for check in [transformers_folders, timm_folders, several_models, python_objects, split_and_strange, other_projects]:
            print(f"--- {check.__name__}")
            check(tools)
        for check in [prepared_as_said, converted, to_transformers]:
            print(f"--- {check.__name__}")
            check(tools, photos)


if __name__ == "__main__":
    main()
