"""What a file or folder of instances holds, and what its reader has to say about it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from segbench.adapters.base import Format, Request
from segbench.datasets import Dataset
from segbench.errors import InputError, LabelError, counted
from segbench.inspection import Inspection, add
from segbench.instances import CROWD

READ = 64
"""Images whose masks are decoded at a time."""


def inspect_instances(found: Inspection, path: Path, entry: Format, described: Dataset | None, limit: int | None) -> Inspection:
    """Instances by class, their masks decoded; ground truth where the format brings its classes along, else predictions.

    Raises:
        LabelError: nothing says which classes there are.
    """
    labels = described or (entry.classes(path) if entry.classes else None)
    if labels is None:
        raise LabelError(
            "nothing here says what its categories are",
            files=[str(path)],
            hint="--dataset NAME|FILE says it; segbench datasets lists names",
        )
    found.format = entry.name
    try:
        source: Any = entry.open(path, Request("gt" if entry.classes else "pred", labels))
    except InputError as error:
        found.what = f"{entry.title} that cannot be read"
        add(found, error.code or "SB160", error.message, [file for _, file in error.files], error.hint, error.count)
        return found
    found.files = len(source.keys)
    keys = source.keys[:limit]
    instances, pixels = np.zeros(labels.num_classes, np.int64), np.zeros(labels.num_classes)
    crowds, sizes = 0, Counter[str]()
    for first in range(0, len(keys), READ):
        part = keys[first : first + READ]
        try:
            batch = source.read(part)
        except InputError as error:
            add(found, error.code or "SB160", error.message, [file for _, file in error.files], error.hint, error.count)
            continue
        found.read += len(part)
        areas = batch.boxes[:, 2] * batch.boxes[:, 3] if batch.masks is None else batch.masks.areas
        instances += np.bincount(batch.category, minlength=labels.num_classes)
        pixels += np.bincount(batch.category, areas, minlength=labels.num_classes)
        crowds += int((batch.flags & CROWD != 0).sum())
        sizes.update("x".join(map(str, size)) for size in batch.sizes.tolist() if min(size) > 0)
    present = np.flatnonzero(instances)
    found.values = {labels.names[index]: round(pixels[index]) for index in present}
    found.sizes = dict(sizes.most_common())
    classes = "1 class" if len(present) == 1 else f"{len(present)} classes"
    what = f"{counted(found.files, 'image')}: {entry.title}, {counted(int(instances.sum()), 'instance')} of {classes}"
    found.what = f"{what}, {counted(crowds, 'crowd')}" if entry.classes else what
    for note in getattr(source, "notes", ()):
        code = re.search(r" \[(SB\d+)\]$", note)
        if code:
            add(found, code[1], note.removesuffix(code[0]), [], None)
        else:  # how it is read, nothing wrong
            found.what += f"; {note}"
    return found
