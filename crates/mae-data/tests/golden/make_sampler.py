"""Writes the indices that torch.utils.data.DistributedSampler deals to each rank, for several world sizes, in order and shuffled.

pip install -r requirements.txt
python make_sampler.py            # writes sampler/
python make_sampler.py --check    # makes the files again and compares
"""

import sys
from pathlib import Path

from torch.utils.data import DistributedSampler

sys.path.append(str(Path(__file__).resolve().parents[4] / "scripts"))
from golden_files import Store  # noqa: E402 - shared with other crates

LENGTHS = [1, 2, 3, 5, 7, 8, 12]
# Some have more ranks than samples, even so many that the order repeats more than once.
WORLD_SIZES = [1, 2, 3, 4, 5, 8, 17]


def deal(length, world_size, drop_last, shuffle):
    samplers = [
        DistributedSampler(range(length), world_size, rank, shuffle=shuffle, seed=3, drop_last=drop_last)
        for rank in range(world_size)
    ]
    for sampler in samplers:
        sampler.set_epoch(2)
    return {
        "len": length,
        "world_size": world_size,
        "drop_last": drop_last,
        "shuffle": shuffle,
        "ranks": [list(sampler) for sampler in samplers],
    }


store = Store(Path(__file__).with_name("sampler"))
store.json(
    "ranks.json",
    [
        deal(length, world_size, drop_last, shuffle)
        for length in LENGTHS
        for world_size in WORLD_SIZES
        for drop_last in (False, True)
        for shuffle in (False, True)
    ],
)
store.finish()
