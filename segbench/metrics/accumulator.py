"""What the accumulators of map-like samples share: rows per image, merging, and the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from segbench import evidence as evidences
from segbench.datasets import Dataset
from segbench.errors import ComparabilityError, ConfigError, PairingError
from segbench.evidence import Evidence, Tables
from segbench.samples import ImageId


class MapAccumulator:
    """Exact evidence of predictions: feed it pairs of samples, merge it with others, ask it for its evidence.

    Empty is the identity of `merge`; merging is associative and commutative, and any split of the images gives the same evidence bit for
    bit. A task says which tables there are, and how they come from images.

    Args:
        dataset: What the labels mean.
        tables: Names of evidence tables; those in `ALWAYS` are collected in any case.
    """

    task: ClassVar[str]
    COLUMNS: ClassVar[Mapping[str, tuple[str, ...]]]
    ALWAYS: ClassVar[tuple[str, ...]]

    def __init__(self, dataset: Dataset, tables: Sequence[str] = ()) -> None:
        self.dataset = dataset
        self.tables = tuple(dict.fromkeys((*self.ALWAYS, *tables)))
        unknown = set(self.tables) - set(self.COLUMNS)
        if unknown:
            raise ConfigError(f"there is no evidence table {min(unknown)!r}", hint=f"one of: {', '.join(self.COLUMNS)}")
        self._ids: list[ImageId] = []
        self._order: list[int] = []
        self._sizes: list[tuple[int, int]] = []
        self._counted: list[Any] = []
        self._merged: list[Evidence] = []

    def count(self, pred: Any, gt: Any) -> Any:
        """What is kept of one image: small, and nothing of its pixels."""
        raise NotImplementedError

    def tables_of(self, counted: Sequence[Any]) -> Tables:
        """The tables of what `count` gave for some images, at least one. Columns `image` hold the places in `counted`, ascending."""
        raise NotImplementedError

    def update(self, pred: Iterable[Any], gt: Iterable[Any]) -> None:
        """Counts pairs of samples. A pair that raises leaves nothing of itself behind.

        Raises:
            PairingError: the two sides differ in length or ids.
            ShapeError: the two maps of a pair differ in size.
            LabelError: a value means no class.
        """
        try:
            for prediction, truth in zip(pred, gt, strict=True):
                self._add(prediction, truth)
        except ValueError as error:
            if "zip()" not in str(error):
                raise
            raise PairingError("there is not one prediction for every ground truth of a batch") from None

    def _add(self, pred: Any, gt: Any) -> None:
        if pred.id != gt.id:
            raise PairingError(f"a prediction for image {pred.id} came with the ground truth of image {gt.id}")
        counted = self.count(pred, gt)
        self._ids.append(gt.id)
        self._order.append(gt.order)
        self._sizes.append(gt.values.shape[:2] if gt.values.ndim > 1 else (1, gt.values.size))
        self._counted.append(counted)

    def merge(self, *others: Self) -> Self:
        """An accumulator of all images of this and the others. An image in several of them counts once if its counts are equal."""
        merged = type(self)(self.dataset, self.tables)
        merged._merged = [evidences.merge([part.evidence() for part in (self, *others)])]
        return merged

    def evidence(self) -> Evidence:
        """Everything counted so far, in canonical order."""
        num_classes = self.dataset.num_classes
        parts = list(self._merged)
        if self._ids:
            parts.append(evidences.build(self.task, num_classes, self._ids, self._order, self._sizes, self.tables_of(self._counted)))
        if not parts:
            return evidences.empty(self.task, num_classes, {name: self.COLUMNS[name] for name in self.tables})
        return evidences.merge(parts)

    def arrays(self) -> dict[str, NDArray]:
        """The evidence as named arrays."""
        return self.evidence().arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray], dataset: Dataset) -> Self:
        """The inverse of `arrays`."""
        evidence = Evidence.from_arrays(arrays)
        check_evidence(evidence, cls.task, dataset)
        accumulator = cls(dataset, tuple(evidence.tables))
        accumulator._merged = [evidence]
        return accumulator


def check_evidence(evidence: Evidence, task: str, dataset: Dataset) -> None:
    """Refuses evidence of another task or number of classes.

    Raises:
        ComparabilityError: it is.
    """
    if evidence.task != task or evidence.num_classes != dataset.num_classes:
        raise ComparabilityError(
            f"the evidence is of task {evidence.task} with {evidence.num_classes} classes; {dataset.name} has {dataset.num_classes} "
            f"{task} classes"
        )
