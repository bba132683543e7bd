"""How much of an image its galaxy fills: whether a detector is shown what it learnt from.

Told by the half-light radius of the galaxies as a share of the width shown. It is read off the
pictures themselves, so that it is known where pixel scales and radii are not. A field that is too
narrow is not told: without sky to measure against the share stays near 20 %, whatever is cut off.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from discovery.cutouts.decode import UnreadableImage, decode
from discovery.cutouts.store import CutoutStore
from discovery.errors import BadInput
from discovery.morphology.paint import measure_host

MEASURED = 64  # images; the median of as many is known to 5 %
SIDE_PX = 96
CROP_STEP = 0.05
NEARLY = 0.8  # of the field learnt from; training zooms by more than that
FAR = 1.5  # times wider than the field learnt from


def field_of_view(store: CutoutStore) -> dict:
    """What the training cutouts show.

    Returns:
        crop: central fraction of the width, in the median of each survey; arcsec: median width
        of that part, null where no pixel scale is known; half_light: median half-light radius of
        the galaxies as a share of it, null where none could be measured.
    """
    columns = ["object_id", "survey", "crop", "width", "pixscale_arcsec"]
    rows = store.table(columns, split="train")
    arcsec = (rows["crop"] * rows["width"] * rows["pixscale_arcsec"]).astype(float).median()
    return {
        "crop": rows.groupby("survey")["crop"].median().to_dict(),
        "arcsec": None if np.isnan(arcsec) else round(float(arcsec), 1),
        "half_light": half_light_of(store, rows["object_id"].tolist()),
    }


def spread_out(rows: Sequence) -> list:
    """MEASURED of the rows, from the first to the last; all where there are fewer."""
    places = np.linspace(0, len(rows) - 1, min(MEASURED, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def half_light_of(store: CutoutStore, object_ids: Sequence[str]) -> float | None:
    """As `half_light`, of MEASURED of the cutouts named."""
    tables = store.iter_rows(spread_out(object_ids), ["image", "crop"])
    return half_light((row["image"], row["crop"]) for rows in tables for row in rows.to_pylist())


def half_light(images: Iterable[tuple[bytes, float]]) -> float | None:
    """Median half-light radius of the galaxies in (image, crop), as a share of the width shown.

    None where there is no galaxy in the middle of any that can be read.
    """
    shares = [share for image, crop in images if (share := _share(image, crop)) is not None]
    return round(float(np.median(shares)), 4) if shares else None


def _share(image: bytes, crop: float) -> float | None:
    try:
        return measure_host(decode(image, crop, SIDE_PX)).half_light / SIDE_PX
    except (UnreadableImage, BadInput):
        return None


def fitting_crop(shown: float | None, learnt: float | None) -> float:
    """Central fraction of a width in which galaxies fill as much as in the cutouts learnt from.

    Args:
        shown: `half_light` of the whole images.
        learnt: `half_light` of what the detector learnt from; None of either: nobody knows.

    Returns:
        a multiple of CROP_STEP; 1 where all of the image is about right, too little, or unknown.
    """
    if not shown or not learnt or shown >= NEARLY * learnt:
        return 1.0
    return max(CROP_STEP, round(round(shown / learnt / CROP_STEP) * CROP_STEP, 2))
