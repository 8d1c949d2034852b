"""Bad COCO files against the command: one message and exit code 3, or a number with a warning; never a traceback, never a silent zero."""

from __future__ import annotations

import copy
import json
import os

import numpy as np
import pytest

from segbench import cli
from segbench.adapters.instance.coco_scan import SMALL
from tests import naive_instance as naive

SIZE = (40, 60)
MASK = np.zeros(SIZE, np.uint8)
MASK[5:17, 5:25] = 1
RLE = {"size": list(SIZE), "counts": naive.string_of(naive.counts_of(MASK))}
BOX = [5, 5, 20, 12]
PLACES = [(1, 1), (2, 2), (3, 5), (1, 5)]
RESULTS = [
    {"image_id": image, "category_id": label, "segmentation": RLE, "bbox": BOX, "score": 0.5 + number / 10}
    for number, (image, label) in enumerate(PLACES)
]
TRUTH = {
    "images": [{"id": image, "height": SIZE[0], "width": SIZE[1], "file_name": f"{image}.jpg"} for image in (1, 2, 3)],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 5, "name": "cow"}],
    "annotations": [
        {"id": number, "image_id": image, "category_id": label, "segmentation": RLE, "bbox": BOX, "area": 240, "iscrowd": 0}
        for number, (image, label) in enumerate(PLACES, 1)
    ],
}
HUGE = 2**80
TEXT = json.dumps(RESULTS)


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode())
    return str(path)


def run(tmp_path, capsysbinary, pred=RESULTS, gt=TRUTH):
    """Exit code and what `--json` prints."""
    files = written(tmp_path / "results.json", pred), written(tmp_path / "instances.json", gt)
    code = cli.run(["evaluate", *files, "--json", "--workers", "1"])
    return code, json.loads(capsysbinary.readouterr().out)


def second(**fields):
    """The results with other fields of the second detection; None takes a field out."""
    rows = copy.deepcopy(RESULTS)
    rows[1] = {name: value for name, value in (rows[1] | fields).items() if value is not ...}
    return rows


def mask(**fields):
    return second(segmentation=RLE | fields)


def annotated(**fields):
    document = copy.deepcopy(TRUTH)
    document["annotations"][1] |= fields
    return document


def pictured(**fields):
    return TRUTH | {"images": [image | fields for image in TRUTH["images"]]}


REFUSED = {
    "truncated": (TEXT[:-200], "not valid JSON"),
    "text": ("x" * 1_000_000, "nothing here is recognised"),
    "bytes": (os.urandom(1_000_000), "nothing here is recognised"),
    "brackets": ("[" * 1_000_000, "nothing here is recognised"),
    "open objects": ("[" + "{" * 1_000_000, "nothing here is recognised"),
    "nested": (TEXT[:-2] + ', "info": ' + "[" * 100_000 + "]" * 100_000 + "}]", "not valid JSON"),
    "null": ("null", "nothing here is recognised"),
    "numbers": ([1, 2, 3], "nothing here is recognised"),
    "lines": ("\n".join(map(json.dumps, RESULTS)), "one JSON object on each line"),
    "a list of lists": ([RESULTS], "Expected `object`"),
    "a ground truth": (TRUTH, "SB140"),
    "NaN score": (TEXT.replace("0.6", "NaN"), "SB140"),
    "NaN coordinate": (json.dumps(second(segmentation=[[float("nan")] * 6])), "SB140"),
    "infinite score": (TEXT.replace("0.6", "1e999"), "SB140"),
    "text score": (second(score="0.5"), "SB140"),
    "null score": (second(score=None), "SB140"),
    "no score": (second(score=...), "SB140"),
    "no image": (second(image_id=...), "SB122"),
    "half an image": (second(image_id=2.5), "SB122"),
    "image beyond 64 bits": (second(image_id=HUGE), "SB122"),
    "image beyond 64 bits, with a point": (second(image_id=1e300), "SB122"),
    "image is true": (second(image_id=True), "SB122"),
    "other images": ([row | {"image_id": 100} for row in RESULTS], "SB132"),
    "no category": (second(category_id=...), "SB110"),
    "unknown category": (second(category_id=77), "SB110"),
    "half a category": (second(category_id=1.5), "SB110"),
    "category beyond 64 bits": (second(category_id=HUGE), "SB110"),
    "size of another image": (mask(size=[50, 60]), "SB101"),
    "width first": (mask(size=[60, 40]), "SB104"),
    "negative size": (mask(size=[-40, -60]), "SB102"),
    "three sizes": (mask(size=[40, 60, 1]), "SB102"),
    "size as text": (mask(size=["40", "60"]), "SB102"),
    "endless size": (mask(size=[2**31, 2**31]), "SB101"),
    "damaged counts": (mask(counts="@@@!!!"), "SB102"),
    "cut counts": (mask(counts=RLE["counts"][:-2]), "SB102"),
    "empty counts": (mask(counts=""), "SB102"),
    "long counts": (mask(counts="0" * 1_000_000), "SB102"),
    "counts that do not add up": (mask(counts=[1, 2]), "SB102"),
    "negative counts": (mask(counts=[100, -200, 2500]), "SB102"),
    "halves of counts": (mask(counts=[100.5, 2299.5]), "SB102"),
    "counts of no alphabet": (mask(counts="é☃"), "SB102"),
    "flat polygon": (second(segmentation=[1, 1, 5, 1, 5, 5]), "SB170"),
    "line": (second(segmentation=[[1, 1, 5, 5]]), "SB170"),
    "odd polygon": (second(segmentation=[[1, 1, 5, 1, 5, 5, 2]]), "SB170"),
    "polygon of text": (second(segmentation=[["a"] * 6]), "SB170"),
    "polygon of no end": (second(segmentation=[[1e300, 1, 5, 1, 5, 5]]), "SB170"),
    "mask as text": (second(segmentation="abc"), "SB102"),
    "box of three": (second(bbox=[1, 2, 3]), "SB172"),
}
"""Results files that end in an error: its code, or words of it."""


@pytest.mark.parametrize("name", REFUSED)
def test_results_that_are_refused(tmp_path, capsysbinary, name):
    content, expected = REFUSED[name]
    code, answer = run(tmp_path, capsysbinary, pred=content)
    assert code == 3
    assert expected in (answer["code"] or "") or expected in answer["message"]
    assert answer["message"].isprintable()
    assert len(answer["message"]) < 500


REFUSED_TRUTHS = {
    "truncated": (json.dumps(TRUTH)[:-300], "not valid JSON"),
    "no images": ({name: rows for name, rows in TRUTH.items() if name != "images"}, "`images`"),
    "no annotations": ({name: rows for name, rows in TRUTH.items() if name != "annotations"}, "`annotations`"),
    "empty images": (TRUTH | {"images": []}, "SB132"),
    "an image twice": (TRUTH | {"images": [*TRUTH["images"], TRUTH["images"][0]]}, "SB120"),
    "a category twice": (TRUTH | {"categories": [*TRUTH["categories"], {"id": 1, "name": "x"}]}, "SB120"),
    "an id twice": (annotated(id=1), "SB120"),
    "unknown image": (annotated(image_id=99), "SB132"),
    "unknown category": (annotated(category_id=99), "SB110"),
    "half a category": (annotated(category_id=1.5), "SB110"),
    "category as text": (annotated(category_id="dog"), "SB110"),
    "category beyond 64 bits": (annotated(category_id=HUGE), "SB110"),
    "id beyond 64 bits": (annotated(id=HUGE), "`int` <="),
    "image beyond 64 bits": (annotated(image_id=HUGE), "SB122"),
    "categories beyond 64 bits": (TRUTH | {"categories": [{"id": HUGE, "name": "x"}]}, "`int` <="),
    "height beyond 31 bits": (pictured(height=HUGE), "`int` <="),
    "negative height": (pictured(height=-4), "`int` >="),
    "height as text": (pictured(height="40"), "`int`"),
    "larger images": (pictured(height=80, width=120), "SB101"),
    "turned images": (pictured(height=60, width=40), "SB104"),
    "endless images": (pictured(height=10**6, width=10**6), "SB101"),
    "absent categories beyond 64 bits": (pictured(neg_category_ids=[HUGE], not_exhaustive_category_ids=[]), "`int` <="),
    "negative area": (annotated(area=-5), "SB171"),
    "area as text": (annotated(area="9"), "area"),
    "NaN area": (json.dumps(TRUTH).replace('"area": 240', '"area": NaN'), "SB140"),
    "no mask": (annotated(segmentation=None), "SB170"),
    "flat polygon": (annotated(segmentation=[1, 1, 5, 1, 5, 5]), "SB170"),
    "mask without counts": (annotated(segmentation={"size": [40, 60]}), "SB102"),
    "negative size": (annotated(segmentation=RLE | {"size": [-40, 60]}), "SB102"),
    "box of three": (annotated(bbox=[1, 2, 3]), "SB172"),
    "nested": (json.dumps(TRUTH)[:-1] + ', "info": ' + "[" * 100_000 + "]" * 100_000 + "}", "not valid JSON"),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", REFUSED_TRUTHS)
def test_ground_truths_that_are_refused(tmp_path, capsysbinary, name, large):
    """Also in files so large that their annotations are scanned."""
    content, expected = REFUSED_TRUTHS[name]
    if large:
        content = content + " " * SMALL if isinstance(content, str) else content | {"info": "x" * SMALL}
    code, answer = run(tmp_path, capsysbinary, gt=content)
    assert code == 3
    assert expected in (answer["code"] or "") or expected in answer["message"]


TOLD = {
    "no detection": ([], TRUTH, "SB199", 0.0),
    "scores of percent": ([row | {"score": 100 * row["score"]} for row in RESULTS], TRUTH, "percent", 1.0),
    "scores below 0": (second(score=-3), TRUTH, "below 0", 1.0),
    "equal scores": ([row | {"score": 0.5} for row in RESULTS], TRUTH, "SB141", 1.0),
    "repeated": ([row for row in RESULTS for _ in range(2)], TRUTH, "the same as the one before", None),
    "too many": ([row for row in RESULTS for _ in range(101)], TRUTH, "more than 100", None),
    "an unknown image": (second(image_id=77), TRUTH, "no ground truth for 1 prediction", None),
    "image ids as text": ([row | {"image_id": str(row["image_id"])} for row in RESULTS], TRUTH, "SB122", 1.0),
    "boxes as corners": ([row | {"bbox": [45, 20, 70, 45]} for row in RESULTS], TRUTH, "not [left, top, right, bottom]", 1.0),
    "boxes without size": ([row | {"bbox": [5, 5, -20, -12]} for row in RESULTS], TRUTH, "smaller than their mask", 1.0),
    "masks missing": (second(segmentation=...), TRUTH, "boxes count as masks", 1.0),
    "id 0": (RESULTS, annotated(id=0), "SB121", None),
    "ids as text": (RESULTS, annotated(id="a"), "not used", 1.0),
    "no areas": (RESULTS, annotated(area=None), "without an area", 1.0),
}
"""Files that are scored, with a warning, and the mask AP where it can be told without thinking."""


@pytest.mark.parametrize("name", TOLD)
def test_what_is_scored_with_a_warning(tmp_path, capsysbinary, name):
    pred, gt, words, value = TOLD[name]
    code, answer = run(tmp_path, capsysbinary, pred, gt)
    assert code == 0
    assert any(words in warning for warning in answer["warnings"]), answer["warnings"]
    if value is not None:
        assert answer["tasks"]["instance"]["metrics"]["segm/ap"]["value"] == pytest.approx(value, abs=1e-15)


PLAIN = {
    "as they are": (RESULTS, TRUTH),
    "under annotations": ({"annotations": RESULTS}, TRUTH),
    "with images and categories": (TRUTH | {"annotations": RESULTS}, TRUTH),
    "with a byte order mark": (b"\xef\xbb\xbf" + TEXT.encode(), b"\xef\xbb\xbf" + json.dumps(TRUTH).encode()),
    "with further fields": ([row | {"track": {"a": [[1]]}} for row in RESULTS], pictured(date="today", coco_url="../../x")),
    "numbers with a point": ([row | {"image_id": float(row["image_id"])} for row in RESULTS], pictured()),
    "without sizes": (RESULTS, TRUTH | {"images": [{"id": image} for image in (1, 2, 3)]}),
    "without categories": (RESULTS, {name: rows for name, rows in TRUTH.items() if name != "categories"}),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_needs_no_warning(tmp_path, capsysbinary, name):
    code, answer = run(tmp_path, capsysbinary, *PLAIN[name])
    assert code == 0
    assert answer["warnings"] == []
    assert answer["tasks"]["instance"]["metrics"]["segm/ap"]["value"] == pytest.approx(1, abs=1e-15)
