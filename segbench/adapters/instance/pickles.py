"""Predicted instances that frameworks pickle: detectron2's `instances_predictions.pth`, MMDetection's `results.pkl`.

Reading a pickle runs what it says, so that it is refused unless `--trust-pickle` is given. Both hold class indices, not the data set's ids.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segbench.adapters.base import Format, Request
from segbench.errors import FormatError, MissingDependencyError

SUFFIXES = (".pkl", ".pickle", ".pth", ".pt")


def sniff(path: Path) -> tuple[float, str]:
    """By the ending alone: a pickle is not looked into."""
    return (0.6, "a pickle") if path.is_file() and path.suffix.lower() in SUFFIXES else (0.0, "")


def open_pickle(path: Path, request: Request) -> Any:
    """Opens a pickled list of detections.

    Raises:
        FormatError: SB191, not trusted; or something else than a list of detections.
        MissingDependencyError: it holds tensors and torch is not installed.
    """
    from segbench.adapters.instance import coco, coco_json

    file = str(path)
    if not request.trust_pickle:
        raise FormatError(
            "this is a pickle, which can run code when it is read",
            files=[file],
            hint="--trust-pickle, if you know where it comes from; detectron2 writes coco_instances_results.json beside it, MMDetection "
            "JSON with outfile_prefix",
            code="SB191",
        )
    content = _loaded(path)
    if not isinstance(content, list | tuple):
        raise FormatError(f"a pickled {type(content).__name__}, not a list of detections", files=[file])
    rows, told = _rows(content, file)
    if told != "COCO results":
        request = replace(request, id_space=request.id_space or "contiguous")
    source = coco.predictions(coco_json.results_of(rows, file), request, file, request.unknown_class)
    return replace(source, format=PICKLE.name, said=source.said.replace("COCO results", told))


def _loaded(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            import torch

            return torch.load(path, map_location="cpu", weights_only=False)
        with open(path, "rb") as file:
            return pickle.load(file)
    except ModuleNotFoundError as error:
        extra = " 'segbench[torch]'" if error.name == "torch" else f" {error.name}"
        raise MissingDependencyError(f"{path} holds objects of the package {error.name}", hint=f"pip install{extra}") from error
    except Exception as error:  # unpickling runs what the file says
        raise FormatError(f"the pickle cannot be read: {type(error).__name__}: {error}", files=[str(path)]) from error


def _rows(content: Any, file: str) -> tuple[list[Any], str]:
    """The detections as rows of COCO results, and whose file it is."""
    first = content[0] if content else None
    if isinstance(first, Mapping) and "instances" in first:
        return [row for image in content for row in image["instances"]], "detectron2 predictions"
    try:
        if isinstance(first, Mapping) and "pred_instances" in first:
            return [row for image in content for row in _of_image(image)], "MMDetection results"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"results of MMDetection with something else than expected: {type(error).__name__}: {error}", files=[file]
        ) from None
    if first is None or isinstance(first, Mapping):
        return list(content), "COCO results"
    raise FormatError(
        f"a list of {type(first).__name__}, which name no image",
        files=[file],
        hint="MMDetection 2 writes results in the order of its data set; let it write JSON, with format_only of its test settings",
    )


def _of_image(image: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of one image of MMDetection 3: boxes left, top, right, bottom; masks as run lengths or arrays."""
    from segbench.adapters.instance.coco_masks import counts_of_array

    found = image["pred_instances"]
    boxes = _plain(found["bboxes"]) if "bboxes" in found else None
    masks = found.get("masks")
    if masks is not None and not isinstance(masks, list | tuple):
        masks = _array(masks)
    scores = found["mask_scores"] if "mask_scores" in found else found["scores"]
    for index, (label, score) in enumerate(zip(_plain(found["labels"]), _plain(scores), strict=True)):
        row: dict[str, Any] = {"image_id": image["img_id"], "category_id": label, "score": score}
        if boxes is not None:
            left, top, right, bottom = boxes[index]
            row["bbox"] = [left, top, right - left, bottom - top]
        if masks is not None:
            mask = masks[index]
            counts, size = (mask["counts"], mask["size"]) if isinstance(mask, Mapping) else counts_of_array(mask)
            row["segmentation"] = {"size": list(size), "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}
        yield row


def _array(value: Any) -> Any:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _plain(value: Any) -> list[Any]:
    return _array(value).tolist()


PICKLE = Format(
    "instance-pickle",
    "pickled predictions of detectron2 and MMDetection",
    "one file: instances_predictions.pth or results.pkl; class indices; with --trust-pickle",
    ("instance",),
    SUFFIXES,
    sniff,
    open_pickle,
)
