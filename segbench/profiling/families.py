"""Which modules of a model are its backbone: told, known by family, told by name, or not at all. Never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from segbench.errors import ConfigError
from segbench.profiling.records import Split


class Family(NamedTuple):
    """Models of one library whose classes share their module names.

    Attributes:
        name: How records call it.
        classes: The model's class, as `package.Class`; a trailing `*` matches any rest. The package is the first part of the module's name.
        backbone, neck: Module paths; a trailing `*` matches any rest of one part. All those that exist count.
    """

    name: str
    classes: tuple[str, ...]
    backbone: tuple[str, ...]
    neck: tuple[str, ...] = ()


FAMILIES = (
    Family("hf.segformer", ("transformers.Segformer*",), ("segformer",)),
    Family("hf.upernet", ("transformers.UperNet*",), ("backbone",)),
    Family(
        "hf.mask-classification",
        ("transformers.Mask2Former*", "transformers.MaskFormer*"),
        ("model.pixel_level_module.encoder",),
        ("model.pixel_level_module.decoder",),
    ),
    Family("hf.oneformer", ("transformers.OneFormer*",), ("model.pixel_level_module.encoder",), ("model.pixel_level_module.decoder",)),
    Family("hf.dpt", ("transformers.DPT*",), ("dpt", "backbone"), ("neck",)),
    Family("hf.mobilevit", ("transformers.MobileViT*",), ("mobilevit", "mobilevitv2")),
    Family("hf.mobilenet", ("transformers.MobileNetV2*",), ("mobilenet_v2",)),
    Family("hf.beit", ("transformers.Beit*", "transformers.Data2VecVision*"), ("beit", "data2vec_vision")),
    Family(
        "hf.detr", ("transformers.DetrForSegmentation*", "transformers.DetrForObjectDetection*"), ("detr.model.backbone", "model.backbone")
    ),
    Family("hf.sam", ("transformers.SamModel*", "transformers.Sam2Model*"), ("vision_encoder",)),
    Family("hf.clipseg", ("transformers.CLIPSeg*",), ("clip",)),
    Family("smp", ("segmentation_models_pytorch.*",), ("encoder",)),
    Family("torchvision.detection", ("torchvision.MaskRCNN*", "torchvision.FasterRCNN*"), ("backbone.body",), ("backbone.fpn",)),
    Family("torchvision.segmentation", ("torchvision.DeepLabV3*", "torchvision.FCN*", "torchvision.LRASPP*"), ("backbone",)),
    Family("openmmlab", ("mmseg.*", "mmdet.*"), ("backbone",), ("neck",)),
)
"""What was tried on real models."""

REFUSED = {
    "transformers.Eomt*": "its queries run inside the encoder's blocks, so no split by modules is right; "
    "compare it with its encoder alone, --reference TARGET",
    "ultralytics.*": "its layers are one list; name the backbone's, such as --backbone model.0,model.1,...",
}
"""Families that names would split wrongly, and why."""

BACKBONES = ("backbone", "encoder", "vision_encoder", "image_encoder")
HEADS = ("decode_head", "decoder", "head", "classifier", "segmentation_head", "mask_decoder", "mask_head", "sem_seg_head", "neck")
NECKS = ("neck", "fpn")


class Named(NamedTuple):
    """One module of a model: its path and the class in the form `package.Class`."""

    path: str
    kind: str


def kind_of(module: object) -> str:
    """`package.Class` of a module."""
    cls = type(module)
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def split(
    modules: Sequence[Named], backbone: str | None, neck: str | None = None, neck_in: str = "head"
) -> tuple[Split | None, str | None]:
    """Which modules are backbone and neck.

    Args:
        modules: All modules, the model itself first, with path ''.
        backbone: Module paths with commas between, `auto`, or None for no split.
        neck: The same; with `auto` the family's.
        neck_in: `head` or `backbone`: where ratios put the neck.

    Returns:
        The split, the family's name. Without a split, the second is why there is none.

    Raises:
        ConfigError: a path that is no module.
    """
    if neck_in not in ("head", "backbone"):
        raise ConfigError(f"a neck belongs to head or backbone, not to {neck_in!r}")
    paths = [module.path for module in modules]
    if backbone is None or backbone == "none":
        return None, "not asked for"
    if backbone != "auto":
        necks = _existing(neck, paths) if neck else []
        return Split(backbone=_existing(backbone, paths), neck=necks, decided="option", neck_in=neck_in), None
    if refused := _refusal(modules):
        return None, refused
    for module in modules:
        family = next((family for family in FAMILIES if _is_of(module.kind, family.classes)), None)
        if family is None:
            continue
        below = [path for path in paths if _is_below(path, module.path)]
        found = _under(module.path, family.backbone, below)
        if found:
            necks = _existing(neck, paths) if neck else _under(module.path, family.neck, below)
            return Split(backbone=found, neck=necks, decided="family", neck_in=neck_in), family.name
    return _by_name(modules, paths, neck, neck_in)


def family_of(modules: Sequence[Named]) -> str | None:
    """The family of the first module that has one."""
    return next((family.name for module in modules for family in FAMILIES if _is_of(module.kind, family.classes)), None)


def _by_name(modules: Sequence[Named], paths: list[str], neck: str | None, neck_in: str) -> tuple[Split | None, str | None]:
    """Exactly one child is called a backbone and another is called a head: anything less is not decided."""
    parent = ""
    while True:
        children = [path for path in paths if path and path.rpartition(".")[0] == parent]
        names = {path.rpartition(".")[2]: path for path in children}
        backbones = [names[name] for name in BACKBONES if name in names]
        heads = [names[name] for name in HEADS if name in names]
        if len(backbones) == 1 and heads:
            necks = _existing(neck, paths) if neck else [names[name] for name in NECKS if name in names]
            return Split(backbone=backbones, neck=necks, decided="name", neck_in=neck_in), None
        if len(backbones) > 1:
            return None, f"several modules may be the backbone ({', '.join(backbones)}); name one with --backbone"
        if len(children) != 1:
            return None, "no family known and no module called backbone or encoder beside a head; name the backbone's with --backbone"
        parent = children[0]


def _refusal(modules: Sequence[Named]) -> str | None:
    for module in modules:
        for pattern, why in REFUSED.items():
            if _is_of(module.kind, (pattern,)):
                return f"{module.kind}: {why}"
    return None


def _is_of(kind: str, patterns: Sequence[str]) -> bool:
    return any(kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern for pattern in patterns)


def _is_below(path: str, parent: str) -> bool:
    return not parent or path == parent or path.startswith(f"{parent}.")


def _under(parent: str, names: Sequence[str], paths: Sequence[str]) -> list[str]:
    wanted = [f"{parent}.{name}" if parent else name for name in names]
    return [path for path in wanted if path in paths]


def _existing(option: str, paths: Sequence[str]) -> list[str]:
    wanted = [part.strip() for part in option.split(",") if part.strip()]
    unknown = [path for path in wanted if path not in paths]
    if unknown or not wanted:
        from difflib import get_close_matches

        close = get_close_matches(unknown[0], paths, 3, 0.4) if unknown else []
        top = [path for path in paths if path and "." not in path]
        raise ConfigError(
            f"the model has no module {unknown[0]!r}" if unknown else "no module is named",
            hint=f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(top[:12])}",
        )
    return wanted
