"""COCO panoptic: a JSON of segment tables, and a folder of PNG maps whose colours are the segment ids (R + 256 G + 65536 B).

MMDetection, detectron2 and the Cityscapes converter write the same; MMDetection without categories.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from segbench import files as disk
from segbench.adapters import png
from segbench.adapters.base import Format, Request
from segbench.adapters.images import read_labels
from segbench.adapters.label_arrays import check_pixels
from segbench.adapters.panoptic.folder import HEAD, check_shared, existing, json_of, looks_panoptic, map_folder, relative_name
from segbench.adapters.panoptic.tables import SegmentRows, SegmentTables, as_bool, stated_area, tables_of
from segbench.datasets import Dataset, LabelClass
from segbench.errors import SHOWN, FormatError, counted
from segbench.samples import ImageId, PanopticMap

NAME = "coco-panoptic"


CategoryId = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class SegmentRow(msgspec.Struct, gc=False):
    """One segment; `label_id` is how transformers spells `category_id`."""

    id: int
    category_id: CategoryId | None = None
    label_id: CategoryId | None = None
    area: Annotated[float, msgspec.Meta(ge=-(2.0**53), le=2.0**53)] | None = None
    iscrowd: int | bool | None = None
    isthing: int | bool | None = None


class AnnotationRow(msgspec.Struct):
    """One image."""

    segments_info: list[SegmentRow]
    image_id: int | str | None = None
    file_name: str = ""


class CategoryRow(msgspec.Struct):
    """One category."""

    id: CategoryId
    name: str = ""
    isthing: int | bool | None = None
    supercategory: str | None = None
    color: list[int] | None = None


class PanopticFile(msgspec.Struct):
    """The whole file."""

    annotations: list[AnnotationRow]
    categories: list[CategoryRow] = []


@dataclass(frozen=True, eq=False)
class PanopticJson:
    """Panoptic maps in PNG files, their segments in one JSON.

    Attributes:
        root: The folder of the maps.
        tables: The segments of all images.
        digested: Whether fingerprints will be asked for: then maps are hashed as they are read.
    """

    format: str
    root: str
    tables: SegmentTables
    what: str = ""
    digested: bool = False
    _prints: dict[ImageId, bytes] = field(default_factory=dict, repr=False)

    @property
    def keys(self) -> Sequence[ImageId]:
        return self.tables.keys

    @property
    def said(self) -> str:
        return self.what

    @property
    def notes(self) -> tuple[str, ...]:
        return self.tables.notes

    def read(self, keys: Sequence[ImageId]) -> Iterator[PanopticMap]:
        paths = [self.file(key) for key in keys]
        for key, path, data in zip(keys, paths, disk.read_ahead(paths, png.MAX_BYTES), strict=True):
            if self.digested:
                self._prints[key] = hashlib.sha256(data).digest()
            yield self.tables.sample(key, id_map(data, path), path)

    def part(self, keys: Sequence[ImageId]) -> PanopticJson:
        return replace(self, tables=self.tables.select(keys), _prints={})

    def file(self, key: ImageId) -> str:
        return os.path.join(self.root, self.tables.files[self.tables.at[key]])

    def sizes(self) -> list[tuple[int, int] | None]:
        return [None] * len(self.tables.keys)

    def fingerprint(self, key: ImageId) -> bytes:
        """sha256 of the map's bytes and of its segments."""
        pixels = self._prints.get(key) or hashlib.sha256(disk.read(self.file(key), png.MAX_BYTES)).digest()
        rows = self.tables.rows(key)
        return hashlib.sha256(pixels + self.tables.ids[rows].tobytes() + self.tables.classes[rows].tobytes()).digest()


def id_map(data: bytes, path: str) -> NDArray[np.uint8]:
    """A map whose colours are segment ids: uint8 (H, W, 3).

    Raises:
        FormatError: SB154, the image is not RGB; SB164, transparency; SB165, 16-bit RGB; SB160, damaged.
    """
    if data[:8] == png.SIGNATURE:  # which has pixels by its header
        values = png.decode(data, path)
    else:
        values = read_labels(path)
        check_pixels(values, "segments", [path])
    if values.ndim != 3 or values.shape[2] not in (3, 4):
        raise FormatError(
            "a panoptic map must be an RGB image whose colours are the segment ids; this one has one channel",
            files=[path],
            hint="save R = id % 256, G = id // 256 % 256, B = id // 65536; for maps of class * divisor + instance see segbench formats",
            code="SB154",
        )
    if values.dtype != np.uint8:
        raise FormatError("a 16-bit RGB image holds no segment ids", files=[path], hint="save 8 bits per channel", code="SB165")
    if values.shape[2] == 4:
        if not (values[..., 3] == 255).all():
            raise FormatError(
                "the alpha channel of a panoptic map carries data",
                files=[path],
                hint="BDD100K bitmasks are read with --format bdd-bitmask; else save without transparency",
                code="SB164",
            )
        values = np.ascontiguousarray(values[..., :3])
    return values


def decoded(path: Path) -> PanopticFile:
    """The JSON, typed.

    Raises:
        FormatError: not JSON, or not of this form; SB160, SB192, no file that can be read.
    """
    try:
        return msgspec.json.decode(disk.read(path, png.MAX_BYTES).removeprefix(codecs.BOM_UTF8), type=PanopticFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            f"not a panoptic JSON: {error}",
            files=[str(path)],
            hint='it is {"annotations": [{"image_id", "file_name", "segments_info": [{"id", "category_id"}]}]}',
        ) from error


def open_panoptic_json(path: Path, request: Request, folder: str | os.PathLike | None = None, unknown: bool = False) -> PanopticJson:
    """Opens a JSON of segment tables and the folder of its maps.

    Args:
        path: The JSON; or the folder of the maps, where the JSON has its name or is the only one in it.
        folder: Where the maps are; else beside the JSON, under its name without `.json`.
        unknown: Keep segments of unknown categories.

    Raises:
        FormatError: no such form, no maps, SB192 a file name that leads outside the folder.
        PairingError: SB120, two images with one map.
        LabelError, PairingError: as `tables_of`.
    """
    json_path = json_of(path)
    content = decoded(json_path)
    names = [relative_name(row.file_name, row.image_id, json_path) for row in content.annotations]
    folder = folder or request.maps
    root = Path(folder) if folder is not None else map_folder(json_path, names, "--maps" if request.role == "pred" else "--gt-maps")
    unnamed = {name for row, name in zip(content.annotations, names, strict=True) if not row.file_name}
    names = existing(root, names, json_path, request, unnamed)
    rows = _rows(content.annotations, names, json_path)
    categories = {row.id: row.name for row in content.categories}
    tables, space = tables_of(rows, request, str(json_path), categories, unknown=unknown)
    check_shared(names, root, json_path, request)
    noun = "prediction" if request.role == "pred" else "ground truth"
    what = f"{counted(len(names), noun)} read as panoptic JSON and RGB maps in {root}, {space} ids of {request.dataset.name}, void 0"
    return PanopticJson(NAME, str(root), tables, what, request.role == "pred")


def _key(row: AnnotationRow, name: str) -> ImageId:
    if row.image_id is None:
        return str(PurePosixPath(name).with_suffix(""))
    return row.image_id


def _rows(annotations: Sequence[AnnotationRow], names: list[str], json_path: Path) -> SegmentRows:
    segments = [segment for row in annotations for segment in row.segments_info]
    labels = [segment.category_id if segment.category_id is not None else segment.label_id for segment in segments]
    if None in labels:
        raise FormatError(
            f"segment {segments[labels.index(None)].id} has no category_id",
            files=[str(json_path)],
            count=labels.count(None),
            hint="every segment of segments_info needs id and category_id",
            code="SB150",
        )
    return SegmentRows(
        [_key(row, name) for row, name in zip(annotations, names, strict=True)],
        names,
        [len(row.segments_info) for row in annotations],
        [segment.id for segment in segments],
        labels,  # type: ignore[arg-type]
        [stated_area(segment.area) for segment in segments],
        [segment.iscrowd == 1 for segment in segments],
        [as_bool(segment.isthing) for segment in segments],
    )


def categories_dataset(path: str | os.PathLike) -> Dataset | None:
    """The classes of a panoptic JSON's own categories, in its order; None where it lists none.

    Raises:
        FormatError: not a panoptic JSON, or categories that contradict one another.
    """
    json_path = json_of(Path(path))
    rows = decoded(json_path).categories
    if not rows:
        return None
    columns: tuple[tuple[str, list], ...] = (("id", [row.id for row in rows]), ("name", [row.name or str(row.id) for row in rows]))
    for what, values in columns:
        twice = [str(value) for value, count in Counter(values).items() if count > 1]
        if twice:
            raise FormatError(f"two categories have the same {what}: {twice[0]}", files=[str(json_path)], hint=f"give each its own {what}")
    classes = tuple(
        LabelClass(
            id=row.id,
            name=row.name or str(row.id),
            isthing=as_bool(row.isthing),
            supercategory=row.supercategory or None,
        )
        for row in rows
    )
    void_ids = () if any(row.id == 0 for row in rows) else (0,)
    return Dataset(name=json_path.stem, title=json_path.name, tasks=("panoptic", "semantic"), void_ids=void_ids, classes=classes)


def sniff(path: Path) -> tuple[float, str]:
    """How sure it is that a path is a panoptic JSON or the folder of its maps."""
    if path.is_dir():
        beside = path.with_name(path.name + ".json")
        found = [item for item in (beside, *sorted(path.glob("*.json"))[:SHOWN]) if item.is_file() and looks_panoptic(item)]
        return (0.9, f"segments_info in {found[0].name}") if found else (0.0, "")
    if path.suffix.lower() != ".json":
        return 0.0, ""
    if looks_panoptic(path):
        return 0.95, "a JSON with segments_info"
    return (0.1, "a JSON without any annotation") if _is_empty(path) else (0.0, "")


def _is_empty(path: Path) -> bool:
    """Whether it is a small JSON of a set in which nothing is annotated."""
    try:
        return path.stat().st_size <= HEAD and not decoded(path).annotations
    except (OSError, FormatError):
        return False


COCO_PANOPTIC = Format(
    NAME,
    "COCO panoptic JSON and RGB PNG maps",
    "NAME.json with segments_info, and a folder NAME/ of RGB maps, id = R + 256 G + 65536 B; also of MMDetection and detectron2",
    ("panoptic",),
    (".json",),
    sniff,
    open_panoptic_json,
    categories_dataset,
)
