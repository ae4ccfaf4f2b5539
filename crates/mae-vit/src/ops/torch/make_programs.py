"""Makes TorchScript programs for PyTorch operations that tch does not bind. libtorch runs them.

    python make_programs.py            writes programs.pt and onednn.pt
    python make_programs.py --check    compares both with what would be written, and their results with PyTorch's
"""

import io
import pathlib
import sys
import zipfile
from typing import List, Optional

import torch


class Programs(torch.nn.Module):
    @torch.jit.export
    def adamw(
        self,
        params: List[torch.Tensor],
        grads: List[torch.Tensor],
        first: List[torch.Tensor],
        second: List[torch.Tensor],
        steps: List[torch.Tensor],
        numbers: List[float],
    ):
        """Updates parameters and moments in place. `numbers` are lr, both betas, weight decay and eps."""
        torch._fused_adamw_(
            params, grads, first, second, [], steps,
            lr=numbers[0], beta1=numbers[1], beta2=numbers[2], weight_decay=numbers[3], eps=numbers[4],
            amsgrad=False, maximize=False,
        )

    @torch.jit.export
    def gradients(self, out: torch.Tensor, inputs: List[torch.Tensor], grad: torch.Tensor):
        """Returns the gradients of the inputs, given the gradient `grad` of the output."""
        start: Optional[List[Optional[torch.Tensor]]] = [grad]
        grads: List[torch.Tensor] = []
        for of_input in torch.autograd.grad([out], inputs, start):
            assert of_input is not None
            grads.append(of_input)
        return grads

    @torch.jit.export
    def copy(self, to: List[torch.Tensor], of: List[torch.Tensor]):
        """Copies each tensor of `of` into the tensor of `to`."""
        torch._foreach_copy_(to, of)

    @torch.jit.export
    def sum_of_squares(self, tensors: List[torch.Tensor]):
        """Returns the sum of squares of all values together, [1]."""
        return torch.stack(torch._foreach_norm(tensors)).square().sum().reshape([1])


class OneDnn(torch.nn.Module):
    """A separate program, because libtorch refuses a program with an operation that it was built without."""

    @torch.jit.export
    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor]):
        """Applies a linear layer: [n, k], [m, k], [m] to [n, m]."""
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


PROGRAMS = {"programs.pt": Programs, "onednn.pt": OneDnn}


def code(archive):
    with zipfile.ZipFile(archive) as files:
        (name,) = (name for name in files.namelist() if name.endswith("code/__torch__.py"))
        return files.read(name)


def check_adamw(update):
    ours, moments = torch.randn(5, 7), [torch.zeros(5, 7), torch.zeros(5, 7)]
    theirs = torch.nn.Parameter(ours.clone())
    optimizer = torch.optim.AdamW([theirs], lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05)
    for step in range(1, 4):
        grad = torch.randn(5, 7)
        theirs.grad = grad.clone()
        optimizer.step()
        update([ours], [grad], [moments[0]], [moments[1]], [torch.tensor(float(step))], [1e-3, 0.9, 0.95, 0.05, 1e-8])
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-7)


def check_sum_of_squares(sum_of_squares):
    tensors = [torch.randn(5, 7), torch.randn(1000)]
    theirs = sum(tensor.double().square().sum() for tensor in tensors).reshape([1])
    torch.testing.assert_close(sum_of_squares(tensors).double(), theirs, rtol=1e-6, atol=0)


def check_copy(copy):
    to, of = [torch.zeros(5, 7), torch.zeros(3)], [torch.randn(5, 7), torch.randn(3)]
    copy(to, of)
    torch.testing.assert_close(to, of, rtol=0, atol=0)


def check_gradients(gradients):
    x, weight, grad = torch.randn(5, 7, requires_grad=True), torch.randn(3, 7, requires_grad=True), torch.randn(5, 3)
    ours, theirs = (
        of(torch.nn.functional.linear(x, weight).tanh(), [x, weight], grad) for of in (gradients, torch.autograd.grad)
    )
    torch.testing.assert_close(list(ours), list(theirs), rtol=0, atol=0)


def check_linear(linear):
    x, weight, bias = torch.randn(50, 70), torch.randn(30, 70), torch.randn(30)
    for x, weight in [(x, weight), (x.t().contiguous().t(), weight.t().contiguous().t())]:
        for bias in [bias, None]:
            torch.testing.assert_close(linear(x, weight, bias), torch.nn.functional.linear(x, weight, bias))


def check(folder):
    for name, module in PROGRAMS.items():
        made = io.BytesIO()
        torch.jit.save(torch.jit.script(module()), made)
        assert code(made) == code(folder / name), f"{name} holds another program"
    torch.manual_seed(0)
    programs = torch.jit.load(folder / "programs.pt")
    check_adamw(programs.adamw)
    check_copy(programs.copy)
    check_sum_of_squares(programs.sum_of_squares)
    check_gradients(programs.gradients)
    check_linear(torch.jit.load(folder / "onednn.pt").linear)
    print(f"{' and '.join(PROGRAMS)} are PyTorch's operations")


if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent
    if "--check" in sys.argv:
        check(folder)
    else:
        for name, module in PROGRAMS.items():
            torch.jit.script(module()).save(folder / name)
