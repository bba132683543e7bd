"""How many worker processes there may be; and none outlives the command that started it."""

import os
import threading
from multiprocessing import parent_process


def cores() -> int:
    """CPU cores that this process may use; in a container fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent() -> None:
    """Initialiser of a pool: a worker whose parent is killed with -9 would wait for ever."""

    def watch():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
