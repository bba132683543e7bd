import pytest
import torch

from discovery.detector.train import train_detector
from tests.detector.toy import CONFIG, train_and_validation


@pytest.fixture(scope="session")
def trained(one_thread, tmp_path_factory):
    """The folder of a detector that has learnt the toy sky."""
    out = tmp_path_factory.mktemp("detector") / "mixed"
    return train_detector(*train_and_validation(), CONFIG, out, "cpu")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The toy network is so small that a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
