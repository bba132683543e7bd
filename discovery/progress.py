"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def say(text: str) -> None:
    """Print one line on standard error, above the bar if there is one."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


def track(
    items: Iterable[T], label: str, total: int | None = None, unit: str = "", each: int = 1
) -> Iterator[T]:
    """Yield `items` and show how far it is.

    Args:
        total: `unit`s in all; by default `each` for every item.
        each: `unit`s that one item stands for; the last may stand for fewer.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items) * each
    follow = _bar if sys.stderr.isatty() else _lines
    return follow(items, label, total, unit, each)


def _bar(items, label, total, unit, each):
    with tqdm(total=total, desc=label, unit=f" {unit}", file=sys.stderr, leave=False) as bar:
        for item in items:
            yield item
            bar.update(min(each, bar.total - bar.n) if bar.total else each)


def _lines(items, label, total, unit, each):
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            units = min(done * each, total) if total else done * each
            say(_line(label, units, total, unit, now - start))


def _line(label, done, total, unit, seconds):
    rate = done / seconds
    if not total:
        return f"  {label}: {done:,} {unit}, {rate:,.1f}/s"
    left = (total - done) / rate
    return f"  {label}: {done:,} of {total:,} {unit}, {rate:,.1f}/s, {left:,.0f} s left"
