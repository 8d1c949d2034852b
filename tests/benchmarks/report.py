"""The report of one task, for people."""

from __future__ import annotations

from typing import Any

Report = dict[str, Any]
TITLES = {
    "semantic": "semantic segmentation from label PNGs",
    "instance": "instance segmentation from JSON files",
    "panoptic": "panoptic segmentation from JSON and PNGs",
}
NOTES = {
    "semantic": "It holds for this machine and for files like these: how well a label map compresses decides how fast it is read.",
    "instance": "Work is everything from the two JSON files to the published numbers.",
    "panoptic": "Work is everything from the two JSON files and their PNGs to the published numbers.",
}
ENGINE_GOALS: dict[str, dict[str, float]] = {
    "city": {"numpy": 10, "cityscapesscripts": 10, "mmseg": 50, "hotcoco": 4.5, "vernier": 2.5},
    "ade": {"numpy": 7},
    "coco": {"pycocotools": 25, "faster-coco-eval": 12, "hotcoco": 1.8, "vernier": 1.8},
    "boxes": {"hotcoco": 1},
    "panoptic": {"panopticapi": 14, "pillow": 6, "hotcoco": 1.8},
}
"""How many times the engine CPU seconds of segbench a peer is expected to need."""
PROCESS_GOALS: dict[str, dict[str, float]] = {"coco": {"hotcoco": 1.5}, "coco500": {"faster-coco-eval": 1}, "panoptic": {"hotcoco": 1}}
"""The same for the whole process."""
TWO_WORKERS = {"city": 1.7, "coco": 1.3, "panoptic": 1.6}
"""Workloads that are also run by two workers, and how many times as fast these are expected to be."""
FIRST_RUN = {"semantic": 8, "instance": 15}
WARM_RUN = {"semantic": 2.5}
"""Start-up, as multiples of `import numba`."""


def markdown(report: Report) -> str:
    """The report of a task."""
    at = report["machine"]
    lines = [
        f"# Speed: {TITLES[report['task']]}",
        "",
        f"Measured by `tests/benchmarks/run.py` on {at['cores']} cores of {at['cpu']}, {at['system']}, Python {at['python']}: one thread "
        "each, in turns, medians of the rounds, files in the page cache. Scores were verified equal first. *Engine* is the work without "
        f"start-up, *process* all of it; `x` is how many times the CPU seconds of segbench. {NOTES[report['task']]}",
    ]
    for name, workload in report["workloads"].items():
        lines += [
            "",
            f"## {workload['title'][0].upper()}{workload['title'][1:]}",
            "",
            f"{workload['facts']}. Rounds: {workload['rounds']}.",
        ]
        lines += ["", *_contestants(name, workload["contestants"])]
        if stages := workload.get("stages"):
            lines += ["", *_stages(stages)]
        if analysed := workload.get("analysis_cpu_s"):
            usual = workload["contestants"]["segbench"]["engine_cpu_s"]
            lines += ["", f"With `--analysis`: {analysed:.3f} CPU s, {analysed / usual:.1f} times as much."]
        if scaled := workload.get("scaling"):
            lines += ["", _scaling(name, scaled)]
    if start := report.get("start_up"):
        lines += ["", *_start_up(report["task"], start)]
    return "\n".join(lines) + "\n"


def _contestants(name: str, contestants: dict[str, Any]) -> list[str]:
    ours = contestants["segbench"]
    lines = [
        "| evaluator | version | scores off by | engine CPU s | x | goal | process CPU s | x | goal | process wall s | peak MB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for peer, figures in sorted(contestants.items(), key=lambda item: item[1]["engine_cpu_s"]):
        goals = [f"{table[name][peer]:g}" if peer in table.get(name, {}) else "" for table in (ENGINE_GOALS, PROCESS_GOALS)]
        engine, whole = (figures[key] / ours[key] for key in ("engine_cpu_s", "cpu_s"))
        off = "" if figures["off"] is None else "0" if not figures["off"] else f"{figures['off']:.0e}"
        once = ", one round" if figures["rounds"] == 1 and ours["rounds"] > 1 else ""
        lines.append(
            f"| {figures['title']}{once} | {figures['version']} | {off} | {figures['engine_cpu_s']:.3f} | {engine:.1f} | {goals[0]} | "
            f"{figures['cpu_s']:.2f} | {whole:.1f} | {goals[1]} | {figures['wall_s']:.2f} | {figures['peak_mb']:.0f} |"
        )
    return lines


def _stages(stages: dict[str, float]) -> list[str]:
    total = sum(stages.values())
    rows = [f"| {stage} | {seconds:.3f} | {seconds / total:.0%} |" for stage, seconds in stages.items()]
    return ["Where segbench's time goes, one worker:", "", "| stage | CPU s | share |", "|---|---:|---:|", *rows]


def _scaling(name: str, scaled: dict[str, Any]) -> str:
    goal = TWO_WORKERS[name]
    speedup = (
        f"{scaled['speedup']:.2f} times as fast as one (goal {goal})" if scaled["speedup"] else "the machine was never quiet enough to tell"
    )
    return (
        f"Two workers: {speedup}. Their peak memory: "
        + ", ".join(f"{peak:.0f} MB on {int(count):,} images" for count, peak in scaled["peak_mb"].items())
        + "."
    )


def _start_up(task: str, start: dict[str, Any]) -> list[str]:
    cpu, of, images = start["cpu_s"], start["of_import_numba"], start["images"]
    return [
        "## Start-up",
        "",
        f'`python -c "import numba"` takes {cpu["import_numba"]:.2f} CPU s in the same run.',
        "",
        "| what | CPU s | x `import numba` | goal |",
        "|---|---:|---:|---:|",
        f"| {images} small images, the first run ever, which compiles | {cpu['first_run']:.2f} | {of['first_run']:.1f} | "
        f"{FIRST_RUN.get(task, '')} |",
        f"| {images} small images, warm | {cpu['warm_run']:.2f} | {of['warm_run']:.1f} | {WARM_RUN.get(task, '')} |",
        f"| `segbench --help` | {cpu['help']:.2f} | | 0.15 s |",
    ]
