"""The verbs. They read the command line and hand over; what they do is written elsewhere."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click
from click.core import ParameterSource
from pydantic import ValidationError

import discovery
from discovery.errors import BadInput

RUN_FILE = click.argument("run_file", type=click.Path(path_type=Path), metavar="RUN.toml")
RUNS = click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder that holds the run folders.",
)
DEVICE = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda or cuda:N; auto takes CUDA where it is.",
)
YES = click.option(
    "--yes",
    is_flag=True,
    help="Remove finished work that other settings or files have made, and do it anew.",
)
CROP = click.option(
    "--crop",
    type=click.FloatRange(0, 1, min_open=True),
    help="Central fraction of the width to show, of a folder of images; 1 if left out.",
)
OUT = click.option("--out", type=click.Path(path_type=Path), help="Folder for the result.")


def explained(verb: Callable) -> Callable:
    """Turn an error that is meant for the reader into its message and exit status 2."""

    @functools.wraps(verb)
    def wrapper(*args, **kwargs):
        try:
            return verb(*args, **kwargs)
        except BadInput as error:
            click.echo(f"discovery: {error}", err=True)
            sys.exit(2)
        except ValidationError as error:
            said = [p["msg"].removeprefix("Value error, ") for p in error.errors()]
            click.echo("\n".join(f"discovery: {line}" for line in said), err=True)
            sys.exit(2)
        except ValueError as error:
            from catalogs import CatalogError  # brings astropy, which --help is not to wait for

            if not isinstance(error, CatalogError):
                raise
            click.echo(f"discovery: {error}", err=True)
            sys.exit(2)
        except OSError as error:
            what = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            click.echo(
                f"discovery: {what or error}. Put that right and type the same command again; "
                "finished work is kept.",
                err=True,
            )
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("discovery: stopped; the same command goes on where it was.", err=True)
            sys.exit(130)

    return wrapper


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(discovery.__version__, prog_name="discovery")
def main() -> None:
    """Find a rare kind of galaxy in a survey: dream it, train on the dream, score the sky,
    release a catalogue.

    `discovery run runs/demo.toml` takes the whole walk. The verbs below it take one step of it.
    """


def _open_run(run_file: Path, runs: Path, device: str = "auto"):
    from discovery.config import load_config
    from discovery.run import Run

    config = load_config(run_file)
    return Run(config, runs / config.name, run_file, device)


def _is_helper(verb: str) -> bool:
    """Whether `accelerate launch` started this process beside the first one.

    Raises:
        BadInput: for a verb that processes cannot share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and verb != "train-generator":
        raise BadInput(
            f"several processes were started, and `discovery {verb}` is work for one; share "
            "train-generator alone: accelerate launch -m discovery train-generator RUN.toml"
        )
    return os.environ.get("RANK", "0") != "0"


def _take_step(verb: str, run_file: Path, runs: Path, yes: bool, device: str = "auto") -> None:
    helps = _is_helper(verb)
    run = _open_run(run_file, runs, device)
    from discovery import pipeline  # not before: a mistake in the run file needs no torch

    if helps:
        pipeline.assist(run, verb)
        return
    pipeline.walk(run, only=pipeline.steps_of(run, verb), yes=yes)


@main.command("run")
@RUN_FILE
@RUNS
@click.option("--dry-run", is_flag=True, help="Say what would be done and how long it may take.")
@click.option(
    "--redo",
    multiple=True,
    metavar="STEP",
    help="Do STEP and all that follows from it anew; may be repeated. STEP is ingest, "
    "train-generator, synthesize, train, score, cluster, catalogue or report; of one detector "
    "alone 'train mixed', 'score mixed', 'train real-only', 'score real-only'.",
)
@YES
@DEVICE
@explained
def run_command(
    run_file: Path, runs: Path, dry_run: bool, redo: tuple[str, ...], yes: bool, device: str
) -> None:
    """Take the whole walk of RUN.toml; steps that are done are not done twice.

    A run that was stopped, also by kill -9, goes on with the same command. Where settings changed,
    finished work that they decide is removed and done anew, but only with --yes or --redo.
    """
    _is_helper("run")
    run = _open_run(run_file, runs, device)
    from discovery import pipeline
    from discovery.report import closing_words

    if dry_run:
        click.echo(pipeline.describe_plan(run, redo))
        return
    pipeline.walk(run, redo=redo, yes=yes)
    click.echo(closing_words(run))


@main.command("settings")
def settings_command() -> None:
    """Print every key that may stand in a run file, with its default and what it means.

    Sections are in the order of the walk. A key without a default has to be given. What is not
    in the run file has its default; a key that is not listed here is refused.

    Writes standard output and nothing else: discovery settings | less
    """
    from discovery.settings import describe

    click.echo(describe())


def _step_command(name: str, does: str, reads: str, writes: str, computes: bool = False) -> None:
    needed = "" if name == "ingest" else " It needs the steps before it, and says so."
    text = (
        f"{does}\n\nReads {reads}; writes {writes} in the run's folder. This is one step of "
        f"`discovery run`; it is not repeated when it is done.{needed}"
        f"\n\nExample: discovery {name} runs/demo.toml"
    )

    @main.command(name, help=text, short_help=does)
    @RUN_FILE
    @RUNS
    @YES
    @(DEVICE if computes else lambda verb: verb)
    @explained
    def command(**given) -> None:
        _take_step(name, **given)


_step_command(
    "ingest",
    "Read the surveys into a cutout store, split by galaxy.",
    "every image once: checks it, makes a caption from its votes, finds copies of one galaxy",
    "cutouts/, known.parquet and the table of failures",
)
_step_command(
    "train-generator",
    "Train the text-conditioned diffusion model.",
    "the captioned cutouts of the training split",
    "generator/ in diffusers' layout",
    computes=True,
)
_step_command(
    "train",
    "Train the detector, calibrate it, freeze its threshold.",
    "real and synthetic cutouts to train on, real ones of the validation split to calibrate on",
    "detector/: weights with their preprocessing, calibration and threshold",
    computes=True,
)
_step_command(
    "cluster",
    "Group the candidates by likeness.",
    "scores and embeddings of the cutouts above the threshold",
    "clusters/: a table and a contact sheet per cluster",
)
_step_command(
    "catalogue",
    "Write the candidate catalogue, a draft until it is released.",
    "the candidates, what the surveys know of them, and the published objects",
    "catalogue/: the table in every format, README, CITATION.cff and checksums",
)
_step_command(
    "report",
    "Judge the search and write the report.",
    "scores, catalogue, and the truth (mock sky) or the published objects",
    "report/index.html with its figures, and metrics.json",
)


@main.command("release")
@RUN_FILE
@click.option(
    "--version",
    required=True,
    help="Of the release: two or three numbers with points between, e.g. 1.0; 1.0rc1 to try.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the release; releases/VERSION in the run's folder if left out.",
)
@RUNS
@explained
def release_command(run_file: Path, version: str, out: Path | None, runs: Path) -> None:
    """Freeze the finished run RUN.toml into a folder to hand on, to Zenodo or VizieR, say.

    The catalogue in every format, false positives as a table of their own where they are known,
    README, CITATION.cff, the run file, what was measured, figures, contact sheets, checksums. The
    same run gives the same bytes. What is in the folder already is never overwritten.

    Example: discovery release runs/demo.toml --version 1.0
    """
    from catalogs.release import require_version

    require_version(version)  # before what takes longer
    run = _open_run(run_file, runs)
    from discovery import pipeline
    from discovery.release import release

    pipeline.steps_of(run, "report")
    pipeline.require(run, [step.name for step in pipeline.steps(run)], "release")
    click.echo(f"release  {release(run, version, out)}")


@main.command("diff")
@click.argument("one", type=click.Path(path_type=Path, exists=True))
@click.argument("other", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--examples", type=click.IntRange(1), default=3, show_default=True, help="To show of each."
)
@explained
def diff_command(one: Path, other: Path, examples: int) -> None:
    """Say what the release OTHER has otherwise than the release ONE.

    Each is a release's folder, or a FITS or VOTable file of it. Rows are compared by object_id,
    column by column; then what is said of the columns, and where the catalogue comes from; of two
    folders also the false positives, all other files, and whether each is what SHA256SUMS says.

    Exit status 0 says that they are the same, 1 that they differ, 2 that one cannot be read.
    """
    from catalogs.diff import describe

    lines = describe(one, other, examples)
    click.echo("\n".join(lines) or "no difference")
    sys.exit(1 if lines else 0)


def _is_run_file(first: Path) -> bool:
    """Whether a verb of two uses was given a run file; what belongs to the other is refused."""
    is_run_file, of_a_run = first.suffix == ".toml", {"runs", "yes"}
    context = click.get_current_context()
    for parameter in context.command.params[1:]:
        by_hand = context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        if by_hand and parameter.name != "device" and is_run_file != (parameter.name in of_a_run):
            raise click.UsageError(
                f"{parameter.opts[0]} does not go with {first}: beside RUN.toml, which says the "
                "rest, stand --runs, --yes and --device; the first two stand there alone."
            )
    return is_run_file


def _need(name: str, given: object) -> None:
    if not given:
        raise click.UsageError(f"Missing {name}; only with a RUN.toml it may be left out.")


@main.command()
@click.argument("generator", type=click.Path(path_type=Path), metavar="GENERATOR|RUN.toml")
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    help="e.g. 'mock, in-between round galaxy, {dust lane:1.3}'; may be repeated.",
)
@click.option(
    "--count", type=click.IntRange(1), default=64, show_default=True, help="Images per prompt."
)
@click.option(
    "--steps", type=click.IntRange(1, 1000), default=16, show_default=True, help="Sampling steps."
)
@click.option(
    "--guidance",
    type=click.FloatRange(1, 30),
    default=2.5,
    show_default=True,
    help="1 follows the caption loosely.",
)
@click.option("--negative", default="", help="Tags that guidance leads away from, e.g. 'merger'.")
@click.option(
    "--outline",
    default="",
    help="What is asked for at first, when size and brightness are decided: the prompt without its "
    "rare feature, say; the prompt itself if left out.",
)
@click.option(
    "--outline-above",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of noise down to which that is drawn, without guidance, e.g. 0.98; 1: never.",
)
@click.option(
    "--guidance-rescale",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="How far guidance keeps the contrast of the caption alone.",
)
@click.option(
    "--sampler",
    type=click.Choice(["auto", "dpm", "dpm-sde", "euler", "euler-ancestral", "ddim", "ddpm"]),
    default="auto",
    show_default=True,
    help="dpm of either, dpm-sde and euler of a flow, the others of diffusion; auto takes what "
    "suits.",
)
@click.option(
    "--coherence",
    type=click.FloatRange(0, 10),
    default=0.0,
    show_default=True,
    help="How far to lead away from images whose parts do not know of each other, e.g. 1.",
)
@click.option(
    "--symmetry",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Leave out what half a turn changes where it is fainter than this share of the images' "
    "σ, e.g. 0.05.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Start from real images, with noise added: a cutout store or a folder of images.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the steps, from the noisiest on, that a reference goes through, e.g. 0.6.",
)
@CROP
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Decides every image."
)
@OUT
@RUNS
@YES
@DEVICE
@explained
def synthesize(
    generator,
    prompts,
    count,
    negative,
    outline,
    reference,
    crop,
    out,
    runs,
    yes,
    device,
    **sampling,
) -> None:
    """Have GENERATOR dream cutouts into a store, and draw a sheet of them; or take this step of
    the run RUN.toml, which says what to dream.

    GENERATOR is a folder, e.g. runs/demo/generator, or `shipped` or `shipped-sdss`: the weights of
    the package, taught by a mock sky, and then by galaxies of SDSS. It needs --prompt and --out,
    and takes neither --runs nor --yes.
    """
    if _is_run_file(generator):
        _take_step("synthesize", generator, runs, yes, device)
        return
    _need("--prompt", prompts)
    _need("--out", out)
    _refuse_idle(negative, outline, reference, crop, **sampling)
    each = {"count": count, "negative": negative, "outline": outline}
    asked = _asked([{"prompt": text, **each} for text in prompts], reference, sampling)
    from discovery.alone import synthesize_alone  # not before: a wrong prompt needs no torch

    click.echo(synthesize_alone(generator, asked, out, device, reference, crop))


def _refuse_idle(
    negative, outline, reference, crop, guidance, guidance_rescale, outline_above, strength, **_
) -> None:
    """Refuse options of synthesize that would decide nothing."""
    if guidance == 1 and (negative or guidance_rescale):
        raise click.UsageError(
            "--negative and --guidance-rescale say how guidance leads, and --guidance 1 does not "
            "lead; give, for example, --guidance 2.5."
        )
    if outline and outline_above == 1:
        raise click.UsageError("--outline is drawn first; say how long: --outline-above 0.98.")
    if outline_above < 1 and guidance == 1 and not outline:
        raise click.UsageError(
            "--outline-above begins without guidance, and --guidance 1 is none; give --outline too."
        )
    if reference is None and (strength != 1 or crop is not None):
        raise click.UsageError("--strength and --crop are of a reference; give --reference FOLDER.")


def _asked(prompts, reference, sampling):
    from discovery.generator.config import SynthesisConfig

    start = "none" if reference is None else "real"
    return SynthesisConfig(prompts=prompts, reference=start, **sampling)


@main.command(context_settings={"allow_extra_args": True})  # to say what to type instead
@click.argument("path", type=click.Path(path_type=Path), metavar="FOLDER|RUN.toml")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=Path("shipped"),
    show_default=True,
    help="A detector's folder, e.g. runs/demo/detector/mixed; shipped: the one of the package.",
)
@click.option(
    "--crop",
    type=click.FloatRange(0, 1, min_open=True),
    help="Central fraction of the width to show, of a folder of images; measured if left out.",
)
@OUT
@RUNS
@YES
@DEVICE
@click.pass_context
@explained
def score(context, path, model, crop, out, runs, yes, device) -> None:
    """Score every image of FOLDER and show the most probable; or take this step of the run
    RUN.toml.

    FOLDER holds JPEG, PNG or FITS files, or is a cutout store; it needs --out, and takes neither
    --runs nor --yes. A stopped scoring goes on where it was, and what changed in FOLDER is scored
    anew.

    Writes --out: index.html and top.png to look at, scores.csv with all images, scores/ with
    embeddings too. Of images that show more around a galaxy than the detector learnt from, the
    middle is taken; --crop 0.35 takes that part, --crop 1 all. It is printed, with how far the
    detector is to be trusted.

    Example: discovery score my_jpegs --out scored
    """
    _refuse_second(path, context.args)
    if _is_run_file(path):
        _take_step("score", path, runs, yes, device)
        return
    _need("--out", out)
    from discovery.alone import score_alone

    click.echo(score_alone(path, out, device, model, crop))


def _refuse_second(first: Path, more: list[str]) -> None:
    """Up to version 0.1 the detector came first, then the folder."""
    if not more:
        return
    folder, model = Path(more[0]), first
    if (folder / "detector.json").exists():
        folder, model = first, folder
    raise click.UsageError(
        f"{' '.join(map(str, [first, *more]))}: one folder is scored at a time, and the detector "
        f"is named by --model; type: discovery score {folder} --model {model} --out DIR"
    )


@main.command("judge-generator")
@RUN_FILE
@click.option(
    "--generator",
    type=click.Path(path_type=Path),
    help="Another generator's folder, 'shipped' or 'shipped-sdss'; the run's own if left out.",
)
@RUNS
@DEVICE
@explained
def judge_generator_command(
    run_file: Path, generator: Path | None, runs: Path, device: str
) -> None:
    """Judge the generator of RUN.toml against real cutouts that it never saw.

    Realism, diversity and consistency, distances in feature space, whether a classifier tells real
    from synthetic, physical structure, memorised training images, the extrapolation to the quarry,
    curves and figures. [judge] in RUN.toml says of how many images; it takes about half an
    hour on two CPU cores, and stopped, goes on where it was.

    Writes judge/ in the run's folder: a page to read (index.html), judge.json, tables, figures, and
    all images it drew. Needs the steps ingest and train-generator; with --generator the first
    alone.
    """
    run = _open_run(run_file, runs, device)
    from discovery import pipeline
    from discovery.generator.judge.verb import judge_generator
    from discovery.run import alone

    needs = ("ingest", "train-generator") if generator is None else ("ingest",)
    pipeline.require(run, needs, "judge-generator")
    with alone(run.folder):
        click.echo(judge_generator(run, generator))


@main.command("evidence")
@RUN_FILE
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(
        ["ablation", "injection", "known", "vetted", "calibration", "classification"]
    ),
    help="Make this part alone; may be repeated.",
)
@RUNS
@DEVICE
@explained
def evidence_command(run_file: Path, only: tuple[str, ...], runs: Path, device: str) -> None:
    """Say how good the search of RUN.toml is, and what made it so, as one page.

    known: the ranks of published objects. calibration: whether probabilities keep their promise (of
    a mock sky). [evidence.ablation] trains detectors that differ in one thing each, with several
    seeds, and compares them on the same objects; [evidence.injection] paints lanes on galaxies and
    looks which are found; [evidence.vetted] takes what people have looked at;
    [evidence.classification] teaches classifiers a few classes with and without dreams.

    What is finished is not done again, whatever else changes, and stopped, also by kill -9, it
    goes on where it was.

    Writes evidence/ in the run's folder: a page to read (index.html), evidence.json, tables,
    figures. docs/evidence.md says what every number means.
    """
    run = _open_run(run_file, runs, device)
    from discovery import pipeline
    from discovery.evidence.verb import asked_for, needs, prove
    from discovery.run import alone

    names = asked_for(run.config, only)
    pipeline.require(run, needs(run, names), "evidence")
    with alone(run.folder):
        click.echo(prove(run, names))


@main.group()
def fetch() -> None:
    """Fetch surveys, cutouts, published lists and names over the network.

    What came is kept: a command that was stopped goes on where it was, and --offline uses what is
    there and sends nothing. Services are asked at a measured pace, again where they are busy, and
    what they could not give is listed with the reason. docs/fetching.md has it all.
    """


OFFLINE = click.option("--offline", is_flag=True, help="Send nothing; use what is here.")
CACHE = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of what services answered, and of frames; ~/.cache/discovery if left out.",
)
OUT_FOLDER = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for what comes."
)
OUT_TABLE = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File for the table: .csv, .ecsv, .fits or .vot.",
)


@fetch.command("gz2")
@OUT_FOLDER
@click.option("--photometry", is_flag=True, help="Also the table of sizes and magnitudes (0.2 GB).")
@OFFLINE
@explained
def fetch_gz2_command(out: Path, photometry: bool, offline: bool) -> None:
    """Fetch the Galaxy Zoo 2 release: images (3.4 GB), their mapping to galaxies, and the votes.

    Images come from Zenodo (doi 10.5281/zenodo.3565489) and are checked by size and digest; the
    archive is not unpacked, for the survey kind gz2 reads from it.

    Example: discovery fetch gz2 --out gz2
    """
    from discovery.fetch.gz2 import fetch_gz2

    click.echo(fetch_gz2(out, photometry, offline))


@fetch.command("cutouts")
@click.argument("table", type=click.Path(path_type=Path))
@OUT_FOLDER
@click.option(
    "--from",
    "origin",
    default="sdss",
    show_default=True,
    help="sdss: its colour JPEG; sdss-frames: its FITS frames; hips:NAME: any HiPS, "
    "e.g. hips:CDS/P/SDSS9/color.",
)
@click.option("--size", type=click.IntRange(16, 4096), default=424, show_default=True, help="px.")
@click.option(
    "--scale",
    type=click.FloatRange(0.015, 60),
    help="arcsec per px of every cutout; if left out, 0.02 petrosian R90 as in Galaxy Zoo 2.",
)
@click.option(
    "--format", "kind", type=click.Choice(["jpg", "fits"]), default="jpg", help="Of hips:."
)
@click.option(
    "--release", type=click.IntRange(8, 19), default=17, show_default=True, help="Of SDSS."
)
@click.option(
    "--bands", default="g,r,i", show_default=True, help="Of sdss-frames: some of u, g, r, i, z."
)
@click.option("--id-column", help="Column of ids; else object_id, id, objid, dr7objid or name.")
@click.option("--ra-column", default="ra", show_default=True, help="deg ICRS.")
@click.option("--dec-column", default="dec", show_default=True, help="deg ICRS.")
@click.option("--r90-column", help="Column of petrosian R90, arcsec; else petroR90 and the like.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 20, min_open=True),
    default=4,
    show_default=True,
    help="Requests a second, at most.",
)
@CACHE
@OFFLINE
@click.option(
    "--yes",
    is_flag=True,
    help="Remove images of these objects at another position or scale, and fetch them anew.",
)
@explained
def fetch_cutouts_command(
    table, out, origin, size, scale, kind, release, rate, bands, cache, offline, yes, **columns
) -> None:
    """Fetch a cutout of every object of TABLE, by position.

    TABLE is CSV, FITS, VOTable or Parquet with columns of ids, ra, dec, and petrosian R90 where
    no --scale is given. The folder --out becomes a survey: images/, table.csv, failures.csv; the
    lines for a run file are printed.

    Example: discovery fetch cutouts galaxies.csv --from sdss --out cutouts
    """
    from discovery.fetch.cutouts import fetch_cutouts
    from discovery.fetch.targets import read_targets

    targets = read_targets(table, **columns, scale=scale, size=size)
    click.echo(
        fetch_cutouts(targets, out, origin, size, release, kind, rate, offline, bands, cache, yes)
    )


@fetch.command("known")
@OUT_TABLE
@click.option("--catalogue", help="Name in VizieR, e.g. J/MNRAS/435/2835/table5.")
@click.option("--list", "named", help="A list that is not in VizieR: kaviraj2012.")
@click.option("--bibcode", help="ADS bibcode of a catalogue's publication, for the lines printed.")
@CACHE
@OFFLINE
@explained
def fetch_known_command(out: Path, **asked) -> None:
    """Fetch a published list of objects as a table with ra and dec, for [survey.published].

    The lines for a run file are printed.

    Example: discovery fetch known --list kaviraj2012 --out known.csv
    """
    from discovery.fetch.known import fetch_known

    click.echo(fetch_known(out, **asked))


@fetch.command("names")
@click.argument("catalogue", type=click.Path(path_type=Path))
@OUT_TABLE
@click.option(
    "--radius",
    type=click.FloatRange(0, 60, min_open=True),
    default=3,
    show_default=True,
    help="arcsec within which a match has to lie.",
)
@click.option(
    "--service",
    "asked",
    multiple=True,
    type=click.Choice(["simbad", "ned"]),
    default=["simbad", "ned"],
    show_default=True,
    help="Whom to ask; may be repeated.",
)
@click.option("--id-column", help="Column of ids; else object_id, id, objid, dr7objid or name.")
@click.option("--ra-column", default="ra", show_default=True, help="deg ICRS.")
@click.option("--dec-column", default="dec", show_default=True, help="deg ICRS.")
@CACHE
@OFFLINE
@explained
def fetch_names_command(catalogue, out, radius, asked, cache, offline, **columns) -> None:
    """Fetch what SIMBAD and NED call the objects of CATALOGUE, by position.

    CATALOGUE is a released catalogue or any table with ids, ra and dec. The table has one row a
    match, the nearest first. SIMBAD is asked for a hundred positions at once, NED for one: a
    thousand objects take ten minutes.

    Example: discovery fetch names runs/demo/releases/1.0/demo-1.0.fits --out names.csv
    """
    from discovery.fetch.names import fetch_names
    from discovery.fetch.targets import read_targets

    targets = read_targets(catalogue, **columns, scaled=False)
    click.echo(fetch_names(targets, out, radius, asked, offline, cache))


if __name__ == "__main__":
    main()
