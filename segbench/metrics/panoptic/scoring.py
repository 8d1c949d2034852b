"""Panoptic segmentation: exact segments and overlaps per image, and every score from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence, Table, Tables, stacked
from segbench.metrics.accumulator import MapAccumulator, check_evidence
from segbench.metrics.base import Scores, defined, defined_list
from segbench.metrics.catalogue import chosen_of
from segbench.metrics.panoptic import boundary as panoptic_boundary
from segbench.metrics.panoptic import matching as panoptic_matching
from segbench.metrics.panoptic import segments as panoptic_segments
from segbench.metrics.panoptic.analysis import suspicions as suspicions
from segbench.metrics.panoptic.catalogue import METRICS
from segbench.metrics.panoptic.matching import Matches, Scene
from segbench.metrics.panoptic.segments import ImageSegments, image_segments, segment_tables
from segbench.metrics.panoptic.totals import ClassTotals, Quality, class_totals, covering, image_class_totals, mean_of, quality
from segbench.protocols import RuleSet
from segbench.protocols.panoptic import PanopticRules
from segbench.samples import PanopticMap

void_like, resized_to = panoptic_segments.void_like, panoptic_segments.resized_to
"""What the task does with a missing prediction, and with one of another size."""

PER_CLASS = {"pq": "panoptic/pq", "sq": "panoptic/sq", "rq": "panoptic/rq"}
"""Columns of the per-class rows that are metrics of a class."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "segments": ("side", "segment", "class", "area", "crowd", "stated"),
    "overlaps": ("gt", "pred", "pixels"),
    "boundary_overlaps": ("gt", "pred", "pixels"),
}
"""Columns of the evidence tables, after `image`.

`segments`: `side` 0 for ground truth, 1 for prediction; `segment` the id in the file, in the file's order; `class` its index; `area`
counted from the pixels; `crowd` 0 or 1; `stated` the area the file states, -1 where none, -2 where it is no number of pixels. `overlaps`:
`gt` and `pred` number the image's segments of a side from 1; 0 is void, -1 an id that is not listed, and in `boundary_overlaps` -2 the
inside of any segment.
"""


class PanopticAccumulator(MapAccumulator):
    """Exact evidence of panoptic predictions: feed it pairs of panoptic maps, merge it with others, ask it for scores.

    Args:
        dataset: What the classes are.
        tables: `segments` and `overlaps`, and where asked for `boundary_overlaps`.
        unlisted: Ground-truth ids that no table lists are neither void nor segments, as in panopticapi, and not an error.
    """

    task = "panoptic"
    COLUMNS = COLUMNS
    ALWAYS = ("segments", "overlaps")

    def __init__(self, dataset: Dataset, tables: Sequence[str] = (), unlisted: bool = False) -> None:
        super().__init__(dataset, tables)
        self.unlisted = unlisted

    def count(self, pred: PanopticMap, gt: PanopticMap) -> tuple[ImageSegments, Table | None]:
        """The segments of one image, and their boundaries where asked for.

        Raises:
            ShapeError: the two maps differ in size.
            LabelError: a map and its table do not list the same segments, or a category is unknown.
        """
        counted = image_segments(pred, gt, self.dataset, self.unlisted)
        return counted, panoptic_boundary.boundary_rows(pred, gt, self.dataset) if "boundary_overlaps" in self.tables else None

    def tables_of(self, counted: Sequence[tuple[ImageSegments, Table | None]]) -> Tables:
        tables = segment_tables([image for image, _ in counted])
        boundaries = [rows for _, rows in counted if rows is not None]
        return tables | {"boundary_overlaps": stacked(boundaries)} if boundaries else tables

    def compute(self, rules: RuleSet) -> Scores:
        """Scores of what was counted so far."""
        return scores(self.evidence(), self.dataset, rules)


@dataclass(frozen=True)
class _Counts:
    """Everything a metric may need, each made once and only if needed."""

    evidence: Evidence
    dataset: Dataset
    rules: PanopticRules

    @cached_property
    def scene(self) -> Scene:
        whole = panoptic_matching.scene(self.evidence)
        return panoptic_matching.merged_stuff(whole, self.dataset) if self.rules.stuff == "merged" else whole

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        return panoptic_matching.chosen_areas(self.scene.gt, self.rules)

    @cached_property
    def matches(self) -> Matches:
        return panoptic_matching.match(replace(self.scene, boundaries=None), self.areas, self.rules, self.dataset)

    @cached_property
    def totals(self) -> ClassTotals:
        return class_totals(self.scene, self.matches, self.dataset.num_classes, self.rules)

    @cached_property
    def quality(self) -> Quality:
        return quality(self.totals, self.rules)

    @cached_property
    def dagger_quality(self) -> Quality:
        return _Counts(self.evidence, self.dataset, msgspec.structs.replace(self.rules, stuff="merged", stuff_score="any")).quality

    @cached_property
    def boundary_quality(self) -> Quality:
        # the boundaries of merged segments are not the boundaries of their parts, so stuff stays as it was drawn
        rules = msgspec.structs.replace(self.rules, stuff="separate", stuff_score="match")
        scene = panoptic_matching.scene(self.evidence)
        matches = panoptic_matching.match(scene, panoptic_matching.chosen_areas(scene.gt, rules), rules, self.dataset)
        return quality(class_totals(scene, matches, self.dataset.num_classes, rules), rules)

    @cached_property
    def covering(self) -> NDArray[np.float64]:
        return covering(self.scene, self.dataset.num_classes)

    def mean(self, values: NDArray[np.float64], thing: bool | None = None) -> float:
        kinds = self.dataset.isthing
        if thing is not None and None in kinds:
            return np.nan
        return mean_of(values, np.array([thing is None or kind is thing for kind in kinds], bool))


COMPUTE: dict[str, Callable[[_Counts], float]] = {
    "panoptic/pq": lambda counts: counts.mean(counts.quality.pq),
    "panoptic/sq": lambda counts: counts.mean(counts.quality.sq),
    "panoptic/rq": lambda counts: counts.mean(counts.quality.rq),
    "panoptic/pq_things": lambda counts: counts.mean(counts.quality.pq, True),
    "panoptic/sq_things": lambda counts: counts.mean(counts.quality.sq, True),
    "panoptic/rq_things": lambda counts: counts.mean(counts.quality.rq, True),
    "panoptic/pq_stuff": lambda counts: counts.mean(counts.quality.pq, False),
    "panoptic/sq_stuff": lambda counts: counts.mean(counts.quality.sq, False),
    "panoptic/rq_stuff": lambda counts: counts.mean(counts.quality.rq, False),
    "panoptic/pq_dagger": lambda counts: counts.mean(counts.dagger_quality.pq),
    "panoptic/parsing_covering": lambda counts: counts.mean(counts.covering),
    "panoptic/boundary_pq": lambda counts: counts.mean(counts.boundary_quality.pq),
}
"""The metrics of a whole set."""


def choose(patterns: Iterable[str] | None) -> tuple[str, ...]:
    """Metric ids for `--metrics` patterns such as `panoptic/pq`, `pq*`, `boundary_pq`; None: all that need nothing but the pixel counts.

    Raises:
        ConfigError: a pattern fits no metric.
    """
    return chosen_of({name: METRICS[name] for name in COMPUTE}, patterns)


def tables_for(metrics: Iterable[str]) -> tuple[str, ...]:
    """The evidence tables that these metrics need."""
    needed = {METRICS[name].table for name in metrics} | {"segments", "overlaps"}
    return tuple(name for name in COLUMNS if name in needed)


def scores(evidence: Evidence, dataset: Dataset, rules: RuleSet, metrics: Iterable[str] | None = None) -> Scores:
    """Every score that the evidence allows, under a rule set.

    Args:
        metrics: Ids or patterns. Default: all whose tables are there.

    Raises:
        ComparabilityError: the evidence has another number of classes than the data set.
        InputError: SB155, the ground truth states wrong areas and the rules refuse that.
    """
    check_evidence(evidence, "panoptic", dataset)
    counts = _Counts(evidence, dataset, rules.rules)
    if counts.rules.stated_areas == "refuse":
        panoptic_matching.check_areas(panoptic_matching.scene(evidence), evidence)
    chosen = [name for name in COMPUTE if METRICS[name].table in evidence.tables] if metrics is None else choose(metrics)
    found: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for name in chosen:
        missing = METRICS[name].table not in evidence.tables
        found[name] = None if missing else defined(COMPUTE[name](counts))
        if found[name] is None:
            undefined[name] = "not counted in this run: evaluate again with --metrics" if missing else _why(name, evidence, dataset)
    return Scores(found, undefined, _class_rows(counts, undefined), _image_columns(counts))


def _class_rows(counts: _Counts, undefined: dict[str, str]) -> list[dict[str, Any]]:
    totals, values = counts.totals, counts.quality
    columns: dict[str, list] = {
        **{name: defined_list(getattr(values, name)) for name in ("pq", "sq", "rq")},
        **{name: getattr(totals, name).tolist() for name in ("tp", "fp", "fn")},
        "is_thing": list(counts.dataset.isthing),
    }
    if "boundary_overlaps" in counts.evidence.tables:
        columns["boundary_pq"] = defined_list(counts.boundary_quality.pq)
    rows = []
    for index, label in enumerate(counts.dataset.evaluated):
        rows.append({"id": label.id, "name": label.name} | {name: column[index] for name, column in columns.items()})
        for name in ("pq", "sq", "rq", "boundary_pq"):
            if name in columns and columns[name][index] is None:
                undefined[f"panoptic/{name}/{label.name}"] = "neither ground truth nor prediction that counts"
    return rows


def _image_columns(counts: _Counts) -> dict[str, list]:
    """Every image as if it were the whole set; None where no segment counts."""
    size = counts.dataset.num_classes
    totals = image_class_totals(counts.scene, counts.matches, size)
    values = quality(totals, counts.rules)
    present = totals.present.reshape(-1, size).sum(1)

    def mean(column: NDArray[np.float64]) -> list[float | None]:
        sums = np.where(np.isnan(column), 0.0, column).reshape(-1, size).sum(1)
        return defined_list(np.divide(sums, present, out=np.full(len(sums), np.nan), where=present > 0))

    return {
        "id": list(counts.evidence.images.ids),
        "segments": np.bincount(counts.scene.gt.image, minlength=len(present)).tolist(),
        **{name: mean(getattr(values, name)) for name in ("pq", "sq", "rq")},
        **{name: getattr(totals, name).reshape(-1, size).sum(1).tolist() for name in ("tp", "fp", "fn")},
    }


def _why(metric: str, evidence: Evidence, dataset: Dataset) -> str:
    if not len(evidence.images):
        return "no images"
    kind = "thing" if metric.endswith("_things") else "stuff" if metric.endswith("_stuff") else ""
    if kind and None in dataset.isthing:
        unknown = dataset.names[dataset.isthing.index(None)]
        return f"the data set does not say whether {unknown} is a thing or stuff"
    if kind and (kind == "thing") not in dataset.isthing:
        return f"the data set has no {kind} class"
    return f"no {kind} class has ground truth or a prediction that counts".replace("  ", " ")


def ground_truth(evidence: Evidence) -> Table:
    """The part of an evidence that comes from the ground truth alone, for digests: its segments, in ascending order of their ids."""
    table = evidence.rows("segments")
    rows = np.flatnonzero(table["side"] == 0)
    rows = rows[np.lexsort((table["segment"][rows], table["image"][rows]))]
    return {name: table[name][rows] for name in ("image", "segment", "class", "area", "crowd")}
