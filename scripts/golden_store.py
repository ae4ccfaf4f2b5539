"""Writes a golden file, or compares it with the existing one if --check is given."""

import pathlib
import sys


def store(beside, name, text):
    path = pathlib.Path(beside).with_name(name)
    if "--check" not in sys.argv[1:]:
        path.write_text(text)
    elif path.read_text() != text:
        sys.exit(f"{name}: what was made differs from the file")
    else:
        print(f"{name}: agrees")
