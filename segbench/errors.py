"""Every exception segbench raises on purpose.

    SegbenchError                    exit code
    ├── InputError (ValueError)          3    something is wrong with the files or arrays that were given
    │   ├── FormatError                       a file cannot be read as what it should be
    │   ├── PairingError                      predictions and ground truth do not belong together
    │   ├── ShapeError                        prediction and ground truth differ in size
    │   └── LabelError                        a label value means no class
    ├── ConfigError (ValueError)         2    an option, data set or protocol name that does not exist
    ├── ComparabilityError (ValueError)  4    results that may not be compared
    └── MissingDependencyError (ImportError)  6   an optional package is not installed

A message says what is wrong; `files` where; `hint` what to type. `str(error)` is the whole text a person sees.
"""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 5
"""How many examples a message shows; `count` holds how many there are."""


class SegbenchError(Exception):
    """The root: catch this to catch all of them.

    Args:
        message: What is wrong, one sentence, names the thing.
        files: `(role, path)` pairs or paths; the first five are shown.
        hint: What to type or do next.
        code: A validator code of `segbench.codes`, such as `"SB101"`.
        count: How many such problems there are, where more than `files` tells.
    """

    exit_code = 70

    def __init__(
        self,
        message: str,
        *,
        files: Sequence[str | tuple[str, str]] = (),
        hint: str | None = None,
        code: str | None = None,
        count: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.files = [("file", str(item)) if not isinstance(item, tuple) else (item[0], str(item[1])) for item in files]
        self.hint = hint
        self.code = code
        self.count = count if count is not None else max(1, len(self.files))

    def __str__(self) -> str:
        lines = [f"{self.message} [{self.code}]" if self.code else self.message]
        shown = self.files[: 2 * SHOWN]
        width = max((len(role) for role, _ in shown), default=0) + 1
        lines += [f"  {role + ':':<{width}} {path}" for role, path in shown]
        examples = sum(role == shown[0][0] for role, _ in shown)  # both files of a pair are one problem
        if self.count > max(examples, SHOWN) and shown:
            lines.append(f"  ... {self.count} in all")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self):  # keyword-only arguments survive the trip from a worker process
        return _rebuild, (type(self), self.message, self.files, self.hint, self.code, self.count)


def _rebuild(cls: type[SegbenchError], message, files, hint, code, count) -> SegbenchError:
    return cls(message, files=files, hint=hint, code=code, count=count)


class InputError(SegbenchError, ValueError):
    """Something is wrong with the files or arrays that were given."""

    exit_code = 3


class FormatError(InputError):
    """A file cannot be read as what it should be."""


class PairingError(InputError):
    """Predictions and ground truth do not belong together."""


class ShapeError(InputError):
    """Prediction and ground truth differ in size."""


class LabelError(InputError):
    """A label value means no class of the data set."""


class ConfigError(SegbenchError, ValueError):
    """An option, data set, protocol or metric that does not exist, or options that contradict one another."""

    exit_code = 2


class ComparabilityError(SegbenchError, ValueError):
    """Results that may not be compared or merged."""

    exit_code = 4


class MissingDependencyError(SegbenchError, ImportError):
    """An optional package is not installed."""

    exit_code = 6


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`: for messages."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def raise_first(errors: Sequence[InputError]) -> None:
    """Raises the first of several images' errors, with the files of the first five of its code and how many there are; or nothing.

    Raises:
        InputError: as told. Where the others of its code say something else, and where there are other codes, the message says so.
    """
    if not errors:
        return
    first = errors[0]
    if len(errors) == 1:
        raise first
    alike = [error for error in errors if error.code == first.code]
    others = len(errors) - len(alike)
    notes = [f"the first of {len(alike)} such images, whose details differ"] if len({error.message for error in alike}) > 1 else []
    notes += [f"and {counted(others, 'image')} with other problems"] if others else []
    message = f"{first.message} ({'; '.join(notes)})" if notes else first.message
    files = [file for error in alike[:SHOWN] for file in error.files]
    raise type(first)(message, files=files, hint=first.hint, code=first.code, count=max(len(alike), first.count)) from first
