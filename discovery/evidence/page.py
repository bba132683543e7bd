"""What every page shares: the templates and their filters, figures with their captions, cells.

A page is one file that needs no network, with its figures in a folder beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import jinja2
from PIL import Image

from discovery.evidence import words
from discovery.files import writing


@dataclass(frozen=True)
class Picture:
    """A figure on a page: figures/`name`.png, -dark.png and, where `pdf`, .pdf; size in px."""

    name: str
    title: str
    caption: str
    alt: str
    width: int
    height: int
    pdf: bool


@dataclass(frozen=True)
class Cell:
    """One cell of a sortable table."""

    text: str
    sort: str | float
    number: bool


@dataclass(frozen=True)
class Table:
    """A table on the page; tables/`name`.csv holds every digit of it."""

    name: str
    label: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    csv: bool


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it: sentences, tables, figures, and figures folded away."""

    id: str
    title: str
    prose: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    folded: tuple[Picture, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


def open_picture(path: Path, title: str, caption: str, alt: str) -> Picture:
    """The figure whose PNG is at `path`."""
    with Image.open(path) as image:
        width, height = image.size
    return Picture(path.stem, title, caption, alt, width, height, path.with_suffix(".pdf").exists())


def text(said: str) -> Cell:
    return Cell(said, said, False)


def count(number: int) -> Cell:
    return Cell(f"{number:,}", number, True)


def measured(
    row: Mapping, name: str = "value", write: Callable[[float], str] = words.percent
) -> Cell:
    """'48 % (31–66 %)' of a record with `name`, `name_low`, `name_high`."""
    value, low, high = _ends(row, name)
    if value is None:
        return Cell("–", "", True)
    ends = f"{'–' if low is None else write(low)} to {'∞' if high is None else write(high)}"
    return Cell(f"{write(value)} ({ends})", value, True)


def _ends(row: Mapping, name: str) -> tuple:
    before = "" if name == "value" else f"{name}_"
    return row[name], row[f"{before}low"], row[f"{before}high"]


def plain(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}".replace("-", "−")


def points(value: float) -> str:
    """A difference of two shares, in points of a per cent."""
    return f"{100 * value:+.1f}".replace("-", "−")


def picture(folder: Path, name: str, title: str, caption: str) -> tuple[Picture, ...]:
    path = folder / "figures" / f"{name}.png"
    return (open_picture(path, title, caption, alt=f"{title}. {caption}"),) if path.exists() else ()


def table(
    folder: Path, name: str, label: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> Table:
    there = bool(name) and (folder / "tables" / f"{name}.csv").exists()
    return Table(name, label, tuple(headings), tuple(map(tuple, rows)), there)


def write_page(path: Path, template: str, **told) -> Path:
    """Fill a template of this package and write it, whole.

    Raises:
        BadInput: the disk is full.
    """
    page = _environment().get_template(template).render(**told)
    with writing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("discovery.evidence"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "probability": words.probability,
        "duration": duration,
        "trained_on": words.trained_on,
        "together": together,
    }
    return environment


def together(text: str) -> str:
    """Keep a number and its percent sign on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def duration(seconds: float) -> str:
    """'0:03:25'."""
    return str(timedelta(seconds=round(seconds)))
