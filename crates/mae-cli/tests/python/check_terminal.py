"""Checks Ctrl-C in a real terminal: the run stops once, with a checkpoint, and the terminal is as before.

usage: python check_terminal.py PHOTOS COMMAND...
       PHOTOS is a folder of images, COMMAND the start of a training command: `mae pretrain`, `cargo xtask train --`
(Python 3.11 without packages, bash)

The test types the command into an interactive bash in a pseudo-terminal. This shell takes the terminal back when the process
that it started ends. If a launcher ends before its program, that program is left without a terminal.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

CTRL_C = b"\x03"
SMALL = "--image-size 32 --batch-size 4 --epochs 1000000"
# One update takes minutes.
SLOW = "--preset small --repeats 16 --batch-size 16 --accum-iter 11 --epochs 1000"


class Terminal:
    """A bash in a pseudo-terminal, and its output so far."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="ready> ", TERM="xterm")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.text = ""

    def read(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.fd], [], [], left)[0]:
            try:
                self.text += os.read(self.fd, 1 << 16).decode(errors="replace")
            except OSError:
                return

    def until(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {seconds} s\n{self.text[-3000:]}"
            self.read(0.05)

    def type(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def status(self, seconds):
        """Waits for the end of the command. Returns its exit status, and whether the terminal is as before."""
        found = lambda: re.search(r"STATUS=(\d+) SAME=(\w+)", self.text)
        self.until(found, seconds, "the end of the command")
        return int(found()[1]), found()[2] == "yes"

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def run(command, photos, options, out, interrupts, begun):
    """Types the command. After it has begun, types Ctrl-C after each of the delays in `interrupts`. Returns the output."""
    terminal = Terminal()
    terminal.until(lambda: "ready> " in terminal.text, 20, "a prompt")
    # The program may end before the last Ctrl-C. The trap then lets the shell go on with its line. Such a Ctrl-C may end
    # `stty`, so it is repeated until it succeeds. Programs that the shell starts do not inherit the trap.
    # The shell joins the parts of STATUS, so that the typed line does not contain the text that the test looks for.
    line = f"trap : INT; b=$(stty -g); {command} --data {photos} {options} --out {out}; s=$?; until a=$(stty -g); do :; done; "
    terminal.type(line + '[ "$b" = "$a" ] && e=yes || e=no; echo STA""TUS=$s SAME=$e')
    terminal.until(lambda: begun(terminal), 1200, "the training")
    for seconds in interrupts:
        terminal.read(seconds)
        os.write(terminal.fd, CTRL_C)
    status, same = terminal.status(60)
    terminal.read(0.5)
    text = terminal.text
    terminal.close()
    assert status == 130, f"status {status}\n{text[-3000:]}"
    assert same, "the terminal is not as it was"
    entered, left = text.count("\x1b[?1049h"), text.count("\x1b[?1049l")
    assert entered == 1 and left >= 1, f"the full-screen view: entered {entered} times, left {left} times"
    assert text.rindex("\x1b[?1049l") > text.index("\x1b[?1049h"), "the screen is not left"
    assert "\x1b[?25h" in text[text.index("\x1b[?1049h"):], "the cursor stays hidden"
    assert "panicked" not in text, text[-3000:]
    return text


def main():
    photos, command = Path(sys.argv[1]).resolve(), " ".join(sys.argv[2:])
    with tempfile.TemporaryDirectory() as folder:
        for name, interrupts in [("once", [0]), ("twice", [0, 0.05]), ("thrice", [0, 0.3, 0.3])]:
            out = Path(folder) / name
            metrics = out / "metrics.jsonl"
            begun = lambda _: metrics.exists() and metrics.read_bytes().count(b"\n") > 2
            text = run(command, photos, SMALL, out, interrupts, begun)
            assert "stopped after step" in text, text[-3000:]
            checkpoints = list((out / "checkpoints").glob("step-*"))
            assert len(checkpoints) == 1, checkpoints
            print(f"Ctrl-C {name}: {checkpoints[0].name} written, the terminal as it was")
        # A deliberate second Ctrl-C, in the middle of an update.
        out = Path(folder) / "at-once"
        began = time.monotonic()
        run(command, photos, SLOW, out, [1, 1.5], lambda terminal: "\x1b[?1049h" in terminal.text)
        assert not (out / "checkpoints").exists() or not list((out / "checkpoints").glob("step-*"))
        print(f"Ctrl-C, and again: ended at once, after {time.monotonic() - began:.0f} s, the terminal as it was")


if __name__ == "__main__":
    main()
