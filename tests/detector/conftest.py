import pytest

from discovery.detector.train import train_detector
from tests.detector.toy import CONFIG, train_and_validation


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a detector that has learnt the toy sky."""
    out = tmp_path_factory.mktemp("detector") / "mixed"
    return train_detector(*train_and_validation(), CONFIG, out, "cpu")
