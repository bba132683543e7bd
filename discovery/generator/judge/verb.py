"""Judge a generator: images, measurements, tables, figures, judge.json and its page."""

from pathlib import Path

import pandas as pd

from discovery.errors import BadInput
from discovery.evidence.tables import records
from discovery.files import write_json
from discovery.generator.judge import curves, dose, illustrate, sections
from discovery.generator.judge.case import Case, open_case
from discovery.generator.judge.page import JUDGED, write_judgement
from discovery.run import Run


def judge_generator(run: Run, generator: Path | None = None) -> str:
    """Judge the run's generator, or another, against the run's real cutouts.

    What is drawn or measured already is not done again, after kill -9 either.

    Args:
        generator: folder of another generator, or a shipped one's name; None: the run's own.

    Returns:
        What to tell the user.

    Raises:
        BadInput: see `open_case` and `front_captions`; before anything is drawn.
    """
    case = open_case(run, generator)
    captions = curves.front_captions(case)
    illustrate.show_samples(case)
    illustrate.show_trajectory(case, case.half.captions[0])
    found = {
        "case": case.describe(),
        "leak": case.leak,
        "features": sections.judge_the_network(case),
        "measures": sections.judge_likeness(case),
        "told_apart": sections.judge_by_classifier(case),
        "structure": _structure(case),
        "memory": _memory(case),
        "extrapolation": _extrapolation(case),
        "curves": _curves(case),
        "fronts": _fronts(case, captions),
        "speed": curves.sampling_speed(case),
    }
    write_json(case.out / JUDGED, found)
    page = write_judgement(case.out, run.config.name)
    return f"judged on {len(case.half):,} synthetic cutouts; read {page}"


def _structure(case: Case) -> dict:
    measured = sections.measure_structure(case)
    sections.write_images(case, measured)
    illustrate.show_structure(case, measured)
    return sections.judge_structure(case, measured)


def _memory(case: Case) -> dict:
    said, nearest, training = sections.judge_memory(case)
    illustrate.show_nearest(case, nearest, training)
    return said


def _extrapolation(case: Case) -> dict:
    captions = dose.early_types(case)
    if not captions:
        return {"checked": "the generator cannot be asked for an early type with a dust lane"}
    try:
        judge = dose.lane_judge(case)
    except BadInput as error:  # the rest of the judgement does not need it
        return {"checked": f"cannot be judged: {error}"}
    drawn = dose.draw_doses(case, captions)
    rows = dose.judge_extrapolation(case, judge, drawn)
    illustrate.show_lanes(case, drawn, rows)
    return {"doses": rows, "lane_judge": dose.check_lane_judge(case, judge)}


def _curves(case: Case) -> dict:
    found = {"training_steps": curves.training_curve(case),
             "sampling_steps": curves.sampling_curve(case)}  # fmt: skip
    real = curves.real_point(case)
    illustrate.show_curves(case, found, real)
    told = {name: records(table) for name, table in found.items()}
    told["real_cutouts"] = records(pd.DataFrame([real]))
    return told | {"knee_of_sampling_steps": curves.knee(found["sampling_steps"])}


def _fronts(case: Case, captions: list[str]) -> list[dict]:
    table = curves.fronts(case, captions)
    illustrate.show_fronts(case, table)
    return records(table)
