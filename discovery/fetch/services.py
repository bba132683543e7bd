"""Where the services are, and how patiently they are asked."""

import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from discovery.errors import BadInput

VARIABLE = "DISCOVERY_SERVICES"
ADDRESS = r"^https?://[^\s/]+"


class Services(BaseModel):
    """Addresses; any may be that of a mirror."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zenodo: str = Field(
        "https://zenodo.org/api", pattern=ADDRESS, description="records of Zenodo, and their files"
    )
    galaxyzoo: str = Field(
        "https://data.galaxyzoo.org/data", pattern=ADDRESS, description="tables of Galaxy Zoo"
    )
    gz2_votes: str = Field(
        "https://gz2hart.s3.amazonaws.com",
        pattern=ADDRESS,
        description="the vote table of Galaxy Zoo 2 (Hart et al. 2016)",
    )
    gz2_photometry: str = Field(
        "https://zooniverse-data.s3.amazonaws.com/galaxy-zoo-2",
        pattern=ADDRESS,
        description="photometry of the galaxies of Galaxy Zoo 2",
    )
    skyserver: str = Field(
        "https://skyserver.sdss.org",
        pattern=ADDRESS,
        description="colour cutouts of SDSS, and which frames an object lies in",
    )
    sas: str = Field(
        "https://data.sdss.org/sas", pattern=ADDRESS, description="frames of SDSS, in FITS"
    )
    hips2fits: str = Field(
        "https://alasky.cds.unistra.fr/hips-image-services/hips2fits",
        pattern=ADDRESS,
        description="cutouts of any HiPS survey",
    )
    vizier: str = Field(
        "https://vizier.cds.unistra.fr", pattern=ADDRESS, description="published catalogues"
    )
    simbad: str = Field(
        "https://simbad.cds.unistra.fr/simbad/sim-tap",
        pattern=ADDRESS,
        description="objects and their names, by TAP",
    )
    ned: str = Field(
        "https://ned.ipac.caltech.edu/cgi-bin",
        pattern=ADDRESS,
        description="extragalactic objects and their names",
    )
    timeout_s: float = Field(
        60, gt=0, description="how long to wait for a connection, and then for the next bytes"
    )
    retries: int = Field(
        5, ge=0, le=20, description="how often a busy service or a broken connection is tried again"
    )
    backoff_s: float = Field(
        1, ge=0, description="wait before the second retry; it doubles with each one after that"
    )

    @field_validator("*")
    @classmethod
    def _without_slash_at_the_end(cls, value: str | float) -> str | float:
        return value.rstrip("/") if isinstance(value, str) else value


def read_services() -> Services:
    """The addresses; those of the TOML file that DISCOVERY_SERVICES names, where it is set.

    Raises:
        BadInput: there is no such file, it is not TOML, or names a service that is not known.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return Services()
    try:
        return Services.model_validate(tomllib.loads(Path(path).read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(
            f"{VARIABLE}={path} is no TOML file that can be read ({error}); correct the variable "
            f"or type: unset {VARIABLE}"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            f"{VARIABLE}={path}: {'.'.join(map(str, first['loc']))}: {first['msg']} (given: "
            f"{first['input']!r}); known are {', '.join(Services.model_fields)}; an address begins "
            "with http:// or https://"
        ) from None
