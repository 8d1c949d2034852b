"""The laws of evidence: identity, commutativity, associativity, any split, round trip, repeats."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segbench import evidence
from segbench.errors import ComparabilityError, FormatError, InputError
from segbench.evidence import Evidence

COLUMNS = {"pixels": ("gt", "pred", "pixels")}

ids = st.one_of(st.integers(0, 40), st.text("ab1029/", min_size=1, max_size=4))


def rows_of(image_id) -> dict[str, np.ndarray]:
    """Rows that depend on the id alone, so that equal ids have equal rows."""
    rng = np.random.default_rng(abs(hash(repr(image_id))) % 2**32)
    count = int(rng.integers(0, 4))
    return {"gt": np.arange(count), "pred": rng.integers(0, 4, count), "pixels": rng.integers(1, 100, count)}


def built(image_ids) -> Evidence:
    if not image_ids:
        return evidence.empty("semantic", 3, COLUMNS)
    rows = {"pixels": evidence.stacked([rows_of(image_id) for image_id in image_ids])}
    order = [sum(map(ord, repr(image_id))) % 3 for image_id in image_ids]
    return evidence.build("semantic", 3, image_ids, order, [(4, 5)] * len(image_ids), rows)


def same(left: Evidence, right: Evidence) -> bool:
    ours, theirs = left.arrays(), right.arrays()
    return ours.keys() == theirs.keys() and all(
        ours[key].dtype == theirs[key].dtype and ours[key].tobytes() == theirs[key].tobytes() for key in ours
    )


@given(st.lists(ids, unique_by=repr), st.data())
def test_any_split_in_any_order_equals_one_pass(image_ids, data):
    whole = built(image_ids)
    shuffled = data.draw(st.permutations(image_ids))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]
    assert same(evidence.merge([built(part) for part in parts]), whole)


@given(st.lists(ids, unique_by=repr), st.lists(ids, unique_by=repr), st.lists(ids, unique_by=repr))
def test_merge_is_associative_commutative_and_has_an_identity(a, b, c):
    x, y, z = built(a), built(b), built(c)
    assert same(x.merge(y).merge(z), x.merge(y.merge(z)))
    assert same(x.merge(y), y.merge(x))
    assert same(x.merge(built([])), x)
    assert same(built([]).merge(x), x)


@given(st.lists(ids, unique_by=repr))
def test_round_trips(image_ids):
    whole = built(image_ids)
    assert same(Evidence.from_arrays(whole.arrays()), whole)
    assert same(pickle.loads(pickle.dumps(whole)), whole)
    assert Evidence.from_arrays(whole.arrays()).images.ids == whole.images.ids


@given(st.lists(ids, unique_by=repr, min_size=1), st.data())
def test_select_equals_building_only_those(image_ids, data):
    whole = built(image_ids)
    keep = data.draw(st.lists(st.integers(0, len(image_ids) - 1), unique=True))
    assert same(whole.select(np.array(keep, np.int64)), built([whole.images.ids[row] for row in keep]))


def test_ids_sort_as_numbers_and_keep_their_type():
    whole = evidence.build("semantic", 3, ["10", "9", 10, 9, "b"], [0] * 5, [(1, 1)] * 5, {"pixels": evidence.stacked([rows_of("x")] * 5)})
    assert whole.images.ids == (9, 10, "9", "10", "b")


def test_the_ground_truths_order_comes_first():
    whole = evidence.build("semantic", 3, ["a", "b"], [1, 0], [(1, 1)] * 2, {"pixels": evidence.stacked([rows_of("a"), rows_of("b")])})
    assert whole.images.ids == ("b", "a")


def test_an_equal_repeat_counts_once_and_a_different_one_is_an_error():
    whole = built(["a", "b"])
    again = whole.merge(built(["b"]))
    assert again.repeated == 1
    assert same(again, whole)
    other = {"gt": np.array([0]), "pred": np.array([1]), "pixels": np.array([123456])}
    different = evidence.build("semantic", 3, ["b"], [sum(map(ord, repr("b"))) % 3], [(4, 5)], {"pixels": evidence.stacked([other])})
    with pytest.raises(InputError, match="twice with different contents") as caught:
        whole.merge(different)
    assert caught.value.files == [("image", "b")]


def test_other_classes_or_tables_do_not_merge():
    with pytest.raises(ComparabilityError):
        built(["a"]).merge(evidence.empty("semantic", 4, COLUMNS))
    with pytest.raises(ComparabilityError):
        built(["a"]).merge(evidence.empty("semantic", 3, {}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("header"),
        lambda arrays: arrays.update(header=np.frombuffer(b"{]", np.uint8)),
        lambda arrays: arrays.pop("images/order"),
        lambda arrays: arrays.update({"pixels/gt": arrays["pixels/gt"][:-1]}),
        lambda arrays: arrays.update({"pixels/image": arrays["pixels/image"] + 9}),
        lambda arrays: arrays.update({"images/order": arrays["images/order"][:-1]}),
        lambda arrays: arrays.update(header=_header(arrays, schema="segbench.evidence/2")),
        lambda arrays: arrays.update(header=_header(arrays, tables={"pixels": 99})),
    ],
)
def test_damaged_evidence_is_named(damage):
    arrays = built(["a", "b", "c", 1, 2, 3]).arrays()
    damage(arrays)
    with pytest.raises(FormatError):
        Evidence.from_arrays(arrays)


def _header(arrays, **changes):
    return np.frombuffer(json.dumps(json.loads(bytes(arrays["header"])) | changes).encode(), np.uint8)


def test_parts_of_one_column_are_joined_without_a_copy():
    column = np.arange(12.0).reshape(6, 2)
    parts = [column[:2], column[2:5], column[5:]]
    joined = evidence._end_to_end(parts)
    assert np.shares_memory(joined, column)
    np.testing.assert_array_equal(joined, column)
    others = parts[::-1], [column[:2], column[3:]], [column[:, :1], column[:, 1:]], [column[:2].copy(), column[2:].copy()]
    for other in (*others, [column[:3], column[3:].astype(np.float32)]):
        joined = evidence._end_to_end(other)
        assert not np.shares_memory(joined, column)
        np.testing.assert_array_equal(joined, np.concatenate(other))
