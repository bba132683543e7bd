"""Two processes, as `torchrun --nproc_per_node 2` starts them on CPUs, train as one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from discovery.errors import BadInput
from discovery.generator.checkpoint import load_generator
from discovery.generator.config import PixelConfig, StableDiffusionConfig
from discovery.generator.train import train_generator
from tests.generator import tiny_sd

CAPTIONS = ["sdss, smooth", "sdss, edge-on galaxy, dust lane"] * 4
SHARED = {"steps": 3, "batch": 8, "learning_rate": 1e-3, "warmup_steps": 0, "precision": "float32",
          "checkpoint_every": 1, "snapshots": (1,)}  # fmt: skip


def pixels(size):
    return np.random.default_rng(0).integers(0, 255, (8, size, size, 3), dtype=np.uint8)


def pixel_config(**changed):
    return PixelConfig(size=16, channels=(8, 16), text_width=16, **SHARED | changed)


def train_both(start: Path, out: Path) -> None:
    train_generator(pixels(16), CAPTIONS, pixel_config(), out / "pixel", "cpu")
    config = StableDiffusionConfig(
        kind="stable-diffusion", start=str(start), size=tiny_sd.SIZE, **SHARED
    )
    train_generator(pixels(tiny_sd.SIZE), CAPTIONS, config, out / "sd", "cpu")


STORY = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.generator.test_processes import train_both
train_both(Path(sys.argv[1]), Path(sys.argv[2]))
torch.distributed.destroy_process_group()
"""


def start_process(rank: int, port: int, *folders: Path) -> subprocess.Popen:
    """What `torchrun` sets for each of its processes; starting it would cost seconds."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": 1}  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", STORY, *map(str, folders)],
        env=os.environ | {name: str(value) for name, value in told.items()},
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def far_apart(one: Path, other: Path, part: str) -> float:
    """Root of the summed squares of all differences: a bias that a group norm takes away again has
    a gradient of rounding errors, which Adam makes a step of; they are a few among thousands.
    """
    a, b = (load_file(folder / part) for folder in (one, other))
    return sum(float((a[n].float() - b[n].float()).square().sum()) for n in a) ** 0.5


def test_two_processes_end_with_the_weights_of_one(tmp_path):
    start, port = tiny_sd.build(tmp_path), free_port()
    both = [start_process(rank, port, start, tmp_path / "two") for rank in (0, 1)]
    train_both(start, tmp_path / "one")
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    for kind, part in (
        ("pixel", "unet/diffusion_pytorch_model.safetensors"),
        ("pixel", "text_encoder/model.safetensors"),
        ("sd", "unet/diffusion_pytorch_model.safetensors"),
        ("sd", "text_encoder/model.safetensors"),
    ):
        one, two = tmp_path / "one" / kind, tmp_path / "two" / kind
        assert far_apart(one, two, part) < 0.1 * far_apart(one, one / "snapshots/1", part)
        load_generator(two, "cpu")
    assert {p.name for p in (tmp_path / "two").rglob("*")} == {
        p.name for p in (tmp_path / "one").rglob("*")
    }


def test_a_batch_in_parts_is_the_batch_at_once(tmp_path):
    whole, parts = (
        train_generator(pixels(16), CAPTIONS, pixel_config(accumulate=n), tmp_path / str(n), "cpu")
        for n in (1, 4)
    )
    part = "unet/diffusion_pytorch_model.safetensors"
    assert far_apart(whole, parts, part) < 0.1 * far_apart(whole, whole / "snapshots/1", part)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"batch = 8 cannot be shared evenly among 1 processes with "
                       r"accumulate = 3; give a multiple of 3"):  # fmt: skip
        train_generator(pixels(16), CAPTIONS, pixel_config(accumulate=3), tmp_path, "cpu")
