import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the networks of tests are so small that a second thread only waits


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real galaxies, or a skip that says where it was looked for."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DISCOVERY_REAL_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder
