"""A second look at a few files after an evaluation: what their pixels say that counts do not."""

from __future__ import annotations

from typing import Any

from segbench.errors import LabelError
from segbench.evidence import Evidence
from segbench.jobs import Plan
from segbench.metrics import suspicions
from segbench.samples import LabelMap

LOOKED_AT = 8
"""Predictions whose values are read again."""


def look(plan: Plan, evidence: Evidence) -> list[str]:
    """Reads a few files of a semantic plan again.

    Returns:
        Sentences about what looks like a mistake.

    Raises:
        LabelError: SB112, the predictions are masks of 0 and 255.
    """
    if suspicions.like_a_mask(evidence):
        _refuse_masks(plan)
    found = []
    for place, (side, source, noun) in enumerate((("pred", plan.pred, "predictions"), ("gt", plan.gt, "ground truth"))):
        image = suspicions.most_varied(evidence, side)
        key = None if image is None else plan.pairs[int(evidence.images.order[image])][place]
        if key is None:
            continue
        sample = _read(source, key)
        if suspicions.interpolated(sample.values):
            found.append(
                f"[SB161] the {noun} look interpolated: at many borders the values climb over several pixels, through classes that are not "
                f"there, as in {sample.file}; resize labels by nearest neighbour"
            )
    return found


def _refuse_masks(plan: Plan) -> None:
    keys = [pred for pred, _ in plan.pairs if pred is not None][:LOOKED_AT]
    samples = [_read(plan.pred, key) for key in keys]
    if {value for sample in samples for value in {sample.values.min().item(), sample.values.max().item()}} == {0, 255}:
        raise LabelError(
            f"the predictions hold only 0 and 255: binary masks, but {plan.dataset.name} has {plan.dataset.num_classes} classes",
            files=[("pred", sample.file) for sample in samples[:3]],
            count=len(plan.pairs),
            hint="write the class index of each pixel; for a mask of one class, 0 and 1 with --num-classes 2",
            code="SB112",
        )


def _read(source: Any, key: Any) -> LabelMap:
    return next(iter(source.read([key])))
