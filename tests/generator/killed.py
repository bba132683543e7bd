"""A training in a process of its own, as a user has it, that is killed with kill -9."""

import signal
import subprocess
import sys
from pathlib import Path

_STORY = """
import time
import torch
torch.set_num_threads(1)
from discovery.generator.duel import Duel
from discovery.generator.learner import Learner
from tests.generator import {module}
def slow(learn):
    def slowly(self, step):
        learn(self, step)
        print("step", step, flush=True)
        if step == {step}:
            time.sleep(600)
    return slowly
for learner in (Duel, Learner):
    learner.learn = slow(learner.learn)
{module}.teach(*{given!r})
"""


def kill_after(step: int, module: str, *given) -> None:
    """Have the `teach` of a test module at work until it has taken `step`; then kill it."""
    script = _STORY.format(module=module, step=step, given=[str(value) for value in given])
    root = Path(__file__).parents[2]
    teaching = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root
    )
    while f"step {step}\n" != teaching.stdout.readline():
        assert teaching.poll() is None
    teaching.send_signal(signal.SIGKILL)
    teaching.communicate()
