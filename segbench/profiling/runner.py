"""What every backend gives to the measurement, and the one for plain callables."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from segbench.errors import ConfigError, InputError, MissingDependencyError
from segbench.profiling.families import Named
from segbench.profiling.macs_torch import Count
from segbench.profiling.records import Check, Runtime, Split, Tensor
from segbench.profiling.spec import Spec
from segbench.profiling.timing import Clock, Run, StageTimer, WallClock

SETS = 8
"""Sets of inputs that calls take by turns."""

SETS_BYTES = 1 << 29
"""Of all of them together, at most."""

T = TypeVar("T")


class Failed(Exception):
    """A measurement that cannot be made, which is a result: `kind` as in `records.Failure`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Runner(Protocol):
    """One loaded model with inputs. `run` is one call; `output` what the last call gave."""

    clock: Clock
    modules: Sequence[Named]
    output: Any
    staged: bool

    def run(self) -> Any: ...
    def describe(self, count: Count | None) -> Runtime: ...
    def count(self) -> Count | None: ...
    def parameters(self, split: Split | None) -> dict[str, int] | None: ...
    def backbone(self, split: Split) -> Run | None:
        """Only the backbone (and the neck, where that belongs to it), as a call of its own; None where it cannot be cut out."""
        ...

    def follow(self, split: Split, timer: StageTimer) -> Callable[[], None]:
        """Lets the modules of a split report to a timer; the result ends that. Only where `staged`."""
        ...

    def check(self) -> Check | None: ...
    def transfers(self) -> dict[str, Run]:
        """Copies between host and device as calls of their own: `h2d` of the inputs, `d2h` of the output; none where they do not move."""
        ...


def make_arrays(inputs: Sequence[Tensor], seed: int) -> list[NDArray]:
    """Inputs of the asked shapes, the same for every backend: normal numbers for floats, 0 and 1 for the others."""
    random = np.random.default_rng(seed)
    arrays = []
    for entry in inputs:
        if "float" in entry.dtype:
            array: NDArray = random.standard_normal(entry.shape, dtype=np.float32)
        else:
            array = random.integers(0, 2, entry.shape)
        arrays.append(array.astype("float32" if entry.dtype == "bfloat16" else entry.dtype, copy=False))
    return arrays


def input_sets(inputs: Sequence[Tensor]) -> int:
    """How many sets of inputs the calls take by turns, so that nothing that remembers an input is timed: fewer of very large ones."""
    size = sum(8 * math.prod(entry.shape) for entry in inputs)
    return max(1, min(SETS, SETS_BYTES // max(1, size)))


class Turns(Generic[T]):
    """Sets of inputs, one after the other, over and over; the first is that of `make_arrays(inputs, seed)`."""

    def __init__(self, inputs: Sequence[Tensor], seed: int, prepared: Callable[[list[NDArray]], T]) -> None:
        self.sets = [prepared(make_arrays(inputs, seed + turn)) for turn in range(input_sets(inputs))]
        self.at = -1

    @property
    def current(self) -> T:
        """What the last call got."""
        return self.sets[max(0, self.at)]

    def next(self) -> T:
        """What the next call gets."""
        self.at = (self.at + 1) % len(self.sets)
        return self.sets[self.at]


Arguments = tuple[list[Any], dict[str, Any]]


def arguments(inputs: Sequence[Tensor], values: Sequence[Any], first: str | None = None) -> Arguments:
    """Values as a call takes them: by position, or by name where an input has one.

    Args:
        first: What the first input is called where nothing else says so.
    """
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for entry, value in zip(inputs, values, strict=True):
        name = entry.name or (first if not positional and not named else None)
        if name is None:
            positional.append(value)
        else:
            named[name] = value
    return positional, named


def flatten(output: Any) -> list[Any]:
    """All arrays or tensors of an output, in order: of tuples, lists, mappings and records of them."""
    if output is None or isinstance(output, str | bytes | int | float | bool):
        return []
    if hasattr(output, "shape") and hasattr(output, "dtype"):
        return [output]
    if isinstance(output, Mapping):
        return [leaf for value in output.values() for leaf in flatten(value)]
    if isinstance(output, tuple | list):
        return [leaf for value in output for leaf in flatten(value)]
    if hasattr(output, "__dict__"):
        return [leaf for value in vars(output).values() for leaf in flatten(value)]
    return []


def require_output(output: Any) -> None:
    """A model that gives nothing measured nothing.

    Raises:
        InputError: no array in the output.
    """
    if not flatten(output):
        shown = "nothing" if output is None else f"{type(output).__name__} without a tensor"
        raise InputError(f"the model returned {shown}", hint="return its output from forward")


def agreement(output: Any, reference: Any, name: str) -> Check | None:
    """How far two outputs of one model are apart; None where their shapes do not match."""
    mine, theirs = ([np.asarray(leaf, np.float64) for leaf in map(to_numpy, flatten(side))] for side in (output, reference))
    if [leaf.shape for leaf in mine] != [leaf.shape for leaf in theirs] or not mine:
        return None
    error = max((float(np.abs(a - b).max()) for a, b in zip(mine, theirs, strict=True) if a.size), default=0.0)
    same = None
    if mine[0].ndim == 4 and mine[0].shape[1] > 1:
        same = float(np.mean(mine[0].argmax(1) == theirs[0].argmax(1)))
    return Check(reference=name, max_abs_error=error if np.isfinite(error) else None, argmax_agreement=same)


def to_numpy(leaf: Any) -> NDArray:
    """A tensor of any framework as an array."""
    if hasattr(leaf, "detach"):
        return leaf.detach().float().cpu().numpy()
    return np.asarray(leaf)


class CallableRunner:
    """Any callable, with NumPy arrays as inputs: what it does inside is its own business."""

    modules: Sequence[Named] = ()
    staged = False

    def __init__(self, function: Callable[..., Any], spec: Spec) -> None:
        if spec.dtype != "float32" or spec.device != "cpu":
            raise ConfigError("a plain callable decides itself where and in which type it computes", hint="leave out dtype and device")
        self.function = function
        self.spec = spec
        self.clock: Clock = WallClock()
        self.turns = Turns(spec.inputs, spec.seed, lambda arrays: arguments(spec.inputs, arrays))
        self.output: Any = None

    def run(self) -> Any:
        positional, named = self.turns.next()
        self.output = self.function(*positional, **named)
        return self.output

    def describe(self, count: Count | None) -> Runtime:
        return Runtime(backend="python", device=self.spec.device, requested_dtype=self.spec.dtype, threads=self.spec.threads)

    def count(self) -> Count | None:
        if "torch" not in sys.modules:
            return None
        from segbench.profiling import macs_torch

        found = macs_torch.count(None, self.run)
        return found if found.macs else None

    def parameters(self, split: Split | None) -> dict[str, int] | None:
        return None

    def backbone(self, split: Split) -> Run | None:
        return None

    def follow(self, split: Split, timer: StageTimer) -> Callable[[], None]:
        raise NotImplementedError

    def check(self) -> Check | None:
        return None

    def transfers(self) -> dict[str, Run]:
        return {}


def require_torch(why: str) -> Any:
    """The package, or how to get it."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(f"{why} needs the package torch", hint="pip install 'segbench[torch]'") from error
    return torch
