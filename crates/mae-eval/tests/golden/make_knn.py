"""Writes knn.json: predictions of a weighted cosine kNN. scikit-learn and PyTorch must agree on them.

pip install -r requirements.txt && python make_knn.py    # --check compares instead of writing
"""

import json
import pathlib
import sys

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "scripts"))
from golden_store import store

TRAIN, TEST, DIM, CLASSES = 180, 60, 13, 7
CASES = [(1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0), (50, 0.01), (180, 0.07), (180, 0.5)]


def by_scikit_learn(train, labels, test, k, temperature):
    # scikit-learn passes cosine distances, 1 - similarity.
    weights = lambda distances: np.exp((1.0 - distances) / temperature)
    classifier = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weights)
    return classifier.fit(train, labels).predict(test).tolist()


def by_pytorch(train, labels, test, k, temperature):
    train, test = (torch.nn.functional.normalize(torch.tensor(x), dim=1) for x in (train, test))
    similarity, index = (test @ train.T).topk(k, dim=1)  # [M, k]
    votes = torch.zeros(len(test), CLASSES, dtype=similarity.dtype)
    votes.scatter_add_(1, torch.tensor(labels)[index], (similarity / temperature).exp())
    # The margin of the winner is too large for rounding to decide.
    best, second = votes.topk(2, dim=1).values.T
    assert ((best - second) / best).min() > 1e-4, ((best - second) / best).min()
    return votes.argmax(dim=1).tolist()


def main():
    rng = np.random.default_rng(2111_06377)
    centres = rng.normal(size=(CLASSES, DIM))

    def draw(count):
        labels = rng.integers(CLASSES, size=count)
        length = rng.uniform(20, 400, size=(count, 1))  # only the direction may matter
        return np.rint(length * (centres[labels] + 1.5 * rng.normal(size=(count, DIM)))), labels

    (train, train_labels), (test, test_labels) = draw(TRAIN), draw(TEST)
    cases = []
    for k, temperature in CASES:
        predicted = by_scikit_learn(train, train_labels, test, k, temperature)
        assert predicted == by_pytorch(train, train_labels, test, k, temperature)
        accuracy = float(np.mean(predicted == test_labels))
        print(k, temperature, accuracy)
        cases.append(dict(k=k, temperature=temperature, predicted=predicted, accuracy=accuracy))
    golden = dict(
        dim=DIM,
        train=train.ravel().astype(int).tolist(),
        train_labels=train_labels.tolist(),
        test=test.ravel().astype(int).tolist(),
        test_labels=test_labels.tolist(),
        cases=cases,
    )
    store(__file__, "knn.json", json.dumps(golden) + "\n")


main()
