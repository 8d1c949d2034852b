"""Measures the zoo on this machine: `python leaderboards/architectures/measure.py --cores 0` writes records.json and MEASURED.md.

By hand, on a quiet machine: one record per model and runtime, cheap models first, each in a process of its own on one core; with several
cores, that many at a time. What is in the file already is not measured again; with `--again`, what was noisy or failed is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
RATE = 25e9
"""MACs per second that one core reaches about: how long a call takes is guessed from it."""

CALLS = 25
"""Calls of a dear model in one record, all parts together."""

START_S = 30.0
"""Importing, building and exporting a model."""


def main() -> None:
    """Measures what is missing; both files are written after each record."""
    import zoo

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("names", nargs="*", metavar="NAME", help="all, where left out")
    arguments.add_argument("--file", type=Path, default=HERE / "records.json")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--backends", default=None, help="torch,onnxruntime,openvino on the CPU; torch on CUDA")
    arguments.add_argument("--cores", default=None, help="such as 0,1: the cores to use, one measurement on each")
    arguments.add_argument("--max-time", type=float, default=3.0, help="measured seconds of each part of a record")
    arguments.add_argument("--budget", type=float, default=float("inf"), help="seconds; nothing begins that would not end in time")
    arguments.add_argument("--again", action="store_true", help="measure again what was noisy or gave no result")
    given = arguments.parse_args()
    counts = {row["name"]: row["macs"] for row in json.loads((HERE / "counts.json").read_text(encoding="utf-8"))}
    names = given.names or sorted((name for name in zoo.NAMES if name not in zoo.COUNTED_ONLY), key=counts.__getitem__)
    backends = (given.backends or ("torch,onnxruntime,openvino" if given.device == "cpu" else "torch")).split(",")
    board = Board(given.file)
    until = time.monotonic() + given.budget

    def one(name: str, backend: str) -> None:
        call = counts[name] / RATE if given.device == "cpu" else 0.0
        left = until - time.monotonic()
        if not board.wants(name, backend, given.device, given.again) or left < START_S + CALLS * call:
            return
        board.add(name, backend, measured(name, backend, given.device, given.max_time, call, left))

    cores = [int(core) for core in given.cores.split(",")] if given.cores else [None]
    free = list(cores)
    with ThreadPoolExecutor(len(cores), initializer=lambda: pin(free.pop())) as pool:
        for done in [pool.submit(one, name, backend) for name in names for backend in backends]:
            done.result()


def pin(core: int | None) -> None:
    """This thread, and the processes it starts, on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


class Board:
    """The records of a file, one per model, backend and device; written whenever one is added."""

    def __init__(self, file: Path) -> None:
        from segbench.profiling import Profiles

        self.file = file
        self.lock = threading.Lock()
        self.records = {key(record): record for record in (Profiles.load(file).records if file.exists() else [])}

    def wants(self, name: str, backend: str, device: str, again: bool) -> bool:
        """Whether a record is missing or, measuring again, not good enough. What does not export will not the next time."""
        old = self.records.get((name, backend, device))
        if old is None or not again:
            return old is None
        return bool(old.noisy) or (old.latency is None and old.error.kind != "export")

    def add(self, name: str, backend: str, record) -> None:
        """Keeps a record unless the one before is better."""
        import board

        from segbench.profiling import Profiles

        with self.lock:
            print(f"{time.strftime('%H:%M:%S')} {name:24} {backend:12} {shown(record)}", flush=True)
            old = self.records.get(key(record)) if record is not None else None
            if record is None or (old is not None and not better(record, old)):
                return
            self.records[key(record)] = record
            profiles = Profiles.merge([Profiles(list(self.records.values()))])
            profiles.save(self.file)
            (self.file.parent / "MEASURED.md").write_text(board.page(profiles), encoding="utf-8")


def better(new, old) -> bool:
    """A quiet measurement replaces any other, a noisy one those that waited longer for their CPU, a failure only a failure."""
    if new.latency is None or old.latency is None:
        return old.latency is None
    waits = [record.quality.waited if record.quality and record.quality.waited is not None else 1.0 for record in (new, old)]
    return not new.noisy or waits[0] < waits[1]


def key(record) -> tuple[str, str, str]:
    """Model, backend as it is asked for, and device."""
    compiled = (record.runtime.mode or "").startswith("compile")
    return record.model.name, "torch.compile" if compiled else record.runtime.backend, record.runtime.device


def measured(name: str, backend: str, device: str, max_time: float, call: float, left: float):
    """One record; None where segbench refuses to measure."""
    import zoo

    from segbench.errors import SegbenchError
    from segbench.profiling import Policy, profile

    reference = zoo.REFERENCES.get(name) if backend == "torch" else None
    try:
        return profile(
            f"{HERE / 'zoo.py'}:{name}",
            device=device,
            backend=backend,
            backbone=zoo.backbone(name),
            reference=f"{HERE / 'zoo.py'}:{reference}" if reference else None,
            post="semantic" if name in zoo.SEMANTIC and backend == "torch" else "none",
            threads=1 if device == "cpu" else None,
            policy=Policy(max_time_s=max(max_time, 3 * call), min_time_s=min(1.0, max_time), warmup_time_s=max(1.0, call)),
            name=name,
            command=f"measure.py {name} {backend}",
            time_limit=min(max(120.0, 8 * (START_S + CALLS * call)), max(START_S, left)),
        )[0]
    except SegbenchError as error:
        print(name, backend, error, flush=True)
        return None


def shown(record) -> str:
    """What the log says of a record."""
    if record is None:
        return "refused"
    if record.latency is None:
        return f"{record.error.kind}: {record.error.message[:100]}"
    waited = record.quality.waited if record.quality else None
    noise = f", noisy (waited {waited or 0:.0%})" if record.noisy else ""
    return f"{record.latency.p50 / 1e6:.2f} ms of {record.latency.n} runs{noise}"


if __name__ == "__main__":
    main()
