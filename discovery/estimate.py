"""How long the steps of a run may take on two CPU cores; from rates measured there."""

from discovery.detector.config import DetectorConfig
from discovery.detector.examples import HELD_OUT_EVERY
from discovery.run import MIXED, Run

# Per second on two cores of 2025; machines differ by half or twice. See benchmarks/rates.py.
RENDERED = 200.0
READ = 250.0
GENERATOR_TRAINED_PX = 65 * 64**2
GENERATOR_PASSES_PX = 120 * 64**2
# Work per px against the pixel kind's, from the networks' arithmetic; the larger ones want a GPU.
GENERATOR_COST = {"pixel": 1.0, "stable-diffusion": 5.0, "ddpm": 18.0, "sagan": 6.0}
LANES_PAINTED = 9.0
ARTEFACTS_PAINTED = 250.0
DETECTOR_TRAINED = 550.0
SCORING_PASSES = 1600.0
STRUCTURE_MEASURED = 6.5
ATTEMPTS = 2.6  # at an image, where a critic keeps it


def expected_seconds(run: Run) -> dict[str, float]:
    """Seconds per step, by its name or, where those of all detectors are alike, its first word."""
    config = run.config
    cutouts = {survey.name: len(survey) for survey in config.survey}
    rates = {s.name: RENDERED if s.kind == "mock" else READ for s in config.survey}
    total = sum(cutouts.values())
    generator, detector = config.generator, config.detector
    work_px = GENERATOR_COST[generator.kind] * generator.size**2
    seconds = {
        "ingest": 10 + sum(n / rates[name] for name, n in cutouts.items()),
        "train-generator": generator.steps * generator.batch * work_px / GENERATOR_TRAINED_PX,
    }
    if config.synthesis is None:
        return seconds
    asked = config.synthesis
    images = sum(prompt.count for prompt in asked.wanted)
    measured = 0.0
    if asked.critic_images:
        images = ATTEMPTS * images + asked.critic_images
        measured = (images + asked.critic_images) / STRUCTURE_MEASURED
    passes = images * asked.steps * (1 if asked.guidance == 1 else 2)
    shown = detector.steps * detector.batch * detector.ensemble
    train = detector.folds * shown / DETECTOR_TRAINED
    return seconds | {
        "synthesize": passes * work_px / GENERATOR_PASSES_PX + measured,
        f"train {MIXED}": train + _painting(detector),
        "train": train,  # what was painted for the first is kept
        "score": total * detector.ensemble * detector.views / SCORING_PASSES,
        "cluster": 5.0,
        "catalogue": 5.0,
        "report": 20.0,
    }


def _painting(detector: DetectorConfig) -> float:
    """Seconds; every fold has other galaxies to paint on."""
    lanes = detector.painted.count * (1 + 1 / HELD_OUT_EVERY)
    each = lanes / LANES_PAINTED + detector.artefacts.count / ARTEFACTS_PAINTED
    return detector.folds * each
