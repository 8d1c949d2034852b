"""The kernel decorator: compiled when first called, by one thread, and also where nothing can be cached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from numba.core import config

from segbench.kernels import _jit
from segbench.kernels._jit import I8, kernel, ro

STREET = Path(__file__).parents[1] / "fixtures" / "street"
LISTED = """
import json, sys
from segbench.cli import run
from segbench.kernels._jit import Kernel
code = run(["evaluate", sys.argv[1], sys.argv[2], "-q", "--json", "-o", sys.argv[3]])
modules = [module for name, module in sys.modules.items() if name.startswith("segbench.kernels.")]
kernels = {name for module in modules for name, it in vars(module).items() if isinstance(it, Kernel) and it._compiled}
print("LOADED" + json.dumps(sorted(kernels)))
"""


def total(values):
    found = 0
    for value in values:
        found += value
    return found


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="NUMBA_DISABLE_JIT is set: nothing is compiled")
def test_it_is_compiled_once_when_first_called(monkeypatch):
    compiled = []
    original = _jit.njit
    monkeypatch.setattr(_jit, "njit", lambda *signature, **options: compiled.append(signature) or original(*signature, **options))
    lazy = kernel(I8(ro(I8)))(total)
    assert compiled == []
    assert lazy.__doc__ == total.__doc__
    values = np.arange(5)
    values.flags.writeable = False
    found = []
    threads = [Thread(target=lambda: found.append(lazy(values))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [10] * 4
    assert len(compiled) == 1


def test_without_a_cache_folder_it_is_compiled_in_memory(monkeypatch):
    def njit(signature, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'total': no locator available for file 'x.py'")
        return lambda function: lambda values: ("in memory", int(function(values)))

    monkeypatch.setattr(_jit, "njit", njit)
    assert kernel(I8(ro(I8)))(total)(np.arange(5)) == ("in memory", 10)


def test_other_failures_of_the_compiler_are_not_hidden(monkeypatch):
    def njit(signature, **options):
        raise RuntimeError("something else")

    monkeypatch.setattr(_jit, "njit", njit)
    with pytest.raises(RuntimeError, match="something else"):
        kernel(I8(ro(I8)))(total)(np.arange(5))


def test_an_evaluation_loads_only_the_kernels_it_calls(tmp_path):
    command = [sys.executable, "-c", LISTED, str(STREET / "preds" / "model_a"), str(STREET / "gt"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=os.environ)
    assert json.loads(done.stdout.rpartition("LOADED")[2]) == ["add_weighted", "count_pairs_u8", "unfilter_rows"]
