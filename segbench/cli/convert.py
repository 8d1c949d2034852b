"""`segbench convert SOURCE TARGET.json`."""

from __future__ import annotations

from typing import Any

import click

from segbench.cli.console import progress_bar, say


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--instances", metavar="FILE", help="Lay these scored instances over SOURCE, which is then a folder of label maps.")
@click.option("--dataset", metavar="NAME|FILE", help="The classes.")
@click.option("--format", metavar="NAME", help="Format of SOURCE, where it is not recognised.")
@click.option("--id-space", metavar="NAME", help="Which ids SOURCE holds.")
@click.option("--maps", metavar="DIR", help="Folder of the maps that a panoptic JSON describes.")
@click.option("--ground-truth", is_flag=True, help="SOURCE is ground truth: its groups become crowds.")
@click.option(
    "--overlap", type=click.FloatRange(0, 1), metavar="SHARE", default=0.5, show_default=True, help="Leave out what is covered more."
)
@click.option(
    "--stuff-area", type=click.IntRange(min=0), metavar="PX", default=4096, show_default=True, help="Leave out stuff of fewer pixels."
)
@click.option("--confidence", type=float, metavar="SCORE", default=0.5, show_default=True, help="Leave out instances below.")
def convert(source: str, target: str, stuff_area: int, **options: Any) -> None:
    """Predictions as COCO panoptic: TARGET.json, and the PNG maps in the folder of its name.

    \b
    segbench convert preds_semantic/ panoptic.json --instances results.json --dataset coco_panoptic
    segbench convert gtFine/val/ panoptic_gt.json --dataset cityscapes --ground-truth
    """
    from segbench.conversion import convert as run

    with progress_bar(True) as progress:
        written = run(source, target, stuff_area_px=stuff_area, say=say, progress=progress, **options)
    say(f"wrote {written} and {written.with_suffix('')}/")
