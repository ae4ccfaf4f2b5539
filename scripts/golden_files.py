"""Writes a folder of golden files, or with --check compares them with what is committed."""

import io
import json
import sys

import numpy as np
from PIL import Image


class Store:
    """Where a generator's files go: onto the disk, or against what is there."""

    def __init__(self, folder):
        self.folder = folder
        self.check = "--check" in sys.argv[1:]
        self.written = set()
        self.wrong = []
        if not self.check:
            self.folder.mkdir(exist_ok=True)

    def _path(self, name):
        self.written.add(name)
        return self.folder / name

    def pixels(self, name, image):
        """An image, kept without loss. Compared by its pixels: a compressor may pick other bytes."""
        path = self._path(name)
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        if not self.check:
            image.save(path, optimize=True)
        elif not path.exists() or not np.array_equal(np.asarray(Image.open(path)), np.asarray(image)):
            self.wrong.append(name)

    def bytes(self, name, data):
        """A file that is itself the input of a test. Compared by what Pillow reads in it."""
        path = self._path(name)
        if not self.check:
            path.write_bytes(data)
            return
        if not path.exists():
            self.wrong.append(name)
            return
        new, old = Image.open(io.BytesIO(data)), Image.open(path)
        same = new.mode == old.mode and np.array_equal(np.asarray(new), np.asarray(old))
        if not same or new.getexif().get(0x0112) != old.getexif().get(0x0112):
            self.wrong.append(name)

    def array(self, name, numbers):
        """Numbers as a NumPy file, compared to the bit."""
        path = self._path(name)
        if not self.check:
            np.save(path, numbers)
        elif not path.exists() or not np.array_equal(np.load(path), numbers):
            self.wrong.append(name)

    def json(self, name, value):
        path = self._path(name)
        text = json.dumps(value, separators=(",", ":")).replace("},{", "},\n{") + "\n"
        if not self.check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            self.wrong.append(name)

    def finish(self):
        present = {path.name for path in self.folder.iterdir()}
        if self.check:
            self.wrong += sorted(present - self.written)
        else:
            for stale in present - self.written:
                (self.folder / stale).unlink()
        if self.wrong:
            sys.exit(f"{self.folder}: not what the generator makes: {', '.join(self.wrong)}")
        print(f"{self.folder.name}: {len(self.written)} files {'agree' if self.check else 'written'}")
