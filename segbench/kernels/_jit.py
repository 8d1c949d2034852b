"""The one decorator of the kernels, and the two spellings of an array argument."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial, update_wrapper
from threading import RLock
from typing import Any

from numba import njit, types

U1, U2, U8 = types.uint8, types.uint16, types.uint64
I4, I8, F8 = types.int32, types.int64, types.float64


def ro(dtype: Any, ndim: int = 1) -> types.Array:
    """A C-contiguous input: the kernel cannot write to it, and read-only arrays are accepted."""
    return types.Array(dtype, ndim, "C", readonly=True)


def rw(dtype: Any, ndim: int = 1) -> types.Array:
    """A C-contiguous output."""
    return types.Array(dtype, ndim, "C")


class Kernel:
    """A function that is compiled, or loaded from Numba's cache, when it is first needed: what a run does not call costs it nothing.

    One signature per function, because two signatures and a concurrent cold start can poison Numba's cache. Where no cache folder is
    writable the kernel is compiled in memory instead of failing. No garbage is collected meanwhile: the compiler makes objects by the
    hundred thousand and keeps them, and looking through them all again and again takes a sixth of its time.
    """

    def __init__(self, function: Callable, signature: Any) -> None:
        update_wrapper(self, function)
        self._signature = signature
        self._compiled: Callable | None = None

    def __call__(self, *arguments: Any) -> Any:
        return (self._compiled or self.load())(*arguments)

    def load(self) -> Callable:
        """The compiled function."""
        with _COMPILING:
            if self._compiled is None:
                collecting = gc.isenabled()
                gc.disable()
                try:
                    self._compiled = self._compile()
                finally:
                    if collecting:
                        gc.enable()
        return self._compiled

    def _compile(self) -> Callable:
        function = self.__wrapped__  # type: ignore[attr-defined]
        try:
            return njit(self._signature, cache=True, nogil=True)(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            return njit(self._signature, nogil=True)(function)

    @property
    def _numba_type_(self) -> Any:
        """What Numba takes it for where another kernel of its file calls it."""
        return self.load()._numba_type_  # type: ignore[attr-defined]


_COMPILING = RLock()


def kernel(signature: Any) -> Callable[[Callable], Kernel]:
    """Makes a `Kernel` of a function, for exactly one signature: cached on disk, without the GIL."""
    return partial(Kernel, signature=signature)
