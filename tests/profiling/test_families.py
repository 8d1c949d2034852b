"""Backbones: told, of a known family, unmistakable by name, or refused."""

from __future__ import annotations

import pytest

from segbench.errors import ConfigError
from segbench.profiling.families import FAMILIES, Named, family_of, kind_of, split


def model(kind: str, *paths: str, kinds: dict[str, str] | None = None) -> list[Named]:
    return [Named("", kind), *(Named(path, (kinds or {}).get(path, "tests.Part")) for path in paths)]


MASK2FORMER = model("transformers.Mask2FormerForUniversalSegmentation", "model", "model.pixel_level_module")
MASK2FORMER += [Named(f"model.pixel_level_module.{part}", "transformers.Part") for part in ("encoder", "decoder")]


@pytest.mark.parametrize(
    ("modules", "backbone", "neck", "name"),
    [
        (model("transformers.SegformerForSemanticSegmentation", "segformer", "decode_head"), ["segformer"], [], "hf.segformer"),
        (MASK2FORMER, ["model.pixel_level_module.encoder"], ["model.pixel_level_module.decoder"], "hf.mask-classification"),
        (model("segmentation_models_pytorch.Unet", "encoder", "decoder", "segmentation_head"), ["encoder"], [], "smp"),
        (
            model("torchvision.MaskRCNN", "backbone", "backbone.body", "backbone.fpn", "rpn"),
            ["backbone.body"],
            ["backbone.fpn"],
            "torchvision.detection",
        ),
        (
            model("tests.Wrapper", "net", "net.backbone", "net.classifier", kinds={"net": "torchvision.DeepLabV3"}),
            ["net.backbone"],
            [],
            "torchvision.segmentation",
        ),
    ],
)
def test_families(modules, backbone, neck, name):
    found, family = split(modules, "auto")
    assert (found.backbone, found.neck, found.decided, family) == (backbone, neck, "family", name)
    assert family_of(modules) == name


@pytest.mark.parametrize(
    ("paths", "backbone", "neck"),
    [
        (["encoder", "decoder"], ["encoder"], []),
        (["backbone", "neck", "head"], ["backbone"], ["neck"]),
        (["image_encoder", "prompt_encoder", "mask_decoder"], ["image_encoder"], []),
        (["net", "net.encoder", "net.encoder.layer", "net.decoder"], ["net.encoder"], []),  # a wrapper around it
    ],
)
def test_unmistakable_names(paths, backbone, neck):
    found, _ = split(model("mine.Net", *paths), "auto")
    assert (found.backbone, found.neck, found.decided) == (backbone, neck, "name")


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        (model("mine.Net", "body", "top"), "no family known"),
        (model("mine.Net", "encoder", "blocks"), "no family known"),  # nothing beside it that is called a head
        (model("mine.Net", "backbone", "encoder", "head"), "several modules"),
        (model("mine.Net"), "no family known"),
        (model("transformers.EomtForUniversalSegmentation", "embeddings", "layers", "encoder", "mask_head"), "queries"),
        (model("tests.Wrapper", "net", "net.model", kinds={"net": "ultralytics.SegmentationModel"}), "--backbone"),
    ],
)
def test_a_refusal_instead_of_a_guess(modules, why):
    found, reason = split(modules, "auto")
    assert found is None
    assert why in reason


def test_options_come_first():
    modules = model("transformers.SegformerForSemanticSegmentation", "segformer", "decode_head", "decode_head.linear")
    found, _ = split(modules, "decode_head.linear, segformer", neck="decode_head", neck_in="backbone")
    assert (found.backbone, found.neck, found.decided, found.neck_in) == (
        ["decode_head.linear", "segformer"],
        ["decode_head"],
        "option",
        "backbone",
    )
    assert split(modules, None) == (None, "not asked for")
    assert split(modules, "none")[0] is None
    for wrong in ("segfomer", "", " , "):
        with pytest.raises(ConfigError):
            split(modules, wrong)
    with pytest.raises(ConfigError, match="did you mean segformer"):
        split(modules, "segfomer")
    with pytest.raises(ConfigError, match="head or backbone"):
        split(modules, "auto", neck_in="both")


def test_a_family_whose_modules_are_elsewhere_falls_back_to_names():
    found, _ = split(model("segmentation_models_pytorch.New", "backbone", "head"), "auto")
    assert (found.backbone, found.decided) == (["backbone"], "name")


def test_kinds_name_the_package():
    assert kind_of(FAMILIES[0]) == "segbench.Family"
