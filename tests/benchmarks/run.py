"""Measures segbench beside its peers and writes `leaderboards/speed/{task}.{md,json}`.

    python tests/benchmarks/run.py --peers-python PEERS/bin/python            # everything, about a quarter of an hour
    python tests/benchmarks/run.py --workloads city,coco500 --count 12 --rounds 2 --out runs/speed

Contestants take turns, one process each, for several rounds; figures are medians. Scores are compared first: nothing is written where one
differs. CPU seconds and peak memory are what the operating system counted for the process; `engine` is what the process counted itself
between two points: after its imports, and when the scores are there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from measuring import Run, machine, measured, quiet, touch_memory
from peer import SEGBENCH, Peer, Work, maps, segbench_command
from peers import TASKS, peers_of
from report import TWO_WORKERS, markdown

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WORKLOADS = ("city", "ade", "voc", "coco500", "coco", "boxes", "yolact", "lvis", "panoptic")


class Bench:
    """Runs contestants.

    Args:
        python: The Python whose environment has segbench. peers_python: that with the peers.
        cache: Where workloads, and segbench's compiled kernels, are kept.
    """

    def __init__(self, python: Path, peers_python: Path, cache: Path, data: Path) -> None:
        self.python, self.peers_python, self.cache, self.data = python, peers_python, cache, data
        self.environment = {"NUMBA_CACHE_DIR": str(cache / "numba-warm")}
        self._small: dict[str, Work] = {}

    def work(self, name: str, count: int | None = None) -> Work | None:
        """A workload, made where it is not there; None where the real data are not here."""
        command = [str(self.python), str(HERE / "generate.py"), name, "--work", str(self.cache), "--data", str(self.data)]
        return measured(command + (["--count", str(count)] if count else []), {}).output or None

    def small(self, task: str) -> Work:
        """A few images."""
        if task not in self._small:
            work = self.work(f"small-{task}")
            assert work is not None
            self._small[task] = work
        return self._small[task]

    def engine(self, peer: Peer, work: Work, *options: str) -> Run:
        """`peers.py`: the work alone."""
        ours = peer is SEGBENCH
        warm = ["--warm", json.dumps(self.small(work["task"]))] if ours else []
        python = self.python if ours else self.peers_python
        return measured([str(python), str(HERE / "peers.py"), peer.name, json.dumps(work), *warm, *options], self.environment)

    def whole(self, peer: Peer, work: Work) -> Run | None:
        """Its own command line, where it has one."""
        return measured(peer.command(self._python(peer), work), self.environment) if peer.command else None

    def _python(self, peer: Peer) -> Path:
        return self.python if peer is SEGBENCH else self.peers_python


def contest(bench: Bench, work: Work, names: Iterable[str] | None, rounds: int) -> dict[str, Any]:
    """Everyone on one workload: `{name: {engine_cpu_s, cpu_s, wall_s, peak_mb, version, ...}}`, medians of the rounds."""
    peers = {
        name: peer
        for name, peer in peers_of(work["task"]).items()
        if peer.only(work) and (peer is SEGBENCH or names is None or name in names)
    }
    for file in files_of(work):  # into the page cache, in pieces, because a child's peak memory starts at its parent's
        with open(file, "rb") as stream:
            while stream.read(2**20):
                pass
    runs: dict[str, list[tuple[Run, Run]]] = {name: [] for name in peers}
    for round_number in range(rounds):
        for name, peer in peers.items():
            if round_number and (peer.slow or "missing" in runs[name][0][0].output):
                continue
            run = bench.engine(peer, work)
            whole = run if "missing" in run.output else bench.whole(peer, work) or run
            runs[name].append((run, whole))
            print(f"{work['name']} round {round_number + 1}: {name} {whole.cpu_s:.2f} CPU s", file=sys.stderr)
    present = {name: pairs for name, pairs in runs.items() if "missing" not in pairs[0][0].output}
    for name in runs.keys() - present.keys():
        print(f"not installed, left out: {name} ({runs[name][0][0].output['missing'].strip()})", file=sys.stderr)
    outcomes = {name: [run.output for run, _ in pairs] for name, pairs in present.items()}
    off = verify(work["name"], outcomes, peers)
    return {
        name: {
            "title": peers[name].title,
            "version": outcomes[name][0]["version"],
            "values": outcomes[name][0].get("values"),
            "off": off.get(name),
            "rounds": len(pairs),
            "engine_cpu_s": statistics.median(said["engine_cpu_s"] for said in outcomes[name]),
            "engine_wall_s": statistics.median(said["engine_wall_s"] for said in outcomes[name]),
            "cpu_s": statistics.median(whole.cpu_s for _, whole in pairs),
            "wall_s": statistics.median(whole.wall_s for _, whole in pairs),
            "peak_mb": statistics.median(whole.peak_mb for _, whole in pairs),
        }
        for name, pairs in present.items()
    }


def files_of(work: Work) -> list[Path]:
    """What contestants read."""
    sides = [Path(work[side]) for side in ("gt", "preds")]
    folders = [Path(maps(work, side)) for side in ("gt", "preds")]
    if work["options"].get("label_ids"):
        folders += [folder.parent / "label_ids" / folder.name for folder in folders]
    return [side for side in sides if side.is_file()] + [file for folder in folders for file in sorted(folder.glob("*.png"))]


def verify(work: str, outcomes: dict[str, list[dict[str, Any]]], peers: dict[str, Peer]) -> dict[str, float]:
    """All that give scores give the same ones, in every round.

    Returns:
        How far each is off the reference, or off segbench where the reference is not there.

    Raises:
        SystemExit: one is off by more than it may.
    """
    first = next((name for name in outcomes if peers[name].reference), SEGBENCH.name)
    expected = outcomes[first][0]["values"]
    counts = {name: said["counts"] for name, rounds in outcomes.items() for said in rounds if "counts" in said}
    off = {}
    for name, rounds in outcomes.items():
        for said in rounds:
            if "values" not in said:
                continue
            pairs = zip(said["values"], expected, strict=True)
            off[name] = max(off.get(name, 0.0), *(float("inf") if found != found else abs(found - value) for found, value in pairs))
        if name in off and off[name] > peers[name].tolerance:
            raise SystemExit(f"{work}: {name} gives {rounds[0]['values']!r}, {first} {expected!r}: nothing is written")
    if counts and any(matrix != next(iter(counts.values())) for matrix in counts.values()):
        raise SystemExit(f"{work}: the counts of {', '.join(counts)} differ: nothing is written")
    return off


def scaling(bench: Bench, work: Work, rounds: int) -> dict[str, Any]:
    """Two workers against one, in turns, while the machine is quiet; and the peak memory of two, of maps also on a quarter of the set.

    Returns:
        `speedup` is None where the machine was never quiet.
    """
    walls: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(4 * rounds):
        calm = quiet()
        runs = {workers: bench.engine(SEGBENCH, work, "--workers", workers) for workers in walls}
        if calm and quiet():
            for workers, run in runs.items():
                walls[workers].append(run.output["engine_wall_s"])
        if len(walls["1"]) == rounds:
            break
    limits = [work["count"]] if work["task"] == "instance" else [max(1, work["count"] // 4), work["count"]]
    commands = {limit: segbench_command(bench.python, work, "--workers", "2", "--limit", str(limit)) for limit in limits}
    speedups = [one / two for one, two in zip(*walls.values(), strict=True)]
    return {
        "engine_wall_s": walls,
        "speedup": statistics.median(speedups) if speedups else None,
        "peak_mb": {str(limit): measured(command, bench.environment).peak_mb for limit, command in commands.items()},
    }


def stages(bench: Bench, work: Work) -> dict[str, float]:
    """Where segbench's engine spends its CPU seconds."""
    command = [str(bench.python), str(HERE / "stages.py"), json.dumps(work), json.dumps(bench.small(work["task"]))]
    return measured(command, bench.environment).output


def start_up(bench: Bench, task: str, rounds: int) -> dict[str, Any]:
    """What a process costs before there is any work, in CPU seconds and as multiples of `python -c "import numba"`."""
    small = bench.small(task)
    command = segbench_command(bench.python, small)
    measured(command, bench.environment)
    figures: dict[str, list[Run]] = {"import_numba": [], "first_run": [], "warm_run": [], "help": []}
    for _ in range(rounds):
        figures["import_numba"].append(measured([str(bench.python), "-c", "import numba"], {}, parse=False))
        with tempfile.TemporaryDirectory() as empty:
            figures["first_run"].append(measured(command, {"NUMBA_CACHE_DIR": empty}))
        figures["warm_run"].append(measured(command, bench.environment))
        figures["help"].append(measured([str(bench.python.parent / "segbench"), "--help"], bench.environment, parse=False))
    cpu = {name: statistics.median(run.cpu_s for run in runs) for name, runs in figures.items()}
    return {
        "cpu_s": cpu,
        "wall_s": {name: statistics.median(run.wall_s for run in runs) for name, runs in figures.items()},
        "of_import_numba": {name: cpu[name] / cpu["import_numba"] for name in ("first_run", "warm_run")},
        "images": small["count"],
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=f"of {', '.join(WORKLOADS)}; none: start-up alone")
    parser.add_argument("--start", default="", help="tasks whose start-up is measured, or all")
    parser.add_argument("--count", type=int, help="images of each workload (default: see generate.py)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", help="which of them; all where left out")
    parser.add_argument("--no-scaling", action="store_true", help="leave out two workers, stages and the analysis")
    parser.add_argument("--add", action="store_true", help="keep the other workloads of the reports that are there")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the Python whose environment has segbench")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable), help="the Python whose environment has the peers")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "segbench-benchmarks", help="cache folder")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEGBENCH_DATA", ROOT.parent / "shared/data")))
    parser.add_argument("--out", type=Path, default=ROOT / "leaderboards/speed")
    return parser.parse_args(arguments)


def opened(file: Path, task: str, add: bool) -> dict[str, Any]:
    """A report to fill: new, or the one that is there if it is of this machine."""
    new: dict[str, Any] = {"schema": "segbench.speed/2", "task": task, "machine": machine(), "workloads": {}}
    old = json.loads(file.read_text(encoding="utf-8")) if add and file.exists() else {}
    return (
        old
        if {key: old.get(key) for key in ("schema", "task", "machine")} == {key: new[key] for key in ("schema", "task", "machine")}
        else new
    )


def main() -> None:
    """Runs what was asked for and writes a report for each task."""
    options = parse()
    bench = Bench(options.python.absolute(), options.peers_python.absolute(), options.work, options.data)
    names = [name for name in options.workloads.split(",") if name and name != "none"]
    starts = TASKS if options.start == "all" else tuple(name for name in options.start.split(",") if name)
    options.out.mkdir(parents=True, exist_ok=True)
    touch_memory()
    works = {name: bench.work(name, options.count) for name in names}
    for name in [name for name, work in works.items() if work is None]:
        print(f"{name}: no real data here (set SEGBENCH_DATA): left out", file=sys.stderr)
    for task in TASKS:
        mine = {name: work for name, work in works.items() if work and work["task"] == task}
        if not mine and task not in starts:
            continue
        file = options.out / f"{task}.json"
        report = opened(file, task, options.add or not mine)  # start-up alone takes no workload away
        for name, work in mine.items():
            workload = {"title": work["title"], "facts": work["facts"], "rounds": options.rounds}
            workload["contestants"] = contest(bench, work, options.peers and options.peers.split(","), options.rounds)
            if not options.no_scaling:
                if task == "instance":
                    workload["stages"] = stages(bench, work)
                    workload["analysis_cpu_s"] = bench.engine(SEGBENCH, work, "--analysis").output["engine_cpu_s"]
                if name in TWO_WORKERS:
                    workload["scaling"] = scaling(bench, work, options.rounds)
            report["workloads"][name] = workload
        if task in starts:
            report["start_up"] = start_up(bench, task, options.rounds)
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
        print(markdown(report))


if __name__ == "__main__":
    main()
