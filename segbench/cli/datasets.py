"""`segbench datasets`: which data sets are known, and what their label values mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from segbench.datasets import Dataset, LabelClass


@click.command("datasets")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; of one data set, a description to start a dataset.json from.")
def datasets(name: str | None, as_json: bool) -> None:
    """List the data sets, or show one: its classes, ids, void values and pairing rule."""
    from segbench import datasets as library

    if name is None:
        every = [library.load(preset) for preset in library.available()]
        if as_json:
            click.echo(json.dumps({"schema": "segbench.datasets/1", "datasets": [_summary(dataset) for dataset in every]}))
        else:
            _show_list(every)
    elif as_json:
        click.echo(library.to_json(library.load(name)), nl=False)
    else:
        _show(library.load(name))


def _summary(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "title": dataset.title,
        "tasks": dataset.tasks,
        "num_classes": dataset.num_classes,
        "things": dataset.isthing.count(True),
        "stuff": dataset.isthing.count(False),
        "void_ids": dataset.void_ids,
        "spaces": dataset.spaces,
        "protocols": {task: dataset.protocol(task) for task in dataset.tasks},
    }


def _console() -> Console:
    from segbench.cli.console import stdout

    return stdout(markup=False, pipe_width=None)


def _show_list(every: list[Dataset]) -> None:
    from rich.table import Table

    console = _console()
    with_titles = console.width >= 110
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("name", no_wrap=True)
    if with_titles:
        table.add_column("title")
    for column in ("classes", "things", "stuff"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("void", no_wrap=True)
    table.add_column("task protocol")
    for dataset in every:
        table.add_row(
            dataset.name,
            *([dataset.title] if with_titles else []),
            str(dataset.num_classes),
            *(str(dataset.isthing.count(kind) or "-") for kind in (True, False)),
            _numbers(dataset.void_ids),
            "\n".join(f"{task} {dataset.protocol(task)}" for task in dataset.tasks),
        )
    console.print(table)
    console.print("\nsegbench datasets NAME shows one; --dataset FILE.json takes a description of your own.")


def _show(dataset: Dataset) -> None:
    from rich.table import Table

    console = _console()
    console.print(f"{dataset.name}: {dataset.title}" if dataset.title else dataset.name, style="bold")
    facts = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column(overflow="fold")
    for label, text in _facts(dataset):
        facts.add_row(label, text)
    console.print(facts)
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    with_train, with_groups = dataset.has_train_ids, bool(dataset.groups)
    for column, shown in (("index", True), ("id", True), ("train id", with_train)):
        if shown:
            table.add_column(column, justify="right", no_wrap=True)
    for column, shown in (("name", True), ("kind", True), ("group", with_groups), ("colour", True)):
        if shown:
            table.add_column(column, overflow="fold")
    for row in dataset.classes:
        cells = [str(dataset.indices.get(row.id, "-")), str(row.id)]
        cells += ["-" if row.train_id is None else str(row.train_id)] if with_train else []
        cells += [row.name, _kind(row)]
        cells += [row.supercategory or ""] if with_groups else []
        table.add_row(*cells, _swatch(row), style="dim" if row.ignore else None)
    console.print(table)


def _facts(dataset: Dataset) -> list[tuple[str, str]]:
    """Label and text of everything worth saying; what a data set does not say has no line."""
    void = dataset.num_classes
    things, stuff = dataset.isthing.count(True), dataset.isthing.count(False)
    known = f": {things} things, {stuff} stuff" if things + stuff else ""
    lines = [("classes", f"{void} evaluated of {len(dataset.classes)} listed{known}")]
    for space in dataset.spaces:
        value_map = dataset.value_map(space)
        classes = value_map.values[value_map.targets < void]
        voids = value_map.values[value_map.targets == void]
        note = dataset.space_notes.get(space) or (dataset.other_spaces[space].note if space in dataset.other_spaces else "")
        text = f"{_numbers(classes.tolist())}; void {_numbers(voids.tolist())}" + (f" ({note})" if note else "")
        lines.append((f"ids: {space}", text))
    lines.append(("protocols", ", ".join(f"{task} {dataset.protocol(task)}" for task in dataset.tasks)))
    if dataset.protocol_note:
        lines.append(("why", dataset.protocol_note))
    if dataset.label_divisor:
        lines.append(("instance files", f"class * {dataset.label_divisor} + instance"))
    matching = dataset.matching
    texts = {
        "key": matching.key_pattern,
        "ground truth ends in": ", ".join(matching.gt_suffixes),
        "images end in": ", ".join(matching.image_suffixes),
        "not label files": ", ".join(matching.skip),
        "pairing": matching.note,
    }
    lines += [(label, text) for label, text in texts.items() if text]
    if any(row.color for row in dataset.classes):
        lines.append(("colours", _color_text(dataset)))
    for label, entries in (("files", dataset.encodings), ("rules", dataset.rules), ("variants", dataset.variants)):
        lines += [(f"{label}: {key}", text) for key, text in entries.items()]
    lines += [("note", note) for note in dataset.notes]
    lines += [("source", _source(source)) for source in dataset.sources]
    return lines


def _color_text(dataset: Dataset) -> str:
    text = "one per class: colour images can be decoded" if dataset.rgb_decodable else "colour images cannot be decoded"
    if dataset.ambiguous_colors:
        text += "; same colour: " + ", ".join(" = ".join(str(label) for label in group) for group in dataset.ambiguous_colors)
    if dataset.void_lookalikes:
        text += "; as an ignored class: " + ", ".join(f"{name} = {ignored}" for name, ignored in dataset.void_lookalikes)
    return text


def _source(source: Any) -> str:
    place = " ".join(part for part in (source.repo or source.package, source.path, source.commit) if part)
    return "; ".join(part for part in (place, source.facts, source.note) if part)


def _kind(row: LabelClass) -> str:
    if row.ignore:
        return "void"
    return {True: "thing", False: "stuff", None: ""}[row.isthing] + (" group" if row.group else "")


def _swatch(row: LabelClass) -> Any:
    from rich.text import Text

    if row.color is None:
        return Text("")
    code = "#{:02x}{:02x}{:02x}".format(*row.color)
    return Text.assemble(("  ", f"on {code}"), " ", code)


def _numbers(values: Any) -> str:
    """Numbers as ranges: `0-18, 255`."""
    ordered = sorted(values)
    if not ordered:
        return "none"
    starts = [at for at, value in enumerate(ordered) if at == 0 or value != ordered[at - 1] + 1]
    ends = [at - 1 for at in starts[1:]] + [len(ordered) - 1]
    pairs = [(ordered[start], ordered[end]) for start, end in zip(starts, ends, strict=True)]
    return ", ".join(str(low) if low == high else f"{low}-{high}" if high > low + 1 else f"{low}, {high}" for low, high in pairs)
