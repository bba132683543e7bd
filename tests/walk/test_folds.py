"""A cross-fitted search on a tiny sky, judged by the files that it leaves behind."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from discovery import pipeline
from discovery.config import load_config
from discovery.cutouts import write_shard
from discovery.detector.checkpoint import load_detector
from discovery.errors import BadInput
from discovery.run import Manifest, Run
from tests.detector.toy import discs, png

TINY = (Path(__file__).parent / "tiny.toml").read_text()
FOLDS = 3
