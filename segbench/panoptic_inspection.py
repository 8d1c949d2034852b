"""What a panoptic JSON and its maps hold, and where they contradict one another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from segbench.adapters.base import Request
from segbench.adapters.panoptic import coco as panoptic_json
from segbench.datasets import Dataset
from segbench.errors import InputError, LabelError, counted
from segbench.inspection import Inspection, add
from segbench.metrics.panoptic.matching import check_areas, scene
from segbench.metrics.panoptic.scoring import PanopticAccumulator


def inspect_panoptic(found: Inspection, path: Path, described: Dataset | None, limit: int | None, maps: str | None = None) -> Inspection:
    """The segments of a panoptic JSON against the pixels of its maps."""
    labels = described or panoptic_json.categories_dataset(path)
    if labels is None:
        raise LabelError("the JSON lists no categories", files=[str(path)], hint="--dataset NAME says what its classes are")
    found.format = panoptic_json.NAME
    try:
        source = panoptic_json.open_panoptic_json(path, Request("gt", labels), maps)
    except InputError as error:
        found.what = "a panoptic JSON that cannot be read"
        hint = (error.hint or "").replace("--gt-maps", "--maps")  # there is one side only
        add(found, error.code or "SB150", error.message, [file for _, file in error.files], hint or None, error.count)
        return found
    accumulator = PanopticAccumulator(labels)
    sizes: Counter[str] = Counter()
    broken: dict[tuple[str, str], list[str]] = {}
    found.files = len(source.keys)
    for key in source.keys[:limit]:
        try:
            sample = next(source.read([key]))
            accumulator.update([sample], [sample])
        except InputError as error:
            broken.setdefault((error.code or "SB160", error.hint or ""), []).append(f"{source.file(key)}: {error.message}")
            continue
        found.read += 1
        sizes["x".join(map(str, sample.values.shape[:2]))] += 1
    evidence = accumulator.evidence()
    segments = {name: column[evidence.rows("segments")["side"] == 0] for name, column in evidence.rows("segments").items()}
    pixels = np.bincount(segments["class"], segments["area"], minlength=labels.num_classes).astype(np.int64)
    found.values = {name: int(count) for name, count in zip(labels.names, pixels, strict=True) if count}
    found.sizes, found.dtypes = dict(sizes.most_common()), {"uint8 RGB": found.read} if found.read else {}
    classes = "1 class" if len(found.values) == 1 else f"{len(found.values)} classes"
    crowds = counted(int(segments["crowd"].sum()), "crowd")
    found.what = (
        f"{counted(found.files, 'image')}: panoptic JSON and RGB maps in {source.root}, "
        f"{counted(len(segments['class']), 'segment')} of {classes}, {crowds}"
    )
    for (code, hint), files in broken.items():
        add(found, code, f"{counted(len(files), 'map')} that cannot be counted", files, hint or None)
    try:
        check_areas(scene(evidence), evidence)
    except InputError as error:
        add(found, error.code or "SB155", error.message, [f"image {file}" for _, file in error.files], error.hint, error.count)
    for note in source.notes:
        add(found, "SB111", note, [], None)
    return found
