"""Everything that can be typed is documented, what is documented can be typed, and every example runs."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from segbench import cli, datasets, protocols
from segbench.adapters import FORMATS
from segbench.codes import CODES
from segbench.metrics.catalogue import every
from segbench.metrics.tasks import TASKS
from tests import error_cases

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
SHELL = ("bash", "sh", "console", "")


class Block(NamedTuple):
    """One fenced block: its language, the other words of its first line, its text, and what stands on the line before it."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[Block]:
    lines = read(page).splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        language, *words = lines[start][3:].split() or [""]
        before = lines[start - 1] if start else ""
        yield Block(page, start + 1, language, tuple(words), "\n".join(lines[start + 1 : number]), before)
        start = None
    assert start is None, f"{page.name}:{start}: a fence is not closed"


BLOCKS = [block for page in PAGES for block in blocks(page)]


@cache
def commands() -> dict[str, click.Command]:
    context = click.Context(cli.segbench)
    return {name: cli.segbench.get_command(context, name) for name in cli.COMMANDS}


def section(page: Path, heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", read(page), re.M | re.S)
    assert found, f"{page.name} has no section '## {heading}'"
    return found[1]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_and_option_is_documented(name):
    text = section(DOCS / "cli.md", f"segbench {name}")
    documented = set(
        re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", "\n".join(line.split(" | ")[0] for line in text.splitlines() if line.startswith("|")))
    )
    options = {
        option for parameter in commands()[name].params for option in (*parameter.opts, *parameter.secondary_opts) if option.startswith("-")
    }
    assert documented == options
    for parameter in commands()[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"
    assert commands()[name].get_short_help_str()


def test_exit_codes_are_those_of_the_code():
    from segbench import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.SegbenchError)]
    for page in (DOCS / "cli.md", ROOT / "README.md"):
        table = dict(re.findall(r"^\| (\d+) \| (.+) \|$", read(page), re.M))
        assert {str(kind.exit_code) for kind in kinds} | {"0", "130"} <= set(table), page.name


def documented_metric(metric: str) -> bool:
    """Whether the page of its task has a metric, by id or, on pages that say so, by the part behind the family."""
    family, _, name = metric.partition("/")
    if family == "semantic":
        text = read(DOCS / "metrics.md")
        return f"`{metric}`" in text or (name in ("iou", "recall", "precision", "dice") and f"`{name}`" in text)
    if family == "panoptic":
        text = read(DOCS / "panoptic.md")
        return f"`{metric}`" in text or (name.endswith(("_things", "_stuff")) and f"`{name}`" in text)
    text = read(DOCS / "instance.md")
    return f"`{family}/...`" in text and f"`{name}`" in text


def test_metrics_protocols_formats_and_presets_are_documented():
    pages = "".join(read(DOCS / name) for name in ("protocols.md", "formats.md", "instance.md", "panoptic.md"))
    for metric in every():
        assert documented_metric(metric), metric
    for task in TASKS.names():
        assert f"\n## {task.capitalize()}" in read(DOCS / "metrics.md"), task
        assert f"\n## {task.capitalize()}" in read(DOCS / "protocols.md"), task
        for name in protocols.available(task):
            assert f"`{name}`" in pages, name
    for name in FORMATS.names():
        assert f"| `{name}` |" in pages, name
    for name in datasets.available():
        assert f"`{name}`" in read(DOCS / "datasets.md"), name


def test_every_code_is_documented_and_known():
    documented = re.findall(r"^## (SB\d+)$", read(DOCS / "errors.md"), re.M)
    assert sorted(set(documented)) == sorted(documented)
    assert not set(CODES) - set(documented)
    assert documented == sorted(documented)
    for path in sorted((ROOT / "segbench").rglob("*.py")):
        for found in ast.walk(ast.parse(read(path))):
            if isinstance(found, ast.Constant) and isinstance(found.value, str):
                unknown = set(re.findall(r"SB\d{3}", found.value)) - set(CODES)
                assert not unknown, f"{path.relative_to(ROOT)}:{found.lineno}: {unknown} is not in codes.py"


@pytest.mark.parametrize("code", error_cases.CASES)
def test_the_documented_messages_are_real(code, tmp_path):
    exit_code, text = error_cases.shown(code, tmp_path)
    assert exit_code == 3
    assert f"[{code}]" in text
    assert text in section(DOCS / "errors.md", code)


def test_options_named_in_messages_exist():
    known = {
        option for command in commands().values() for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    known |= {"--help", "--version"}
    for path in sorted((ROOT / "segbench").rglob("*.py")):
        for found in ast.walk(ast.parse(read(path))):
            if isinstance(found, ast.Constant) and isinstance(found.value, str):
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", found.value))
                assert named <= known, f"{path.relative_to(ROOT)}:{found.lineno}: {sorted(named - known)}"


def segbench_lines() -> Iterator[tuple[str, str]]:
    for block in BLOCKS:
        if block.language in SHELL:
            for line in block.text.splitlines():
                for part in re.split(r"&&|\||;", line.split(" #")[0]):
                    if re.match(r"(\$ )?(\S*/)?segbench( |$)", part.strip()):
                        yield str(block), part.strip().removeprefix("$ ")


@pytest.mark.parametrize(("where", "line"), list(segbench_lines()))
def test_command_lines_parse(where, line):
    words = shlex.split(line.partition(">")[0])[1:]
    if words[:1] in ([], ["--help"], ["--version"]):
        return
    assert words[0] in commands(), f"{where}: no command {words[0]!r}"
    if "--help" not in words:
        commands()[words[0]].make_context(words[0], words[1:])


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.is_relative_to(ROOT), f"{page.name}: {target}"
        if anchor:
            headings = [slug(line.lstrip("#")) for line in read(file).splitlines() if line.startswith("#")]
            assert anchor in headings, f"{page.name}: {target}"


def test_every_page_is_linked_from_the_index():
    for index, prefix in ((DOCS / "index.md", ""), (ROOT / "README.md", "docs/")):
        for page in DOCS.glob("*.md"):
            assert page.name == "index.md" or f"]({prefix}{page.name})" in read(index), f"{index.name}: {page.name}"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with the fixtures, as the root of the repository has them."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "fixtures", folder / "fixtures")
    return folder


def examples() -> list:
    """Every Python block; one marked `frameworks` runs where those are installed."""
    found = [block for block in BLOCKS if block.language == "python"]
    return [pytest.param(block, id=str(block), marks=[pytest.mark.frameworks] if "frameworks" in block.words else []) for block in found]


@pytest.mark.parametrize("block", examples())
def test_python_examples_run(block, workspace):
    script = workspace / "example.py"
    script.write_text(block.text + "\n", encoding="utf-8")
    done = subprocess.run([sys.executable, script.name], cwd=workspace, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=str)
def test_json_examples_are_json(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.before.startswith("<!-- output of: ")], ids=str)
def test_shown_output_is_what_is_printed(block, workspace):
    words = shlex.split(block.before.removeprefix("<!-- output of: ").removesuffix("-->"))
    done = subprocess.run([sys.executable, "-m", *words], cwd=workspace, capture_output=True, text=True, check=True, timeout=300)
    printed = [line.rstrip() for line in done.stdout.strip().splitlines()]
    assert printed == block.text.splitlines()


def test_the_readme_has_the_two_one_liners_that_continuous_integration_runs():
    lines = [line for line in read(ROOT / "README.md").splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert [("segbench evaluate" in line, "bin/tox" in line) for line in lines] == [(True, False), (False, True)]
    script = read(ROOT / ".ci" / "run")
    assert "one_liner 'segbench evaluate'" in script
    assert "one_liner 'bin/tox'" in script
    assert not any(line in script for line in lines)
