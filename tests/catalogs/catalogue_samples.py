"""A small table with everything that formats tend to lose, and a provenance."""

import numpy as np
import pandas as pd

from catalogs import Provenance, designation

SHA256 = "ab" * 32


def table(n=6, **columns):
    """A valid DataFrame of n rows; `columns` replace or add."""
    ra, dec = np.linspace(0, 360, n), np.linspace(-90, 90, n)
    plain = {
        "object_id": np.arange(n, dtype=np.int64) + 587732578312454276,
        "name": designation("DETG", ra, dec),
        "ra": ra,
        "dec": dec,
        "survey": "gz2",
        "in_training": np.arange(n) % 2 == 0,
        "score": np.linspace(5, 1, n, dtype=np.float32),
        "probability": np.linspace(1, 0, n, dtype=np.float32),
        "rank": np.where(np.arange(n) % 2, np.arange(n) // 2 + 1, np.nan),
        "image_sha256": SHA256,
    }
    return pd.DataFrame(plain | columns)


def hostile(n=6):
    """What a format may lose: six rows, over and over for larger n, each with an id of its own."""
    six = _six_hostile_rows()
    ids = np.arange(n) + 2**53 + 1
    ids[:6] = six["object_id"][:n]
    return six.iloc[np.arange(n) % 6].reset_index(drop=True).assign(object_id=ids)


def _six_hostile_rows():
    ra = [0.0, 360.0, 299.41899166666666, 359.99999999, np.nan, 12.5]
    dec = [-90.0, 90.0, 33.6411, -0.00001, np.nan, -0.0]
    ids = [9223372036854775807, 9007199254740993, 0, -5, 587732578312454276, 1]
    return table(
        object_id=np.array(ids, dtype=np.int64),
        name=designation("DETG", ra, dec),
        ra=ra,
        dec=dec,
        redshift=[-0.0, np.nan, np.inf, 0.1, 1e-40, 3.4e38],
        r_mag=[14.25, None, 15.0, 15.5, 16.0, 16.5],
        cluster=[0, None, -1, 2147483647, 4, 5],
        known_name=["", None, "Hα ring \\ naïve 🌌", "it's", " leading", "NGC 4370"],
        known_bibcode=[None, None, None, None, "2012A&A...546A...2W", "2012MNRAS.423...49K"],
        note=[None] * 6,
    )


def provenance(**changes):
    plain = {
        "title": "Dusty early types à la carte",
        "software": "discovery",
        "version": "0.1.0",
        "commit": "0123abc",
        "model_sha256": SHA256,
        "config_digest": "cd" * 32,
        "prompts": (
            "sdss, {completely round:1.3} galaxy, {dust lane:1.3}",
            "sdss, round & <dusty>",
        ),
        "seeds": (1, 2**62),
        "training_digest": "ef" * 32,
        "threshold": 0.1 + 0.2,
        "threshold_rule": "lowest with purity ≥ 50 % on the validation split",
        "n_searched": 10_000,
        "n_unreadable": 3,
        "acknowledgements": "It's long, 'quoted' and ends in an ampersand; " * 9 + "&",
        "licence": "CC-BY-4.0",
        "authors": ("Doe, Jane", "The Söné Collaboration"),
        "created": "2026-11-21",
        "natural_prevalence": 1.2345678901234567e-05,
        "calibration_prevalence": 0.0017,
        "purity": 0.61,
        "purity_lo": 0.45,
        "purity_hi": 0.75,
        "natural_purity": 0.34,
        "natural_purity_lo": 0.2,
        "natural_purity_hi": 0.55,
    }
    return Provenance(**plain | changes)
