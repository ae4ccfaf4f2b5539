"""Makes adamw.pt: PyTorch's fused AdamW, which tch does not bind, as a program that libtorch runs.

    python make_adamw.py            writes adamw.pt
    python make_adamw.py --check    compares the program with the one that is there, and its update with torch.optim's
"""

import io
import pathlib
import sys
import zipfile
from typing import List

import torch


class AdamW(torch.nn.Module):
    def forward(
        self,
        params: List[torch.Tensor],
        grads: List[torch.Tensor],
        first: List[torch.Tensor],
        second: List[torch.Tensor],
        steps: List[torch.Tensor],
        numbers: List[float],
    ):
        """Updates parameters and moments in place; numbers are lr, both betas, weight decay, eps."""
        torch._fused_adamw_(
            params, grads, first, second, [], steps,
            lr=numbers[0], beta1=numbers[1], beta2=numbers[2], weight_decay=numbers[3], eps=numbers[4],
            amsgrad=False, maximize=False,
        )


def program(archive):
    with zipfile.ZipFile(archive) as files:
        (name,) = (name for name in files.namelist() if name.endswith("code/__torch__.py"))
        return files.read(name)


def check(path):
    made = io.BytesIO()
    torch.jit.save(torch.jit.script(AdamW()), made)
    assert program(made) == program(path), "adamw.pt holds another program"
    torch.manual_seed(0)
    ours, moments = torch.randn(5, 7), [torch.zeros(5, 7), torch.zeros(5, 7)]
    theirs = torch.nn.Parameter(ours.clone())
    optimizer = torch.optim.AdamW([theirs], lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05)
    update = torch.jit.load(path)
    for step in range(1, 4):
        grad = torch.randn(5, 7)
        theirs.grad = grad.clone()
        optimizer.step()
        update([ours], [grad], [moments[0]], [moments[1]], [torch.tensor(float(step))], [1e-3, 0.9, 0.95, 0.05, 1e-8])
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-7)
    print("adamw.pt is torch's AdamW")


if __name__ == "__main__":
    path = str(pathlib.Path(__file__).with_name("adamw.pt"))
    if "--check" in sys.argv:
        check(path)
    else:
        torch.jit.script(AdamW()).save(path)
