"""Checks that `mae convert` exchanges weights with timm, transformers and the official layout, using the real packages.

usage: python check_exchange.py MAE FORWARD [--size base]
       MAE is the program, FORWARD the example `forward` of mae-model
(Python 3.11, pip install -r ../golden/requirements.txt)

- Every tensor survives every conversion unchanged.
- Converted files load in timm (`strict=True`) and in transformers (`from_pretrained`, nothing missing, unexpected or of
  another shape).
- Features and losses agree with those of the packages.

The official layout is a `torch.save` of {'model', 'optimizer', 'args': argparse.Namespace}, as in the official code.
"""

import argparse
import pickle
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "golden"))

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from timm.layers import resample_abs_pos_embed, resample_patch_embed  # noqa: E402
from timm.models import adapt_input_conv  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from torch import nn  # noqa: E402
from transformers import ViTMAEConfig, ViTMAEForPreTraining, ViTMAEModel  # noqa: E402

from inputs import BATCH, Shape, make_image, make_noise, make_weights  # noqa: E402
from peers import to_hf  # noqa: E402

TOLERANCE = 1e-4
SIZES = {
    "small": Shape((20, 20), 3, 4, 32, 2, 4, decoder_embed_dim=24, decoder_depth=2, decoder_num_heads=2),
    "base": Shape((224, 224), 3, 16, 768, 12, 12, decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16),
}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], what: str) -> None:
    """Asserts that all tensors are equal to the bit."""
    assert a.keys() == b.keys(), (what, a.keys() ^ b.keys())
    for name in a:
        if a[name] is None and b[name] is None:
            continue
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), (what, name)
    print(f"{what}: {len(a)} tensors are equal")


def close(ours: torch.Tensor, theirs: torch.Tensor, what: str) -> None:
    """Asserts that two tensors agree within TOLERANCE, relative to the largest magnitude."""
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    print(f"{what}: within {error:.1e}")
    assert error < TOLERANCE, (what, error)


def timm_vit(shape: Shape, **more: object) -> VisionTransformer:
    return VisionTransformer(
        img_size=shape.image,
        patch_size=shape.patch,
        in_chans=shape.channels,
        embed_dim=shape.embed_dim,
        depth=shape.depth,
        num_heads=shape.num_heads,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        **{"num_classes": 0, **more},
    ).eval()


def hf_config(shape: Shape) -> ViTMAEConfig:
    return ViTMAEConfig(
        image_size=shape.image[0],
        patch_size=shape.patch,
        hidden_size=shape.embed_dim,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.num_heads,
        intermediate_size=4 * shape.embed_dim,
        decoder_hidden_size=shape.decoder_embed_dim,
        decoder_num_hidden_layers=shape.decoder_depth,
        decoder_num_attention_heads=shape.decoder_num_heads,
        decoder_intermediate_size=4 * shape.decoder_embed_dim,
        layer_norm_eps=1e-6,
        norm_pix_loss=True,
    )


def from_pretrained(kind: type, folder: Path) -> nn.Module:
    """Loads a model. Asserts that nothing is missing, unexpected or of another shape."""
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


class Tools:
    def __init__(self, mae: str, forward: str, folder: Path, shape: Shape) -> None:
        self.mae, self.forward, self.folder, self.shape = mae, forward, folder, shape
        self.heads = ["--num-heads", str(shape.num_heads)]
        self.all = [*self.heads, "--decoder-num-heads", str(shape.decoder_num_heads), "--norm-pix-loss", "true"]
        image, noise = make_image(shape, seed=2), make_noise(BATCH, shape.num_patches, seed=3)
        self.inputs = {"image": image, "noise": noise}
        save_file(self.inputs, folder / "input.safetensors")

    def convert(self, source: str, to: str, out: str, *more: str) -> Path:
        command = [self.mae, "convert", self.folder / source, "--to", to, self.folder / out, *more]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return self.folder / out

    def refuses(self, *args: object) -> str:
        done = subprocess.run([self.mae, *map(str, args)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and done.stderr.startswith("error: "), (args, done)
        print(done.stderr.strip()[:200])
        return done.stderr

    def run(self, weights: str, full: bool = True) -> dict[str, torch.Tensor]:
        s = self.shape
        numbers = [str(s.num_heads), str(s.decoder_num_heads), "true"][: 3 if full else 1]
        out = self.folder / "out.safetensors"
        subprocess.run([self.forward, self.folder / weights, self.folder / "input.safetensors", out, *numbers], check=True)
        return load_file(out)


@torch.no_grad()
def exchange(tools: Tools) -> None:
    shape, folder = tools.shape, tools.folder
    official = make_weights(shape, seed=1)
    encoder = {name: t for name, t in official.items() if "decoder_" not in name and name != "mask_token"}
    args = argparse.Namespace(lr=1e-3, norm_pix_loss=True, device=torch.device("cpu"))
    optimizer = torch.optim.AdamW([nn.Parameter(t) for t in official.values()]).state_dict()
    torch.save({"model": official, "optimizer": optimizer, "epoch": 3, "args": args}, folder / "official.pth")
    save_file(encoder, folder / "timm.safetensors")
    torch.save(encoder, folder / "timm.pth")
    theirs = ViTMAEForPreTraining(hf_config(shape)).eval()
    theirs.load_state_dict(to_hf(official))
    theirs.save_pretrained(folder / "theirs")

    print("--- to the official names")
    same(load_file(tools.convert("official.pth", "official", "a.safetensors", *tools.all)), official, "official.pth")
    same(load_file(tools.convert("theirs", "official", "b.safetensors")), official, "transformers")
    same(load_file(tools.convert("timm.safetensors", "official", "c.safetensors")), encoder, "timm's safetensors")
    same(load_file(tools.convert("timm.pth", "official", "d.safetensors")), encoder, "timm's .pth")

    print("--- to transformers and back")
    ours = from_pretrained(ViTMAEForPreTraining, tools.convert("a.safetensors", "transformers", "hf"))
    same(ours.state_dict(), theirs.state_dict(), "official to transformers")
    assert {k: v for k, v in ours.config.to_dict().items() if k not in ("dtype", "_name_or_path")} == {
        k: v for k, v in theirs.config.to_dict().items() if k not in ("dtype", "_name_or_path")
    } | {"architectures": ["ViTMAEForPreTraining"]}
    bare = from_pretrained(ViTMAEModel, tools.convert("timm.pth", "transformers", "hf-encoder", *tools.heads))
    same(bare.state_dict(), theirs.vit.state_dict(), "timm to transformers' encoder")
    bare.save_pretrained(folder / "hf-bare")
    same(load_file(tools.convert("hf-bare", "timm", "e.safetensors")), encoder, "transformers' encoder to timm")
    same(load_file(tools.convert("hf", "official", "f.safetensors")), official, "and back")

    print("--- to timm, strictly")
    vit = timm_vit(shape)
    vit.load_state_dict(load_file(tools.convert("official.pth", "timm", "g.safetensors")), strict=True)
    same(vit.state_dict(), encoder, "official to timm")

    print("--- features and losses")
    features = vit.forward_features(tools.inputs["image"])
    loss = ours(pixel_values=tools.inputs["image"], noise=tools.inputs["noise"]).loss
    for weights, full in [("official.pth", True), ("theirs", True), ("hf", True), ("timm.pth", False)]:
        found = tools.run(weights, full)
        close(found["features"], features, f"{weights}: features beside timm's")
        if full:
            close(found["loss"], loss.reshape(1), f"{weights}: loss beside transformers'")

    print("--- other sizes")
    # A larger square, a rectangle, and smaller patches for images of the same size.
    side, patch = shape.image[0], shape.patch
    for size, new in [((2 * side, 2 * side), patch), ((3 * patch, 2 * side), patch), (shape.image, patch // 2)]:
        grid = [pixels // new for pixels in size]
        more = ["--resample-to", f"{size[0]}x{size[1]}", "--resample-patches-to", str(new), *tools.all]
        found = load_file(tools.convert("timm.pth", "timm", f"{size[0]}-{size[1]}-{new}.safetensors", *more))
        positions = resample_abs_pos_embed(official["pos_embed"], new_size=grid)
        kernels = resample_patch_embed(official["patch_embed.proj.weight"], [new, new])
        close(found["pos_embed"], positions, f"positions for {size} in patches of {new}")
        close(found["patch_embed.proj.weight"], kernels, "kernels")
        rest = encoder.keys() - {"pos_embed", "patch_embed.proj.weight"}
        assert all(torch.equal(found[name], encoder[name]) for name in rest)
    found = load_file(tools.convert("a.safetensors", "official", "large.safetensors", "--resample-to", str(2 * side)))
    grid = [2 * pixels for pixels in shape.grid]
    decoder = resample_abs_pos_embed(official["decoder_pos_embed"], new_size=grid)
    close(found["decoder_pos_embed"], decoder, "the decoder's positions")
    larger = from_pretrained(ViTMAEForPreTraining, tools.convert("large.safetensors", "transformers", "hf-large"))
    assert larger.config.image_size == 2 * side
    same(larger.state_dict() | {"vit.embeddings.position_embeddings": None, "decoder.decoder_pos_embed": None}, to_hf(
        official) | {"vit.embeddings.position_embeddings": None, "decoder.decoder_pos_embed": None}, "all else")
    error = tools.refuses("convert", folder / "a.safetensors", "--to", "official", folder / "no", "--resample-patches-to", "2")
    assert "convert the encoder alone" in error

    print("--- other channels")
    kernel = "patch_embed.proj.weight"
    for count in [1, 2, 3, 5, 8]:
        found = load_file(tools.convert("timm.pth", "timm", f"channels-{count}.safetensors", "--in-chans", str(count), *tools.all))
        close(found[kernel], adapt_input_conv(count, official[kernel]), f"kernels of {count} channels")
        timm_vit(replace(shape, channels=count)).load_state_dict(found, strict=True)
    colours = ["blue", "nir", "green", "red"]
    four = load_file(tools.convert("a.safetensors", "official", "four.safetensors", "--channels", ",".join(colours)))
    red, green, blue = official[kernel].unbind(1)
    assert torch.equal(four[kernel], torch.stack([blue, torch.zeros_like(red), green, red], 1))
    hf = from_pretrained(ViTMAEForPreTraining, tools.convert("four.safetensors", "transformers", "hf-four"))
    assert hf.config.num_channels == 4
    back = load_file(tools.convert("four.safetensors", "official", "back.safetensors", "--channels", "red,green,blue"))
    assert all(torch.equal(back[name], official[name]) for name in official), "three channels, four, and three again"
    error = tools.refuses("convert", folder / "a.safetensors", "--to", "official", folder / "no", "--channels", "nir,swir")
    assert "none of the channels nir, swir is one of its red, green, blue" in error

    print("--- half precision")
    for precision, dtype in [("f16", torch.float16), ("bf16", torch.bfloat16), ("f32", torch.float32)]:
        out = tools.convert("official.pth", "official", f"{precision}.safetensors", "--precision", precision)
        same(load_file(out), {name: t.to(dtype) for name, t in official.items()}, precision)
        # And back to f32.
        wide = load_file(tools.convert(out.name, "timm", f"{precision}-up.safetensors", "--precision", "f32"))
        same(wide, {name: t.to(dtype).float() for name, t in encoder.items()}, f"{precision} to f32")

    print("--- fine-tuned and probed")
    tuned = timm_vit(shape, num_classes=7, global_pool="avg", fc_norm=True)
    torch.save({"model": tuned.state_dict()}, folder / "tuned.pth")
    again = timm_vit(shape, num_classes=7, global_pool="avg", fc_norm=True)
    again.load_state_dict(load_file(tools.convert("tuned.pth", "timm", "tuned.safetensors")), strict=True)
    same(again.state_dict(), tuned.state_dict(), "fine-tuned")
    head = nn.Sequential(nn.BatchNorm1d(shape.embed_dim, affine=False), nn.Linear(shape.embed_dim, 7))
    probe = encoder | {f"head.{name}": t for name, t in head.state_dict().items()}
    torch.save({"model": probe}, folder / "probe.pth")
    same(load_file(tools.convert("probe.pth", "official", "probe.safetensors")), probe, "probe")
    error = tools.refuses("convert", folder / "tuned.pth", "--to", "transformers", folder / "no")
    assert "no classifier" in error and "7 classes" in error and not (folder / "no").exists()


class Code:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def hostile(tools: Tools) -> None:
    """Checks that nothing in a file is executed, trusted, or used in part."""
    folder = tools.folder
    print("--- hostile files")
    trap, kept = folder / "trap", make_weights(tools.shape, seed=1)
    torch.save({"model": kept, "args": Code(str(trap))}, folder / "code.pth")
    with (folder / "code.pkl").open("wb") as file:
        pickle.dump({"model": Code(str(trap))}, file, protocol=2)
    # The weights beside the code can be used, and the code is not executed.
    subprocess.run([tools.mae, "inspect", folder / "code.pth"], check=True, stdout=subprocess.DEVNULL)
    tools.refuses("inspect", folder / "code.pkl")
    assert not trap.exists()

    whole = (folder / "official.pth").read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        (folder / "cut.pth").write_bytes(whole[:length])
        assert "cut.pth" in tools.refuses("inspect", folder / "cut.pth")

    # An entry that decompresses to far more than the file's size.
    with zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(400 << 20))
        archive.writestr("bomb/version", "3\n")
    assert (folder / "bomb.pth").stat().st_size < 1 << 20
    assert "bomb.pth" in tools.refuses("inspect", folder / "bomb.pth")

    torch.save(kept | {"norm.bias": torch.full_like(kept["norm.bias"], torch.nan)}, folder / "nan.pth")
    done = subprocess.run(
        [tools.forward, folder / "nan.pth", folder / "input.safetensors", folder / "no", "4", "2", "true"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "norm.bias" in done.stderr, done
    torch.save(nn.Linear(3, 4).state_dict(), folder / "linear.pth")
    assert "no patch embedding" in tools.refuses("inspect", folder / "linear.pth")
    large = kept | {"norm.bias": torch.full_like(kept["norm.bias"], 1e6)}
    torch.save(large, folder / "large.pth")
    error = tools.refuses("convert", folder / "large.pth", "--to", "official", folder / "no", "--precision", "f16")
    assert "norm.bias" in error and not (folder / "no").exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mae")
    parser.add_argument("forward")
    parser.add_argument("--size", choices=SIZES, default="small")
    args = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(args.mae, args.forward, Path(folder), SIZES[args.size])
        exchange(tools)
        if args.size == "small":
            hostile(tools)


if __name__ == "__main__":
    main()
