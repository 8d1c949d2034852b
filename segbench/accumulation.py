"""The training loop's door: feed batches as they come, merge workers, compute once.

acc = segbench.accumulator("semantic", "cityscapes")
for images, labels in loader:
    acc.update(model(images), labels)
scores = acc.compute().flat(prefix="val/")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench import datasets, protocols
from segbench.adapters.arrays import array_meaning, as_numpy, is_memory, plain_id
from segbench.adapters.base import Layout, Request
from segbench.adapters.label_arrays import channels, check_layout, check_threshold, labels_from_array
from segbench.datasets import Dataset
from segbench.errors import ComparabilityError, ConfigError, FormatError, PairingError
from segbench.evaluation import environment
from segbench.evidence import Evidence
from segbench.metrics import tasks
from segbench.opening import asked_metrics, open_side
from segbench.results import Result, dataset_digest, score
from segbench.samples import ImageId, LabelMap


def accumulator(
    task: str,
    dataset: str | PathLike | Dataset,
    *,
    protocol: str | None = None,
    metrics: Sequence[str] | str | None = (),
    id_space: str | None = None,
    gt_id_space: str | None = None,
    layout: Layout = "CHW",
    threshold: float | None = None,
    name: str = "model",
) -> Accumulation:
    """An empty accumulation.

    Args:
        task: `semantic`, `instance` or `panoptic`.
        dataset: A preset's name, a data set file, or a `Dataset`; `segbench.datasets.simple(19)` makes one from a number of classes.
        protocol: Named rules; the data set's own where None.
        metrics: Patterns of metrics that cost extra, such as `boundary_iou`; one may be given as it is.
        id_space, gt_id_space: Which ids the samples hold. Where None, labels are class indices, as models write them, and instances and
            segments have the data set's own ids.
        layout: Axes of score arrays, batch axis left out.
        threshold: For one-channel scores: foreground is `score >= threshold`.
        name: The model's name in results.
    """
    tasks.TASKS.get(task)
    check_layout(layout)
    check_threshold(threshold)
    metrics = asked_metrics(metrics)
    labels = dataset if isinstance(dataset, Dataset) else datasets.load(dataset)
    rules = protocols.load(protocol or labels.protocol(task), task)
    inner = tasks.accumulator(task, labels, tasks.tables_for(task, metrics, rules), rules)
    requests = Request("pred", labels, id_space, layout, threshold), Request("gt", labels, gt_id_space)
    return Accumulation(task, rules.name, inner, requests, name)


class Accumulation:
    """Exact evidence of a task, one image or batch at a time; see `accumulator`.

    Merging is exact and order does not matter: a distributed run gives the bits of a single one. An image that arrives twice with equal
    counts (samplers pad by repeating) counts once, if its id is given.
    """

    def __init__(self, task: str, protocol: str, inner: Any, requests: tuple[Request, Request], name: str) -> None:
        self.task, self.protocol, self.name = task, protocol, name
        self.dataset = requests[0].dataset
        self._inner, self._requests = inner, requests
        self._count = 0

    def add(self, pred: Any, gt: Any, *, image_id: ImageId | None = None) -> None:
        """Counts one image.

        Args:
            pred: Labels (H, W), or scores in the layout given; NumPy, torch, anything with `__dlpack__`. Instances: a dict of masks,
                boxes, labels and scores. Panoptic: (map, segments), or what transformers and detectron2 give.
            gt: Labels (H, W), or the same dict or pair.
            image_id: Its id; a running number where None, which cannot tell repeated images apart.
        """
        key: ImageId = self._count if image_id is None else plain_id(image_id)
        samples = self._label_maps if self.task == "semantic" else self._samples
        self._inner.update(*samples(key, pred, gt))
        self._count += 1

    def _label_maps(self, key: ImageId, pred: Any, gt: Any) -> tuple[Any, Any]:
        request = self._requests[0]
        scores, drawn = as_numpy(pred, "pred"), as_numpy(gt, "gt")
        if drawn.dtype.kind == "f" and drawn.ndim > 2:
            raise FormatError(f"gt {key!r} holds scores of shape {drawn.shape}; ground truth is labels", code="SB180")
        meaning, truth_meaning = (array_meaning(side.dataset, side.id_space) for side in self._requests)
        values = labels_from_array(
            scores, layout=request.layout, num_classes=channels(meaning), threshold=request.threshold, file=f"pred {key!r}"
        )
        truth = labels_from_array(drawn, file=f"gt {key!r}")
        return (LabelMap(key, values, meaning, f"pred {key!r}"),), (LabelMap(key, truth, truth_meaning, f"gt {key!r}"),)

    def _samples(self, key: ImageId, pred: Any, gt: Any) -> tuple[Any, Any]:
        pred_source, gt_source = (
            open_side({key: value}, request, self.task, None) for value, request in zip((pred, gt), self._requests, strict=True)
        )
        if not tasks.takes_batches(self.task):
            return tuple(pred_source.read([key])), tuple(gt_source.read([key]))
        masks = self._inner.families != ("bbox",)
        truth: Any = gt_source.read([key], masks=masks)  # type: ignore[call-arg]
        return pred_source.read([key], truth.sizes, masks), truth  # type: ignore[call-arg]

    def update(self, preds: Any, gts: Any, image_ids: Sequence[ImageId] | None = None) -> None:
        """Counts a batch: arrays with a leading batch axis, or sequences of images.

        Raises:
            PairingError: the two sides, or the ids, differ in number.
            ConfigError: no arrays, or one label map, whose rows would be taken for images.
        """
        for side in (preds, gts):
            if not is_memory(side):
                raise ConfigError(f"a batch is arrays, not a {type(side).__name__}", hint="pass a list of arrays, or one with a batch axis")
        if self.task == "semantic" and not isinstance(gts, list | tuple) and as_numpy(gts, "gt").ndim == 2:
            raise ConfigError(
                f"ground truth of shape {as_numpy(gts, 'gt').shape} is one image, not a batch",
                hint="add(pred, gt) counts one image; a list of arrays is a batch of whatever it holds",
            )
        images = [list(side) if isinstance(side, list | tuple) else list(as_numpy(side)) for side in (preds, gts)]
        ids = list(image_ids) if image_ids is not None else [None] * len(images[1])
        if not len(images[0]) == len(images[1]) == len(ids):
            raise PairingError(f"a batch of {len(images[0])} predictions, {len(images[1])} ground truths and {len(ids)} ids")
        for pred, gt, image_id in zip(*images, ids, strict=True):
            self.add(pred, gt, image_id=image_id)

    def merge(self, *others: Accumulation) -> Accumulation:
        """A new accumulation of all their images. With more than one worker give image ids: running numbers repeat.

        Raises:
            ComparabilityError: they are of other tasks or classes.
            ConfigError: no accumulations.
        """
        for other in others:
            if not isinstance(other, Accumulation):
                raise ConfigError(f"accumulations are merged with accumulations, not with a {type(other).__name__}")
            if other.task != self.task or other.dataset.payload() != self.dataset.payload():
                raise ComparabilityError(
                    f"the classes of {other.dataset.name} ({other.task}) are not those of {self.dataset.name} ({self.task})",
                    hint="make every worker's accumulator of the same data set",
                )
        inner = self._inner.merge(*(other._inner for other in others))
        merged = Accumulation(self.task, self.protocol, inner, self._requests, self.name)
        merged._count = sum(part._count for part in (self, *others))
        return merged

    def evidence(self) -> Evidence:
        """What was counted so far."""
        return self._inner.evidence()

    def arrays(self) -> dict[str, NDArray]:
        """The evidence as named arrays, to be sent to another process; `load_arrays` takes them there."""
        return self._inner.arrays()

    def load_arrays(self, *parts: Mapping[str, NDArray]) -> Accumulation:
        """A new accumulation of this one's images and those of other processes' `arrays()`."""
        for part in parts:
            if not isinstance(part, Mapping):
                raise ConfigError(f"load_arrays takes what arrays() gives, not a {type(part).__name__}")
        inner = [type(self._inner).from_arrays({key: np.asarray(value) for key, value in part.items()}, self.dataset) for part in parts]
        return self.merge(*(Accumulation(self.task, self.protocol, part, self._requests, self.name) for part in inner))

    def compute(self, protocol: str | None = None) -> Result:
        """The scores of everything counted so far."""
        evidence = self.evidence()
        if not len(evidence.images):
            raise ConfigError("nothing was counted yet", hint="call update or add first")
        rules = protocols.load(protocol or self.protocol, self.task)
        digest = dataset_digest(self.dataset, evidence)
        count = len(evidence.images)
        return Result(
            tasks={self.task: score(self.task, evidence, self.dataset, rules)},
            dataset={"name": self.dataset.name, "digest": digest, "num_images": count, "classes": list(self.dataset.names)},
            predictions={"format": "array", "count": count, "digest": None, "said": "arrays of a training loop"},
            images={"count": count, "missing": [], "extra": []},
            model={"name": self.name},
            warnings=tasks.suspicions(self.task, evidence, self.dataset, rules),
            command="segbench.accumulator",
            environment=environment(),
            timing={},
            dataset_spec=self.dataset,
            evidences={self.task: evidence},
        )
