"""Writes multi_label.json: average precision, precision, recall and loss of multi-label scores, by scikit-learn and PyTorch.

pip install -r requirements.txt && python make_multi_label.py    # --check compares instead of writing
"""

import json
import pathlib
import sys

import numpy as np
import torch
from sklearn.metrics import average_precision_score, precision_score, recall_score

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "scripts"))
from golden_store import store

IMAGES, CLASSES = 90, 7


def digits(x):
    """Rounds off the last bits, which depend on the machine."""
    return float(f"{x:.10g}")


def main():
    rng = np.random.default_rng(2111_06377)
    has = rng.uniform(size=(IMAGES, CLASSES)) < np.array([0.5, 0.3, 0.1, 0.9, 0.02, 0.0, 1.0])
    has[0] = False  # an image without a class
    has[7, 4] = True
    scores = (1.5 * has + rng.normal(size=(IMAGES, CLASSES)) - 0.5).round(1)  # many values are equal, some are 0
    scores[:, 2] = -1.0  # all equal, and none predicted
    columns = range(CLASSES)
    some = [has[:, c].any() for c in columns]
    predicted = scores > 0
    golden = dict(
        classes=CLASSES,
        labels=[np.flatnonzero(row).tolist() for row in has],
        scores=scores.ravel().tolist(),
        average_precision=[
            digits(average_precision_score(has[:, c], scores[:, c])) if some[c] else None for c in columns
        ],
        precision=[
            digits(precision_score(has[:, c], predicted[:, c], zero_division=0)) if predicted[:, c].any() else None
            for c in columns
        ],
        recall=[digits(recall_score(has[:, c], predicted[:, c])) if some[c] else None for c in columns],
        loss=digits(
            torch.nn.functional.binary_cross_entropy_with_logits(
                torch.tensor(scores), torch.tensor(has, dtype=torch.float64)
            ).item()
        ),
    )
    store(__file__, "multi_label.json", json.dumps(golden) + "\n")


main()
