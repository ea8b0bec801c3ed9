"""A picture of which table and index takes how much of a database, drawn by apsw."""

import io
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import apsw.ext

from sqlitekeeper.database.connection import open_database, report_progress, sqlite_errors
from sqlitekeeper.database.measure import read_measurement
from sqlitekeeper.wording import size

# The drawing reads every page in use three times, in one read transaction. What is
# larger would keep a checkpoint, or without WAL a writer, waiting for too long.
MOST_BYTES = 2**30

SHAPE = re.compile(r'<a href="#" id="id(\d+)">(<(?:path|circle) [^<>]*/>)</a>')
LABEL = re.compile(
    r'<text id="id(\d+)"[^>]*>\s*<tspan[^>]* class="name">(.*?)</tspan>\s*'
    r"(?:<tspan[^>]*>\((table|index)\)</tspan>)?",
    re.DOTALL,
)
VIEW_BOX = re.compile(r'viewBox="([-\d ]+)"')
FILL = re.compile(r'fill="(#[0-9a-f]+)"')


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the picture: one SVG element, and what it stands for as plain text.

    `kind` is None in the inner ring, where a table and its indexes are one piece.
    """

    element: str
    name: str
    kind: str | None
    color: str


@dataclass(frozen=True, slots=True)
class PageMap:
    """The inner ring has tables with their indexes, the outer one each of them alone."""

    view_box: str
    segments: tuple[Segment, ...]


def page_map(path: Path, most_bytes: int = MOST_BYTES) -> PageMap | str:
    """Draw the page map of a database, or say why there is none. Changes nothing.

    apsw's own labels are left behind: they need ids that would clash with those
    of another picture in the page, links that lead nowhere, and name 20 KiB "2KB".

    Raises:
        KeeperError: as `open_database`.
    """
    drawing = io.StringIO()
    with sqlite_errors(path), open_database(path) as connection:
        live_bytes = read_measurement(connection, path).live_bytes
        if live_bytes == 0:
            return "there is nothing in it yet"
        if live_bytes > most_bytes:
            return f"with {size(live_bytes)} of data (limit: {size(most_bytes)}) it takes too long"
        report_progress(connection, lambda: None)
        with connection:
            apsw.ext.page_usage_to_svg(connection, drawing)
    return _read(drawing.getvalue())


def _read(svg: str) -> PageMap | str:
    """Take apart what apsw drew: each shape's label has the id after its own."""
    labels = {int(number) - 1: (name, kind) for number, name, kind in LABEL.findall(svg)}
    view_box = VIEW_BOX.search(svg)
    segments = tuple(
        Segment(element, unescape(labels[int(number)][0]), labels[int(number)][1] or None, fill[1])
        for number, element in SHAPE.findall(svg)
        if int(number) in labels and (fill := FILL.search(element))
    )
    if not segments or not view_box:
        return "this version of apsw draws it in another way than keeper knows"
    return PageMap(view_box[1], segments)
