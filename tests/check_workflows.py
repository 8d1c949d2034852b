"""Checks the action and the workflows that the documentation tells users to write, against GitHub's schemas: `tox -e lint`."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"^```yaml\n(.*?)^```", re.S | re.M)


def workflows() -> list[str]:
    """The workflows in the documentation."""
    texts = [text for page in sorted((ROOT / "docs").glob("*.md")) for text in EXAMPLE.findall(page.read_text(encoding="utf-8"))]
    return [text for text in texts if re.search(r"^jobs:", text, re.M)]


def check(schema: str, *files: Path) -> int:
    """The exit code of check-jsonschema with a schema that it brings along."""
    return subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)], check=False).returncode


def main() -> int:
    """0 if all are valid."""
    found = workflows()
    if len(found) < 2:
        print("the documentation has fewer than two workflows: are they still fenced as yaml?", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for index, text in enumerate(found):
            files.append(Path(folder) / f"workflow{index}.yml")
            files[-1].write_text(text, encoding="utf-8")
        return max(check("vendor.github-actions", ROOT / "action.yml"), check("vendor.github-workflows", *files))


if __name__ == "__main__":
    sys.exit(main())
