"""Makes JPEG files with random coefficients, in layouts that the standard allows but no common encoder writes."""

import struct
from random import Random


def segment(marker: int, data: bytes) -> bytes:
    """Returns a marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


class Codes:
    """A random Huffman table: canonical codes of random lengths, symbols in random order."""

    def __init__(self, random: Random, symbols: list[int]):
        symbols = symbols[:]
        random.shuffle(symbols)
        counts, rest, free = [0] * 16, len(symbols), 1
        for length in range(1, 17):
            free *= 2
            # The remaining symbols must fit into longer codes, and the code of all ones stays unused.
            most = max(0, min(rest, free - 1 - -(-rest // 2 ** (16 - length))))
            counts[length - 1] = rest if length == 16 else random.randint(0, most) if length > 2 else 0
            rest, free = rest - counts[length - 1], free - counts[length - 1]
        self.data = bytes(counts) + bytes(symbols)
        self.codes, code, at = {}, 0, 0
        for length, count in enumerate(counts, 1):
            for symbol in symbols[at : at + count]:
                self.codes[symbol] = (code, length)
                code += 1
            code, at = code * 2, at + count


class Bits:
    """The bits of a scan, with byte stuffing."""

    def __init__(self):
        self.data, self.pending = bytearray(), ""

    def put(self, value: int, length: int) -> None:
        if length:
            self.pending += format(value, f"0{length}b")
        while len(self.pending) >= 8:
            self._byte(int(self.pending[:8], 2))
            self.pending = self.pending[8:]

    def _byte(self, byte: int) -> None:
        self.data.append(byte)
        if byte == 0xFF:
            self.data.append(0)

    def signed(self, value: int, size: int) -> None:
        self.put(value if value >= 0 else value + (1 << size) - 1, size)

    def flush(self) -> None:
        if self.pending:
            self._byte(int(self.pending.ljust(8, "1"), 2))
            self.pending = ""

    def restart(self, number: int) -> None:
        self.flush()
        self.data += bytes([0xFF, 0xD0 + number % 8])


def put_block(bits: Bits, block: list[int], before: int, dc: Codes, ac: Codes) -> None:
    """Encodes a block, given its coefficients in zigzag order."""
    difference = block[0] - before
    size = abs(difference).bit_length()
    bits.put(*dc.codes[size])
    bits.signed(difference, size)
    zeros = 0
    for value in block[1:]:
        if value == 0:
            zeros += 1
            continue
        while zeros > 15:
            bits.put(*ac.codes[0xF0])
            zeros -= 16
        size = abs(value).bit_length()
        bits.put(*ac.codes[zeros << 4 | size])
        bits.signed(value, size)
        zeros = 0
    if zeros:
        bits.put(*ac.codes[0])


def random_block(random: Random, before: int) -> list[int]:
    """Draws the coefficients of a block, most of them 0."""
    block = [0] * 64
    block[0] = max(-60, min(60, before + random.choice([0, 0, 1, -2, random.randint(-25, 25)])))
    for _ in range(random.choice([0, 0, 1, 3, random.randint(0, 40)])):
        block[random.choice([random.randint(1, 9), random.randint(1, 63)])] = random.randint(-6, 6)
    return block


def ceil(a: int, b: int) -> int:
    return -(-a // b)


def random_jpeg(random: Random) -> bytes:
    """Draws a sequential file: layout, tables, markers and coefficients."""
    width, height = random.randint(1, 75), random.randint(1, 75)
    count = random.choice([1, 3, 3, 3, 3, 3, 4])
    sides = random.choice([[1, 2], [1, 2], [1, 2], [1, 3], [1, 2, 4], [1, 2, 3, 4]])
    factors = [(random.choice(sides), random.choice(sides)) for _ in range(count)]
    most = [max(factor[i] for factor in factors) for i in range(2)]
    ids = random.choice([[1, 2, 3, 4], [0, 1, 2, 3], list(b"RGBA"), list(b"YUVK"), [3, 2, 1, 0], [1, 2, 3, 4]])[:count]

    jpeg = b"\xff\xd8"
    jfif = segment(0xE0, b"JFIF\0\x01\x01\0\0\1\0\1\0\0")
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([random.choice([0, 0, 1, 2, 3])]))
    for marker in random.choice([[], [jfif], [adobe], [jfif, adobe], [adobe, jfif], [adobe[:-1] + b"\x01", adobe]]):
        jpeg += marker
    if random.random() < 0.2:
        jpeg += segment(0xFE, b"a comment \xff\xd9 with a marker in it") + b"\xff" * random.randint(0, 3)

    def quantisation(at: int) -> bytes:
        wide = random.random() < 0.2
        values = [random.randint(1, 12) for _ in range(64)]
        return segment(0xDB, bytes([wide << 4 | at]) + struct.pack(">64H" if wide else "64B", *values))

    for at in range(4):
        jpeg += quantisation(at)
    tables = [random.randint(0, 3) for _ in range(count)]
    frame = b"".join(bytes([i, h << 4 | v, t]) for i, (h, v), t in zip(ids, factors, tables))
    jpeg += segment(random.choice([0xC0, 0xC1]), struct.pack(">BHHB", 8, height, width, count) + frame)

    scans, left = [], list(range(count))
    together = random.random() < 0.4
    while left:
        take = count if together else random.randint(1, len(left))
        group = left[:take] if together or random.random() < 0.7 else random.sample(left, take)
        # Within a scan, the standard requires the frame's order.
        group.sort()
        scans.append(group)
        left = [i for i in left if i not in group]
    if len(scans) > 1 and random.random() < 0.1:
        scans.pop()  # a component without a scan

    ac_symbols = [0, 0xF0] + [zeros << 4 | size for zeros in range(16) for size in range(1, 11)]
    restart = 0
    for group in scans:
        if random.random() < 0.5:
            restart = random.choice([0, 1, 2, 5, random.randint(1, 40)])
            jpeg += segment(0xDD, struct.pack(">H", restart))
        if random.random() < 0.15:
            jpeg += quantisation(random.randint(0, 3))
        chosen = {}
        for i in group:
            at = [random.randint(0, 3), random.randint(0, 3)]
            codes = chosen[i] = [None, None, at]
            for kind, symbols in enumerate([list(range(12)), ac_symbols]):
                taken = [c[kind] for c in chosen.values() if c[2][kind] == at[kind] and c[kind]]
                codes[kind] = taken[0] if taken else Codes(random, symbols)
                if not taken:
                    jpeg += segment(0xC4, bytes([kind << 4 | at[kind]]) + codes[kind].data)
        header = bytes([len(group)]) + b"".join(bytes([ids[i], chosen[i][2][0] << 4 | chosen[i][2][1]]) for i in group)
        jpeg += segment(0xDA, header + bytes([0, 63, 0]))
        if len(group) == 1:
            (h, v), blocks = factors[group[0]], [(1, 1)]
            across, down = ceil(ceil(width * h, most[0]), 8), ceil(ceil(height * v, most[1]), 8)
        else:
            blocks = [factors[i] for i in group]
            across, down = ceil(width, 8 * most[0]), ceil(height, 8 * most[1])
        bits, before = Bits(), dict.fromkeys(group, 0)
        for mcu in range(across * down):
            if restart and mcu and mcu % restart == 0:
                bits.restart(mcu // restart - 1)
                before = dict.fromkeys(group, 0)
            for i, (h, v) in zip(group, blocks):
                for _ in range(h * v):
                    block = random_block(random, before[i])
                    put_block(bits, block, before[i], chosen[i][0], chosen[i][1])
                    before[i] = block[0]
        bits.flush()
        jpeg += bytes(bits.data)
    if random.random() < 0.1:
        # Tables that are never used.
        jpeg += quantisation(0) + segment(0xC4, b"\0" + Codes(random, list(range(12))).data)
    return jpeg + b"\xff\xd9" + random.choice([b"", b"\0\0", b"\xff\xd8\xff"])
