"""Measures the zoo on this machine: `python leaderboards/architectures/measure.py FILE [NAME...] [--device cuda:0]` adds records to FILE.

For a quiet machine, by hand. One record per model and runtime: torch, ONNX Runtime and OpenVINO on the CPU, torch on a CUDA device. What
is in FILE already is not measured again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def main() -> None:
    """One model and runtime after the other; the file is written after each."""
    import zoo

    from segbench.profiling import Policy, Profiles, profile

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("names", nargs="*", default=list(zoo.NAMES), metavar="NAME")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--backends", default=None, help="torch,onnxruntime,openvino on the CPU; torch on CUDA")
    arguments.add_argument("--threads", type=int, default=None, help="all cores where left out")
    arguments.add_argument("--max-time", type=float, default=10.0)
    given = arguments.parse_args()
    from segbench.profiling.hardware import usable_cores

    on_cpu = given.device == "cpu"
    backends = (given.backends or ("torch,onnxruntime,openvino" if on_cpu else "torch")).split(",")
    known = Profiles.load(given.file) if given.file.exists() else Profiles([])
    done = {(record.model.name, record.runtime.backend, record.runtime.mode or "") for record in known.records}
    policy = Policy(max_time_s=given.max_time, min_time_s=min(2.0, given.max_time))
    for name in given.names:
        for backend in backends:
            mode = {"torch": "eager", "torch.compile": "compile"}.get(backend, "")
            if any(entry[:2] == (name, backend.partition(".")[0]) and entry[2].startswith(mode) for entry in done):
                continue
            reference = zoo.REFERENCES.get(name) if backend == "torch" else None
            found = profile(
                f"{HERE / 'zoo.py'}:{name}",
                device=given.device,
                backend=backend,
                backbone=zoo.backbone(name),
                reference=f"{HERE / 'zoo.py'}:{reference}" if reference else None,
                threads=(given.threads or usable_cores()) if on_cpu else None,
                policy=policy,
                name=name,
                command=f"measure.py {name} {backend}",
            )
            known = Profiles.merge([known, found])
            known.save(given.file)
            record = found[0]
            shown = f"{record.latency.p50 / 1e6:.2f} ms" if record.latency else f"{record.error.kind}: {record.error.message[:100]}"
            print(f"{name:24} {backend:12} {shown}", flush=True)


if __name__ == "__main__":
    main()
