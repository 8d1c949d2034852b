"""COCO instances: ground-truth JSON (also LVIS) and results files, or the same in memory, as sources of instance batches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.adapters.base import Request
from segbench.adapters.instance import coco_json, coco_truth
from segbench.adapters.instance.coco_categories import check_names, class_indices, dataset_of, ids_of_names, unused_root
from segbench.adapters.instance.coco_formats import json_in
from segbench.adapters.instance.coco_json import ResultColumns, boxes_as_masks
from segbench.adapters.instance.coco_masks import NONE, Segmentations
from segbench.adapters.instance.coco_source import CocoInstances, canonical
from segbench.adapters.instance.coco_truth import Truth
from segbench.datasets import Dataset
from segbench.errors import FormatError, LabelError, PairingError
from segbench.instances import BOXED, CROWD, IGNORE, NEGATIVE, NO_ID, NOT_EXHAUSTIVE, ImageCategories
from segbench.samples import ImageId


def _sorted_rows(images: NDArray[np.int64] | list[ImageId], keys: tuple[ImageId, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows in the order of `keys`, and where each key's rows start."""
    if isinstance(images, np.ndarray) and all(type(key) is int for key in keys):
        known = np.array(keys, np.int64)
        by_id = np.argsort(known, kind="stable")
        index = by_id[np.searchsorted(known[by_id], images)] if len(images) else np.zeros(0, np.int64)
    else:
        place = {key: index for index, key in enumerate(keys)}
        index = np.array([place[image] for image in images], np.int64)
    rows = np.argsort(index, kind="stable")
    return rows, np.searchsorted(index[rows], np.arange(len(keys) + 1))


def _by_image(images: NDArray[np.int64] | list[ImageId]) -> tuple[tuple[ImageId, ...], NDArray[np.int64] | slice, NDArray[np.int64]]:
    """Ids in canonical order, the rows in the order of their images, and where each image's rows start. Rows in order are a slice."""
    if isinstance(images, np.ndarray) and (images[1:] >= images[:-1]).all():
        firsts = np.flatnonzero(np.diff(images, prepend=images[:1] - 1))
        return tuple(images[firsts].tolist()), slice(None), np.append(firsts, len(images))
    keys = canonical(np.unique(images).tolist() if isinstance(images, np.ndarray) else list(dict.fromkeys(images)))
    return keys, *_sorted_rows(images, keys)


def predictions(
    columns: ResultColumns, request: Request, path: str, unknown: str = "error", boxes_are_masks: bool = False
) -> CocoInstances:
    """The source of a results file's columns.

    Args:
        unknown: Rows of a category that the data set does not have: `error` or `drop`.
        boxes_are_masks: A file of boxes only counts as one of masks: each box filled, as pycocotools does.

    Raises:
        LabelError: SB110, SB111: unknown category ids.
        FormatError: SB140: a score that is no finite number.
    """
    dataset = request.dataset
    bad = np.flatnonzero(~np.isfinite(columns.scores))
    images = columns.images
    if len(bad):
        row = int(bad[0])
        raise FormatError(
            f"the score of detection {row} (image {images[row]}) is {columns.scores[row]}",
            files=[path],
            count=len(bad),
            hint="scores are finite numbers; a NaN comes from the model or its export",
            code="SB140",
        )
    named = columns.categories.dtype == object
    stated = ids_of_names(columns.categories, dataset, request.id_space, path) if named else columns.categories
    category = _categories(stated, images, request, path, "detection", unknown)
    keys, rows, starts = _by_image(images)
    kept = category[rows] < dataset.num_classes
    dropped = len(images) - int(np.count_nonzero(kept))
    if dropped:
        starts = np.concatenate(([0], np.cumsum(kept)))[starts]
        rows = np.arange(len(images))[rows][kept]
    notes = _score_notes(columns.scores)
    if named:
        notes.append("category ids are text: read as the names, or the ids, of the data set [SB111]")
    if dropped:
        notes.append(f"{dropped} detections of categories that {dataset.name} does not have were left out")
    segmentations: Segmentations | None = columns.segmentations
    without = int((columns.segmentations.kinds == NONE).sum())
    if without == len(columns.scores) and not boxes_are_masks and without:
        segmentations = None
        boxed = np.isfinite(columns.boxes)
        if not boxed.all():
            row = int(np.flatnonzero(~boxed.all(1))[0])
            raise FormatError(f"detection {row} (image {images[row]}) has neither mask nor box", files=[path], code="SB172")
    elif without:
        segmentations = boxes_as_masks(columns.segmentations, columns.boxes)
        notes.append(f"{without} detections have no mask: their boxes count as masks, as in pycocotools")
    what = "masks and boxes" if columns.boxed and segmentations is not None else "boxes" if segmentations is None else "masks"
    space = request.id_space or "label"
    said = f"{len(images) - dropped} detections in {len(keys)} images read as COCO results ({what}), {space} ids of {dataset.name}"
    ids = np.arange(len(images))[rows]
    return CocoInstances(
        "coco-results",
        said,
        keys,
        path,
        "pred",
        np.full((len(keys), 2), -1, np.int32),
        np.arange(len(keys), dtype=np.int64),
        starts,
        category[rows],
        ids,
        columns.scores[rows],
        np.full(len(ids), -1.0),
        columns.boxes[rows],
        np.full(len(ids), BOXED if columns.boxed else 0, np.uint8),
        None if segmentations is None else segmentations.take(rows),
        notes=tuple(notes),
    )


def ground_truth(truth: Truth, request: Request, path: str) -> CocoInstances:
    """The source of a ground-truth file.

    Raises:
        PairingError: SB120: an image twice. SB132: an annotation of an image that is not listed.
        LabelError: SB110, SB111: category ids.
        FormatError: SB172: a box that is none.
    """
    dataset = request.dataset
    check_names(truth, dataset, path)
    ids = [coco_json.image_id_of(image.id, path) for image in truth.images]
    listed = dict(zip(ids, truth.images, strict=True))
    if len(listed) != len(ids):
        twice = next(key for place, key in enumerate(ids) if key in ids[:place])
        raise PairingError(f"image {twice} is listed twice", files=[path], count=len(ids) - len(listed), code="SB120")
    annotations = truth.annotations
    images = annotations.images
    stray = _stray(images, listed)
    if len(stray):
        raise PairingError(
            f"annotation {annotations.ids[stray[0]]} belongs to image {images[stray[0]]}, which is not listed under images",
            files=[path],
            count=len(stray),
            code="SB132",
        )
    keys = canonical(list(listed))
    rows, starts = _sorted_rows(images, keys)
    category = _categories(annotations.categories, images, request, path, "annotation", "error")
    evaluated = category[rows] < dataset.num_classes
    if not evaluated.all():
        starts = np.concatenate(([0], np.cumsum(evaluated)))[starts]
        rows = rows[evaluated]
    notes = []
    boxes, areas, crowds = annotations.boxes[rows], annotations.areas[rows], annotations.crowds[rows]
    segmentations: Segmentations | None = annotations.segmentations(rows, lambda row: f"annotation {annotations.ids[rows[row]]}", path)
    assert segmentations is not None
    if len(rows) and (segmentations.kinds == NONE).all():
        segmentations = None
        if not np.isfinite(boxes).all():
            raise FormatError("annotations have neither masks nor boxes", files=[path], hint="add segmentation or bbox", code="SB172")
    wrong = np.flatnonzero((areas != -1) & ~((areas >= 0) & (areas < np.inf)))
    if len(wrong):
        raise FormatError(
            f"annotation {annotations.ids[rows[wrong[0]]]} (image {images[rows[wrong[0]]]}) has an area of {areas[wrong[0]]:g}",
            files=[path],
            count=len(wrong),
            hint="leave the area out: it is then taken from the mask",
            code="SB171",
        )
    if (areas == -1).any():
        notes.append("annotations without an area: it is taken from the mask or box")
    if (crowds < 0).any():
        notes.append("annotations without iscrowd count as no crowd")
    numbers: Any = [annotations.ids[row] for row in rows] if isinstance(annotations.ids, list) else annotations.ids[rows]
    if isinstance(numbers, list) and not all(type(number) is int for number in numbers):
        notes.append("annotation ids are missing or not whole numbers, and are not used")
        numbers = np.full(len(rows), NO_ID, np.int64)
    root = unused_root(truth)
    if root is not None:
        notes.append(f"category 0 ({root.name}) stands above all others and has no annotation: it changes no number [SB113]")
    flags = (CROWD * (crowds > 0) | IGNORE * annotations.ignored[rows]).astype(np.uint8)
    dims = np.array([(listed[key].height, listed[key].width) for key in keys] or np.zeros((0, 2)), np.int64)
    said = f"{len(rows)} instances in {len(keys)} images read as COCO ground truth, {dataset.num_classes} categories of {dataset.name}"
    return CocoInstances(
        "coco",
        said,
        keys,
        path,
        "gt",
        np.clip(dims, -1, 2**31 - 1).astype(np.int32),
        np.arange(len(keys), dtype=np.int64),
        starts,
        category[rows],
        np.asarray(numbers, np.int64),
        np.full(len(rows), np.nan),
        areas,
        boxes,
        flags,
        segmentations,
        _known(truth, keys, dataset),
        tuple(notes),
        file_names=tuple(listed[key].file_name for key in keys),
    )


def _categories(stated: NDArray[np.int64], images: Any, request: Request, path: str, noun: str, unknown: str) -> NDArray[np.int32]:
    space = request.id_space
    option = "--id-space" if request.role == "pred" else "--gt-id-space"
    try:
        return class_indices(stated, request.dataset, space, lambda row: f"{noun} {row} (image {images[row]})", path, option)
    except LabelError as error:
        if unknown != "drop" or error.code != "SB110":
            raise
    indices = request.dataset.value_map(space or "label").classes(stated)
    return np.where(indices < 0, request.dataset.num_classes, indices).astype(np.int32)


def _stray(images: NDArray[np.int64] | list[ImageId], listed: Mapping[ImageId, Any]) -> NDArray[np.int64]:
    """Rows of images that are not listed."""
    if isinstance(images, np.ndarray):
        return np.flatnonzero(~np.isin(images, [key for key in listed if isinstance(key, int)]))
    return np.array([row for row, image in enumerate(images) if image not in listed], np.int64)


def _known(truth: Truth, keys: tuple[ImageId, ...], dataset: Dataset) -> ImageCategories | None:
    if all(row.neg_category_ids is None and row.not_exhaustive_category_ids is None for row in truth.images):
        return None
    place = {key: index for index, key in enumerate(keys)}
    rows = [
        (place[row.id], category, kind)  # type: ignore[index]
        for row in truth.images
        for kind, listed in ((NEGATIVE, row.neg_category_ids), (NOT_EXHAUSTIVE, row.not_exhaustive_category_ids))
        for category in listed or ()
    ]
    table = np.array(sorted(rows), np.int64).reshape(-1, 3)
    category = dataset.value_map("label").classes(table[:, 1])
    kept = (category >= 0) & (category < dataset.num_classes)
    return ImageCategories(table[kept, 0].astype(np.int32), category[kept], table[kept, 2].astype(np.uint8))


def _score_notes(scores: NDArray[np.float64]) -> list[str]:
    notes = []
    if len(scores) and scores.max() > 1:
        percent = scores.max() <= 100 and scores.min() >= 0 and np.median(scores) > 1
        notes.append(
            "scores are above 1" + (": percent? Ranking is the same, thresholds and calibration are not" if percent else "") + " [SB140]"
        )
    if not len(scores):
        notes.append("there is no detection at all: every average precision is 0 [SB199]")
    elif scores.min() < 0:
        notes.append("scores are below 0: ranking needs no more, thresholds and calibration do [SB140]")
    if len(scores) > 1 and scores.min() == scores.max():
        notes.append(f"all scores are {scores[0]:g}: precision over recall then depends on the order of the file alone [SB141]")
    return notes


def open_results(path: Path, request: Request) -> CocoInstances:
    """Opens a results file."""
    return predictions(coco_json.read_results(json_in(path)), request, str(path), request.unknown_class)


def open_truth(path: Path, request: Request) -> CocoInstances:
    """Opens a ground-truth file; as predictions it is a results file that also lists images and categories."""
    if request.role == "pred":
        return open_results(path, request)
    file = json_in(path)
    truth = coco_truth.read_truth(file)
    coco_truth.forget_truth()
    return ground_truth(truth, request, str(file))


def truth_dataset(path: str | os.PathLike) -> Dataset:
    """The classes that a ground-truth file describes."""
    file = json_in(Path(path))
    return dataset_of(coco_truth.read_truth(file), file.stem)


def memory_dataset(value: Mapping[str, Any]) -> Dataset:
    """The classes that a ground truth in memory describes."""
    return dataset_of(coco_truth.truth_of(value, "gt"), "ground_truth")


def open_memory(value: Any, request: Request, name: str) -> CocoInstances:
    """Detections (a list of dicts) or ground truth (a dict with images, annotations, categories) in memory."""
    if isinstance(value, Mapping) and request.role == "pred":
        value = value["annotations"]
    if isinstance(value, Mapping):
        return ground_truth(coco_truth.truth_of(value, name), request, name)
    return predictions(coco_json.results_of(value, name), request, name)
