"""The one decorator of the kernels, and the two spellings of an array argument."""

from __future__ import annotations

import gc
from collections.abc import Callable
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


def kernel(signature: Any) -> Callable:
    """Compiles a function for exactly one signature, cached on disk, without the GIL.

    One signature per function, because two signatures and a concurrent cold start can poison Numba's cache. Where no cache folder is
    writable the kernel is compiled in memory instead of failing at import. No garbage is collected meanwhile: the compiler makes objects by
    the hundred thousand and keeps them, and looking through them all again and again takes a sixth of its time.
    """

    def decorate(function: Callable) -> Callable:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return njit(signature, cache=True, nogil=True)(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            return njit(signature, nogil=True)(function)
        finally:
            if collecting:
                gc.enable()

    return decorate
