"""Physical structure of a cutout, by statmorph (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140).

Measured on the grey image (mean of the three bands) in the levels of the delivered picture, 0 to
255. Those are stretched, not linear in flux: the numbers compare real with synthetic images of one
size and stretch, and are no photometry. What cannot be measured is a row with its reason.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
import pandas as pd
import statmorph
from photutils.segmentation import detect_sources
from scipy.ndimage import gaussian_filter

from discovery.evidence.tables import digest_of, once
from discovery.files import digest
from discovery.processes import workers_that
from discovery.progress import track

QUANTITIES = (
    *("flux", "colour_mag", "half_light_radius_px", "ellipticity"),
    *("concentration", "asymmetry", "gini", "m20"),
)
DETECTED = 1.5  # sky σ above the sky, in the smoothed image
SMOOTHED_PX = 1.0
LEAST_PX = 5  # connected
IMAGES_PER_PART = 64
_DOES = "measured structure"
_USABLE_FLAG = 1  # statmorph: 0 good, 1 suspect, 2 bad, 4 catastrophic
_NOTHING = dict.fromkeys(QUANTITIES, np.nan)
_FORM = 2  # of the rows of `measure`; parts of another are measured again


def measure(pixels: np.ndarray) -> dict[str, float | str]:
    """The QUANTITIES of one uint8 (S, S, 3) image, `mean_level` and `reason`, empty where all went
    well.

    mean_level is the mean of the whole image, 0 to 255, which no segmentation can bend. flux is the
    sum of sky-subtracted grey levels over the galaxy's segment; colour_mag is -2.5 log10(blue /
    red) of those sums per band, so that larger is redder; radius in px.
    """
    return {"mean_level": float(pixels.mean())} | _of_galaxy(pixels)


def _of_galaxy(pixels: np.ndarray) -> dict[str, float | str]:
    bands = pixels.astype(float)
    grey, sky_levels = bands.mean(2), np.median(_corners(bands), axis=0)
    image = grey - np.median(_corners(grey))
    sigma = max(_spread(_corners(grey)), 0.5)  # rounding to whole levels is noise too
    sources = detect_sources(gaussian_filter(image, SMOOTHED_PX), DETECTED * sigma, LEAST_PX)
    centre = tuple(side // 2 for side in image.shape)
    label = 0 if sources is None else sources.data[centre]
    if label == 0:
        return _NOTHING | {"reason": "nothing in the centre stands out of the sky"}
    segment = sources.data == label
    others = (sources.data > 0) & ~segment
    light = (bands - sky_levels)[segment].sum(0)
    if min(light) <= 0:
        return _NOTHING | {"reason": "a band holds no light above the sky"}
    return _morphology(image, segment, others, sigma) | {
        "flux": float(image[segment].sum()),
        "colour_mag": float(-2.5 * np.log10(light[2] / light[0])),
    }


def _corners(image: np.ndarray) -> np.ndarray:
    """The pixels of the four corners, an eighth of the side each: (4 s², …)."""
    s = max(2, image.shape[0] // 8)
    parts = [image[a, b] for a in (np.s_[:s], np.s_[-s:]) for b in (np.s_[:s], np.s_[-s:])]
    return np.concatenate([part.reshape(-1, *image.shape[2:]) for part in parts])


def _spread(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _morphology(image, segment, others, sigma) -> dict:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # its flag says the same, image by image
        found = statmorph.SourceMorphology(
            image,
            segment.astype(int),
            label=1,
            mask=others,
            weightmap=np.full(image.shape, sigma),
            # Of no use here, and most of the time would go into it; it cannot be left out.
            sersic_fitting_args={"maxiter": 1},
        )
    values = {
        "half_light_radius_px": found.rhalf_circ,
        "ellipticity": found.ellipticity_asymmetry,
        "concentration": found.concentration,
        "asymmetry": found.asymmetry,
        "gini": found.gini,
        "m20": found.m20,
    }
    if found.flag > _USABLE_FLAG or not np.isfinite(list(values.values())).all():
        return _NOTHING | {"reason": f"statmorph flag {found.flag}"}
    return {name: float(value) for name, value in values.items()} | {"reason": ""}


def measure_all(pixels: np.ndarray, folder: Path, processes: int, label: str) -> pd.DataFrame:
    """`measure` of every image, in order; parts that are in `folder` are not measured again."""
    starts = range(0, len(pixels), IMAGES_PER_PART)
    parts = [
        (pixels[s : s + IMAGES_PER_PART], folder / f"structure-{i:05d}.parquet")
        for i, s in enumerate(starts)
    ]
    if len(parts) == 1:  # starting processes would take longer
        return _measure_part(*parts[0])
    with workers_that(_DOES, processes) as pool:
        futures = [pool.submit(_measure_part, *part) for part in parts]
        for _ in track(as_completed(futures), label, len(pixels), "images", each=IMAGES_PER_PART):
            pass
        return pd.concat([future.result() for future in futures], ignore_index=True)


@contextlib.contextmanager
def measuring(processes: int) -> Iterator[Callable[[np.ndarray], pd.DataFrame]]:
    """Gives `measure` of many images in processes, which are started when it is first asked."""
    with workers_that(_DOES, processes) as pool:
        yield lambda pixels: pd.DataFrame([*pool.map(measure, pixels, chunksize=8)])


def _measure_part(pixels: np.ndarray, path: Path) -> pd.DataFrame:
    made_from = digest([digest_of(pixels), _FORM])
    return once(path, made_from, lambda: pd.DataFrame([measure(image) for image in pixels]))
