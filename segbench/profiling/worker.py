"""The process that measures, `python -m segbench.profiling.worker`: a spec on stdin, messages on stdout, one JSON object per line."""

from __future__ import annotations

import os
import sys
import time
from typing import IO, Any

import msgspec

from segbench.errors import SegbenchError
from segbench.profiling import session
from segbench.profiling.spec import Spec

EVERY_S = 0.2
"""Progress is told at most this often: telling costs time that is not the model's."""


class Messages:
    """Writes to the stdout this process was given; what the model prints goes to stderr."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.last = 0.0
        self.what = ""

    def send(self, **message: Any) -> None:
        self.stream.write(msgspec.json.encode(message) + b"\n")
        self.stream.flush()

    def told(self, what: str, share: float) -> None:
        now = time.monotonic()
        if what != self.what or now - self.last > EVERY_S:
            self.what, self.last = what, now
            self.send(progress=what, share=share)


def main() -> None:
    """Reads the spec, measures, answers with `record` or `failed`."""
    messages = Messages(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=Spec)
    try:
        messages.send(record=session.run(spec, messages.told))
    except SegbenchError as error:
        messages.send(
            failed={
                "kind": type(error).__name__,
                "message": error.message,
                "hint": error.hint,
                "files": [list(item) for item in error.files],
                "code": error.code,
            }
        )


if __name__ == "__main__":
    main()
