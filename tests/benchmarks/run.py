"""Measures segbench beside its peers and writes `leaderboards/speed/semantic.{md,json}`.

    python tests/benchmarks/run.py --peers-python PEERS/bin/python            # everything, about five minutes
    python tests/benchmarks/run.py --workloads city --count 12 --rounds 2 --out /tmp/speed

Contestants take turns, one process each, for several rounds; figures are medians. Scores are compared first: nothing is written where one
differs. CPU seconds and peak memory are what the operating system counted for the process; `engine` is what the
process counted itself between two points: after its imports, and when the scores are there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from peers import PEERS  # a script's neighbour; imports nothing heavy, because a child's peak memory starts at its parent's

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VOID = 255
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
SEGBENCH = "segbench"
GOALS = {
    "city": {"numpy": 10, "cityscapesscripts": 10, "mmseg": 50, "hotcoco": 4.5, "vernier": 2.5},
    "ade": {"numpy": 7},
}
"""How many times the engine CPU seconds of segbench a peer is expected to need."""


@dataclass(frozen=True)
class Run:
    """What one process cost and said."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: dict


@dataclass(frozen=True)
class Work:
    """A folder of pairs to evaluate, and what to say about it."""

    name: str
    title: str
    gt: Path
    preds: Path
    classes: int
    count: int
    facts: str
    label_ids: Path | None = None


def measured(command: list[str], environment: dict[str, str], parse: bool = True) -> Run:
    """Runs a command to its end; CPU seconds and peak memory are those of the process and its children.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=os.environ | ONE_THREAD | environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        text = stdout.read().decode()
        if process.returncode == 6:
            return Run(0, 0, 0, {"missing": text})
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed with {process.returncode}:\n{text[-2000:]}{stderr.read().decode()[-2000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there, in KiB elsewhere
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / unit, json.loads(text) if parse else {})


def generated(name: str, count: int | None, cache: Path, python: Path) -> Work:
    """A generated workload, from the cache where it is there already."""
    command = [str(python), str(HERE / "generate.py"), name, "--work", str(cache)] + (["--count", str(count)] if count else [])
    facts = measured(command, {}).output
    made, folder = facts["workload"], Path(facts["folder"])
    kilobytes, edges = facts["bytes_mean"], facts["edge_density"]
    text = (
        f"{made['count']} generated pairs of {made['width']}x{made['height']}, {made['num_classes']} classes; mean PNG "
        f"{kilobytes['gt'] / 1000:.1f} kB ground truth, {kilobytes['preds'] / 1000:.1f} kB prediction; "
        f"{edges['gt']:.2%} and {edges['preds']:.2%} of pixels differ from their right neighbour"
    )
    label_ids = folder / "label_ids" if name == "city" else None
    return Work(name, made["title"], folder / "gt", folder / "preds", made["num_classes"], made["count"], text, label_ids)


def real(data: Path, cache: Path, count: int) -> Work | None:
    """The 79 real label maps and a real model's predictions, repeated by links until there are `count`."""
    source = data / "coco_val2017_mini79/semantic_voc"
    if not source.is_dir():
        return None
    folder = cache / f"voc-{count}"
    files = sorted(file.name for file in (source / "gt").glob("*.png"))
    for side, origin in (("gt", source / "gt"), ("preds", source / "pred_A_dl_mnv2")):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            link = folder / side / f"{index:06d}.png"
            if not link.exists():
                link.symlink_to((origin / files[index % len(files)]).resolve())
    kilobytes = [sum((folder / side / f"{i:06d}.png").stat().st_size for i in range(count)) / count / 1000 for side in ("gt", "preds")]
    text = (
        f"{count} pairs: {len(files)} label maps of COCO val2017 in the 21 classes of PASCAL VOC and a real model's predictions, repeated; "
        f"about 640x480; mean PNG {kilobytes[0]:.1f} kB ground truth, {kilobytes[1]:.1f} kB prediction"
    )
    return Work("voc", "real label maps", folder / "gt", folder / "preds", 21, count, text)


def segbench_command(python: Path, work: Work, *options: str) -> list[str]:
    """`segbench evaluate`, from the environment of a Python."""
    program = [str(python.parent / "segbench"), "evaluate", str(work.preds), str(work.gt), "--num-classes", str(work.classes)]
    return [*program, "--ignore-index", str(VOID), "--json", "-q", *options]


def peer_command(name: str, python: Path, work: Work) -> list[str]:
    """`peers.py`, run by the Python that has the peers."""
    folder = work.label_ids if PEERS[name].label_ids and work.label_ids else work.gt.parent
    arguments = ["--gt", str(folder / "gt"), "--preds", str(folder / "preds"), "--classes", str(work.classes)]
    return [str(python), str(HERE / "peers.py"), name, *arguments]


def contest(work: Work, names: Iterable[str], rounds: int, pythons: dict[str, Path], environment: dict[str, str]) -> dict:
    """Everyone on one workload: `{name: {engine_cpu_s, cpu_s, wall_s, peak_mb, version, ...}}`, medians of the rounds."""
    names = [name for name in names if not PEERS[name].label_ids or work.label_ids]
    warm = measured(peer_command("pillow", pythons["peers"], work), environment)  # fills the page cache
    if "missing" in warm.output:
        raise SystemExit(f"{pythons['peers']} has no Pillow")
    runs: dict[str, list[tuple[Run, Run]]] = {name: [] for name in (SEGBENCH, *names)}
    for round_number in range(rounds):
        for name in (SEGBENCH, *names):
            if name == SEGBENCH:
                run = whole = measured(segbench_command(pythons["segbench"], work, "--workers", "1"), environment)
            else:
                run = whole = measured(peer_command(name, pythons["peers"], work), environment)
                if "missing" not in run.output and (command := PEERS[name].command):
                    whole = measured(command(pythons["peers"], work.gt, work.preds, work.classes), environment)
            runs[name].append((run, whole))
            print(f"{work.name} round {round_number + 1}: {name} {whole.cpu_s:.2f} CPU s", file=sys.stderr)
    present = {name: pairs for name, pairs in runs.items() if "missing" not in pairs[0][0].output}
    for name in runs.keys() - present.keys():
        print(f"not installed, left out: {name} ({runs[name][0][0].output['missing'].strip()})", file=sys.stderr)
    outcomes = {name: [outcome(name, run.output) for run, _ in pairs] for name, pairs in present.items()}
    verify(work, outcomes)
    return {
        name: {
            "title": "segbench" if name == SEGBENCH else PEERS[name].title,
            "version": outcomes[name][0]["version"],
            "miou": outcomes[name][0].get("miou"),
            "engine_cpu_s": statistics.median(said["engine_cpu_s"] for said in outcomes[name]),
            "engine_wall_s": statistics.median(said["engine_wall_s"] for said in outcomes[name]),
            "cpu_s": statistics.median(whole.cpu_s for _, whole in pairs),
            "wall_s": statistics.median(whole.wall_s for _, whole in pairs),
            "peak_mb": statistics.median(whole.peak_mb for _, whole in pairs),
        }
        for name, pairs in present.items()
    }


def outcome(name: str, output: dict) -> dict:
    """Scores, engine figures and version out of what a process printed."""
    if name != SEGBENCH:
        return output
    miou = output["tasks"]["semantic"]["metrics"]["semantic/miou"]["value"]
    timing = output["timing"]
    return {"miou": miou, "version": output["segbench"], **{key: timing[key] for key in ("engine_cpu_s", "engine_wall_s")}}


def verify(work: Work, outcomes: dict[str, list[dict]]) -> None:
    """All that give scores give the same ones, in every round.

    Raises:
        SystemExit: one does not.
    """
    reference = outcomes[SEGBENCH][0]["miou"]
    matrices = {}
    for name, rounds in outcomes.items():
        tolerance = 1e-12 if name == SEGBENCH else PEERS[name].tolerance
        for said in rounds:
            if "miou" in said and not abs(said["miou"] - reference) <= tolerance:
                raise SystemExit(f"{work.name}: {name} gives mIoU {said['miou']!r}, segbench {reference!r}: nothing is written")
            if "confusion" in said:
                matrices[name] = said["confusion"]
    if matrices and any(matrix != next(iter(matrices.values())) for matrix in matrices.values()):
        raise SystemExit(f"{work.name}: the confusion matrices of {', '.join(matrices)} differ: nothing is written")


def quiet(seconds: float = 0.25) -> bool:
    """Whether two processes at once get a core each: otherwise two workers cannot be faster than one."""
    spin = f"import time; w, c = time.perf_counter(), time.process_time()\nwhile time.perf_counter() - w < {seconds}: pass\n"
    command = [sys.executable, "-c", f"{spin}print(time.process_time() - c)"]
    spinners = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return all(float(spinner.communicate()[0]) > 0.95 * seconds for spinner in spinners)


def scaling(work: Work, rounds: int, python: Path, environment: dict[str, str]) -> dict:
    """Two workers against one, in turns, while the machine is quiet; and the peak memory on a quarter of the set against all of it.

    Returns:
        `speedup` is None where the machine was never quiet.
    """
    walls: dict[str, list[float]] = {"1": [], "2": []}
    quarter, peaks = max(1, work.count // 4), {}
    for _ in range(10 * rounds):
        calm = quiet()
        runs = {workers: measured(segbench_command(python, work, "--workers", workers), environment) for workers in walls}
        peaks[work.count] = runs["2"].peak_mb
        if calm and quiet():
            for workers, run in runs.items():
                walls[workers].append(run.output["timing"]["engine_wall_s"])
        if len(walls["1"]) == rounds:
            break
    peaks[quarter] = measured(segbench_command(python, work, "--workers", "2", "--limit", str(quarter)), environment).peak_mb
    speedups = [one / two for one, two in zip(*walls.values(), strict=True)]
    return {
        "engine_wall_s": walls,
        "speedup": statistics.median(speedups) if speedups else None,
        "peak_mb": {str(count): peaks[count] for count in sorted(peaks)},
    }


def start_up(rounds: int, small: Work, python: Path, cache: Path) -> dict:
    """What a process costs before there is any work, in CPU seconds and as multiples of `python -c "import numba"`."""
    program = str(python.parent / "segbench")
    warm = {"NUMBA_CACHE_DIR": str(cache / "numba-warm")}
    measured(segbench_command(python, small, "--workers", "1"), warm)
    figures: dict[str, list[Run]] = {"import_numba": [], "first_run": [], "warm_run": [], "help": []}
    for _ in range(rounds):
        figures["import_numba"].append(measured([str(python), "-c", "import numba"], {}, parse=False))
        with tempfile.TemporaryDirectory() as empty:
            figures["first_run"].append(measured(segbench_command(python, small, "--workers", "1"), {"NUMBA_CACHE_DIR": empty}))
        figures["warm_run"].append(measured(segbench_command(python, small, "--workers", "1"), warm))
        figures["help"].append(measured([program, "--help"], warm, parse=False))
    cpu = {name: statistics.median(run.cpu_s for run in runs) for name, runs in figures.items()}
    return {
        "cpu_s": cpu,
        "wall_s": {name: statistics.median(run.wall_s for run in runs) for name, runs in figures.items()},
        "of_import_numba": {name: cpu[name] / cpu["import_numba"] for name in ("first_run", "warm_run")},
        "images": small.count,
    }


def machine() -> dict:
    """CPU model, core count and Python: nothing that names the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def markdown(report: dict) -> str:
    """The report for people."""
    at = report["machine"]
    lines = [
        "# Speed: semantic segmentation from label PNGs",
        "",
        f"Measured by `tests/benchmarks/run.py` on {at['cores']} cores of {at['cpu']}, {at['system']}, Python {at['python']}: one thread "
        f"each, in turns, medians of {report['rounds']} rounds, files in the page cache. Scores were verified equal first. *Engine* is the "
        "work without start-up, *process* all of it; `x` is how many times the CPU seconds of segbench. It holds for this machine and for "
        "files like these: how well a label map compresses decides how fast it is read.",
    ]
    for name, workload in report["workloads"].items():
        ours = workload["contestants"][SEGBENCH]
        goals = GOALS.get(name, {})
        lines += [
            "",
            f"## {workload['title'][0].upper()}{workload['title'][1:]}",
            "",
            f"{workload['facts']}.",
            "",
            "| evaluator | version | engine CPU s | x | goal | process CPU s | x | process wall s | peak MB |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for peer, figures in sorted(workload["contestants"].items(), key=lambda item: item[1]["engine_cpu_s"]):
            goal = f"{goals[peer]:g}" if peer in goals else ""
            engine, whole = (figures[key] / ours[key] for key in ("engine_cpu_s", "cpu_s"))
            lines.append(
                f"| {figures['title']} | {figures['version']} | {figures['engine_cpu_s']:.3f} | {engine:.1f} | {goal} | "
                f"{figures['cpu_s']:.2f} | {whole:.1f} | {figures['wall_s']:.2f} | {figures['peak_mb']:.0f} |"
            )
        if scaled := workload.get("scaling"):
            peaks = ", ".join(f"{peak:.0f} MB on {count} pairs" for count, peak in scaled["peak_mb"].items())
            speedup = (
                f"{scaled['speedup']:.2f} times as fast as one (goal 1.7)"
                if scaled["speedup"]
                else "the machine was never quiet enough to tell"
            )
            lines += ["", f"Two workers: {speedup}. Their peak memory: {peaks}."]
    if start := report.get("start_up"):
        cpu, of, images = start["cpu_s"], start["of_import_numba"], start["images"]
        lines += [
            "",
            "## Start-up",
            "",
            f'`python -c "import numba"` takes {cpu["import_numba"]:.2f} CPU s in the same run.',
            "",
            "| what | CPU s | x `import numba` | goal |",
            "|---|---:|---:|---:|",
            f"| {images} small images, the first run ever, which compiles | {cpu['first_run']:.2f} | {of['first_run']:.1f} | 8 |",
            f"| {images} small images, warm | {cpu['warm_run']:.2f} | {of['warm_run']:.1f} | 2.5 |",
            f"| `segbench --help` | {cpu['help']:.2f} | | 0.15 s |",
        ]
    return "\n".join(lines) + "\n"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default="city,ade,voc,start", help="of city, ade, voc, start")
    parser.add_argument("--count", type=int, help="pairs of each workload (default: 200, 1000 and 316)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=",".join(PEERS), help="which of them")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the Python whose environment has segbench")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable), help="the Python whose environment has the peers")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "segbench-benchmarks", help="cache folder")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEGBENCH_DATA", ROOT.parent / "shared/data")))
    parser.add_argument("--out", type=Path, default=ROOT / "leaderboards/speed")
    return parser.parse_args(arguments)


def main() -> None:
    """Runs what was asked for and writes the report."""
    options = parse()
    wanted = options.workloads.split(",")
    pythons = {"segbench": options.python.absolute(), "peers": options.peers_python.absolute()}
    environment = {"NUMBA_CACHE_DIR": str(options.work / "numba-warm")}
    small = generated("small", None, options.work, pythons["segbench"])
    measured(segbench_command(pythons["segbench"], small), environment)  # compiles
    report: dict = {"schema": "segbench.speed/1", "machine": machine(), "rounds": options.rounds, "workloads": {}}
    for name in [name for name in wanted if name != "start"]:
        work = real(options.data, options.work, options.count or 316) if name == "voc" else None
        if name == "voc" and work is None:
            print("no real label maps here (set SEGBENCH_DATA): left out", file=sys.stderr)
            continue
        work = work or generated(name, options.count, options.work, pythons["segbench"])
        contestants = contest(work, options.peers.split(","), options.rounds, pythons, environment)
        report["workloads"][name] = {"title": work.title, "facts": work.facts, "contestants": contestants}
        if name == "city":
            report["workloads"][name]["scaling"] = scaling(work, options.rounds, pythons["segbench"], environment)
    if "start" in wanted:
        report["start_up"] = start_up(options.rounds, small, pythons["segbench"], options.work)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "semantic.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "semantic.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()
