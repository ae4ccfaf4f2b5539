"""Makes the draws that golden.rs compares, by a second implementation of the documented rules. Standard library only.

    python3 draws.py > draws.json
"""

import json
import math
import struct


def chacha8(key):
    """Yields the stream of D. J. Bernstein's ChaCha with 8 rounds and nonce 0, as 64-bit little-endian words."""

    def quarter(s, a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            s[z] ^= s[x]
            s[z] = (s[z] << turn | s[z] >> (32 - turn)) & 0xFFFFFFFF

    for counter in range(2**64):
        block = struct.pack("<Q8x", counter)
        start = list(struct.unpack("<16I", b"expand 32-byte k" + key + block))
        state = start[:]
        for _ in range(4):
            for i in range(4):
                quarter(state, i, 4 + i, 8 + i, 12 + i)
            for i in range(4):
                quarter(state, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
        words = [(a + b) & 0xFFFFFFFF for a, b in zip(state, start)]
        yield from struct.unpack("<8Q", struct.pack("<16I", *words))


class Stream:
    def __init__(self, seed, pass_, sample):
        self.words = chacha8(struct.pack("<QQQ8s", seed, pass_, sample, b"mae-mask"))

    def bits(self):
        return next(self.words)

    def below(self, bound):
        return self.bits() * bound >> 64

    def unit(self):
        return (self.bits() >> 11) / 2**53


def draw_random(stream, height, width, keep):
    noise = [stream.bits() for _ in range(height * width)]
    order = sorted(range(height * width), key=noise.__getitem__)
    return order[:keep], order[keep:]


def draw_block(stream, height, width, keep):
    masked = set()
    missing = height * width - keep
    while missing:
        area = 16 + stream.below(max(missing - 16, 0) + 1)
        while True:
            aspect = 0.3 + (1 / 0.3 - 0.3) * stream.unit()
            if stream.unit() * aspect < 0.3:
                break
        tall = min(max(math.floor(math.sqrt(area * aspect) + 0.5), 1), height)
        wide = min(max(math.floor(math.sqrt(area / aspect) + 0.5), 1), width)
        top, left = stream.below(height - tall + 1), stream.below(width - wide + 1)

        def new():
            block = [r * width + c for r in range(top, top + tall) for c in range(left, left + wide)]
            return [p for p in block if p not in masked]

        if not new():
            visible = [p for p in range(height * width) if p not in masked]
            row, column = divmod(visible[stream.below(len(visible))], width)
            top = min(max(row - tall // 2, 0), height - tall)
            left = min(max(column - wide // 2, 0), width - wide)
        taken = new()[:missing]
        masked.update(taken)
        missing -= len(taken)
    return split(height * width, masked)


def draw_grid(stream, height, width, keep):
    rows = math.floor(height * math.sqrt(keep / (height * width)) + 0.5)
    rows = min(max(rows, -(-keep // width)), height, keep)
    row_phase, column_phase, count_phase = stream.below(height), stream.below(width), stream.below(rows)
    kept = set()
    for i in range(rows):
        row = (i * height + row_phase) // rows
        count = ((i + 1) * keep + count_phase) // rows - (i * keep + count_phase) // rows
        kept |= {row * width + (j * width + column_phase) // count for j in range(count)}
    return split(height * width, set(range(height * width)) - kept)


def split(patches, masked):
    return [p for p in range(patches) if p not in masked], sorted(masked)


STRATEGIES = {"random": draw_random, "block": draw_block, "grid": draw_grid}
GRIDS = [(14, 14, 0.75), (8, 12, 0.5), (5, 3, 0.2), (16, 9, 0.9), (1, 10, 0.9), (30, 40, 0.97)]
KEYS = [(0, 0, 0), (42, 3, 1207), (2**64 - 1, 2**63 + 1, 2**33)]

cases = []
for name, draw in STRATEGIES.items():
    for height, width, ratio in GRIDS:
        keep = height * width * round(100 - 100 * ratio) // 100
        for seed, pass_, sample in KEYS:
            ids_keep, ids_masked = draw(Stream(seed, pass_, sample), height, width, keep)
            cases.append(
                {
                    "strategy": name,
                    "grid": [height, width],
                    "mask_ratio": ratio,
                    "key": [str(seed), str(pass_), str(sample)],
                    "ids_keep": ids_keep,
                    # For other strategies, masked ids are ascending, so that they follow from the kept ones.
                    "ids_masked": ids_masked if name == "random" else None,
                }
            )
print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")
