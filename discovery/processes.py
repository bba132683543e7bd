"""How many worker processes there may be; and none outlives the command that started it."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

from discovery.errors import BadInput


def cores() -> int:
    """CPU cores that this process may use; in a container fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each_done(
    act: Callable[[Any], Any], tasks: Sequence[Any], workers: int, does: str
) -> Iterator[Any]:
    """What `act` gives for each task in processes of their own, in the order in which they end.

    Args:
        does: what such a process does, in the past tense, for the message.

    Raises:
        BadInput: a process was ended from outside.
    """
    # One that is started has to load everything first.
    with workers_that(does, min(workers, len(tasks))) as pool:
        for future in as_completed([pool.submit(act, task) for task in tasks]):
            yield future.result()


@contextlib.contextmanager
def workers_that(does: str, count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many processes, which start when there is work; see `each_done`."""
    # Started clean: threads of a parent do not survive a fork.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(count, spawn, initializer=end_with_parent) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise BadInput(
                f"a process that {does} was ended from outside, most often because memory ran "
                "out. What it had finished is kept: free memory and type the same command again."
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def end_with_parent() -> None:
    """Initialiser of a pool: a worker whose parent is killed with -9 would wait for ever."""

    def watch():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
