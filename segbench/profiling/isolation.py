"""One measurement in a process of its own: threads set before anything is imported, a time limit, and a crash that is only a record."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, Any

import msgspec

from segbench import errors
from segbench.profiling import spec as specs
from segbench.profiling.records import Failure, Record
from segbench.profiling.session import Session
from segbench.profiling.spec import Spec
from segbench.profiling.timing import Told

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
TAIL = 400
"""Characters of a crashed process's last words."""

Command = Callable[[], list[str]]


def worker_command() -> list[str]:
    """How the measuring process is started."""
    return [sys.executable, "-m", "segbench.profiling.worker"]


def measure(spec: Spec, time_limit: float, told: Told = lambda what, share: None, command: Command = worker_command) -> Record:
    """Measures in a new process.

    Args:
        spec: What to measure.
        time_limit: Seconds until the process is ended and the record says `timeout`.
        told: Progress.
        command: How to start it; tests start others.

    Returns:
        The record, with `error` where the process ran out of time or died.

    Raises:
        SegbenchError: what the process refused: target, input, missing package.
    """
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=environment(spec), start_new_session=True
        )
        try:
            return _listen(process, spec, time.monotonic() + time_limit, time_limit, told, words)
        finally:
            _end(process)


def environment(spec: Spec) -> dict[str, str]:
    """The process's variables: as many threads as asked for, nothing fetched."""
    threads = dict.fromkeys(THREADS, str(spec.threads)) if spec.threads else {}
    return {**os.environ, **threads, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def _listen(process: subprocess.Popen[bytes], spec: Spec, deadline: float, limit: float, told: Told, words: IO[bytes]) -> Record:
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    try:
        process.stdin.write(msgspec.json.encode(spec))
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died at once; its end is told below
    stage = "start"
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return _failed(spec, "timeout", f"no result after {limit:g} s", stage)
        if line is None:
            code = process.wait()
            return _failed(spec, "crash", f"{_death(code)}{_last_words(words)}", stage)
        message = _message(line)
        if "record" in message:
            return msgspec.convert(message["record"], Record)
        if "failed" in message:
            raise _error(message["failed"])
        if "progress" in message:
            stage = str(message["progress"])
            told(stage, float(message.get("share", 0)))


def _read(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _message(line: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _error(failed: dict[str, Any]) -> errors.SegbenchError:
    kind = getattr(errors, str(failed["kind"]), errors.InputError)
    files = [(str(role), str(path)) for role, path in failed["files"]]
    return kind(failed["message"], files=files, hint=failed["hint"], code=failed["code"])


def _failed(spec: Spec, kind: str, message: str, stage: str) -> Record:
    return Session(specs.resolve_known(spec), lambda what, share: None).record(Failure(kind=kind, message=message, stage=stage))


def _death(code: int) -> str:
    if code >= 0:
        return f"the process ended with code {code}"
    name = signal.Signals(-code).name
    return f"the process was ended by {name}" + (" (the system does that when memory runs out)" if name == "SIGKILL" else "")


def _last_words(words: IO[bytes]) -> str:
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - 4 * TAIL))
    lines = [line.strip() for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1][:TAIL]}" if lines else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and what it started."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (AttributeError, ProcessLookupError, PermissionError):
            process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
