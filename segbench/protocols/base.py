"""What a protocol is, for every task."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec


class RuleSet(msgspec.Struct, frozen=True, kw_only=True):
    """A protocol.

    Attributes:
        name: What the user types.
        task: `semantic`, ...
        version: Raised when a rule of this name changes.
        rules: The rules; their type belongs to the task.
        reference: The tool or paper whose numbers it gives.
        note: What the reference does beyond the rules, for people.
    """

    name: str
    task: str
    version: int = 1
    rules: Any
    reference: str
    note: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """The rules as plain values, as they stand in `result.json`."""
        return msgspec.to_builtins(self.rules)

    @property
    def digest(self) -> str:
        """`sha256:...` of the task and its rules. Equal digests mean equal rules, whatever the names."""
        canonical = json.dumps({"task": self.task, "rules": self.options}, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
