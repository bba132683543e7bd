"""The form of the CDS: a table of fixed columns, and a ReadMe that describes it byte by byte.

Standards for Astronomical Catalogues, version 2.0 (CDS). Both files are ASCII. Numbers have the
fewest digits that give back every bit, a blank cell is a null. Text is escaped as in FITS; as a
blank cell is a null already, "" is an empty text, and a text that begins with " or a space has
\\x22 or \\x20 there. What the ReadMe has no place for, UCDs and provenance, stands in its notes.
"""

import re
import textwrap
import unicodedata
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table

from catalogs.arrow import TYPES, to_arrow
from catalogs.atomic import write_bytes, writing
from catalogs.columns import Column, masked_column
from catalogs.errors import CatalogError
from catalogs.fits import TEXT, escape, unescape
from catalogs.provenance import Provenance, from_items, items
from catalogs.reading import check_memory, read_bytes
from catalogs.readme import summary
from catalogs.rows import kind, pack_text, slices, unpack_text

README = "ReadMe"
WIDTH = 80  # of a ReadMe
BLANK = ord(" ")
BAR, RULE = "=" * WIDTH, "-" * WIDTH


def _encode_cell(text):
    escaped = escape(text).decode()
    if escaped[:1] in ('"', " "):
        escaped = f"\\x{ord(escaped[0]):02x}{escaped[1:]}"
    return (escaped or '""').encode()


def _decode_cell(raw):
    cell = raw.decode("ascii").rstrip(" ")
    return "" if cell == '""' else unescape(cell)


CELL = replace(
    TEXT,
    plain=lambda codes: TEXT.plain(codes) & ~np.isin(codes[:, 0], (0, BLANK, ord('"'))),
    encode=_encode_cell,
    coded=lambda units: TEXT.coded(units) | (units[:, 0] == ord('"')),
    decode=_decode_cell,
    null=BLANK,
    narrowest=1,
)


def _numbers(values):
    """Text of an Arrow column: the fewest digits that read back equal, null as empty."""
    texts = pc.cast(values, pa.large_string())
    if pa.types.is_floating(values.type):  # Fortran reads 5 as .05 where the form is F8.2
        pointed = pc.match_substring(texts, ".")
        if not pc.all(pointed).as_py():  # a regular expression for every value takes its time
            whole = pc.replace_substring_regex(texts, r"^(-?\d+)(e|$)", r"\1.0\2")
            texts = pc.if_else(pointed, texts, whole)
    return pc.fill_null(texts, "").combine_chunks()


def _padded(texts, least=1):
    """uint8 (N, width), right-aligned, of an Arrow column of ASCII text."""
    width = max(least, pc.max(pc.binary_length(texts)).as_py() or 0)
    padded = pc.utf8_lpad(texts, width)
    size = len(texts) * width
    return np.frombuffer(padded.buffers()[2] or b"", np.uint8, size).reshape(len(texts), width)


def _real_form(texts):
    """(letter, decimals) of the Fortran form that all numbers of an Arrow column fit."""
    exponents = pc.any(pc.match_substring(texts, "e")).as_py()
    mantissas = pc.replace_substring_regex(texts, "e.*", "") if exponents else texts
    point = pc.find_substring(mantissas, ".")
    decimals = pc.subtract(pc.binary_length(mantissas), pc.add(point, 1))
    decimals = pc.if_else(pc.equal(point, -1), 0, decimals)
    return "E" if exponents else "F", pc.max(decimals).as_py() or 0


def _cells(column):
    """(Fortran form such as I19, F9.6, E12.4 or A23, uint8 (N, width)) of a column."""
    what, values = kind(column), to_arrow(Table([column]))[0]
    if what == "str":
        cells = pack_text(column, CELL)
        return f"A{cells.shape[1]}", cells
    texts = _numbers(values.cast(pa.int8()) if what == "bool" else values)
    if what[0] != "f":
        cells = _padded(texts)
        return f"I{cells.shape[1]}", cells
    letter, decimals = _real_form(texts)
    cells = _padded(texts, decimals + 7 if letter == "E" else 1)  # sign, 0., E and its exponent
    return f"{letter}{cells.shape[1]}.{decimals}", cells


def _wrapped(text, indent, first=""):
    """Lines of a ReadMe; none begins with a digit, which would look like a column's bytes."""
    glued = re.sub(r" (?=\d)", "\0", text)
    lines = textwrap.wrap(
        glued, WIDTH, initial_indent=first or " " * indent, subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace("\0", " ") for line in lines]


def _byte_by_byte(table, forms, widths):
    """Lines that say where each column stands."""
    start, labels = 1, max(map(len, table.colnames))
    for column, form, width in zip(table.itercols(), forms, widths, strict=True):
        end = start + width - 1
        place = f"{start:4d}-{end:4d}" if width > 1 else f"{start:9d}"
        unit = "---" if column.unit is None else column.unit.to_string("cds")
        null = "? " if np.ma.getmaskarray(column).any() else ""
        head = f"{place} {form:<7}{unit:<7}{column.name:<{labels}} "
        yield from _wrapped(f"{null}{column.description}", len(head) + 2, head)
        start = end + 2


def _meanings(table):
    """Type, digits to show and UCD of each column, which a byte-by-byte description lacks."""
    for c in table.itercols():
        digits = c.format[1:-1] if c.format else "-"
        yield f"  {c.name:<26}{kind(c):<9}{digits:<4}{c.meta['ucd']}"


def _said(provenance):
    """`name = value` lines; a line that goes on is indented further."""
    for item in items(provenance):
        text = f"{item.name} = {item.value}"
        if isinstance(item.value, str):
            text = f"{item.name} = {escape(item.value).decode()}"
        first, *rest = re.findall(r".{1,72}(?= |$)|.{1,72}", text)
        yield f"  {first}|"
        yield from (f"      {part}|" for part in rest)


def _ascii(text):
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _first_author(provenance):
    """What stands before the year of a CDS title."""
    families = [author.partition(",")[0] for author in provenance.authors]
    return f"{families[0]}{'+' if families[1:] else ''}, " if families else ""


def _makers(provenance):
    return "; ".join(provenance.authors) or f"{provenance.software} {provenance.version}"


def _readme(table, provenance, name, forms, widths):
    title, length = _ascii(provenance.title), sum(widths) + len(widths) - 1
    records = f"{name:<30} {length:6d} {len(table):9d}   "
    return "\n".join([
        *_wrapped(f"{title} ({_ascii(_first_author(provenance))}{provenance.created[:4]})", 0),
        BAR, *_wrapped(title, 0), *_wrapped(_ascii(_makers(provenance)), 4), BAR, "",
        "Description:",
        *_wrapped(f"{summary(table, provenance)}; each with position, score and calibrated "
                  "probability, the candidates with their rank.", 4), "",
        "File Summary:", RULE,
        f"{'FileName':<30} {'Lrecl':>6} {'Records':>9}   Explanations", RULE,
        f"{README:<30} {WIDTH:6d} {'.':>9}   This file",
        f"{records}All rows", RULE,
        "  README.md names the other files of the release, SHA256SUMS their checksums.", "",
        f"Byte-by-byte Description of file: {name}", RULE,
        "   Bytes Format Units  Label     Explanations", RULE,
        *_byte_by_byte(table, forms, widths), RULE, "",
        "Global Notes:",
        "Note (G1): A blank cell is a null. In text, \\xe9, \\u03b1 and \\\\ are Python's",
        '  escapes of what is not ASCII and of the backslash; "" is an empty text.',
        "Note (G2): Type, digits to show and UCD of each column:",
        *_meanings(table), RULE, "",
        "History:",
        "  Where it comes from. A | ends each line; lines indented further go on.",
        *_said(provenance), BAR, "(End)", "",
    ])  # fmt: skip


def write_mrt(table: Table, provenance: Provenance, path) -> tuple[Path, Path]:
    """Write the rows of a table from `conform` to `path` and a ReadMe beside it: both paths.

    The same input gives the same bytes.
    """
    path = Path(path)
    forms, cells = zip(*(_cells(column) for column in table.itercols()), strict=True)
    widths = [c.shape[1] for c in cells]
    with writing(path) as file:
        for part in slices(len(table)):
            lines = np.full((part.stop - part.start, sum(widths) + len(widths)), BLANK, np.uint8)
            for start, values in zip(_starts(widths), cells, strict=True):
                lines[:, start : start + values.shape[1]] = values[part]
            lines[:, -1] = ord("\n")
            file.write(lines)
    readme = _readme(table, provenance, path.name, forms, widths)
    return path, write_bytes(path.with_name(README), readme.encode("ascii"))


def _starts(widths):
    return np.cumsum([0, *(width + 1 for width in widths[:-1])])


PLACE = re.compile(r" *(?:(\d+)- *)?(\d+) [IFEA]\S* +(\S+) +(\S+) +(\S.*)")
MEANING = re.compile(r"  (\S+) +(int64|int32|float64|float32|bool|str) +(-|\d+) +(\S+)")


def _section(readme, head, path):
    """The lines between `head` and the next rule."""
    found = re.search(rf"^{head}\n(.*?)^[-=]{{{WIDTH}}}$", readme, re.DOTALL | re.MULTILINE)
    if not found:
        raise CatalogError(f"{path}: says nothing under {head!r}; not the ReadMe of our releases")
    return found[1].splitlines()


def _places(lines, path):
    """{label: (start, end, unit, description)} with bytes counted from 0."""
    places = {}
    for line in lines:
        found = PLACE.fullmatch(line)
        if found:
            end = int(found[2])
            start = int(found[1] or end) - 1
            if not 0 <= start < end:
                raise CatalogError(f"{path}: {found[4]} stands in bytes {start + 1} to {end}")
            label = found[4]
            unit = None if found[3] == "---" else found[3]
            places[label] = (start, end, unit, found[5].removeprefix("? "))
        elif places:
            *place, description = places[label]
            places[label] = (*place, f"{description} {line.strip()}")
    return places


def _columns(readme, name, path):
    """{Column: (start, end)} of every column."""
    rule = "-" * WIDTH
    head = f"Byte-by-byte Description of file: {re.escape(name)}\n{rule}\n[^\n]*\n{rule}"
    places = _places(_section(readme, head, path), path)
    meanings = _section(readme, r"Note \(G2\): [^\n]*", path)
    said = {m[1]: m for m in map(MEANING.fullmatch, meanings) if m}
    if not places or set(said) != set(places):
        raise CatalogError(f"{path}: its columns and its notes on them differ")
    columns = {}
    for label, (start, end, unit, description) in places.items():
        _, what, digits, ucd = said[label].groups()
        decimals = None if digits == "-" else int(digits)
        column = Column(label, what, ucd, description, unit=unit, decimals=decimals)
        columns[column] = (start, end)
    return columns


def _provenance(lines):
    text = "".join(
        line[6:-1] if line.startswith(" " * 6) else f"\n{line[2:-1]}" for line in lines[1:]
    )
    types = {f.name: str(f.type) for f in fields(Provenance)}
    values = {}
    for name, value in (line.split(" = ", 1) for line in text.split("\n")[1:]):
        what = types.get(name) or types.get(name.rstrip("0123456789"), "str")
        convert = unescape if "str" in what else int if "int" in what else float
        values[name] = convert(value)
    return from_items(values, lambda f: f.name)


def _number_column(cells, what):
    """Arrow numbers of uint8 (N, width)."""
    raw = pa.Array.from_buffers(
        pa.binary(cells.shape[1]), len(cells), [None, pa.py_buffer(np.ascontiguousarray(cells))]
    )
    texts = pc.ascii_trim_whitespace(raw.cast(pa.large_binary()).cast(pa.large_string()))
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    values = texts.cast(pa.int8() if what == "bool" else TYPES[what])
    return values.cast(pa.bool_()) if what == "bool" else values


def _read_column(column, cells):
    null = (cells == BLANK).all(axis=1)
    if column.dtype == "str":
        return masked_column(column, unpack_text(cells, null, CELL), null)
    empty = np.nan if column.dtype[0] == "f" else False if column.dtype == "bool" else 0
    values = _number_column(cells, column.dtype).fill_null(empty)
    return masked_column(column, values.to_numpy(zero_copy_only=False), null)


def read_mrt(path) -> Table:
    """The table with its metadata; `path` are the rows, and the ReadMe lies beside them.

    `table.meta["provenance"]` is its Provenance. Raises CatalogError for a file that is damaged
    or is not a release of ours.
    """
    path = Path(path)
    about, data = path.with_name(README), np.frombuffer(read_bytes(path), np.uint8)
    try:
        readme = read_bytes(about).decode("ascii")
        columns = _columns(readme, path.name, about)
        width = max(end for _, end in columns.values()) + 1
        if len(data) % width or (data[width - 1 :: width] != ord("\n")).any():
            raise CatalogError(f"{path}: its rows are not {width - 1} bytes long, as {about} says")
        rows = data.reshape(-1, width)
        cells_of_row = sum(end - start for start, end in columns.values())
        check_memory(path, 5 * len(rows) * cells_of_row)  # columns of a ReadMe may overlap
        cells = [_read_column(c, rows[:, start:end]) for c, (start, end) in columns.items()]
        table = Table(cells, masked=True, copy=False)
        table.meta["provenance"] = _provenance(_section(readme, "History:", about))
    except (ValueError, pa.ArrowException) as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(f"{path}: not a whole table of ours ({error})") from error
    return table
