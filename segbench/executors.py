"""Where jobs run: in this thread, in threads, in processes, on Dask, or on any `concurrent.futures.Executor`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from segbench.errors import ConfigError, MissingDependencyError

NAMES = ("serial", "threads", "processes", "dask")

JobT = TypeVar("JobT")
OutT = TypeVar("OutT")


def available_workers() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    name = executor or "threads"
    count = available_workers() if workers is None else workers
    if name not in NAMES:
        raise ConfigError(
            f"no executor is called {name!r}", hint=f"one of {', '.join(NAMES)}, or a concurrent.futures.Executor from Python"
        )
    if address and name != "dask":
        raise ConfigError("an address is for the dask executor", hint="add --executor dask")
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
        pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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

    The first error cancels what has not begun and is raised.
    """
    if executor is None:
        results = []
        for job in jobs:
            results.append(function(job))
            done(job)
        return results
    futures: list[Future] = [executor.submit(function, job) for job in jobs]
    position = {future: index for index, future in enumerate(futures)}
    pending = set(futures)
    try:
        while pending:
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ended:
                future.result()
                done(jobs[position[future]])
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return [future.result() for future in futures]
