"""Writes schedule.json: learning rates of timm's CosineLRScheduler and PolyLRScheduler, for the test of the Rust schedule.

pip install -r requirements.txt && python make_schedule.py    # --check compares instead of writing
"""

import json
import pathlib
import sys

import torch
from timm.scheduler import CosineLRScheduler, PolyLRScheduler

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "scripts"))
from golden_store import store

CASES = [
    # MAE's ImageNet recipe: 800 epochs of 313 steps, with 40 epochs of warm-up.
    dict(base_lr=1.5e-4, effective_batch=4096, warmup_steps=40 * 313, total_steps=800 * 313, min_lr=0.0),
    # MAE's fine-tuning of ViT-B: 100 epochs of 1252 steps, with 5 epochs of warm-up, down to 1e-6.
    dict(base_lr=5e-4, effective_batch=1024, warmup_steps=5 * 1252, total_steps=100 * 1252, min_lr=1e-6),
    dict(base_lr=1e-3, effective_batch=48, warmup_steps=7, total_steps=53, min_lr=3e-5),
    dict(base_lr=1e-3, effective_batch=100, warmup_steps=0, total_steps=31, min_lr=0.0),
    # MAE's segmentation: 160,000 updates, with 1,500 of warm-up.
    dict(base_lr=1.6e-3, effective_batch=16, warmup_steps=1500, total_steps=160_000, min_lr=0.0, decay="linear"),
    dict(base_lr=1e-3, effective_batch=48, warmup_steps=7, total_steps=53, min_lr=3e-5, decay="linear"),
]
CASES = [{"decay": "cosine"} | case for case in CASES]


def rates(case):
    peak = case["base_lr"] * case["effective_batch"] / 256
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    warmup, total = case["warmup_steps"], case["total_steps"]
    kind = {"cosine": CosineLRScheduler, "linear": lambda *args, **named: PolyLRScheduler(*args, power=1.0, **named)}
    scheduler = kind[case["decay"]](
        optimizer,
        t_initial=total - warmup,
        lr_min=case["min_lr"],
        warmup_t=warmup,
        warmup_lr_init=0.0,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    steps = sorted({*range(0, total + 1, max(1, total // 40)), 1, max(warmup - 1, 0), warmup, warmup + 1, total})
    for step in steps:
        scheduler.step_update(step)
        yield step, optimizer.param_groups[0]["lr"]


out = [case | {"lr": list(rates(case))} for case in CASES]
lines = ",\n".join(json.dumps(case) for case in out)
store(__file__, "schedule.json", f"[\n{lines}\n]\n")
