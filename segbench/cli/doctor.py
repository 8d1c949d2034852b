"""`segbench doctor`."""

from __future__ import annotations

import json

import click

from segbench.cli.console import stdout, table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> int:
    """Whether this installation is in order: versions, cache folder, kernels, terminal. Exit 70 where it is not."""
    from segbench.diagnosis import checks

    found = checks()
    if as_json:
        rows = [{"name": check.name, "ok": check.ok, "found": check.found, "hint": check.hint} for check in found]
        click.echo(json.dumps({"schema": "segbench.doctor/1", "checks": rows}))
    else:
        from rich.text import Text

        listing = table()
        for head in ("", "check", "found"):
            listing.add_column(head)
        for check in found:
            mark = Text("ok", "green") if check.ok else Text("no", "red")
            listing.add_row(mark, check.name, check.found + (f"\nhint: {check.hint}" if check.hint and not check.ok else ""))
        stdout(markup=False).print(listing)
    return 0 if all(check.ok for check in found) else 70
