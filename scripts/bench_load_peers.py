"""Times how another library loads images on one thread, for comparison with `cargo xtask bench load`.

usage: python bench_load_peers.py {pil,v2,dali} DIR PASSES BATCH [--float]
(Python 3.11, pip install -r requirements-bench.txt)

pil   torchvision's transforms on Pillow images
v2    torchvision's transforms v2 on the tensors of its own decoder
dali  NVIDIA's pipeline on the CPU

Each does the work of MAE's pre-training: RandomResizedCrop(224, scale=(0.2, 1), bicubic), RandomHorizontalFlip, and
batches of [B, 3, 224, 224]. The batches hold bytes, like ours; with --float they hold normalised floats, as in the
loaders' own examples. Prints one line of JSON, like the example bench_load.
"""

import argparse
import json
import random
import time
from pathlib import Path

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pil(files: list[str], batch: int, to_float: bool):
    """Batches by torchvision's transforms on Pillow images."""
    import torch
    from PIL import Image
    from torchvision import transforms as T

    end = [T.ToTensor(), T.Normalize(MEAN, STD)] if to_float else [T.PILToTensor()]
    crop = T.RandomResizedCrop(224, scale=(0.2, 1.0), interpolation=T.InterpolationMode.BICUBIC)
    transform = T.Compose([crop, T.RandomHorizontalFlip(), *end])

    def load(file: str) -> torch.Tensor:
        with Image.open(file) as image:
            return transform(image.convert("RGB"))

    return torch_epoch(files, batch, load)


def v2(files: list[str], batch: int, to_float: bool):
    """Batches by torchvision's transforms v2 on tensors."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2 as T

    end = [T.ToDtype(torch.float32, scale=True), T.Normalize(MEAN, STD)] if to_float else []
    crop = T.RandomResizedCrop(224, scale=(0.2, 1.0), interpolation=T.InterpolationMode.BICUBIC, antialias=True)
    transform = T.Compose([crop, T.RandomHorizontalFlip(), *end])

    return torch_epoch(files, batch, lambda file: transform(decode_jpeg(read_file(file), mode=ImageReadMode.RGB)))


def torch_epoch(files: list[str], batch: int, load):
    """An epoch that stacks the results of `load` for the files."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)

    def epoch():
        order = random.sample(files, len(files))
        for first in range(0, len(order), batch):
            yield torch.stack([load(file) for file in order[first : first + batch]])

    return epoch


def dali(files: list[str], batch: int, to_float: bool):
    """Batches by NVIDIA's pipeline without a GPU."""
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=batch, num_threads=1, device_id=None, seed=0)
    def pipeline():
        encoded, _ = fn.readers.file(files=files, random_shuffle=True, name="reader")
        images = fn.decoders.image_random_crop(encoded, device="cpu", random_area=[0.2, 1.0])
        images = fn.resize(images, size=[224, 224], interp_type=types.INTERP_CUBIC, antialias=True)
        flip = fn.random.coin_flip()
        kind = {"dtype": types.FLOAT if to_float else types.UINT8, "output_layout": "CHW", "mirror": flip}
        if to_float:
            kind |= {"mean": [255 * m for m in MEAN], "std": [255 * s for s in STD]}
        return fn.crop_mirror_normalize(images, **kind)

    running = pipeline()
    running.build()

    def epoch():
        left = len(files)
        while left > 0:
            (images,) = running.run()
            yield images.as_array()[:left]
            left -= batch

    return epoch


def main() -> None:
    """Parses the command line, times the passes and prints the times."""
    peers = {"pil": pil, "v2": v2, "dali": dali}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("peer", choices=peers, help="loader")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with JPEG files")
    parser.add_argument("passes", type=int, metavar="PASSES", help="passes to time, after one for warm-up")
    parser.add_argument("batch", type=int, metavar="BATCH", help="images per batch")
    parser.add_argument("--float", action="store_true", help="normalised floats instead of bytes")
    args = parser.parse_args()
    random.seed(0)
    files = sorted(str(file) for file in args.folder.rglob("*.jpg"))
    epoch = peers[args.peer](files, args.batch, args.float)

    seconds, total, size = [], 0.0, 0
    for number in range(args.passes + 1):
        began = time.perf_counter()
        count = 0
        for batch in epoch():
            assert tuple(batch.shape[1:]) == (3, 224, 224), batch.shape
            count += len(batch)
            if number == 0:
                total += float(batch.astype("float64").sum() if args.peer == "dali" else batch.double().sum())
                size += batch.size if args.peer == "dali" else batch.numel()
        assert count == len(files)
        if number > 0:
            seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds, "images": len(files), "bytes": size, "mean": total / size}))


if __name__ == "__main__":
    main()
