"""Measures how fast PyTorch multiplies large square matrices, as a bound for a model's steps.

usage: python bench_gemm.py [--device cuda] [--precision bf16] [--size N]

Prints one line of JSON: floating-point operations per second (the median of several rounds) and the device's name.
"""

import argparse
import json
import statistics
import time

import torch


def main() -> None:
    """Parses the command line, multiplies and prints the rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu", help="device: cpu, cuda")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="type of the matrices")
    parser.add_argument("--size", type=int, default=8192, metavar="N", help="rows and columns (default: 8192)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds, of which the first is warm-up (default: 7)")
    args = parser.parse_args()
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.precision]
    a, b = (torch.randn(args.size, args.size, device=args.device, dtype=dtype) for _ in range(2))
    products, seconds = 10 if args.device != "cpu" else 1, []
    for _ in range(args.rounds):
        began = time.perf_counter()
        for _ in range(products):
            c = a @ b
        c[0, 0].item()
        seconds.append((time.perf_counter() - began) / products)
    name = torch.cuda.get_device_name(args.device) if args.device != "cpu" else "CPU"
    flops = 2 * args.size**3 / statistics.median(seconds[1:] or seconds)
    print(json.dumps({"flops": flops, "device": name, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
