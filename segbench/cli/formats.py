"""`segbench formats`."""

from __future__ import annotations

import json

import click

from segbench.cli.console import stdout, table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def formats(as_json: bool) -> None:
    """The file formats that can be read; --format and --gt-format take their names."""
    from segbench.adapters import FORMATS

    entries = [FORMATS.get(name) for name in (*FORMATS.names(), *FORMATS.plugins())]
    if as_json:
        rows = [
            {"name": entry.name, "title": entry.title, "layout": entry.layout, "tasks": entry.tasks, "suffixes": entry.suffixes}
            for entry in entries
        ]
        click.echo(json.dumps({"schema": "segbench.formats/1", "formats": rows}))
        return
    listing = table()
    for head in ("name", "what", "how it lies", "tasks"):
        listing.add_column(head)
    for entry in entries:
        listing.add_row(entry.name, entry.title, entry.layout, ", ".join(entry.tasks))
    stdout(markup=False).print(listing)
