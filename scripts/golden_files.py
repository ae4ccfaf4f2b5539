"""Writes a folder of golden files, or compares it with the committed one if --check is given."""

import io
import json
import sys

import numpy as np
from PIL import Image


class Store:
    """Writes a generator's files, or compares them with those on disk."""

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
        """Stores an image without loss. Compares pixels, because a compressor may write other bytes for the same image."""
        path = self._path(name)
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        if not self.check:
            image.save(path, optimize=True)
        elif not path.exists() or not np.array_equal(np.asarray(Image.open(path)), np.asarray(image)):
            self.wrong.append(name)

    def bytes(self, name, data):
        """Stores a file that is the input of a test. Compares what Pillow reads from it."""
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
        """Stores an array as a NumPy file. Compares to the bit."""
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
