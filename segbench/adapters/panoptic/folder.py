"""Where a panoptic JSON has its maps: the JSON of a folder, the folder of a JSON, and the files in it."""

from __future__ import annotations

import codecs
import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from segbench import files as disk
from segbench.adapters.base import Request
from segbench.errors import SHOWN, FormatError, PairingError, counted
from segbench.samples import ImageId

HEAD = 1 << 16
_SPECIAL = frozenset("/\\:\0")


def json_of(path: Path) -> Path:
    """The JSON of a path: itself, or that of a folder of maps.

    Raises:
        FormatError: a folder without one, or with several.
    """
    if not path.is_dir():
        return path
    beside = path.with_name(path.name + ".json")
    if beside.is_file():
        return beside
    found = [item for item in sorted(path.glob("*.json")) if looks_panoptic(item)]
    if len(found) != 1:
        raise FormatError(
            f"{counted(len(found), 'panoptic JSON file')} for this folder",
            files=[str(path), *map(str, found[:SHOWN])],
            hint=f"give the JSON itself; it usually stands beside the folder, as {beside.name}",
        )
    return found[0]


def map_folder(json_path: Path, names: Sequence[str], option: str) -> Path:
    """The folder of the maps: that of the JSON's name, else the JSON's own, else the only sub-folder beside it that holds the first map and
    does not belong to another JSON.

    Args:
        option: What names another folder on the command line.

    Raises:
        FormatError: there is none.
    """
    own = json_path.with_suffix("")
    if own.is_dir() or not names:
        return own
    if any(_variant(json_path.parent, names[0])):
        return json_path.parent
    holding = [item for item in sorted(json_path.parent.iterdir()) if item.is_dir() and any(_variant(item, names[0]))]
    if len(holding) == 1 and not holding[0].with_name(f"{holding[0].name}.json").exists():
        return holding[0]
    raise FormatError(
        "the folder of the panoptic maps is missing",
        files=[str(json_path), str(own)],
        count=1,
        hint=f"put the PNG files into {own.name}/ beside the JSON, or name their folder: {option} DIR",
        code="SB156",
    )


def _variant(folder: Path, name: str) -> list[str]:
    """A map under its name, or as PNG where the table names the photograph."""
    return [item for item in dict.fromkeys((name, str(PurePosixPath(name).with_suffix(".png")))) if os.path.isfile(folder / item)]


def existing(root: Path, names: Sequence[str], json_path: Path, request: Request, unnamed: Collection[str] = ()) -> list[str]:
    """The names under which the maps exist.

    Args:
        unnamed: Those that no table states: they were made of image ids.

    Raises:
        FormatError: SB156, maps that are not there.
    """
    try:
        present = set(os.listdir(root)) if root.is_dir() else set()
    except OSError as error:
        raise disk.unreadable(root, error, "the folder") from error
    found: list[str] = []
    missing: list[str] = []
    for name in names:
        if name.endswith(".png") and name in present:
            found.append(name)
            continue
        variants = [item for item in _variant(root, name) if item.endswith(".png")] or _variant(root, name)
        (found if variants else missing).append(variants[0] if variants else name)
    if missing:
        guessed = sum(name in unnamed for name in missing)
        why = f"; {counted(guessed, 'annotation')} without a file_name, so IMAGE_ID.png was looked for" if guessed else ""
        raise FormatError(
            f"not there: {len(missing)} of {counted(len(names), 'panoptic map')}{why}",
            files=[(request.role, str(json_path)), *(("map", str(root / name)) for name in missing[:SHOWN])],
            count=len(missing),
            hint="write one PNG for every annotation, under its file_name",
            code="SB156",
        )
    return found


def check_shared(names: Sequence[str], root: Path, json_path: Path, request: Request) -> None:
    """Refuses one map for two images."""
    shared = [name for name, times in Counter(names).items() if times > 1] if len(set(names)) != len(names) else []
    if shared:
        raise PairingError(
            f"the map of more than one image: {counted(len(shared), 'file')}",
            files=[(request.role, str(json_path)), *(("map", str(root / name)) for name in shared[:SHOWN])],
            count=len(shared),
            hint="give every annotation the file_name of its own map",
            code="SB120",
        )


def relative_name(file_name: str, image_id: ImageId | None, json_path: Path) -> str:
    """The name of a map, relative to its folder.

    Raises:
        FormatError: SB192, it leads outside.
    """
    name = file_name.replace("\\", "/") or f"{image_id}.png"
    if not (_SPECIAL & set(name)) and name not in (".", ".."):
        return name
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or (len(name) > 1 and name[1] == ":") or not path.name:
        raise FormatError(
            f"a file_name leads outside the folder of the maps: {file_name!r}",
            files=[str(json_path)],
            hint="file_name is relative to the folder of the maps",
            code="SB192",
        )
    return name


def looks_panoptic(path: Path) -> bool:
    """Whether `segments_info` stands in the first bytes, or, of a file that begins with a long list of images, anywhere."""
    try:
        with os.fdopen(disk.opened(path)[0], "rb") as file:
            head = file.read(HEAD)
            if b'"segments_info"' in head:
                return True
            if not head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
                return False
            tail = b""
            while piece := file.read(1 << 20):
                if b'"segments_info"' in tail + piece:
                    return True
                tail = piece[-16:]
    except (OSError, FormatError):
        pass
    return False
