"""Which prediction belongs to which ground truth: by relative path, then by unique stem; never by likeness.

The key of a file is its relative path without extension and without the endings that tools add (`_pred`, `_gtFine_labelIds`, ...).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from posixpath import splitext

from segbench.datasets import Matching
from segbench.errors import PairingError

COMPOUND_EXTENSIONS = (".nii.gz", ".ome.tif", ".ome.tiff")
GT_ENDINGS = (
    "_gtFine_labelIds",
    "_gtFine_labelTrainIds",
    "_gtFine_instanceIds",
    "_gtFine_color",
    "_gtCoarse_labelIds",
    "_gtCoarse_labelTrainIds",
    "_labelTrainIds",
    "_labelIds",
    "_instanceIds",
)
IMAGE_ENDINGS = ("_leftImg8bit", "_rightImg8bit", "_image", "_rgb")
PRED_ENDINGS = ("_pred", "_prediction", "_panoptic", "_mask", "_seg", "_cp_masks", "_labels", "_label")
MISSING_RULES = ("auto", "error", "skip", "empty")


def without_extension(name: str) -> str:
    """`a/b.nii.gz` -> `a/b`."""
    stem, extension = splitext(name)
    if len(extension) < 2:  # a dot alone ends a name, it begins no extension
        return name
    whole = name.lower()
    return next((name[: -len(ending)] for ending in COMPOUND_EXTENSIONS if whole.endswith(ending)), stem)


def key_of(name: str, matching: Matching | None = None) -> str:
    """The pairing key of a relative path.

    Args:
        name: Relative path with forward slashes.
        matching: The data set's own rule, tried first.
    """
    folder, slash, stem = without_extension(name).rpartition("/")
    rule = matching or Matching()
    if rule.key_pattern:
        found = re.match(rule.key_pattern, stem)
        key = found and (found["key"] if "key" in found.groupdict() else found[0])
        if key:
            return folder + slash + key
    for endings in _endings(tuple(rule.gt_suffixes), tuple(rule.image_suffixes)):
        if stem.endswith(endings):
            stem = stem.removesuffix(next((ending for ending in endings if stem.endswith(ending) and stem != ending), ""))
    return folder + slash + stem


@cache
def _endings(gt_suffixes: tuple[str, ...], image_suffixes: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """What is taken off a stem, in turn; of each group the longest that fits."""
    groups = (*gt_suffixes, *GT_ENDINGS), (*image_suffixes, *IMAGE_ENDINGS), PRED_ENDINGS
    return tuple(tuple(sorted(group, key=len, reverse=True)) for group in groups)


def unique_keys(names: Iterable[str], folder: str, matching: Matching | None = None) -> dict[str, str]:
    """`{key: relative path}` in path order.

    Raises:
        PairingError: SB120, two files have one key.
    """
    keyed: dict[str, str] = {}
    for name in sorted(names):
        key = key_of(name, matching)
        if key in keyed:
            raise PairingError(
                f"two files in {folder} stand for one image, {key!r}",
                files=[("first", keyed[key]), ("second", name)],
                hint="keep one of them in the folder",
                code="SB120",
            )
        keyed[key] = name
    return keyed


@dataclass(frozen=True)
class Pairing:
    """Matched keys, in the ground truth's order, and what found no partner."""

    pairs: list[tuple[int | str, int | str]]
    missing: list[int | str]
    extra: list[int | str]


def pair(pred_keys: Sequence[int | str], gt_keys: Sequence[int | str]) -> Pairing:
    """Pairs predictions with ground truth: equal keys first, then stems that are unique on both sides.

    Raises:
        PairingError: SB132, nothing matches.
    """
    wanted = dict.fromkeys(gt_keys)
    partner: dict[int | str, int | str] = {key: key for key in pred_keys if key in wanted}
    taken = set(partner)
    left_gt = [key for key in gt_keys if key not in partner]
    left_pred = [key for key in pred_keys if key not in taken]
    if left_gt and left_pred:
        by_stem = _by_unique_stem(left_pred)
        for stem, key in _by_unique_stem(left_gt).items():
            if stem in by_stem:
                partner[key] = by_stem[stem]
    used = set(partner.values())
    pairing = Pairing(
        [(partner[key], key) for key in gt_keys if key in partner],
        [key for key in gt_keys if key not in partner],
        [key for key in pred_keys if key not in used],
    )
    if gt_keys and pred_keys and not pairing.pairs:
        raise PairingError(
            "no prediction has the name of any ground truth",
            files=[("pred", str(key)) for key in pred_keys[:3]] + [("gt", str(key)) for key in gt_keys[:3]],
            count=len(gt_keys),
            hint="files are paired by relative path without extension, then by name; rename one side",
            code="SB132",
        )
    return pairing


def _by_unique_stem(keys: Sequence[int | str]) -> dict[str, int | str]:
    stems = [_plain(str(key).rpartition("/")[2]) for key in keys]
    count = Counter(stems)
    return {stem: key for stem, key in zip(stems, keys, strict=True) if count[stem] == 1}


def _plain(stem: str) -> str:
    """Numbers without leading zeros, so that image 139 meets 000000000139.png."""
    return str(int(stem)) if stem.isdecimal() else stem
