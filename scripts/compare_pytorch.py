"""Trains a masked autoencoder of timm's blocks on the data of one of our runs, and compares the losses.

usage: python compare_pytorch.py EXPORT METRICS [--steps N] [--tolerance 0.01] [--picture curves.png]
(Python 3.11, pip install -r requirements-compare.txt)

EXPORT is a folder that `cargo run --release --package mae-trainer --example export_steps -- RUN EXPORT` has
written: initial weights, and the images, masks and learning rate of every update. METRICS is the run's own
metrics.jsonl. Both trainings have the same input. This one uses timm, PyTorch's autograd and torch.optim.AdamW, in
float32 on one CPU thread.

Exit status 1 if the losses of any update differ by more than the tolerance, relative to PyTorch's.

B batch, C channels, P patch, L patches, K kept, D width.
"""

import argparse
import json
import math
import sys
import time
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from timm.optim import param_groups_weight_decay
from torch import nn

PATCH_EPS = 1e-6  # added to a target patch's variance
PRINT_EVERY = 10


def tower(stack: dict, norm: partial) -> nn.Sequential:
    """A stack of timm's pre-norm blocks."""
    width = stack["embed_dim"]
    ratio = stack["mlp_dim"] / width
    return nn.Sequential(
        *(
            Block(width, stack["num_heads"], mlp_ratio=ratio, qkv_bias=True, norm_layer=norm)
            for _ in range(stack["depth"])
        )
    )


class MaskedAutoencoder(nn.Module):
    """The paper's model (arXiv 2111.06377, section 3). Its parameters have the official names."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        encoder, decoder, geometry = config["encoder"], config["decoder"], config["geometry"]
        norm = partial(nn.LayerNorm, eps=config["norm_eps"])
        self.patch, self.norm_pix_loss = geometry["patch_size"], config["norm_pix_loss"]
        wide, narrow = encoder["embed_dim"], decoder["embed_dim"]
        self.patch_embed = PatchEmbed(tuple(geometry["image_size"]), self.patch, geometry["in_chans"], wide)
        length = self.patch_embed.num_patches

        self.kept: int | None = None
        self.cls_token = nn.Parameter(torch.empty(1, 1, wide))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + length, wide), requires_grad=False)
        self.blocks, self.norm = tower(encoder, norm), norm(wide)

        self.decoder_embed = nn.Linear(wide, narrow)
        self.mask_token = nn.Parameter(torch.empty(1, 1, narrow))
        self.decoder_pos_embed = nn.Parameter(torch.empty(1, 1 + length, narrow), requires_grad=False)
        self.decoder_blocks, self.decoder_norm = tower(decoder, norm), norm(narrow)
        self.decoder_pred = nn.Linear(narrow, self.patch**2 * geometry["in_chans"])

    def forward(self, images: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Returns the loss of normalised images [B, C, H, W]; patches are hidden where `masked` [B, L] is true."""
        batch = len(images)
        # The encoder sees only the visible patches, in their order in the image.
        patches = self.patch_embed(images) + self.pos_embed[:, 1:]  # [B, L, D]
        if self.kept is None:  # the same for every image; counting waits for a GPU
            self.kept = int((~masked[0]).sum())
        shuffle = masked.to(torch.uint8).argsort(dim=1, stable=True)  # [B, L], visible ones first
        visible = patches.gather(1, shuffle[:, : self.kept, None].expand(-1, -1, patches.shape[-1]))  # [B, K, D]
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)
        latent = self.norm(self.blocks(torch.cat([cls, visible], dim=1)))  # [B, 1 + K, D]

        # At each position, the decoder sees the patch's latent or the mask token.
        latent = self.decoder_embed(latent)
        hidden = self.mask_token.type_as(latent).expand(batch, masked.shape[1] - self.kept, -1)
        places = torch.cat([latent[:, 1:], hidden], dim=1)  # [B, L, D], shuffled
        places = places.gather(1, shuffle.argsort(dim=1)[:, :, None].expand_as(places))
        tokens = torch.cat([latent[:, :1], places], dim=1) + self.decoder_pos_embed
        tokens = self.decoder_norm(self.decoder_blocks(tokens))  # [B, 1 + L, D]
        pred = self.decoder_pred(tokens[:, 1:])  # [B, L, P*P*C]

        error = (pred - self.target(images)).square().mean(-1)  # [B, L]
        return (error * masked).sum() / masked.sum()

    def target(self, images: torch.Tensor) -> torch.Tensor:
        """Returns patch vectors [B, L, P*P*C] in the order row, column, channel, standardised under norm_pix_loss."""
        tiles = images.unflatten(3, (-1, self.patch)).unflatten(2, (-1, self.patch))  # [B, C, H/P, P, W/P, P]
        vectors = tiles.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # [B, L, P*P*C]
        if not self.norm_pix_loss:
            return vectors
        var, mean = torch.var_mean(vectors, dim=-1, correction=1, keepdim=True)
        return (vectors - mean) / (var + PATCH_EPS).sqrt()


def make_model(export: Path, config: dict) -> MaskedAutoencoder:
    """Returns the model with the exported weights. Fails unless tensors and parameters match one to one."""
    model = MaskedAutoencoder(config)
    model.load_state_dict(load_file(export / "initial.safetensors"), strict=True)
    return model.train()


def make_optimizer(model: nn.Module, adamw: dict) -> torch.optim.AdamW:
    """Returns PyTorch's AdamW with timm's groups: no weight decay for biases and other one-dimensional parameters."""
    groups = param_groups_weight_decay(model, adamw["weight_decay"])
    return torch.optim.AdamW(groups, lr=0.0, betas=tuple(adamw["betas"]), eps=adamw["eps"])


def train(export: Path, plan: dict, steps: int):
    """Trains for `steps` updates. Yields the loss before each update, the mean over its batches."""
    mean, std = (torch.tensor(plan["normalize"][key]).view(-1, 1, 1) for key in ("mean", "std"))
    model = make_model(export, plan["model"])
    optimizer = make_optimizer(model, plan["adamw"])
    for step in range(steps):
        tensors = load_file(export / f"step-{step + 1:05}.safetensors")
        losses = []
        for images, mask in zip(tensors["images"], tensors["mask"], strict=True):
            loss = model((images / 255 - mean) / std, mask.bool())
            (loss / plan["accum_iter"]).backward()
            losses.append(loss.item())
        for group in optimizer.param_groups:
            group["lr"] = plan["lr"][step]
        optimizer.step()
        optimizer.zero_grad()
        yield math.fsum(losses) / len(losses)


def read_losses(metrics: Path, plan: dict, steps: int) -> list[float]:
    """Reads our losses, and checks that the run has the exported schedule."""
    records = [json.loads(line) for line in metrics.read_text().splitlines()][:steps]
    if [record["step"] for record in records] != list(range(1, steps + 1)):
        sys.exit(f"{metrics} does not record the updates 1 to {steps}")
    for record, lr in zip(records, plan["lr"]):
        if not math.isclose(record["lr"], lr, rel_tol=1e-12):
            sys.exit(f"{metrics} is of another run: lr {record['lr']} at update {record['step']}, exported {lr}")
    return [math.nan if record["loss"] is None else record["loss"] for record in records]


def draw(path: Path, ours: list[float], theirs: list[float], relative: list[float], tolerance: float) -> None:
    """Draws both curves, and below them their relative difference."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    steps = range(1, len(ours) + 1)
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(8, 5.5), height_ratios=(3, 2))
    top.plot(steps, theirs, color="tab:orange", linewidth=4, alpha=0.5, label="PyTorch and timm")
    top.plot(steps, ours, color="tab:blue", linewidth=1, label="ours")
    top.set_ylabel("loss")
    top.legend()
    # A logarithmic axis has no zero.
    bottom.plot(steps, [value or math.nan for value in relative], color="tab:green", linewidth=1)
    bottom.axhline(tolerance, color="tab:red", linestyle="--", linewidth=1, label=f"tolerance {tolerance:g}")
    bottom.set(yscale="log", xlabel="update", ylabel="relative difference")
    bottom.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Parses the command line, trains, and prints and compares both losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("export", type=Path, metavar="EXPORT", help="folder that export_steps has written")
    parser.add_argument("metrics", type=Path, metavar="METRICS", help="the run's metrics.jsonl")
    parser.add_argument("--steps", type=int, metavar="N", help="updates to compare (default: all exported)")
    parser.add_argument("--tolerance", type=float, default=0.01, help="largest relative difference (default: 0.01)")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="file to draw the curves into")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    plan = json.loads((args.export / "steps.json").read_text())
    steps = args.steps if args.steps is not None else len(plan["lr"])
    if not 1 <= steps <= len(plan["lr"]):
        parser.error(f"--steps is {steps}, but must be from 1 to the {len(plan['lr'])} that were exported")
    ours = read_losses(args.metrics, plan, steps)

    began = time.perf_counter()
    theirs, relative = [], []
    print("  step      ours   PyTorch  relative difference")
    for step, loss in enumerate(train(args.export, plan, steps), start=1):
        theirs.append(loss)
        relative.append(abs(ours[step - 1] - loss) / abs(loss))
        if step == 1 or step % PRINT_EVERY == 0 or step == steps:
            print(f"{step:6} {ours[step - 1]:9.6f} {loss:9.6f}  {relative[-1]:.2e}", flush=True)
    # NaN is worse than any number.
    worst = max(range(steps), key=lambda i: math.inf if math.isnan(relative[i]) else relative[i])
    print(
        f"largest relative difference {relative[worst]:.2e} at update {worst + 1} of {steps}, "
        f"tolerance {args.tolerance:g}; PyTorch took {time.perf_counter() - began:.0f} s"
    )
    if args.picture:
        draw(args.picture, ours, theirs, relative, args.tolerance)
    sys.exit(0 if relative[worst] <= args.tolerance else 1)


if __name__ == "__main__":
    main()
