"""Named rule sets: what each reference evaluator does where definitions leave room.

A protocol is data: one typed struct of orthogonal rules per task. Metric code reads the rules and never a protocol's name, so that any two
protocols can be compared rule by rule (`segbench explain`), and a stored run can be scored under another one from its evidence.
"""

from __future__ import annotations

import difflib
from importlib import import_module

from segbench.errors import ConfigError
from segbench.protocols.base import RuleSet

__all__ = ["RuleSet", "available", "load", "rule_titles"]

_MODULES = {"semantic": "segbench.protocols.semantic", "instance": "segbench.protocols.instance", "panoptic": "segbench.protocols.panoptic"}


def of_task(task: str) -> dict[str, RuleSet]:
    """The protocols of a task by name, the default first.

    Raises:
        ConfigError: no such task.
    """
    if task not in _MODULES:
        raise ConfigError(f"there is no task {task!r}", hint=f"one of: {', '.join(_MODULES)}")
    return {rules.name: rules for rules in getattr(import_module(_MODULES[task]), task.upper())}


def rule_titles(task: str) -> dict[str, str]:
    """`{rule: what it is about}`, for tables."""
    of_task(task)
    return import_module(_MODULES[task]).RULE_TITLES


def available(task: str) -> tuple[str, ...]:
    """The names of a task's protocols, the default first."""
    return tuple(of_task(task))


def load(name: str, task: str) -> RuleSet:
    """A protocol by name.

    Raises:
        ConfigError: the task has no protocol of that name; the hint names the nearest one.
    """
    protocols = of_task(task)
    if isinstance(name, str) and name in protocols:
        return protocols[name]
    close = difflib.get_close_matches(str(name).lower(), protocols, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(f"there is no {task} protocol {name!r}", hint=f"{guess}There are: {', '.join(protocols)}")
