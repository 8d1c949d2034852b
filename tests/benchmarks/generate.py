"""Makes the workloads of the benchmarks, or finds them where they were made before.

    python tests/benchmarks/generate.py coco --count 50 --work runs/workloads

One line of JSON says what the workload is, where its two sides are, and what to say about it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
ROOT = Path(__file__).parent.parent.parent
DATA = Path(os.environ.get("SEGBENCH_DATA", ROOT.parent / "shared/data"))


@dataclass(frozen=True)
class Entry:
    """A workload by name.

    Attributes:
        maker: The module `make_{task}` makes it: the name in its `WORKLOADS`, or for real data the folder below the data folder.
        real: Whether it is made of real data.
        gt, preds: Its two sides, below its folder.
        options: What contestants must know, such as the number of classes.
    """

    task: str
    title: str
    maker: str
    count: int
    gt: str = "gt.json"
    preds: str = "preds.json"
    real: bool = False
    options: dict[str, Any] = field(default_factory=dict)


_MAPS: dict[str, Any] = {"gt": "gt", "preds": "preds"}
ENTRIES = {
    "city": Entry("semantic", "Cityscapes-like", "city", 200, **_MAPS, options={"classes": 19, "label_ids": True}),
    "ade": Entry("semantic", "ADE20K-like", "ade", 1000, **_MAPS, options={"classes": 150}),
    "voc": Entry("semantic", "real label maps", "coco_val2017_mini79/semantic_voc", 316, **_MAPS, real=True, options={"classes": 21}),
    "small-semantic": Entry("semantic", "small images", "small", 10, **_MAPS, options={"classes": 19}),
    "coco": Entry("instance", "COCO-like, masks", "coco", 5000, options={"family": "segm"}),
    "coco500": Entry("instance", "COCO-like, masks, a tenth", "coco", 500, options={"family": "segm"}),
    "boxes": Entry("instance", "COCO-like, boxes only", "coco", 5000, preds="boxes.json", options={"family": "bbox"}),
    "yolact": Entry("instance", "real detections, masks", "yolact_real_A", 5000, real=True, options={"family": "segm"}),
    "lvis": Entry("instance", "LVIS-like, masks", "lvis", 500, options={"family": "segm", "lvis": True}),
    "small-instance": Entry("instance", "few images", "coco", 10, options={"family": "segm"}),
    "panoptic": Entry("panoptic", "COCO-panoptic-like", "panoptic", 1000),
    "small-panoptic": Entry("panoptic", "few images", "panoptic", 10),
}


def prepared(name: str, cache: Path, count: int | None = None, data: Path = DATA) -> dict[str, Any] | None:
    """What a workload is and where; it is made unless it is there. None where the real data are not here."""
    entry = ENTRIES[name]
    count = count or entry.count
    maker: Any = import_module(f"make_{entry.task}")
    if entry.real and not (data / entry.maker).is_dir():
        return None
    recipe = {"maker": entry.maker, "count": count}
    if not entry.real:
        recipe |= asdict(maker.WORKLOADS[entry.maker]) | {"count": count}
    folder = cache / f"{Path(entry.maker).name}-{count}"
    file = folder / "made.json"
    made = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if made.get("recipe") != json.loads(json.dumps(recipe)):
        folder.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        facts = (
            maker.repeated(data / entry.maker, folder, count) if entry.real else maker.generate(maker.WORKLOADS[entry.maker], folder, count)
        )
        made = {"recipe": recipe} | facts
        file.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    facts = made["facts"]
    if "masks" in made and entry.options["family"] == "segm":
        facts += f" with {made['masks']}"
    sides = {"gt": str((folder / entry.gt).absolute()), "preds": str((folder / entry.preds).absolute())}
    return {"name": name, "task": entry.task, "title": entry.title, "count": count, "facts": facts, "options": entry.options} | sides


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", choices=sorted(ENTRIES))
    parser.add_argument("--count", type=int, help="images (default: as many as the real validation set suggests)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "segbench-benchmarks", help="cache folder")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real data")
    arguments = parser.parse_args()
    print(json.dumps(prepared(arguments.workload, arguments.work, arguments.count, arguments.data)))


if __name__ == "__main__":
    main()
