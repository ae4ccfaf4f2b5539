"""Writes segmentation.json: IoU, accuracy and Dice of predicted label maps, by torchmetrics. Means skip undefined classes, as in mmseg.

pip install -r requirements.txt && python make_segmentation.py    # --check compares instead of writing
"""

import itertools
import json
import pathlib
import sys

import numpy as np
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "scripts"))
from golden_store import store

IGNORED = 65535


def digits(x):
    """Rounds to single precision, in which torchmetrics computes."""
    return float(f"{float(x):.7g}")


def rectangles(rng, labels, size, count):
    image = np.full(size, labels[0])
    for label in rng.choice(labels, count):
        top, left = rng.integers(0, size[0]), rng.integers(0, size[1])
        height, width = rng.integers(3, size[0] // 2), rng.integers(3, size[1] // 2)
        image[top : top + height, left : left + width] = label
    return image


def disturbed(rng, truth, labels):
    """Returns a prediction that is mostly right."""
    other = rectangles(rng, labels, truth.shape, 30)
    shifted = np.roll(truth, (1, -2), (0, 1))
    return np.where(rng.uniform(size=truth.shape[0])[:, None] < 0.3, other, shifted)


def cases():
    rng = np.random.default_rng(2111_06377)
    for name, classes, size in [("two classes", 2, (20, 31)), ("21 classes", 21, (48, 70)), ("150 classes", 150, (90, 64))]:
        labels = np.arange(classes)
        truth = rectangles(rng, labels, size, 4 * classes)
        predicted = disturbed(rng, truth, labels)
        yield name, classes, predicted, truth
        ignored = truth.copy()
        ignored[5:14, :9] = IGNORED
        ignored[:, -1] = IGNORED
        yield f"{name}, some pixels ignored", classes, predicted, ignored
    truth = rectangles(rng, [0, 2, 5], (24, 30), 12)
    yield "classes that are nowhere", 7, disturbed(rng, truth, [0, 2, 5]), truth
    yield "classes that are only predicted", 7, disturbed(rng, truth, [0, 1, 2, 5, 6]), truth
    yield "classes that are never predicted", 7, np.where(truth == 5, 0, truth), truth
    yield "all right", 6, truth, truth
    yield "all wrong", 7, (truth + 1) % 7, truth
    alone = np.full((3, 4), IGNORED)
    alone[1, 2] = 1
    yield "one pixel", 2, np.ones((3, 4), int), alone
    yield "one class only predicted where pixels are ignored", 3, np.where(alone == IGNORED, 2, 1), alone


def scores(classes, predicted, truth):
    def of(metric, **options):
        measure = metric(num_classes=classes, ignore_index=IGNORED, **options)
        return measure(torch.from_numpy(predicted), torch.from_numpy(truth))

    kept = truth != IGNORED
    in_truth = np.bincount(truth[kept], minlength=classes) > 0
    anywhere = in_truth | (np.bincount(predicted[kept], minlength=classes) > 0)

    def by_class(metric, defined):
        return [digits(x) if d else None for x, d in zip(of(metric, average=None), defined)]

    accuracy = of(MulticlassAccuracy, average=None).double().numpy()
    return dict(
        iou=by_class(MulticlassJaccardIndex, anywhere),
        accuracy=by_class(MulticlassAccuracy, in_truth),
        dice=by_class(MulticlassF1Score, anywhere),
        mean_iou=digits(of(MulticlassJaccardIndex, average="macro")),
        # As in mmseg: the mean over classes that have pixels.
        mean_accuracy=digits(accuracy[in_truth].mean()),
        torchmetrics_mean_accuracy=digits(of(MulticlassAccuracy, average="macro")),
        mean_dice=digits(of(MulticlassF1Score, average="macro")),
        pixel_accuracy=digits(of(MulticlassAccuracy, average="micro")),
    )


def runs(predicted, truth):
    pairs = zip(predicted.ravel().tolist(), truth.ravel().tolist())
    return [[p, None if t == IGNORED else t, len(list(run))] for (p, t), run in itertools.groupby(pairs)]


def main():
    made = [
        dict(name=name, classes=classes, pixels=runs(predicted, truth), **scores(classes, predicted, truth))
        for name, classes, predicted, truth in cases()
    ]
    lines = ",\n".join(json.dumps(case) for case in made)
    store(__file__, "segmentation.json", f'{{"cases": [\n{lines}\n]}}\n')


main()
