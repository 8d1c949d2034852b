"""A second look at a few files after an evaluation: what their pixels say that counts do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from segbench.errors import LabelError
from segbench.evidence import Evidence
from segbench.jobs import Plan
from segbench.metrics import suspicions
from segbench.samples import LabelMap

LOOKED_AT = 8
"""Predictions whose values are read again."""
EXPLAINED = 0.5
"""Share of overlapping instances whose categories must agree in another id space."""


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


def look_at_categories(plan: Plan, evidence: Evidence, id_space: str | None) -> list[str]:
    """Compares a few images of an instance plan across categories, where hardly any ground truth was found by its own.

    Returns:
        A sentence where another numbering of the predicted categories explains most of what overlaps.
    """
    from segbench.adapters.instance import coco_categories  # other tasks need nothing of instances
    from segbench.metrics.instance import checks as instance_checks
    from segbench.metrics.instance.scoring import InstanceAccumulator

    known = coco_categories.ids_in(plan.dataset, id_space or "label")
    if known is None or plan.dataset.num_classes < 2 or not instance_checks.hardly_any_found(evidence):
        return []
    some = [pair for pair in plan.pairs if pair[0] is not None][:LOOKED_AT]
    family = "segm" if "segm" in plan.tables else "bbox"
    accumulator = InstanceAccumulator(plan.dataset, (family, "analysis"))
    gts: Any = plan.gt.read([gt_key for _, gt_key in some])
    preds: Any = plan.pred.read([pred_key for pred_key, _ in some], gts.sizes)  # type: ignore[call-arg]
    accumulator.update(replace(preds, images=gts.images), gts)
    predicted, true = instance_checks.best_overlaps(accumulator.evidence(), family)
    if len(predicted) < instance_checks.ENOUGH:
        return []
    shares = {
        f"read with --id-space {space}": float((coco_categories.meant(known[predicted], plan.dataset, space) == true).mean())
        for space in coco_categories.spaces_of(plan.dataset)
        if space != (id_space or "label")
    }
    moved = known[true] - known[predicted]
    shares |= {f"with ids one {way}": float((moved == shift).mean()) for shift, way in ((1, "higher"), (-1, "lower"))}
    best = max(shares, key=lambda how: shares[how])
    if shares[best] < EXPLAINED:
        return []
    told = f"few detections overlap a ground truth of their category; {best}, {100 * shares[best]:.0f} % of those that overlap one would"
    return [f"{told} [SB111]"]


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
