"""The mock survey: rows of cutouts, the published quarry, and the truth."""

import itertools
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from discovery.errors import BadInput
from discovery.surveys.base import NAME
from discovery.surveys.mock import compose, render
from discovery.surveys.mock.contrast import STANDS_OUT, lane_contrast
from discovery.surveys.mock.population import QUARRY, Drawn, draw
from discovery.surveys.mock.volunteers import votes

SPLITS = ("train", "validation", "search")
# Right ascension of each split (degrees); all share the declinations 0 to 60.
RA_RANGE = {"train": (140.0, 180.0), "validation": (180.0, 200.0), "search": (200.0, 240.0)}
DEC_RANGE = (0.0, 60.0)
KNOWN_FRACTION = 0.6
# Of the delivered 4.24 petrosian R90: the usual field, 3 R90.
CROP = 0.7
# One stream of random numbers per purpose: drawing more for one does not change the others.
_WHAT, _WHERE, _NOISE, _VOTES, _KNOWN, _CONTRAST = range(6)


class MockSurvey(BaseModel):
    """A sky of `train + validation + search` objects, the same for the same settings.

    Behind them come `published_elsewhere` more of the quarry, known from elsewhere in the sky.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mock"] = "mock"
    name: str = Field("mock", pattern=NAME, description="name of the survey, of its folder")
    tag: str = Field("mock", min_length=1, description="first word of every caption")
    seed: int = Field(1, ge=0, description="decides every object")
    train: int = Field(4000, ge=0, description="objects to train on")
    validation: int = Field(3000, ge=0, description="objects to set the threshold on")
    search: int = Field(10000, ge=0, description="objects to search")
    quarry_fraction: float = Field(
        0.0036, ge=0, le=1, description="probability of a dusty early type, in every sample"
    )
    published_elsewhere: int = Field(
        0,
        ge=0,
        description="dusty early types known from the rest of the sky, beside those in the "
        "samples: two in three to train on, the third for the threshold",
    )
    has_votes: ClassVar[bool] = True
    # But for those published elsewhere, whose rows say so.
    sampled: ClassVar[bool] = True
    # Every row fixes its own split.
    split_fractions: ClassVar[dict[str, float]] = {}

    def validate(self) -> None:
        """Raise BadInput for a sky without objects."""
        if self.sample_size == 0:
            raise BadInput(
                "the mock survey has no objects: train, validation and search are all 0; "
                "set at least one of them, for example search = 10000."
            )

    @property
    def sample_size(self) -> int:
        """Objects drawn from the sky as they come; the published of elsewhere come after them."""
        return self.train + self.validation + self.search

    def __len__(self) -> int:
        return self.sample_size + self.published_elsewhere

    def fingerprint(self) -> str:
        """Nothing is read: the settings say everything."""
        return ""

    def rows(self, start: int, stop: int) -> list[dict]:
        """Store rows of objects start to stop; row i depends on the settings and i only."""
        return [self._row(index) for index in range(start, min(stop, len(self)))]

    def truth(self) -> pd.DataFrame:
        """What every object is, for the judge only; renders the quarry, draws the rest."""
        return pd.DataFrame([self._truth_row(index) for index in range(len(self))])

    def known(self) -> pd.DataFrame:
        """The published dusty early types: of those that stand out, six in ten of the samples and
        all that are known from elsewhere.
        """
        rows = [self._known_row(index) for index in range(len(self)) if self._is_known(index)]
        columns = ["object_id", "ra", "dec", "name", "bibcode", "in_training"]
        return pd.DataFrame(rows, columns=columns)

    def drawn(self, index: int) -> Drawn:
        """The numbers that object `index` is made from."""
        if index < self.sample_size:
            return draw(self._rng(index, _WHAT), self.quarry_fraction)
        tries = (draw(self._rng(index, _WHAT, k), 1.0) for k in itertools.count())
        return next(drawn for drawn in tries if self._contrast(index, drawn) >= STANDS_OUT)

    def _rng(self, index, *purpose):
        return np.random.default_rng([self.seed, index, *purpose])

    def _row(self, index):
        drawn = self.drawn(index)
        frame = render.noiseless(drawn.scene)
        observed = render.observe(drawn.scene, frame, self._rng(index, _NOISE))
        object_id, (ra, dec) = self._object_id(index), self._position(index)
        return {
            "object_id": object_id,
            "ra": ra,
            "dec": dec,
            "image": compose.jpeg(compose.deliver(observed)),
            "pixscale_arcsec": render.frame_arcsec(drawn.scene) / compose.DELIVERED_PIXELS,
            "crop": CROP,
            "survey": self.name,
            "galaxy": object_id,
            "split": self._split(index),
            "sampled": index < self.sample_size,
            "z": drawn.z,
            "petro_r_mag": drawn.r_mag,
            "petro_r90_arcsec": drawn.scene.r90_arcsec,
            **votes(drawn, self._contrast(index, drawn), self._rng(index, _VOTES)),
        }

    def _contrast(self, index, drawn):
        if drawn.kind != QUARRY:
            return None
        return lane_contrast(drawn.scene, self._rng(index, _CONTRAST))

    def _truth_row(self, index):
        drawn = self.drawn(index)
        dust = drawn.scene.dust
        return {
            "object_id": self._object_id(index),
            "split": self._split(index),
            "kind": drawn.kind,
            "is_quarry": drawn.kind == QUARRY,
            "tau_v": dust.tau_v if dust else np.nan,
            "inclination_deg": dust.inclination if dust else np.nan,
            "ring_inner_arcsec": dust.r_in if dust else np.nan,
            "ring_outer_arcsec": dust.r_out if dust else np.nan,
            "lane_contrast": self._contrast(index, drawn) if drawn.kind == QUARRY else np.nan,
        }

    def _is_known(self, index):
        if index >= self.sample_size:
            return True
        drawn = self.drawn(index)
        if drawn.kind != QUARRY or self._rng(index, _KNOWN).random() >= KNOWN_FRACTION:
            return False
        return self._contrast(index, drawn) >= STANDS_OUT

    def _known_row(self, index):
        ra, dec = self._position(index)
        return {
            "object_id": self._object_id(index),
            "ra": ra,
            "dec": dec,
            "name": f"MOCK J{ra:08.4f}{dec:+08.4f}",
            "bibcode": None,
            "in_training": self._split(index) != "search",
        }

    def _split(self, index):
        if index >= self.sample_size:
            return "validation" if (index - self.sample_size) % 3 == 2 else "train"
        if index < self.train:
            return "train"
        return "validation" if index < self.train + self.validation else "search"

    def _position(self, index):
        """ra, dec in degrees ICRS, uniform on the sphere within the split's rectangle."""
        rng = self._rng(index, _WHERE)
        low, high = np.sin(np.radians(DEC_RANGE))
        ra = rng.uniform(*RA_RANGE[self._split(index)])
        return float(ra), float(np.degrees(np.arcsin(rng.uniform(low, high))))

    def _object_id(self, index):
        """A 64-bit id with the bit fields of SDSS's objID, as a decimal string."""
        run, rest = divmod(index, 6 * 400 * 100)
        camcol, rest = divmod(rest, 400 * 100)
        sdss_field, number = divmod(rest, 100)
        fields = ((1, 59), (41, 48), (2000 + run, 32), (camcol + 1, 29), (sdss_field + 11, 16))
        return str(sum(value << shift for value, shift in fields) + number + 1)
