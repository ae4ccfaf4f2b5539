"""The golden cases of the public implementations: transformers, timm and lightly."""

from functools import partial

import torch
from lightly.models import utils
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from inputs import BATCH, Shape, make_image, make_noise, make_weights, prefixed

EPS = 1e-6  # of every LayerNorm, as in the official code
LOSSES = {"raw": False, "norm_pix": True}

# The pre-training recipe's AdamW (paper, table 8; eps is PyTorch's default). The groups follow timm's rule, as in the
# official code: only one-dimensional parameters and biases have no weight decay. The class token and the mask token,
# with three dimensions, do have it.
STEPS = 10
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8}
WEIGHT_DECAY = 0.05

# transformers' names of the parameters in memory. In files, they have other names.
HF_TOP = {
    "cls_token": "vit.embeddings.cls_token",
    "pos_embed": "vit.embeddings.position_embeddings",
    "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
    "norm": "vit.layernorm",
}
HF_BLOCK = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.o_proj"}


def hf_names(name: str) -> list[str]:
    """Returns transformers' names for an official name: three for qkv, otherwise one."""
    if "blocks." in name:
        tower, index, rest = name.split(".", 2)
        layer = f"{'vit.layers' if tower == 'blocks' else 'decoder.decoder_layers'}.{index}"
        part, kind = rest.rsplit(".", 1)
        if part == "attn.qkv":
            return [f"{layer}.attention.{p}_proj.{kind}" for p in "qkv"]
        return [f"{layer}.{HF_BLOCK.get(part, part)}.{kind}"]
    if name.startswith(("mask_token", "decoder_")):
        return [f"decoder.{name}"]
    stem, dot, kind = (name, "", "") if name in HF_TOP else name.rpartition(".")
    return [f"{HF_TOP[stem]}{dot}{kind}"]


def to_hf(w: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames official tensors to transformers' names."""
    pairs = ((hf_names(name), tensor) for name, tensor in w.items())
    return {hf: part for names, tensor in pairs for hf, part in zip(names, tensor.chunk(len(names)))}


def from_hf(names: list[str], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Assembles the tensors of the official `names` from transformers' tensors."""
    return {name: torch.cat([tensors[hf] for hf in hf_names(name)]).detach().clone() for name in names}


def hf_positions(shape: Shape, dim: int) -> torch.Tensor:
    """Returns transformers' own table with its halves exchanged: height comes first in it, but second in MAE's weights."""
    table = build_2d_sinusoidal_position_embedding(*shape.grid, dim, cls_token=True)
    return table.roll(dim // 2, dims=1)[None]


def adamw_steps(model: ViTMAEForPreTraining, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Trains `model` in place, one step for each row of `noise`. Returns the loss before each step."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if p.ndim == 1 or name.endswith(".bias")]
    decayed = [p for name, p in trained if not (p.ndim == 1 or name.endswith(".bias"))]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": WEIGHT_DECAY}]
    optimizer = torch.optim.AdamW(groups, **ADAMW)
    losses = []
    for row in noise:
        optimizer.zero_grad()
        loss = model(pixel_values=image, noise=row).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def transformers_case() -> tuple[Shape, dict[str, torch.Tensor]]:
    """Hugging Face's ViTMAEForPreTraining, forward, backward and ten steps of AdamW with norm_pix_loss.

    In this version, its initialisation leaves the positions of both towers at zero. Here they are set to the output of
    its own function for positions. The norms' eps, 1e-12 by default, is set to 1e-6. It takes only square images.

    More keys: steps.noise [10, B, L], steps.loss [10], steps.w.NAME (the weights after the last step).
    """
    shape = Shape((20, 20), 3, 4, 32, 2, 4, decoder_embed_dim=24, decoder_depth=2, decoder_num_heads=2)
    w, image = make_weights(shape, seed=901), make_image(shape, seed=902)
    w["pos_embed"] = hf_positions(shape, shape.embed_dim)
    w["decoder_pos_embed"] = hf_positions(shape, shape.decoder_embed_dim)
    noise = make_noise(1 + STEPS, BATCH, shape.num_patches, seed=903)
    config = ViTMAEConfig(
        image_size=shape.image[0],
        patch_size=shape.patch,
        num_channels=shape.channels,
        hidden_size=shape.embed_dim,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.num_heads,
        intermediate_size=shape.mlp_ratio * shape.embed_dim,
        decoder_hidden_size=shape.decoder_embed_dim,
        decoder_num_hidden_layers=shape.decoder_depth,
        decoder_num_attention_heads=shape.decoder_num_heads,
        decoder_intermediate_size=shape.mlp_ratio * shape.decoder_embed_dim,
        mask_ratio=shape.mask_ratio,
        layer_norm_eps=EPS,
        hidden_act="gelu",
    )
    model = ViTMAEForPreTraining(config)
    model.load_state_dict(to_hf(w))
    trained = [name for name in w if not name.endswith("pos_embed")]

    out = {**prefixed("w.", w), "image": image, "noise": noise[0]}
    for kind, norm_pix in LOSSES.items():
        model.config.norm_pix_loss = norm_pix
        model.zero_grad()
        result = model(pixel_values=image, noise=noise[0])
        result.loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        out |= {f"loss.{kind}": result.loss, **prefixed(f"grad.{kind}.", from_hf(trained, gradients))}
    out |= {"pred": result.logits, "mask": result.mask, "ids_restore": result.ids_restore}
    out["latent"] = model.vit(image, noise=noise[0]).last_hidden_state

    out |= {"steps.noise": noise[1:], "steps.loss": adamw_steps(model, image, noise[1:])}
    out |= prefixed("steps.w.", from_hf(trained, dict(model.named_parameters())))
    return shape, out


def timm_model(shape: Shape) -> VisionTransformer:
    """Returns timm's encoder for images of any size."""
    return VisionTransformer(
        img_size=shape.image,
        patch_size=shape.patch,
        embed_dim=shape.embed_dim,
        depth=shape.depth,
        num_heads=shape.num_heads,
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=EPS),
        dynamic_img_size=True,
    )


def timm_case() -> tuple[Shape, dict[str, torch.Tensor]]:
    """timm's VisionTransformer without masking, at its own resolution and at another.

    Positions are noise instead of the smooth table, so that errors of resampling show. The second grid, 6x5 from 4x6,
    is taller and narrower. timm resamples with antialiasing. PyTorch then uses the bicubic kernel with a = -0.5, like
    Pillow, in both directions; without antialiasing, it would be a = -0.75.

    Keys: w.NAME (encoder), image, features [B, 1 + L, D] after the norm; resampled.image,
    resampled.pos_embed, resampled.features.
    """
    shape = Shape((32, 48), 3, 8, 32, 2, 4)
    w = make_weights(shape, seed=11)
    w["pos_embed"] = 0.5 * torch.randn(w["pos_embed"].shape, generator=torch.Generator().manual_seed(12))
    model = timm_model(shape)
    model.load_state_dict(w)
    image, other = make_image(shape, seed=13), make_image(shape, seed=14, size=(48, 40))
    return shape, {
        **prefixed("w.", w),
        "image": image,
        "features": model.forward_features(image),
        "resampled.image": other,
        "resampled.pos_embed": resample_abs_pos_embed(w["pos_embed"], new_size=[6, 5], old_size=[4, 6]),
        "resampled.features": model.forward_features(other),
    }


def attention_case() -> tuple[Shape, dict[str, torch.Tensor]]:
    """The attention weights of timm's VisionTransformer, recorded at the input of its dropout, and their rollout.

    Keys: w.NAME (encoder), image, attention.BLOCK [B, N, 1 + L, 1 + L], rollout [B, L], the class token's row.
    """
    shape = Shape((24, 40), 3, 8, 24, 3, 3)
    w, image = make_weights(shape, seed=41), make_image(shape, seed=42)
    model = timm_model(shape)
    model.load_state_dict(w)
    weights = []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_pre_hook(lambda _, inputs: weights.append(inputs[0]))
    model(image)
    attentions = {f"attention.{i}": weight for i, weight in enumerate(weights)}
    return shape, {**prefixed("w.", w), "image": image, **attentions, "rollout": rollout(weights)}


def rollout(attentions: list[torch.Tensor]) -> torch.Tensor:
    """Returns the rollout (Abnar and Zuidema, arXiv 2005.00928): the product of W + I, normalised by row, in float64."""
    product = None
    for weights in attentions:
        matrix = weights.double().mean(dim=1) + torch.eye(weights.shape[-1], dtype=torch.float64)
        matrix = matrix / matrix.sum(dim=-1, keepdim=True)
        product = matrix if product is None else matrix @ product
    return product[:, 0, 1:].float()


class LightlyMae(nn.Module):
    """The modules of lightly's example, combined as in the example."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.patch = shape.patch
        vit = VisionTransformer(
            img_size=shape.image[0],
            patch_size=shape.patch,
            embed_dim=shape.embed_dim,
            depth=shape.depth,
            num_heads=shape.num_heads,
            num_classes=0,
        )
        self.backbone = MaskedVisionTransformerTIMM(vit=vit)
        self.embed = nn.Linear(shape.embed_dim, shape.decoder_embed_dim)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            num_patches=shape.num_patches,
            embed_dim=shape.decoder_embed_dim,
            depth=shape.decoder_depth,
            num_heads=shape.decoder_num_heads,
        )
        self.head = nn.Linear(shape.decoder_embed_dim, shape.patch_dim)

    def forward(self, image: torch.Tensor, keep: torch.Tensor, hide: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns latents, predictions and loss for the indices of the kept and of the masked tokens."""
        latent = self.backbone.encode(images=image, idx_keep=keep)
        x = self.embed(latent)
        x = utils.set_at_index(x.new_zeros(len(x), self.decoder.sequence_length, x.shape[2]), keep, x)
        pred = self.head(utils.get_at_index(self.decoder(x, idx_mask=hide), hide))
        target = utils.get_at_index(utils.patchify(image, self.patch), hide - 1)
        return {"latent": latent, "pred": pred, "loss.raw": nn.MSELoss()(pred, target)}


def lightly_name(name: str) -> str:
    """Returns the name in LightlyMae for an official name."""
    for official, here in {
        "decoder_embed.": "embed.",
        "decoder_pred.": "head.",
        "decoder_": "decoder.",
        "mask_token": "decoder.mask_token",
    }.items():
        if name.startswith(official):
            return here + name.removeprefix(official)
    return f"backbone.vit.{name}"


def lightly_case() -> tuple[Shape, dict[str, torch.Tensor]]:
    """A small version of the model of lightly's MAE example: one decoder block, loss on raw pixels.

    It differs from the official code only in bookkeeping. lightly masks tokens instead of patches: indices count the
    class token, which is always kept and comes first. It predicts only the masked tokens. It adds the class token's
    position, which is zero, before masking. The norms' eps is 1e-6 in both towers. The positions are lightly's.

    Keys: w.NAME, image, idx_keep [B, 1 + K] and idx_mask [B, L - K] (of tokens), latent,
    pred [B, L - K, P*P*C] in the order of idx_mask, loss.raw.
    """
    shape = Shape((32, 32), 3, 8, 32, 2, 4, decoder_embed_dim=24, decoder_depth=1, decoder_num_heads=2)
    w, image = make_weights(shape, seed=21), make_image(shape, seed=22)
    model = LightlyMae(shape)
    w["pos_embed"], w["decoder_pos_embed"] = model.backbone.vit.pos_embed, model.decoder.pos_embed
    # The backbone has a mask token of its own, for methods other than MAE.
    unused = {"backbone.mask_token": model.backbone.mask_token}
    model.load_state_dict({lightly_name(name): tensor for name, tensor in w.items()} | unused)
    torch.manual_seed(23)
    keep, hide = utils.random_token_mask((BATCH, model.backbone.sequence_length), shape.mask_ratio)
    indices = {"idx_keep": keep, "idx_mask": hide}
    return shape, {**prefixed("w.", w), "image": image, **indices, **model(image, keep, hide)}
