"""The process that measures, `python -m segbench.profiling.worker`: a spec on stdin, messages on stdout, one JSON object per line."""

from __future__ import annotations

import ctypes
import os
import signal
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


DEATH_SIGNAL = 1
"""`PR_SET_PDEATHSIG` of Linux."""


def end_with_parent() -> None:
    """Where Linux does it, this process is killed when the one that started it ends, however that ends: a model may never return."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)


def main() -> None:
    """Reads the spec, measures, answers with `record` or `failed`."""
    end_with_parent()
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
