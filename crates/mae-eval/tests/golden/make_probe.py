"""Writes probe.json: linear probes by scikit-learn. Two of its solvers must agree on them.

pip install -r requirements.txt && python make_probe.py    # --check compares instead of writing
"""

import json
import pathlib
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "scripts"))
from golden_store import store

TRAIN, TEST, DIM = 200, 60, 64
# Labels need not be consecutive, or sorted by first appearance. scikit-learn treats two classes as a special case.
# The second number is the distance between classes, small enough that some test images are misclassified.
CLASSES = {"ten classes": (np.arange(10) * 3 + 1, 3), "two classes": (np.array([2, 7]), 1)}


def draw(rng, classes, apart):
    """Draws integers from 0 to 16, like scikit-learn's digits, with some constant features."""
    centres = rng.uniform(8 - apart, 8 + apart, size=(len(classes), DIM))
    centres[:, ::16] = rng.integers(17, size=DIM // 16)
    spread = np.where(np.arange(DIM) % 16 == 0, 0.0, rng.uniform(2, 8, size=DIM))

    def images(count):
        labels = rng.integers(len(classes), size=count)
        features = centres[labels] + spread * rng.normal(size=(count, DIM))
        return np.rint(features).clip(0, 16), classes[labels]

    return images(TRAIN), images(TEST)


def probe(train, labels, test, **options):
    """Fits a probe with C = 1.0 and scikit-learn's defaults, except for the solver."""
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=1.0, max_iter=10_000, **options).fit(scaler.transform(train), labels)
    probabilities = model.predict_proba(scaler.transform(train))
    own = probabilities[np.arange(len(labels)), np.searchsorted(model.classes_, labels)]
    objective = -np.log(own).sum() + 0.5 * (model.coef_**2).sum()
    return model.predict(scaler.transform(test)), model.predict_proba(scaler.transform(test)), objective


def main():
    rng = np.random.default_rng(2111_06377)
    cases = []
    for name, (classes, apart) in CLASSES.items():
        (train, train_labels), (test, test_labels) = draw(rng, classes, apart)
        by_lbfgs = probe(train, train_labels, test, solver="lbfgs", tol=1e-8)
        # Newton's method converges to the last digits, so that the values do not depend on the machine.
        predicted, probabilities, objective = probe(
            train, train_labels, test, solver="newton-cholesky", tol=1e-12
        )
        assert (by_lbfgs[0] == predicted).all()
        assert np.abs(by_lbfgs[1] - probabilities).max() < 1e-5, np.abs(by_lbfgs[1] - probabilities).max()
        assert abs(by_lbfgs[2] / objective - 1) < 1e-9
        # The margin of the winner is too large for rounding to decide.
        second, best = np.sort(probabilities, axis=1)[:, -2:].T
        assert (best - second).min() > 1e-3, (best - second).min()
        accuracy = float(np.mean(predicted == test_labels))
        print(name, accuracy, objective, np.abs(by_lbfgs[1] - probabilities).max())
        cases.append(
            dict(
                name=name,
                train=train.ravel().astype(int).tolist(),
                train_labels=train_labels.tolist(),
                test=test.ravel().astype(int).tolist(),
                test_labels=test_labels.tolist(),
                predicted=predicted.tolist(),
                probabilities=probabilities.ravel().round(6).tolist(),
                objective=round(float(objective), 6),
                accuracy=accuracy,
            )
        )
    store(__file__, "probe.json", json.dumps(dict(dim=DIM, cases=cases)) + "\n")


main()
