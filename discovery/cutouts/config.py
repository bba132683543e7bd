"""How FITS images become pictures."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, model_validator

FITS_SUFFIXES = tuple(
    stem + packed for stem in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz")
)
FITS_COLUMNS = ("bands", "north_deg", "missing_pixels", "file_sha256")
"""What a row of a store says besides of a picture that was made from FITS."""


class FitsImages(BaseModel):
    """Which bands are shown, what they are called in the files, and what counts as no data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bands: tuple[str, ...] = Field(
        (),
        description="the bands shown as red, green and blue, or one for a grey picture; left out: "
        "i, r, g where all three are there, else z, r, g",
    )
    planes: tuple[str, ...] = Field(
        (), description="bands of a file's planes, first to last, where its header does not say"
    )
    file_per_band: str | None = Field(
        None,
        description='file names below images where every band has a file, e.g. "{id}_{band}.fits"; '
        "needs bands",
    )
    extension: int | str | None = Field(
        None, description="number or name of the HDU with the image, where several have one"
    )
    light: float = Field(
        1.0,
        gt=0,
        description="nanomaggies per SDSS pixel (0.396 arcsec square) that a value of 1 stands "
        "for; of Legacy Surveys cutouts 2.28",
    )
    weights: dict[str, float] = Field(
        {}, description="brightness of a band in the picture; g 1.5, r 1, i 0.84, z 0.64 are known"
    )
    no_data: tuple[float, ...] = Field(
        (0.0,), description="values of floating-point files that mean no data; NaN always does"
    )
    missing_allowed: float = Field(
        0.05, ge=0, lt=1, description="share of pixels that may be without data, and is filled in"
    )

    @model_validator(mode="after")
    def _can_be_drawn(self):
        if len(self.bands) not in (0, 1, 3):
            raise ValueError(f"bands has {len(self.bands)} names; give red, green, blue, or one")
        _refuse_twice(self.bands, "bands")
        _refuse_twice(self.planes, "planes")
        if low := [band for band, weight in self.weights.items() if not 0 < weight < 1e6]:
            raise ValueError(f"weights: that of {low[0]} has to be above 0 and below a million")
        return self

    @model_validator(mode="after")
    def _files_can_be_named(self):
        if self.file_per_band is None:
            return self
        parts = self.file_per_band
        if parts.count("{id}") != 1 or parts.count("{band}") != 1:
            raise ValueError(f'file_per_band is "{parts}"; it needs {{id}} and {{band}} once each')
        if not parts.lower().endswith(FITS_SUFFIXES) or parts.startswith("/") or ".." in parts:
            raise ValueError(f'file_per_band is "{parts}"; it has to name a .fits inside images')
        if not self.bands:
            raise ValueError('with file_per_band give bands too, e.g. bands = ["i", "r", "g"]')
        return self

    def band_file(self, object_id: str, band: str) -> str:
        """Name of the file of one band."""
        return self.file_per_band.replace("{band}", band).replace("{id}", object_id)


def _refuse_twice(names: Sequence[str], key: str) -> None:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"{key} has {twice[0]} twice; name every band once")
