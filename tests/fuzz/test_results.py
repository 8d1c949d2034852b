"""Damaged and forged run folders: they load as what was saved, or are refused; nothing else ever happens."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import segbench
from segbench.errors import FormatError
from segbench.results import Result
from segbench.storage import pack, unpack

STREET = Path(__file__).parents[2] / "fixtures" / "street"
NAMES = ("result.json", "evidence.npz", "dataset.json")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    result = segbench.evaluate(STREET / "preds" / "model_a", STREET / "gt", metrics="boundary_iou", limit=3)
    folder = result.save(tmp_path_factory.mktemp("fuzz") / "run")
    return folder, {name: (folder / name).read_bytes() for name in NAMES}, result


def loads(saved, files: dict[str, bytes], sign: bool) -> Result | None:
    """The result of these files; `sign` writes the digest of the evidence into the result, as a forger would."""
    folder, whole, _ = saved
    for name, data in (whole | files).items():
        (folder / name).write_bytes(data)
    if sign:
        document = json.loads(whole["result.json"])
        document["evidence_digest"] = f"sha256:{hashlib.sha256((folder / 'evidence.npz').read_bytes()).hexdigest()}"
        (folder / "result.json").write_text(json.dumps(document))
    try:
        return Result.load(folder)
    except FormatError:
        return None


@settings(max_examples=150)
@given(st.sampled_from(NAMES), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=3), st.integers(0, 1 << 20))
def test_damaged_files(saved, name, edits, cut):
    data = bytearray(saved[1][name])
    for at, value in edits:
        data[at % len(data)] = value
    if cut % 3 == 0:
        del data[cut % len(data) :]
    found = loads(saved, {name: bytes(data)}, name == "evidence.npz")
    assert found is None or found.flat() == saved[2].flat()


@settings(max_examples=150)
@given(st.data())
def test_forged_arrays(saved, data):
    arrays = unpack(saved[1]["evidence.npz"], "x")
    name = data.draw(st.sampled_from([name for name in sorted(arrays) if not name.endswith("header")]))
    array = arrays[name]
    limits = np.iinfo(array.dtype)
    value = data.draw(st.one_of(st.sampled_from([-1, 0, 10**6, int(limits.min), int(limits.max)]), st.integers(-20, 20)))
    at = data.draw(st.integers(0, array.size - 1))
    before = array.flat[at]
    array.flat[at] = value
    found = loads(saved, {"evidence.npz": pack(arrays)}, True)
    # boundary pixels enter one metric alone, so that a change there may hide where it rounds away; the rest is in the digest or the counts
    assert found is None or before == value or found.flat() == saved[2].flat()


@settings(max_examples=60)
@given(
    st.sampled_from(["schema", "task", "num_classes", "tables", "ids"]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3)),
)
def test_forged_headers(saved, field, value):
    arrays = unpack(saved[1]["evidence.npz"], "x")
    header = json.loads(bytes(arrays["semantic/header"]))
    arrays["semantic/header"] = np.frombuffer(json.dumps(header | {field: value}).encode(), np.uint8)
    assert loads(saved, {"evidence.npz": pack(arrays)}, True) is None
