"""Counts the zoo: `python leaderboards/architectures/count.py [NAME...]` writes counts.json and COUNTS.md.

Counts do not depend on the machine, so they need no quiet one. Every entry is counted from torch's operators and, where it exports, from
its ONNX graph.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
TIME_LIMIT_S = 600


def counted(name: str) -> dict:
    """One entry: counts of whole, backbone, neck and head by both ways, or why not."""
    import torch
    import zoo

    from segbench.profiling import families, macs_onnx, runner_torch
    from segbench.profiling.export import export
    from segbench.profiling.records import Tensor
    from segbench.profiling.runner import Failed
    from segbench.profiling.spec import Spec
    from segbench.profiling.targets import Loaded

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    model, shape = getattr(zoo, name)()
    runner = runner_torch.TorchRunner(Loaded(model, name), Spec(target="", inputs=[Tensor(shape=(1, *shape), dtype="float32")]))
    count = runner.count()
    split, why = families.split(runner.modules, zoo.backbone(name))
    parameters = runner.parameters(split) or {}
    row = {"name": name, "input": [1, *shape], "macs": count.macs, "parameters": parameters["total"], "split": None, "no_split": why}
    if split is not None:
        row |= {"split": {"backbone": split.backbone, "neck": split.neck, "decided": split.decided}, "no_split": None}
        row |= {"macs_backbone": count.within(split.backbone), "macs_neck": count.within(split.neck)}
        row["macs_head"] = count.macs - row["macs_backbone"] - row["macs_neck"]
        row["parameters_backbone"] = parameters["backbone"]
    row |= {"suspicious": sorted(count.suspicious), "uncounted": dict(sorted(count.uncounted.items()))}
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = export(runner, Path(folder))
        except Failed as error:
            return row | {"onnx": None, "onnx_note": f"does not export: {error}"}
        graph = macs_onnx.load(path)
        shapes = {entry.name: (1, *shape) for entry in graph.graph.input}
        shaped = macs_onnx.with_input_shapes(graph, shapes)
        found = macs_onnx.count(shaped)
    row |= {"onnx": found.macs, "onnx_note": None}
    if split is not None:
        row["onnx_backbone"] = found.within(split.backbone)
    if found.suspicious:
        row["onnx_note"] = f"of unknown shape: {', '.join(sorted(found.suspicious))}"
    elif found.macs != count.macs:
        parts = {".".join(path.split(".")[:2]) for path in (*found.by_module, *count.by_module)}
        less = {part: count.within([part]) - found.within([part]) for part in parts}
        most = max(less, key=lambda part: abs(less[part]))
        row["onnx_note"] = f"{(count.macs - found.macs) / 1e6:.3f} M unused or constant and left out by the exporter, most in {most}"
    return row


def main() -> None:
    """Counts each entry in a process of its own; entries that fail keep their last line."""
    import zoo

    chosen = sys.argv[1:] or list(zoo.NAMES)
    target = HERE / "counts.json"
    rows = {row["name"]: row for row in json.loads(target.read_text(encoding="utf-8"))} if target.exists() else {}
    for name in chosen:
        command = [sys.executable, "-c", f"import json, count; print('ROW' + json.dumps(count.counted({name!r})))"]
        try:
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_S)
            lines = (done.stderr.strip().splitlines() or ["nothing"])[-1:]
            found = done.stdout.rpartition("ROW")[2]
            rows[name] = json.loads(found) if done.returncode == 0 else {"name": name, "failed": lines[0]}
        except subprocess.TimeoutExpired:
            rows[name] = {"name": name, "failed": f"no result after {TIME_LIMIT_S} s"}
        row = rows[name]
        print(
            name,
            row.get("failed") or f"{row['macs'] / 1e9:.3f} G, ONNX {row['onnx'] / 1e9 if row['onnx'] else row['onnx_note']}",
            flush=True,
        )
        ordered = [rows[known] for known in zoo.NAMES if known in rows]
        target.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    (HERE / "COUNTS.md").write_text(page([rows[name] for name in zoo.NAMES if name in rows], zoo.PUBLISHED), encoding="utf-8")


def page(rows: list[dict], published: dict) -> str:
    """The counts as a table."""
    lines = [
        "# Counts of the zoo",
        "",
        "GMACs (`mac-mm-conv/1`) and parameters in millions of one image, on every machine. A neck counts to the head. From `count.py`.",
        "",
        "| model | input | GMACs | backbone | neck | head | head / backbone | parameters | ONNX graph | published |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['name']} | | {row['failed']} | | | | | | | |")
            continue
        parts = [row.get(f"macs_{part}") for part in ("backbone", "neck", "head")]
        outside = row["macs"] - parts[0] if parts[0] else None
        ratio = f"{100 * outside / parts[0]:+.1f} %" if outside is not None else f"no split: {row['no_split']}"
        cells = [row["name"], "x".join(map(str, row["input"])), giga(row["macs"]), *(giga(part) for part in parts), ratio]
        cells += [f"{row['parameters'] / 1e6:.3f}", against(row), known(row, published.get(row["name"]))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def giga(value: int | None) -> str:
    return f"{value / 1e9:.3f}" if value else "-"


def against(row: dict) -> str:
    """The graph's count beside torch's."""
    if row["onnx"] is None:
        return row["onnx_note"]
    if row["onnx"] == row["macs"]:
        return "equal"
    return f"{giga(row['onnx'])}" + (f" ({row['onnx_note']})" if row["onnx_note"] else "")


def known(row: dict, published) -> str:
    """The published count, and what it holds that ours does not."""
    if published is None:
        return ""
    more = f" - {published.more:.3f}" if published.more else ""
    return f"{published.gmacs:.3f}{more} ({published.note})"


if __name__ == "__main__":
    main()
