"""Where jobs run: in this thread, in threads, in processes, on Dask, or on any `concurrent.futures.Executor`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from segbench import limits
from segbench.errors import ConfigError, MissingDependencyError

NAMES = ("serial", "threads", "processes", "dask")

JobT = TypeVar("JobT")
OutT = TypeVar("OutT")


def available_workers() -> int:
    """CPUs this process may use, also in a container that has fewer than the machine."""
    return limits.cpus()


BYTES_PER_PIXEL = 16
"""What a pixel takes while both sides of an image are decoded and counted; 3 to 12 were measured, by depth and metrics."""


def workers_in_memory(pixels: int) -> int:
    """As many workers as there are CPUs; fewer where images of so many pixels, one each, would fill more than half of the memory."""
    memory = limits.memory_bytes()
    if memory is None:
        return available_workers()
    return max(1, min(available_workers(), memory // 2 // (BYTES_PER_PIXEL * max(1, pixels))))


@contextmanager
def opened(
    executor: str | Executor | None, workers: int | None = None, address: str | None = None
) -> Iterator[tuple[Executor | None, int]]:
    """An executor by name, or the given one as it is; None runs jobs in this thread.

    Yields:
        The executor and its number of workers.

    Raises:
        ConfigError: an unknown name, or an address without `dask`.
        MissingDependencyError: `dask` without the extra.
    """
    if isinstance(executor, Executor):
        yield executor, workers or getattr(executor, "_max_workers", None) or available_workers()
        return
    name = "threads" if executor is None else executor
    count = available_workers() if workers is None else workers
    if name not in NAMES:
        raise ConfigError(
            f"no executor is called {name!r}", hint=f"one of {', '.join(NAMES)}, or a concurrent.futures.Executor from Python"
        )
    if address and name != "dask":
        raise ConfigError("an address is for the dask executor", hint="add --executor dask")
    if name == "serial" and workers not in (None, 1):
        raise ConfigError("the serial executor has one worker", hint="leave --workers or --executor serial out")
    if count < 1:
        raise ConfigError("the number of workers must be at least 1")
    if name == "dask":
        with _dask(count, address) as opened_executor:
            yield opened_executor, count
    elif name == "serial" or (name == "threads" and count == 1):
        yield None, 1
    else:
        with _pool(name, count) as pool:
            yield pool, count


@contextmanager
def _pool(name: str, count: int) -> Iterator[Executor]:
    if name == "threads":
        pool: Executor = ThreadPoolExecutor(count, thread_name_prefix="segbench")
    else:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        # spawn: a forked child inherits locks of threads that it does not have
        pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_quiet_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _quiet_worker() -> None:
    """An interruption is the parent's to handle; stdout is the result's alone, whatever code of the user prints."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr


@contextmanager
def _dask(count: int, address: str | None) -> Iterator[Executor]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingDependencyError("the dask executor needs the package distributed", hint="pip install 'segbench[dask]'") from error
    if address:
        with Client(address) as client:
            yield client.get_executor()
    else:
        with LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
            yield client.get_executor()


def run(
    executor: Executor | None,
    function: Callable[[JobT], OutT],
    jobs: Sequence[JobT],
    done: Callable[[JobT], Any] = lambda job: None,
) -> list[OutT]:
    """The results of all jobs, in their order; `done` is called in this thread as each one ends.

    An error cancels the jobs after it that have not begun; of several, the one of the first job is raised, whatever ended first.

    Raises:
        ConfigError: the executor takes no jobs, or lost its workers.
    """
    if executor is None:
        results = []
        for job in jobs:
            results.append(function(job))
            done(job)
        return results
    try:
        futures: list[Future] = [executor.submit(function, job) for job in jobs]
    except RuntimeError as error:  # a pool that was shut down, or is broken
        raise _lost(error) from error
    position = {future: index for index, future in enumerate(futures)}
    pending, failed = set(futures), len(futures)
    try:
        while pending:
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ended:
                if future.cancelled() or future.exception() is not None:
                    failed = min(failed, position[future])
                else:
                    done(jobs[position[future]])
            if failed < len(futures):
                for future in futures[failed + 1 :]:
                    future.cancel()
                pending -= set(futures[failed + 1 :])
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    if failed < len(futures):
        cause = futures[failed].exception()
        raise _lost(cause) if isinstance(cause, BrokenExecutor) else cause  # type: ignore[misc]
    return [future.result() for future in futures]


def _lost(error: BaseException | None) -> ConfigError:
    return ConfigError(
        f"the executor takes no jobs, or its workers died: {error}",
        hint='processes need a script whose work stands under if __name__ == "__main__": and enough memory; or use executor="threads"',
    )
