"""Evaluates one work with one peer and prints one line of JSON: its values, and what they cost.

    python tests/benchmarks/peers.py numpy "$(python tests/benchmarks/generate.py ade --count 20)"

Run by the Python that has the peer installed, one peer per process. Nothing is imported but the peer itself, so that the figures of the
whole process are the peer's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from peer import Peer, Work, load_kernels

TASKS = ("semantic", "instance", "panoptic")


def peers_of(task: str) -> dict[str, Peer]:
    """All contestants of a task, segbench first."""
    return {peer.name: peer for peer in import_module(f"peers_{task}").PEERS}


def main() -> int:
    """Evaluates with one peer and prints its figures; exits with 6 where the peer is not installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer")
    parser.add_argument("work", type=json.loads, help="what generate.py prints")
    parser.add_argument("--warm", type=json.loads, help="a small work that is evaluated before the clock starts")
    parser.add_argument("--workers", type=int, help="segbench alone")
    parser.add_argument("--analysis", action="store_true", help="segbench alone: also where AP is lost")
    arguments = parser.parse_args()
    work: Work = arguments.work
    extra = ({"workers": arguments.workers} if arguments.workers else {}) | ({"analysis": True} if arguments.analysis else {})
    try:
        version, evaluate = peers_of(work["task"])[arguments.peer].load()
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        return 6
    if arguments.warm:
        evaluate(arguments.warm, **extra)
        load_kernels(work["task"])
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = evaluate(work, **extra)
    outcome |= {"engine_cpu_s": time.process_time() - cpu, "engine_wall_s": time.perf_counter() - wall, "version": version}
    print(json.dumps(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
