"""What every page shares: the templates and their filters, figures with their captions, cells.

A page is one file that needs no network, with its figures in a folder beside it.
"""

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
