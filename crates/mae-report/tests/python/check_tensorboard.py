"""Compares a run's TensorBoard scalars with metrics.jsonl and evaluations.jsonl: python check_tensorboard.py RUN"""

import json
import sys
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# File, prefix of the tags, fields.
SOURCES = [
    ("metrics.jsonl", "train", ["loss", "lr", "grad_norm", "images_per_s", "waiting_share"]),
    ("evaluations.jsonl", "eval", ["val_loss", "knn", "probe"]),
]


def expected(run: Path) -> dict[str, list[tuple[int, np.float32]]]:
    """Returns (step, value) by tag. A loss of `null` is NaN; any other field of `null` was not measured."""
    scalars: dict[str, list[tuple[int, np.float32]]] = {}
    for name, prefix, fields in SOURCES:
        path = run / name
        # A dying process may leave a last line without an end.
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        for line in map(json.loads, lines):
            for field in fields:
                value = line.get(field)
                if field == "loss" and value is None:
                    value = float("nan")
                if value is not None:
                    scalars.setdefault(f"{prefix}/{field}", []).append((line["step"], np.float32(value)))
    return scalars


def main() -> None:
    run = Path(sys.argv[1])
    events = list((run / "tensorboard").glob("*tfevents*"))
    if len(events) != 1:
        sys.exit(f"{run / 'tensorboard'} holds {len(events)} event files, not one")
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    jsonl = expected(run)
    tags = set(board.Tags()["scalars"])
    problems = [f"tag {tag} is in one of the two only" for tag in tags ^ jsonl.keys()]
    count = 0
    for tag in sorted(tags & jsonl.keys()):
        scalars = board.Scalars(tag)
        if len(scalars) != len(jsonl[tag]):
            problems.append(f"{tag}: {len(scalars)} scalars, but {len(jsonl[tag])} lines")
        for scalar, (step, value) in zip(scalars, jsonl[tag]):
            count += 1
            same = np.array_equal(np.float32(scalar.value), value, equal_nan=True)
            if scalar.step != step or not same:
                problems.append(f"{tag}: ({scalar.step}, {scalar.value}), but ({step}, {value})")
        times = [scalar.wall_time for scalar in scalars]
        if times != sorted(times):
            problems.append(f"{tag}: time runs backwards")
    for problem in problems[:20]:
        print(problem)
    print(f"{count} scalars under {len(tags)} tags compared, {len(problems)} differences")
    sys.exit(1 if problems or count == 0 else 0)


if __name__ == "__main__":
    main()
