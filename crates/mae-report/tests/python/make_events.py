"""Writes `events.tfevents` with TensorBoard's own writer, for the test in tensorboard.rs."""

import io
import sys
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

EVENTS = [
    Event(wall_time=1.5, file_version="brain.Event:2"),
    Event(wall_time=1.5, session_log=SessionLog(status=SessionLog.START)),
    Event(
        wall_time=1_700_000_001.25,
        step=300,
        summary=Summary(
            value=[
                Summary.Value(tag="train/loss", simple_value=0.1),
                Summary.Value(tag="train/lr", simple_value=0.0),
            ]
        ),
    ),
]


def main() -> None:
    path = Path(__file__).with_name("events.tfevents")
    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in EVENTS:
        writer.write(event.SerializeToString())
    if sys.argv[1:] == ["--check"]:
        if path.read_bytes() != file.getvalue():
            sys.exit(f"{path} is not what TensorBoard writes")
        print(f"{path.name}: {len(EVENTS)} events, as TensorBoard writes them")
    else:
        path.write_bytes(file.getvalue())


if __name__ == "__main__":
    main()
