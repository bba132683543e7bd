"""Worker processes that do not outlive the command that started them."""

import os
import threading
from multiprocessing import parent_process


def end_with_parent() -> None:
    """Initialiser of a pool: a worker whose parent is killed with -9 would wait for ever."""

    def watch():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
