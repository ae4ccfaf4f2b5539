"""Writes segment.json: segmentation losses and their gradients, by PyTorch.

pip install -r requirements.txt && python make_segment.py    # --check compares instead of writing
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "scripts"))
from golden_store import store

IGNORE = 65535
BATCH, CLASSES, HEIGHT, WIDTH = 2, 4, 3, 5

generator = torch.Generator().manual_seed(0)
scores = (2 * torch.randn(BATCH, CLASSES, HEIGHT, WIDTH, generator=generator)).requires_grad_()
labels = torch.randint(0, CLASSES, (BATCH, HEIGHT, WIDTH), generator=generator)
labels[torch.rand(BATCH, HEIGHT, WIDTH, generator=generator) < 0.25] = IGNORE
weights = [0.5, 2.0, 1.0, 3.0]


def case(loss):
    (gradient,) = torch.autograd.grad(loss, scores)
    return {"loss": loss.item(), "gradient": gradient.flatten().tolist()}


def dice():
    """Returns the Dice loss by its definition, over the pixels that are not ignored."""
    counted = labels != IGNORE
    probabilities = scores.softmax(1).movedim(1, -1)[counted]  # [N, K]
    truth = F.one_hot(labels[counted], CLASSES).float()
    both = 2 * (probabilities * truth).sum(0) + 1
    return 1 - (both / (probabilities.sum(0) + truth.sum(0) + 1)).mean()


out = {
    "shape": [BATCH, CLASSES, HEIGHT, WIDTH],
    "scores": scores.flatten().tolist(),
    "labels": labels.flatten().tolist(),
    "weights": weights,
    "plain": case(F.cross_entropy(scores, labels, ignore_index=IGNORE)),
    "weighted": case(F.cross_entropy(scores, labels, torch.tensor(weights), ignore_index=IGNORE)),
    "dice": case(dice()),
}
store(__file__, "segment.json", json.dumps(out) + "\n")
