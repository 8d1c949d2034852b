"""Pairing by relative path, then by unique stem; nothing fuzzy."""

from __future__ import annotations

import pytest

from segbench import datasets
from segbench.adapters.pairing import key_of, pair, unique_keys, without_extension
from segbench.errors import PairingError


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a.png", "a"),
        ("x/a.nii.gz", "x/a"),
        ("x/y/a_pred.png", "x/y/a"),
        ("a_cp_masks.tif", "a"),
        ("munster_000001_000019_gtFine_labelIds.png", "munster_000001_000019"),
        ("munster/munster_000001_000019_leftImg8bit_pred.png", "munster/munster_000001_000019_leftImg8bit"),
        ("_mask.png", "_mask"),
        ("a.b.png", "a.b"),
        ("plain", "plain"),
    ],
)
def test_key(name, key):
    assert key_of(name) == key


def test_cityscapes_key_is_the_first_three_fields():
    matching = datasets.load("cityscapes").matching
    for name in ("munster_000001_000019_gtFine_labelIds.png", "munster_000001_000019_leftImg8bit_pred.png", "munster_000001_000019.png"):
        assert key_of(name, matching) == "munster_000001_000019"


def test_without_extension_keeps_dotted_folders():
    assert without_extension("v1.2/a.png") == "v1.2/a"


def test_two_files_on_one_key():
    with pytest.raises(PairingError, match="stand for one image") as caught:
        unique_keys(["a.png", "a_pred.png"], "preds")
    assert caught.value.code == "SB120"
    assert [path for _, path in caught.value.files] == ["a.png", "a_pred.png"]


def test_same_stem_in_two_folders_needs_the_path():
    pairing = pair(["x/1", "y/1"], ["y/1", "x/1"])
    assert pairing.pairs == [("y/1", "y/1"), ("x/1", "x/1")]


def test_unique_stems_pair_across_folders_and_ambiguous_ones_do_not():
    pairing = pair(["1", "2", "z/3"], ["train/1", "val/2", "a/3", "b/3"])
    assert pairing.pairs == [("1", "train/1"), ("2", "val/2")]
    assert pairing.missing == ["a/3", "b/3"]
    assert pairing.extra == ["z/3"]


def test_nothing_matches():
    with pytest.raises(PairingError, match="no prediction has the name") as caught:
        pair(["a", "b"], ["c", "d"])
    assert caught.value.code == "SB132"


def test_order_is_the_ground_truths():
    assert pair([3, 1, 2], [2, 3, 1]).pairs == [(2, 2), (3, 3), (1, 1)]


def test_numbers_meet_padded_names():
    assert pair(["000000000139", "0007"], [139, 7]).pairs == [("000000000139", 139), ("0007", 7)]
    with pytest.raises(PairingError):
        pair(["1", "01"], ["x/1"])  # which of the two is meant?
