import pytest

from discovery.generator.duel import Duel
from discovery.generator.learner import Learner


@pytest.fixture
def steps_taken(monkeypatch):
    """The training steps that this process takes from now on."""
    taken = []

    def noted(learn):
        return lambda self, step: (taken.append(step), learn(self, step))

    for learner in (Learner, Duel):
        monkeypatch.setattr(learner, "learn", noted(learner.learn))
    return taken
