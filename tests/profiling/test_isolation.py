"""The measuring process: what it answers, how it ends, and that its end is only a record."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segbench.errors import ConfigError, InputError, MissingDependencyError
from segbench.profiling import isolation
from segbench.profiling.records import Tensor
from segbench.profiling.spec import Spec

MODELS = """
import os, sys, time
def net():
    def model(image):
        print("models print")
        return image.sum((2, 3))
    return model
def threads():
    seen = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HUB_OFFLINE")}
    raise ValueError(str(seen))
def raises(): raise RuntimeError("no weights here")
def nothing(): return None
def needs(): import a_package_that_is_not_there
def crash():
    def model(image):
        print("last words", file=sys.stderr, flush=True)
        os.abort()
    return model
def leaves(): sys.exit(4)
def hang():
    def model(image): time.sleep(600)
    return model
"""
QUICK = {"min_runs": 3, "max_runs": 5, "min_time_s": 0.0, "max_time_s": 0.2}


@pytest.fixture
def measure(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)

    def run(name: str, time_limit: float = 60.0, told=lambda what, share: None, **changes):
        inputs = [Tensor(shape=(3, 8, 8), dtype="float32")]
        spec = Spec(
            **({"target": f"{tmp_path / 'models.py'}:{name}", "inputs": inputs, "policy": QUICK, "threads": 1, "roof": False} | changes)
        )
        return isolation.measure(spec, time_limit, told)

    return run


def test_a_record_comes_back_whatever_the_model_prints(measure):
    told = []
    record = measure("net", told=lambda what, share: told.append(what))
    assert record.error is None
    assert record.latency.n >= 3
    assert record.model.name == "net"
    assert record.model.target == "models.py:net"  # no folders in what is published
    assert record.runtime.isolated
    assert record.id == record.digest()
    assert told[:2] == ["load", "warm-up"]


def test_threads_are_set_before_anything_is_imported(measure):
    with pytest.raises(InputError, match=r"'OMP_NUM_THREADS': '3', 'MKL_NUM_THREADS': '3', 'HF_HUB_OFFLINE': '1'"):
        measure("threads", threads=3)


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("raises", InputError, "no weights here"),
        ("nothing", InputError, "NoneType, which is no model"),
        ("needs", MissingDependencyError, "pip install a_package_that_is_not_there"),
        ("nett", ConfigError, "it has net, threads"),
    ],
)
def test_what_must_be_mended_is_raised_here(measure, name, error, text):
    with pytest.raises(error, match=text):
        measure(name)


def test_a_crash_is_a_record(measure):
    record = measure("crash")
    assert record.error.kind == "crash"
    assert record.error.stage == "warm-up"
    assert "SIGABRT" in record.error.message
    assert "last words" in record.error.message
    assert record.workload.inputs[0].shape == (1, 3, 8, 8)


def test_leaving_without_an_answer_is_a_crash(measure):
    record = measure("leaves")
    assert record.error.kind == "crash"
    assert "code 4" in record.error.message


def test_a_hang_ends_with_the_time_limit(measure):
    start = time.monotonic()
    record = measure("hang", time_limit=2.5)
    assert time.monotonic() - start < 20
    assert record.error.kind == "timeout"
    assert record.error.stage == "warm-up"
    assert "2.5 s" in record.error.message


def test_nothing_stays_behind(tmp_path):
    """A process that started another: both end."""
    script = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    spec = Spec(target="x.py:net")
    record = isolation.measure(spec, 2.0, command=lambda: [sys.executable, "-c", script])
    assert record.error.kind == "timeout"
    assert ends(int((tmp_path / "pid").read_text()))


def ends(process: int) -> bool:
    """Whether a process is gone within five seconds."""
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{process}/stat")
        if stat.exists() and " Z " in stat.read_text():
            return True  # ended, and waits for its parent's parent to notice
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no child that its parent ended")
def test_the_measuring_process_ends_with_a_killed_parent(tmp_path):
    (tmp_path / "models.py").write_text(
        f"import os, time\ndef net():\n    open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n    time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-m", "segbench", "profile", f"{tmp_path / 'models.py'}:net", "--input", "3x8x8"], cwd=Path(__file__).parents[2]
    )
    try:
        for _ in range(600):
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
                break
            time.sleep(0.1)
    finally:
        parent.kill()
        parent.wait()
    assert ends(int((tmp_path / "pid").read_text()))


def test_noise_on_the_channel_is_no_answer():
    script = "import sys; sys.stdin.read(); print('hello'); print('[1, 2]'); print('{\"progress\": \"x\"}'); sys.exit(9)"
    told = []
    record = isolation.measure(Spec(target="x.py:n"), 20, lambda what, share: told.append(what), lambda: [sys.executable, "-c", script])
    assert record.error.kind == "crash"
    assert told == ["x"]
