"""Writes classify.json, by PyTorch: steps of fine-tuning with timm and AdamW, steps of a linear probe with timm's LARS, and a
multi-label loss.

pip install -r requirements.txt && python make_classify.py    # --check compares instead of writing
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from timm.data.mixup import mixup_target
from timm.loss import SoftTargetCrossEntropy
from timm.models.vision_transformer import VisionTransformer
from timm.optim import Lars, param_groups_layer_decay

BATCH, CLASSES, STEPS = 4, 5, 4
SIZE, PATCH, DIM, DEPTH, HEADS = (8, 12), 4, 8, 3, 2
DECAY, LR, SMOOTHING, KEPT, DROP = 0.6, [1e-2, 8e-3, 5e-3, 2e-3], 0.1, 0.7, 0.4
PROBE = dict(images=12, dim=7, steps=6, lr=[4.0, 8.0, 8.0, 6.0, 3.0, 1.0])


class Scaled(torch.nn.Module):
    """Scales each sample's branch by a given factor. Replaces timm's DropPath, whose draws cannot be set."""

    def __init__(self, scales):
        super().__init__()
        self.scales = scales

    def forward(self, x):
        return x * self.scales.view(-1, 1, 1)


def numbers(x):
    return [float(f"{v:.7g}") for v in x.detach().double().flatten().tolist()]


def finetune(rng):
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=SIZE, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=CLASSES,
        global_pool="avg",
    )
    with torch.no_grad():
        for parameter in model.parameters():  # no value stays at 0 or 1, and each takes few digits
            parameter.copy_((parameter + 0.2 * torch.randn_like(parameter)).mul(1000).round().div(1000))
    initial = {name: dict(shape=list(p.shape), values=numbers(p)) for name, p in model.named_parameters()}
    images = torch.tensor(rng.integers(256, size=(STEPS, BATCH, 3, *SIZE)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(CLASSES, size=(STEPS, BATCH)))
    draws = rng.uniform(size=(STEPS, DEPTH, 2, BATCH)).round(4)
    groups = param_groups_layer_decay(
        model, weight_decay=0.05, no_weight_decay_list=model.no_weight_decay(), layer_decay=DECAY
    )
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999))
    losses = []
    model.train()
    for step in range(STEPS):
        for i, block in enumerate(model.blocks):
            rate = DROP * i / (DEPTH - 1)
            for j, name in enumerate(["drop_path1", "drop_path2"]):
                scales = np.where(draws[step, i, j] < rate, 0.0, 1.0 / (1.0 - rate))
                setattr(block, name, Scaled(torch.tensor(scales, dtype=torch.float32)))
        x = images[step] / 255 - 0.5
        x = x * KEPT + x.flip(0) * (1 - KEPT)
        targets = mixup_target(labels[step], CLASSES, lam=KEPT, smoothing=SMOOTHING)
        loss = SoftTargetCrossEntropy()(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = LR[step] * group["lr_scale"]
        optimizer.step()
        losses.append(float(f"{loss.item():.7g}"))
    scales = {
        name: group["lr_scale"] for group in groups for name, p in model.named_parameters()
        if any(p is other for other in group["params"])
    }
    return dict(
        size=SIZE, patch=PATCH, dim=DIM, depth=DEPTH, heads=HEADS, classes=CLASSES, batch=BATCH, decay=DECAY, lr=LR,
        smoothing=SMOOTHING, kept=KEPT, drop=DROP, initial=initial, images=images.int().flatten().tolist(),
        labels=labels.flatten().tolist(), draws=draws.flatten().tolist(), losses=losses, scales=scales,
        final={name: numbers(p) for name, p in model.named_parameters()},
    )


def probe(rng):
    n, dim, steps = PROBE["images"], PROBE["dim"], PROBE["steps"]
    norm = torch.nn.BatchNorm1d(dim, affine=False, eps=1e-6)
    head = torch.nn.Linear(dim, CLASSES)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(rng.normal(size=(CLASSES, dim)).round(3)))
        head.bias.zero_()
    initial = numbers(head.weight)
    features = torch.tensor(rng.normal(2.0, 3.0, size=(steps, n, dim)).round(3), dtype=torch.float32)
    labels = torch.tensor(rng.integers(CLASSES, size=(steps, n)))
    # LARS scales matrices, not biases. Without weight decay, timm scales only groups with always_adapt.
    optimizer = Lars(
        [dict(params=[head.weight], always_adapt=True), dict(params=[head.bias], always_adapt=False)],
        lr=1.0, momentum=0.9, weight_decay=0.0, trust_coeff=0.001, eps=0.0,
    )
    losses = []
    for step in range(steps):
        loss = torch.nn.functional.cross_entropy(head(norm(features[step])), labels[step])
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = PROBE["lr"][step]
        optimizer.step()
        losses.append(float(f"{loss.item():.7g}"))
    return dict(
        images=n, dim=dim, classes=CLASSES, lr=PROBE["lr"], weight=initial, features=numbers(features),
        labels=labels.flatten().tolist(), losses=losses, final_weight=numbers(head.weight),
        final_bias=numbers(head.bias), running_mean=numbers(norm.running_mean),
        running_var=numbers(norm.running_var),
    )


def multi_label(rng):
    scores = torch.tensor(rng.normal(0.0, 3.0, size=(BATCH, CLASSES)).round(2), dtype=torch.float32)
    scores[0, :2], scores[1, :2] = 0.0, torch.tensor([60.0, -60.0])  # where the gradient is one half, and at extreme values
    targets = torch.tensor(rng.uniform(size=(BATCH, CLASSES)).round(), dtype=torch.float32)
    targets = targets * KEPT + targets.flip(0) * (1 - KEPT)
    scores.requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, targets)
    loss.backward()
    return dict(
        batch=BATCH, classes=CLASSES, scores=numbers(scores), targets=numbers(targets), loss=loss.item(),
        gradient=numbers(scores.grad),
    )


def same(a, b, path=""):
    """Asserts that two results are equal up to rounding: another machine may add in another order."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, (list, tuple)) and a and not isinstance(a[0], str):
        a, b = np.array(a), np.array(b)
        if path.endswith("attn.qkv.bias"):
            # The softmax does not depend on the keys' bias. Its gradient is rounding error, which AdamW turns into steps that
            # differ from processor to processor.
            a, b = (np.delete(x, np.s_[len(x) // 3 : 2 * len(x) // 3]) for x in (a, b))
        difference = np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)
        assert difference < 2e-5, (path, difference)
    else:
        assert a == b or abs(a - b) < 1e-6, (path, a, b)


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(2111_06377)
    golden = dict(finetune=finetune(rng), probe=probe(rng), multi_label=multi_label(rng))
    path = Path(__file__).with_name("classify.json")
    if "--check" in sys.argv:
        same(golden, json.loads(path.read_text()))
    else:
        path.write_text(json.dumps(golden) + "\n")
    print("losses", golden["finetune"]["losses"], golden["probe"]["losses"])
    print("scales", golden["finetune"]["scales"])


main()
