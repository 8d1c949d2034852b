"""Names to objects: built-ins, then what installed packages offer under an entry-point group."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from segbench.errors import ConfigError


class Registry:
    """Looks names up; a built-in is imported when it is asked for, and entry points are scanned only for a name that is no built-in.

    Args:
        kind: What the names are, for messages: `format`, `protocol`, ...
        builtins: `{name: "module:attribute"}`.
        group: Entry-point group of plug-ins, or None.
    """

    def __init__(self, kind: str, builtins: Mapping[str, str], group: str | None = None) -> None:
        self.kind = kind
        self.builtins = dict(builtins)
        self.group = group

    def names(self) -> tuple[str, ...]:
        """Built-in names, in their order."""
        return tuple(self.builtins)

    def plugins(self) -> dict[str, Any]:
        """Entry points by name; scanning costs about 30 ms, so nothing asks for it on the usual path."""
        if self.group is None:
            return {}
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=self.group)}

    def get(self, name: str) -> Any:
        """The object of a name.

        Raises:
            ConfigError: unknown, with the closest names; or a plug-in that fails to load, with its distribution.
        """
        if name in self.builtins:
            module, _, attribute = self.builtins[name].partition(":")
            return getattr(import_module(module), attribute)
        plugins = self.plugins()
        if name in plugins:
            point = plugins[name]
            try:
                return point.load()
            except Exception as error:
                origin = point.dist.name if point.dist else "an installed package"
                raise ConfigError(f"{self.kind} {name!r} of {origin} does not load: {error}", hint=f"update or remove {origin}") from error
        known = [*self.builtins, *plugins]
        close = get_close_matches(name, known, 3, 0.5)
        raise ConfigError(
            f"no {self.kind} is called {name!r}",
            hint=f"did you mean {' or '.join(close)}?" if close else f"one of {', '.join(known)}",
        )
