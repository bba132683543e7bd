"""Extrapolation: are early types drawn with a dust lane when asked, and more so when asked harder?

The generator may never have seen one. Lane and shape are judged on grey images by `lanes`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from discovery.cutouts import CutoutStore
from discovery.evidence.metrics import wilson
from discovery.evidence.tables import records, write_both
from discovery.files import digest
from discovery.generator.base import reads
from discovery.generator.judge.case import Case
from discovery.generator.judge.intervals import columns, ratio_interval
from discovery.generator.judge.lane_check import judge_the_judge
from discovery.generator.judge.lanes import (
    CARD,
    LaneJudge,
    LaneJudgeConfig,
    load_lane_judge,
    save_lane_judge,
    train_lane_judge,
)
from discovery.generator.judge.real import Images, load_images
from discovery.morphology.captions import tags_of

LANE, SMOOTH, DISC = "dust lane", "smooth", "edge-on galaxy"
USUAL_EARLY_TYPES = 2  # captions, where the run file names none
MOST_TO_LEARN_FROM = 1500  # of each kind, for the lane judge
LEAST_TO_COMPARE = 5  # real cutouts of a caption, to say how bright they are
MOST_TO_CHECK = 300  # of each kind: a lane is painted on every early type


def laned(caption: str, weight: float) -> str:
    """The prompt of `caption` with a lane of this weight; without one at weight 0."""
    return f"{caption}, {{{LANE}:{weight:g}}}" if weight else caption


def is_plain_early(caption: str) -> bool:
    """Survey, smooth, and how round: nothing else was seen."""
    tags = tags_of(caption)
    return SMOOTH in tags and LANE not in tags and len(tags) <= 3


def early_types(case: Case) -> list[str]:
    """The captions that the lane is asked of: those of [judge], or the usual ones, if any, that
    the generator can read with a lane.
    """
    if case.config.early_types:
        return list(case.config.early_types)
    counts = Counter(caption for caption in case.real.captions if is_plain_early(caption))
    usual = [caption for caption, _ in counts.most_common(USUAL_EARLY_TYPES)]
    return [caption for caption in usual if reads(case.generator, laned(caption, 1.3))]


def draw_doses(case: Case, captions: Sequence[str]) -> dict[tuple[str, float], Images]:
    """Images of each caption at each weight of the lane, and at 0: without."""
    weights = (0.0, *case.config.lane_weights)
    asked = {laned(c, w): (c, w) for c in captions for w in weights}
    asking = case.asking_for_lanes
    above = asking.settings.outline_above
    outlines = {prompt: caption for prompt, (caption, _) in asked.items()} if above < 1 else None
    drawn = asking.draw("lanes", dict.fromkeys(asked, case.config.lane_images), outlines)
    return {asked[prompt]: drawn.of(prompt) for prompt in asked}


def lane_judge(case: Case) -> LaneJudge:
    """A judge of lanes at the size of the case, from the training split's early types."""
    rows = case.store.table(["object_id", "caption", "sha256"], split="train")
    rows = rows.dropna(subset=["caption"]).drop_duplicates("object_id")
    size, seed = case.asking.size, case.config.seed
    config = LaneJudgeConfig(steps=case.config.network_steps // 2)
    key = digest([list(rows["sha256"]), list(rows["caption"]), size, seed, config.model_dump()])
    folder = case.shared / f"lane-judge-{key[:8]}"
    if not (folder / CARD).exists():
        pixels = [_of_kind(case.store, rows, kind, size) for kind in KINDS]
        judge = train_lane_judge(*pixels, seed, config, case.asking.device)
        save_lane_judge(judge, folder)
    return load_lane_judge(folder, case.asking.device)


def is_other(caption: str) -> bool:
    """Not smooth, and no lane was seen."""
    return not tags_of(caption) & {SMOOTH, LANE}


def is_dusty_disc(caption: str) -> bool:
    """A disc from the side with a lane."""
    return tags_of(caption) >= {DISC, LANE}


KINDS = (is_plain_early, is_other, is_dusty_disc)


def _of_kind(store: CutoutStore, rows: pd.DataFrame, kind, size: int) -> np.ndarray:
    chosen = rows[rows["caption"].map(kind)].head(MOST_TO_LEARN_FROM)
    return load_images(store, chosen, size).pixels


def check_lane_judge(case: Case, judge: LaneJudge) -> list[dict]:
    """What the judge of lanes is worth, on the real cutouts of the case: it never saw them."""
    plain, *others = (_where(case.real, kind)[:MOST_TO_CHECK] for kind in KINDS)
    if not len(plain):
        return []
    names = ("other shapes without a lane", "discs from the side with a lane")
    shapes = {name: pixels for name, pixels in zip(names, others, strict=True) if len(pixels)}
    table = pd.DataFrame([asdict(check) for check in judge_the_judge(judge, plain, {}, shapes)])
    write_both(table, case.out / "tables" / "lane-judge")
    return records(table)


def _where(images: Images, kind) -> np.ndarray:
    return images.pixels[[kind(caption) for caption in images.captions]]


def judge_extrapolation(
    case: Case, judge: LaneJudge, drawn: dict[tuple[str, float], Images]
) -> list[dict]:
    """A row per caption and weight: share with a lane, share that kept its shape, and brightness:
    mean level over that of the real cutouts under the same caption, if there are some.

    Rows of weight None are those real cutouts: what the judge says of galaxies that have no lane.
    """
    rows, rng = [], case.rng(5)
    for (caption, weight), images in drawn.items():
        real = case.real.of(caption).pixels.mean((1, 2, 3))
        levels = images.pixels.mean((1, 2, 3))
        bright = ratio_interval(levels, real, rng) if len(real) >= LEAST_TO_COMPARE else None
        row = {"caption": caption, "weight": weight} | _judged(judge, images.pixels)
        rows.append(row | columns("brightness", bright))
    for caption in dict.fromkeys(caption for caption, _ in drawn):
        pixels = case.real.of(caption).pixels
        rows.append({"caption": caption, "weight": None} | _judged(judge, pixels))
    table = pd.DataFrame(rows)
    write_both(table, case.out / "tables" / "dose-response")
    return records(table)


def _judged(judge: LaneJudge, pixels: np.ndarray) -> dict:
    lane, early = judge.has_lane(pixels), judge.is_early_type(pixels)
    found = {"images": len(pixels)}
    for name, is_so in (("lane", lane), ("early_type", early)):
        share = wilson(is_so.sum(), len(pixels))
        found |= {name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high}
    return found
