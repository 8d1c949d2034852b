"""Who may import whom: the table of CONTRIBUTING.md, held against the imports of every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "segbench"

LEARNING = {"torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "openvino", "transformers", "jax", "tensorflow", "cupy"}
LAZY = LEARNING | {"pandas", "matplotlib", "jinja2", "dask", "distributed", "tifffile", "rasterio", "nibabel"}
"""Imported inside functions only, wherever a group may use them at all: each costs start-up time or is an extra."""


class Group(NamedTuple):
    """Modules with one rank. `modules` are names or prefixes below `segbench`; `may` the groups they import; `packages` what else."""

    layer: int
    modules: tuple[str, ...]
    may: tuple[str, ...]
    packages: set[str]


LOW = ("base", "canonical")
GROUPS = {
    "base": Group(0, ("errors", "codes", "files", "limits"), (), set()),
    "kernels": Group(1, ("kernels.",), (), {"numpy", "numba", "llvmlite"}),
    "canonical": Group(
        2,
        ("samples", "instances", "sizes", "evidence", "dataset_schema", "datasets", "protocols", "protocols.", "registry"),
        ("base",),
        {"numpy", "msgspec"},
    ),
    "adapters": Group(
        3,
        ("adapters", "adapters."),
        (*LOW, "kernels"),
        {"numpy", "msgspec", "PIL", "deflate", "pycocotools", "tifffile", "rasterio", "nibabel"} | LEARNING,
    ),
    "metrics": Group(3, ("metrics", "metrics.", "significance."), (*LOW, "kernels"), {"numpy", "msgspec"}),
    "results": Group(
        4, ("executors", "results", "result_schema", "storage"), (*LOW, "metrics"), {"numpy", "msgspec", "pandas", "dask", "distributed"}
    ),
    "evaluation": Group(
        5,
        (
            "evaluation",
            "jobs",
            "conversion",
            "opening",
            "accumulation",
            "comparison.",
            "gates.",
            "reporting.",
            "inspection",
            "panoptic_inspection",
            "instance_inspection",
            "diagnosis",
            "scrutiny",
            "profiling.",
        ),
        (*LOW, "kernels", "adapters", "metrics", "results"),
        {"numpy", "msgspec", "numba", "PIL", "pandas", "jinja2"} | LEARNING,
    ),
    "products": Group(
        6,
        ("leaderboard.", "compat.", "testing", "scenes", "scenes."),
        (*LOW, "kernels", "adapters", "metrics", "results", "evaluation"),
        {"numpy", "msgspec", "pandas", "matplotlib", "jinja2", "PIL", "pycocotools"},
    ),
    "cli": Group(
        7,
        ("cli", "cli.", "__main__"),
        (*LOW, "adapters", "metrics", "results", "evaluation", "products"),
        {"click", "rich"},
    ),
}
"""The table. A group may import itself, kernels excepted; a module that fits no group is an error, so that a new one is given its place."""


class Import(NamedTuple):
    """One import: of what, on which line, and whether it runs when the module is imported."""

    target: str
    line: int
    at_start: bool


def modules() -> dict[str, Path]:
    """Module name below `segbench` -> file; the package itself is ''."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def group_of(module: str) -> str:
    """The group of a module: an exact name first, else a prefix."""
    for name, group in GROUPS.items():
        if module in group.modules:
            return name
    for name, group in GROUPS.items():
        if any(module.startswith(prefix) for prefix in group.modules if prefix.endswith((".", "_"))) or f"{module}." in group.modules:
            return name
    raise AssertionError(f"segbench.{module} has no place in the table: add it to GROUPS and to CONTRIBUTING.md")


def imports(module: str) -> Iterator[Import]:
    """Every import of a module; `from segbench import x` counts as `segbench.x` where x is a module."""

    def visit(node: ast.AST, at_start: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, at_start) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"segbench.{module}:{child.lineno}: relative import"
                source = str(child.module)
                for alias in child.names:
                    inner = f"{source}.{alias.name}".removeprefix("segbench.")
                    is_module = source.partition(".")[0] == "segbench" and inner in MODULES
                    yield Import(f"segbench.{inner}" if is_module else source, child.lineno, at_start)
            else:
                typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
                yield from visit(
                    child, at_start and not typing_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                )

    yield from visit(ast.parse(MODULES[module].read_text(encoding="utf-8")), True)


def is_own(target: str) -> bool:
    return target.partition(".")[0] == "segbench"


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_imports_follow_the_table(module):
    own = group_of(module)
    group = GROUPS[own]
    for found in imports(module):
        where = f"segbench.{module}:{found.line}"
        top = found.target.partition(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if is_own(found.target):
            target = found.target.removeprefix("segbench").removeprefix(".")
            if target:  # the package itself holds the version and imports nothing
                other = group_of(target)
                assert other == own or other in group.may, f"{where}: {own} may not import {other} ({found.target})"
                assert own != "kernels" or target == "kernels._jit", f"{where}: a kernel file imports another ({found.target})"
            continue
        assert top in group.packages, f"{where}: {own} may not import {top}"
        assert not (found.at_start and top in LAZY), f"{where}: {top} is imported inside functions only"


def test_the_package_itself_imports_nothing():
    at_start = [found.target for found in imports("") if found.at_start]
    assert set(at_start) <= {"__future__", "typing"}


def test_no_group_imports_a_higher_one():
    for name, group in GROUPS.items():
        for other in group.may:
            assert GROUPS[other].layer < group.layer, (name, other)
    assert "adapters" not in GROUPS["metrics"].may
    assert "metrics" not in GROUPS["adapters"].may


def test_no_import_cycle_at_start():
    graph = {
        name: {found.target.removeprefix("segbench.") for found in imports(name) if found.at_start and is_own(found.target)}
        for name in MODULES
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name in done:
            return
        for target in graph.get(name, ()):
            visit(target, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_the_table_is_the_one_of_the_documentation():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    written = {row[1]: row for row in rows if len(row) == 5 and row[0].isdigit()}
    assert set(written) == {f"{name}" for name in GROUPS}
    for name, group in GROUPS.items():
        layer, _, listed, may, packages = written[name]
        assert int(layer) == group.layer
        assert set(listed.replace("`", "").split(", ")) == {
            module.rstrip(".") + (".*" if module.endswith(".") else "*" if module.endswith("_") else "") for module in group.modules
        }
        assert set(may.split(", ")) == (set(group.may) or {"-"})
        named = set(packages.replace("`", "").split(", "))
        expected = {"-"} if not group.packages else {"learning" if package in LEARNING else package for package in group.packages}
        assert named == expected
