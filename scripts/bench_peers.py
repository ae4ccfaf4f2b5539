"""Times training steps of a PyTorch masked autoencoder on one batch, for comparison with `cargo xtask bench step` and
`cargo xtask bench gpu`.

usage: python bench_peers.py {timm,transformers,lightly,timm-uper} EXPORT --steps N [--work encode] [--threads N] [--compile]
                             [--device cuda] [--precision bf16] [--read-every N]
(Python 3.11, pip install -r requirements-bench.txt)

EXPORT is a folder that the example bench_step has written: a model's description and initial weights, a batch of
images and its masks. Prints one line of JSON: the seconds and the loss of each step. A step is forward, backward and
torch.optim.AdamW (fused), in float32 with TF32 off, or under bfloat16 autocast. Losses and the clock are read every
N steps: between two reads, a GPU works ahead.

timm          the paper's model of timm's blocks, with the exported weights and masks: its losses are ours
timm-uper     timm's encoder with the pyramid and heads of transformers' BeitForSemanticSegmentation, and the exported weights
transformers  ViTMAEForPreTraining, with weights and masks of its own
lightly       the model of lightly's MAE example, with weights and masks of its own
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from timm.optim import param_groups_weight_decay
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def timm_model(export: Path, config: dict, mask: torch.Tensor, encode: bool):
    """Returns the paper's model of timm's blocks, and its step."""
    from compare_pytorch import MaskedAutoencoder

    model = MaskedAutoencoder(config)
    model.load_state_dict(load_file(export / "initial.safetensors"), strict=True)

    def tokens(images: torch.Tensor) -> torch.Tensor:
        patches = model.patch_embed(images) + model.pos_embed[:, 1:]
        cls = (model.cls_token + model.pos_embed[:, :1]).expand(len(images), -1, -1)
        return model.norm(model.blocks(torch.cat([cls, patches], dim=1))).abs().mean()

    return model, tokens if encode else lambda images: model(images, mask)


def transformers_model(export: Path, config: dict, mask: torch.Tensor, encode: bool):
    """Returns Hugging Face's port, and its step."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    encoder, decoder, geometry = config["encoder"], config["decoder"], config["geometry"]
    model = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=encoder["embed_dim"],
            num_hidden_layers=encoder["depth"],
            num_attention_heads=encoder["num_heads"],
            intermediate_size=encoder["mlp_dim"],
            decoder_hidden_size=decoder["embed_dim"],
            decoder_num_hidden_layers=decoder["depth"],
            decoder_num_attention_heads=decoder["num_heads"],
            decoder_intermediate_size=decoder["mlp_dim"],
            image_size=geometry["image_size"][0],
            patch_size=geometry["patch_size"],
            num_channels=geometry["in_chans"],
            norm_pix_loss=config["norm_pix_loss"],
            mask_ratio=0.0 if encode else 0.75,
        )
    )
    if encode:
        return model, lambda images: model.vit(pixel_values=images).last_hidden_state.abs().mean()
    return model, lambda images: model(pixel_values=images).loss


class Lightly(nn.Module):
    """The model of lightly's MAE example: targets are not normalised, masks are its own."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
        from timm.models.vision_transformer import VisionTransformer

        encoder, decoder, geometry = config["encoder"], config["decoder"], config["geometry"]
        self.patch = geometry["patch_size"]
        vit = VisionTransformer(
            img_size=tuple(geometry["image_size"]),
            patch_size=self.patch,
            embed_dim=encoder["embed_dim"],
            depth=encoder["depth"],
            num_heads=encoder["num_heads"],
        )
        self.backbone = MaskedVisionTransformerTIMM(vit=vit)
        self.decoder = MAEDecoderTIMM(
            num_patches=vit.patch_embed.num_patches,
            patch_size=self.patch,
            embed_dim=encoder["embed_dim"],
            decoder_embed_dim=decoder["embed_dim"],
            decoder_depth=decoder["depth"],
            decoder_num_heads=decoder["num_heads"],
            mlp_ratio=decoder["mlp_dim"] / decoder["embed_dim"],
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the loss, computed as in the example."""
        from lightly.models import utils

        size = (len(images), self.backbone.sequence_length)
        keep, masked = utils.random_token_mask(size=size, mask_ratio=0.75, device=images.device)
        latent = self.decoder.embed(self.backbone.encode(images=images, idx_keep=keep))
        tokens = utils.repeat_token(self.decoder.mask_token, size)
        tokens = utils.set_at_index(tokens, keep, latent.type_as(tokens))
        pred = self.decoder.predict(utils.get_at_index(self.decoder.decode(tokens), masked))
        patches = utils.patchify(images, self.patch)
        return (pred - utils.get_at_index(patches, masked - 1)).square().mean()


def lightly_model(export: Path, config: dict, mask: torch.Tensor, encode: bool):
    """Returns lightly's example, and its step."""
    model = Lightly(config)
    return model, (lambda images: model.backbone.encode(images=images).abs().mean()) if encode else model


class Uper(nn.Module):
    """timm's encoder with the pyramid and heads of transformers' BeitForSemanticSegmentation."""

    def __init__(self, config: dict, drop_path: float = 0.0) -> None:
        super().__init__()
        from functools import partial

        from timm.models.vision_transformer import VisionTransformer
        from transformers import BeitConfig
        from transformers.models.beit import modeling_beit as beit

        vit, head = config["vit"], config["head"]["uper_net"]
        stack, geometry = vit["stack"], vit["geometry"]
        width, channels, scales = stack["embed_dim"], head["channels"], head["pool_scales"]
        self.blocks = [block - 1 for block in head["blocks"]]
        self.encoder = VisionTransformer(
            img_size=tuple(geometry["image_size"]),
            patch_size=geometry["patch_size"],
            embed_dim=width,
            depth=stack["depth"],
            num_heads=stack["num_heads"],
            mlp_ratio=stack["mlp_dim"] / width,
            num_classes=0,
            drop_path_rate=drop_path,
            norm_layer=partial(nn.LayerNorm, eps=vit["norm_eps"]),
        )
        options = {"num_labels": len(config["classes"]), "pool_scales": scales}
        options["auxiliary_channels"] = head["auxiliary"]["channels"]
        wide, narrow = (BeitConfig(hidden_size=size, **options) for size in (width, channels))
        self.fpn, self.auxiliary_head = beit.BeitFPNNeck(wide), beit.BeitFCNHead(wide)
        self.decode_head = beit.BeitUperHead(narrow)
        # The input has as many channels as the encoder is wide.
        self.decode_head.psp_modules = beit.BeitPyramidPoolingModule(scales, width, channels)
        joined = width + len(scales) * channels
        self.decode_head.psp_bottleneck = beit.BeitConvLayer(joined, channels, kernel_size=3, padding=1)
        lateral = (beit.BeitConvLayer(width, channels, kernel_size=1) for _ in range(3))
        self.decode_head.lateral_convs = nn.ModuleList(lateral)

    @staticmethod
    def published(name: str) -> str:
        """Returns a parameter's name in published checkpoints, which is ours too."""
        for ours, theirs in {
            "encoder.": "",
            "fpn.fpn1.conv_transpose1": "fpn1.0",
            "fpn.fpn1.normalization": "fpn1.1",
            "fpn.fpn1.conv_transpose2": "fpn1.3",
            "fpn.fpn2": "fpn2.0",
            "psp_bottleneck": "bottleneck",
            ".convolution": ".conv",
            ".normalization": ".bn",
        }.items():
            name = name.replace(ours, theirs)
        head, blocks, rest = name.partition("psp_modules.blocks.")
        index, _, rest = rest.partition(".conv.")
        return f"{head}psp_modules.{index}.1.{rest}" if blocks else name

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = self.encoder.forward_intermediates(
            images, indices=self.blocks, norm=False, intermediates_only=True
        )
        pyramid = self.fpn(maps)
        return [self.decode_head(pyramid), self.auxiliary_head(pyramid)]


def uper_model(export: Path, config: dict, labels: torch.Tensor, encode: bool):
    """Returns a segmenter with the exported weights, and its step."""
    if encode:
        raise SystemExit("of a segmenter, training steps are timed")
    model = Uper(config)
    weights = load_file(export / "initial.safetensors")
    state = {name: weights.get(model.published(name), value) for name, value in model.state_dict().items()}
    model.load_state_dict(state, strict=True)

    def loss(images: torch.Tensor) -> torch.Tensor:
        total = 0.0
        for scores, share in zip(model(images), (1.0, 0.4)):
            resized = nn.functional.interpolate(scores, size=labels.shape[1:], mode="bilinear", align_corners=False)
            total = total + share * nn.functional.cross_entropy(resized, labels.long())
        return total

    return model, loss


def memory_mib(name: str) -> float:
    """Returns a field of this process in Linux's /proc/self/status, in MiB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in status if line.startswith(name)).split()[1]) / 1024


def main() -> None:
    """Parses the command line, times the steps and prints the times."""
    models = {"timm": timm_model, "transformers": transformers_model, "lightly": lightly_model, "timm-uper": uper_model}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("peer", choices=models, help="model")
    parser.add_argument("export", type=Path, metavar="EXPORT", help="folder that bench_step has written")
    parser.add_argument("--steps", type=int, required=True, metavar="N", help="steps to time")
    parser.add_argument("--work", choices=["train", "encode"], default="train", help="work to time")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of PyTorch (default: 2)")
    parser.add_argument("--compile", action="store_true", help="torch.compile the forward pass")
    parser.add_argument("--device", default="cpu", help="device: cpu, cuda")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16 runs under autocast")
    parser.add_argument("--read-every", type=int, default=1, metavar="N", help="steps between reads of the losses")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    config = json.loads((args.export / "model.json").read_text())
    device = torch.device(args.device)
    # By default, f32 matrix products do not use TF32, but convolutions (the patch embedding) do.
    torch.backends.cudnn.allow_tf32 = False
    batch = load_file(args.export / "batch.safetensors")
    encode = args.work == "encode"
    before = memory_mib("VmRSS")
    # A step's input beside images: masks, or a segmenter's labels.
    target = batch["labels"] if "labels" in batch else batch["mask"].bool()
    model, step = models[args.peer](args.export, config, target.to(device), encode)
    model.to(device).train(not encode)
    if args.compile:
        step = torch.compile(step)
    if device.type == "cuda":
        batch["images"] = batch["images"].pin_memory()
    mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (MEAN, STD))
    groups = param_groups_weight_decay(model, 0.05)
    optimizer = torch.optim.AdamW(groups, lr=1.5e-4, betas=(0.9, 0.95), fused=True)

    seconds, losses, unread = [], [], []
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")
    began = time.perf_counter()
    for number in range(1, args.steps + 1):
        images = (batch["images"].to(device, non_blocking=True) / 255 - mean) / std
        if encode:
            with torch.inference_mode(), autocast:
                loss = step(images)
        else:
            with autocast:
                loss = step(images)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        unread.append(loss.detach())
        if number % args.read_every == 0 or number == args.steps:
            losses += torch.stack(unread).float().tolist()
            seconds += [(time.perf_counter() - began) / len(unread)] * len(unread)
            unread = []
            began = time.perf_counter()
    print(json.dumps({"seconds": seconds, "losses": losses, "peak_mib": memory_mib("VmHWM") - before}))


if __name__ == "__main__":
    main()
