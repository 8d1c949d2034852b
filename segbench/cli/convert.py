"""`segbench convert SOURCE TARGET.json`."""

from __future__ import annotations

from typing import Any

import click

from segbench.cli.console import progress_bar, say, written


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
@click.option("-q", "--quiet", is_flag=True, help="No messages and no progress.")
def convert(source: str, target: str, stuff_area: int, quiet: bool, **options: Any) -> None:
    """Predictions as COCO panoptic: TARGET.json, and the PNG maps in the folder of its name.

    \b
    segbench convert preds_semantic/ panoptic.json --instances results.json --dataset coco_panoptic
    segbench convert gtFine/val/ panoptic_gt.json --dataset cityscapes --ground-truth
    """
    from segbench.conversion import convert as run

    told = (lambda text: None) if quiet else say
    with progress_bar(not quiet) as progress:
        path = run(source, target, stuff_area_px=stuff_area, say=told, progress=progress, **options)
    written.append(str(path))
    told(f"wrote {path} and {path.with_suffix('')}/")
