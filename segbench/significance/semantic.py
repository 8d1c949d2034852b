"""Semantic metrics under weights: every one but the worst images' is a function of sums of counts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from segbench.datasets import Dataset
from segbench.evidence import Evidence
from segbench.metrics import cityscapes, confusion, per_image
from segbench.metrics.semantic import COMPUTE
from segbench.protocols import RuleSet
from segbench.protocols.semantic import SemanticRules
from segbench.significance.columns import Block, Columns
from segbench.significance.measure import SumsMeasure, Values, mean_of_defined, ratio
from segbench.significance.units import Weights

Sums = dict[str, NDArray[np.float64]]


class SemanticMeasure(SumsMeasure):
    """Semantic metrics under weights of the images.

    Sums are exact integers where the metric's are; protocols that add in float32 are followed in their rules, not in their rounding.
    """

    interval_method = "bca"
    means = {"semantic/miou": "semantic/iou", "semantic/mdice": "semantic/dice", "semantic/boundary_iou": "semantic/boundary_iou"}

    def __init__(self, evidence: Evidence, dataset: Dataset, rules: RuleSet) -> None:
        super().__init__(evidence, dataset, rules)
        self.rules: SemanticRules = rules.rules
        self.counts = confusion.image_classes(evidence, self.rules.void_prediction)
        self.instance_classes = np.zeros(dataset.num_classes, bool)
        blocks = [*_class_blocks(self.counts), *_image_blocks(self.counts)]
        families = ["semantic/iou", "semantic/recall", "semantic/precision", "semantic/dice"]
        if "boundary" in evidence.tables:
            table = evidence.rows("boundary")
            blocks += [
                Block(f"boundary_{name}", dataset.num_classes, table["class"], table["image"], table[column])
                for name, column in (("tp", "intersection"), ("gt", "gt"), ("pred", "pred"))
            ]
            families.append("semantic/boundary_iou")
        if dataset.groups:
            blocks += _category_blocks(evidence, dataset)
        if "instances" in evidence.tables:
            blocks += _instance_blocks(evidence, dataset)
            self.instance_classes = ~np.isnan(cityscapes.average_sizes_px(dataset))
            families.append("semantic/iiou")
        self.families = tuple(families)
        self.groups = [list(members) for members in dataset.groups.values()]
        self.instance_groups = [list(dataset.groups).index(name) for name in cityscapes.instance_categories(dataset)]
        self.columns = Columns.of(blocks, len(evidence.images))
        # what miou_worst10 sorts: images with a labelled pixel, from the worst on
        active = per_image.image_values(self.counts).miou_active
        order = np.argsort(active, kind="stable")
        self.sorted_images = order[: int((~np.isnan(active)).sum())]
        self.active = active

    def averages(self, metric: str) -> bool:
        return metric in (*self.means, "semantic/mean_accuracy", "semantic/miou_class", "semantic/iiou")

    def truth_images(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        kept = self.counts.gt > 0
        return self.counts.image[kept], self.counts.label[kept]

    def values(self, weights: Weights, families: Sequence[str] = ()) -> Values:
        worst = lowest_mean(self.active, self.sorted_images, weights)
        return self._ordered(super().values(weights, families) | {"semantic/miou_worst10": worst})

    def swapped(self, other: Self, swaps: Weights, families: Sequence[str] = ()) -> tuple[Values, Values]:
        mine, theirs = super().swapped(other, swaps, families)
        active = np.concatenate((self.active, other.active))
        order = np.argsort(active, kind="stable")[: int((~np.isnan(active)).sum())]
        stay = 1 - swaps
        mine["semantic/miou_worst10"] = lowest_mean(active, order, np.concatenate((stay, swaps), 1))
        theirs["semantic/miou_worst10"] = lowest_mean(active, order, np.concatenate((swaps, stay), 1))
        return self._ordered(mine), self._ordered(theirs)

    def _ordered(self, values: Values) -> Values:
        return {name: values[name] for name in (*COMPUTE, *values) if name in values}

    def finish(self, sums: Sums, families: Sequence[str]) -> Values:
        rules = self.rules
        tp, gt, pred = sums["tp"], sums["gt"], sums["pred"]
        nowhere = gt + pred == 0
        absent = 0.0 if rules.absent == "zero" else np.nan

        def settled(values: NDArray, missing: NDArray) -> NDArray:
            return np.where(missing, absent, values)

        if rules.pooling == "image_class":
            ious = settled(ratio(sums["image_iou"], sums["image_count"]), nowhere)
        else:
            ious = settled(ratio(tp, gt + pred - tp), nowhere)
        if rules.mean_over == "gt":
            ious = np.where(gt > 0, ious, np.nan)
        keep = {"gt": gt > 0, "all": np.ones(gt.shape, bool), "union": ~nowhere}[rules.mean_over]
        dice = settled(ratio(2 * tp, gt + pred), nowhere)
        recall = ratio(tp, gt)
        labelled = gt.sum(0)
        values: Values = {
            "semantic/pixel_accuracy": ratio(tp.sum(0), labelled),
            "semantic/mean_accuracy": mean_of_defined(recall),
            "semantic/miou": ratio(sums["image_iou"].sum(0), sums["image_count"].sum(0))
            if rules.pooling == "image_class"
            else _kept_mean(ious, keep),
            "semantic/fwiou": ratio(np.where(keep & (gt > 0), ious * gt, 0.0).sum(0), labelled),
            "semantic/mdice": _kept_mean(dice, keep),
            "semantic/kappa": _kappa(tp, gt, pred),
            "semantic/miou_image": ratio(sums["active_mean"][0], sums["active_images"][0]),
            "semantic/miou_class": mean_of_defined(ratio(sums["active_iou"], sums["active_count"])),
        }
        classes = {
            "semantic/iou": lambda: ious,
            "semantic/recall": lambda: recall,
            "semantic/precision": lambda: ratio(tp, pred),
            "semantic/dice": lambda: dice,
        }
        if "boundary_tp" in sums:
            b_tp, b_gt, b_pred = (sums[f"boundary_{name}"] for name in ("tp", "gt", "pred"))
            boundary, b_nowhere = ratio(b_tp, b_gt + b_pred - b_tp), b_gt + b_pred == 0
            b_keep = {"gt": b_gt > 0, "all": np.ones(gt.shape, bool), "union": ~b_nowhere}[rules.mean_over]
            values["semantic/boundary_iou"] = _kept_mean(settled(boundary, b_nowhere), b_keep)
            classes["semantic/boundary_iou"] = lambda: boundary
        if "category_tp" in sums:
            c_tp = sums["category_tp"]
            values["semantic/category_iou"] = mean_of_defined(ratio(c_tp, sums["category_gt"] + sums["category_pred"] - c_tp))
        if "instance_tp" in sums:
            right, missed = sums["instance_tp"], sums["instance_fn"]
            instances = np.where(self.instance_classes[:, None], ratio(right, right + missed + pred - tp), np.nan)
            values["semantic/iiou"] = mean_of_defined(instances)
            classes["semantic/iiou"] = lambda: instances
            right, missed = (sums[name][self.instance_groups] for name in ("instance_category_tp", "instance_category_fn"))
            false = (sums["category_pred"] - sums["category_tp"])[self.instance_groups]
            values["semantic/category_iiou"] = mean_of_defined(ratio(right, right + missed + false))
        for family in families:
            values |= {f"{family}/{name}": row for name, row in zip(self.names, classes[family](), strict=True)}
        return values


def lowest_mean(values: NDArray[np.float64], order: NDArray[np.int64], weights: Weights, percent: float = 10) -> NDArray[np.float64]:
    """Mean of the lowest max(1, floor(percent%)) of values that count several times.

    Args:
        values: float64[M]. order: int64[D], the rows that are defined, ascending by value.
        weights: uint8[B, M], how often each counts.

    Returns:
        float64[B]; NaN where all weights are 0.
    """
    missing = np.setdiff1d(np.arange(len(values)), order, assume_unique=True)
    total = weights.sum(1, dtype=np.int32) - weights[:, missing].sum(1, dtype=np.int32)
    wanted = np.maximum(1, (percent / 100 * total).astype(np.int32))
    # the lowest ones are at the front; twice their share nearly always holds enough of them
    for front in (2 * percent / 100, 1.0):
        first = order[: int(front * len(order)) + 50]
        chosen = np.take(weights, first, 1)
        counts = np.cumsum(chosen, 1, dtype=np.int32)
        if len(first) == len(order) or (counts[:, -1] >= wanted).all():
            break
    taken = np.clip(wanted[:, None] - (counts - chosen), 0, chosen)
    # no matrix product: its sums have other bits on other machines
    return np.where(total > 0, (taken * values[first]).sum(1) / wanted, np.nan)


def _kept_mean(values: NDArray[np.float64], keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the kept classes; NaN where none is kept or a kept one is undefined."""
    undefined = (keep & np.isnan(values)).any(0)
    return np.where(undefined, np.nan, mean_of_defined(np.where(keep, values, np.nan)))


def _kappa(tp: NDArray, gt: NDArray, pred: NDArray) -> NDArray[np.float64]:
    pixels = gt.sum(0)
    chance = (ratio(gt, pixels) * ratio(pred, pixels)).sum(0)
    return ratio(ratio(tp.sum(0), pixels) - chance, 1 - chance)


def _class_blocks(counts: confusion.ImageClasses) -> list[Block]:
    block = partial(Block, width=counts.num_classes, column=counts.label, image=counts.image)
    ious = counts.tp / counts.union
    active = counts.gt > 0
    return [
        block("tp", value=counts.tp),
        block("gt", value=counts.gt),
        block("pred", value=counts.pred),
        block("image_iou", value=ious),
        block("image_count", value=np.ones(len(ious))),
        block("active_iou", value=np.where(active, ious, 0.0)),
        block("active_count", value=active),
    ]


def _image_blocks(counts: confusion.ImageClasses) -> list[Block]:
    means = per_image.image_values(counts).miou_active
    images = np.flatnonzero(~np.isnan(means))
    zeros = np.zeros(len(images), np.int64)
    return [Block("active_mean", 1, zeros, images, means[images]), Block("active_images", 1, zeros, images, np.ones(len(images)))]


def _category_blocks(evidence: Evidence, dataset: Dataset) -> list[Block]:
    """Pixels per category whatever the rules say of void predictions, as `cityscapes.category_ious` counts them."""
    table, width = evidence.rows("pixels"), len(dataset.groups)
    labelled = table["gt"] < dataset.num_classes
    image, pixels = table["image"][labelled], table["pixels"][labelled]
    group = np.full(dataset.num_classes + 1, -1)
    for number, members in enumerate(dataset.groups.values()):
        group[list(members)] = number
    gt, pred = group[table["gt"][labelled]], group[table["pred"][labelled]]
    blocks = []
    for name, column, kept in (("tp", gt, (gt == pred) & (gt >= 0)), ("gt", gt, gt >= 0), ("pred", pred, pred >= 0)):
        blocks.append(Block(f"category_{name}", width, column[kept], image[kept], pixels[kept]))
    return blocks


def _instance_blocks(evidence: Evidence, dataset: Dataset) -> list[Block]:
    table = evidence.rows("instances")
    weights = cityscapes.average_sizes_px(dataset)[table["class"]] / table["size"]
    group = np.full(dataset.num_classes, -1)
    for number, members in enumerate(dataset.groups.values()):
        group[list(members)] = number
    blocks = []
    for name, width, column, right in (
        ("instance", dataset.num_classes, table["class"], table["tp"]),
        ("instance_category", len(dataset.groups), group[table["class"]], table["category_tp"]),
    ):
        for part, values in (("tp", right * weights), ("fn", (table["size"] - right) * weights)):
            kept = column >= 0
            blocks.append(Block(f"{name}_{part}", width, column[kept], table["image"][kept], values[kept]))
    return blocks
