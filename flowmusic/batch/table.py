"""The tables of a batch: a CSV of all rows, and static HTML pages to hear, see and sort them."""

from __future__ import annotations

import csv
import html
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TextIO

from features.controls import CONTROL_NAMES
from features.files import whole_file
from features.notation import names_a_file
from flowmusic.batch.manifest import Manifest, Row
from flowmusic.batch.store import PAGE_FILE, TABLE_FILE, ClipStore
from flowmusic.errors import sentence

ROWS_PER_PAGE = 1000
_STYLE = (
    "body{font-family:sans-serif;margin:1em}table{border-collapse:collapse}td,th{border:1px solid #ccc;"
    "padding:.2em .5em;text-align:left;vertical-align:top}th{cursor:pointer;background:#eee}"
    "audio{width:16em}img{max-width:24em}.failed{color:#b00}"
)
_SORT = """document.querySelectorAll('th').forEach((head, column) => head.addEventListener('click', () => {
  const body = document.querySelector('tbody'), down = head.dataset.down !== '1';
  head.dataset.down = down ? '1' : '0';
  const value = row => { const text = row.cells[column].dataset.value ?? row.cells[column].textContent;
    const number = parseFloat(text); return Number.isNaN(number) ? text : number; };
  [...body.rows].sort((a, b) => { const x = value(a), y = value(b);
    const order = typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === 'number' ? -1 : 1;
    return down ? order : -order; }).forEach(row => body.append(row)); }));"""


@dataclass(frozen=True)
class TableRow:
    """A line of the tables; `status` is finished, failed or missing."""

    line: int
    name: str
    status: str
    file: str = ""
    seconds: float | None = None
    seed: int | None = None
    loudness: float | None = None
    text: str = ""
    drums: str = ""
    melody: str = ""
    chords: str = ""
    adherence_drums: float | None = None
    adherence_melody: float | None = None
    adherence_chords: float | None = None
    overall: float | None = None
    error: str = ""


COLUMNS = tuple(field.name for field in fields(TableRow))


@dataclass(frozen=True)
class BatchSummary:
    """How many rows have a clip, how many failed (the first for this reason), and how many have neither."""

    finished: int
    failed: int
    missing: int
    table: Path
    first_failure: str = ""

    @property
    def complete(self) -> bool:
        return self.failed == self.missing == 0

    def __str__(self) -> str:
        parts = [f"{self.finished} clips"]
        more = "; the others' reasons are in the table" if self.failed > 1 else ""
        parts += [f"{self.failed} failed ({self.first_failure}{more})"] if self.failed else []
        parts += [f"{self.missing} not made"] if self.missing else []
        return ", ".join(parts)


def table_rows(manifest: Manifest, store: ClipStore) -> Iterator[TableRow]:
    """A line for each row, in the manifest's order."""
    for row in manifest:
        try:
            if store.is_finished(row.name):
                yield _finished(row, store)
                continue
            error = store.read_failure(row.name)
        except ValueError as damaged:  # a sidecar that was edited, or is no longer there as it was
            error = sentence(damaged)
        yield _line(row, "missing" if error is None else "failed", error=error or "")


def _line(row: Row, status: str, **values: object) -> TableRow:
    asked = {name: str(getattr(row.request, name) or "") for name in ("text", *CONTROL_NAMES)}
    return TableRow(row.line, row.name, status, **(asked | values))  # type: ignore[arg-type]


def _finished(row: Row, store: ClipStore) -> TableRow:
    made = store.read_sidecar(row.name)
    scores = made.scores or {}
    return _line(
        row,
        "finished",
        file=f"clips/{store.audio_path(row.name).name}",
        seconds=made.duration,
        seed=made.seed,
        loudness=made.loudness,
        overall=made.overall,
        **{f"adherence_{name}": scores.get(name) for name in CONTROL_NAMES},
    )


def write_tables(manifest: Manifest, store: ClipStore) -> BatchSummary:
    """table.csv, index.html (and index-2.html ... for long manifests), and what they sum up to."""
    counts, reason = {"finished": 0, "failed": 0, "missing": 0}, ""
    n_pages = -(-len(manifest) // ROWS_PER_PAGE)
    path = store.folder / TABLE_FILE
    with ExitStack() as stack:
        partial = stack.enter_context(whole_file(path))
        file = stack.enter_context(partial.open("w", encoding="utf-8", errors="backslashreplace", newline=""))
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        page: TextIO | None = None
        page_stack = stack.enter_context(ExitStack())
        for index, line in enumerate(table_rows(manifest, store)):
            counts[line.status] += 1
            if line.status == "failed" and not reason:
                reason = f"line {line.line}: {line.error}"
            writer.writerow({name: _cell(value) for name, value in asdict(line).items()})
            if index % ROWS_PER_PAGE == 0:
                if page is not None:
                    page.write(_foot())
                page_stack.close()
                number = index // ROWS_PER_PAGE + 1
                page = _open_page(page_stack, store.folder / page_name(number))
                page.write(_head(number, n_pages))
            assert page is not None
            page.write(_html_row(line, store))
        if page is not None:
            page.write(_foot())
    return BatchSummary(counts["finished"], counts["failed"], counts["missing"], path, reason)


def _cell(value: object) -> object:
    """A value for CSV; text that a spreadsheet would take for a formula is marked as text."""
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )


def _open_page(stack: ExitStack, path: Path) -> TextIO:
    partial = stack.enter_context(whole_file(path))
    return stack.enter_context(partial.open("w", encoding="utf-8", errors="backslashreplace"))


def page_name(number: int) -> str:
    """index.html, index-2.html, ..."""
    return PAGE_FILE if number == 1 else f"index-{number}.html"


def _head(number: int, n_pages: int) -> str:
    pages = range(1, n_pages + 1) if n_pages > 1 else ()
    links = " ".join(f'<a href="{page_name(i)}">{i}</a>' for i in pages)
    heads = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in ("clip", *COLUMNS))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>flowmusic batch</title>'
        f"<style>{_STYLE}</style></head><body><h1>flowmusic batch</h1><p>{links}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n"
    )


def _html_row(line: TableRow, store: ClipStore) -> str:
    cells = [f"<td>{_sound(line, store)}</td>"]
    for name, value in asdict(line).items():
        shown = "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
        if name in CONTROL_NAMES and (name != "chords" or names_a_file(shown)):
            shown = Path(shown).name
        full = html.escape("" if value is None else str(value))
        cells.append(f'<td data-value="{full}">{html.escape(shown)}</td>')
    return f'<tr class="{line.status}">{"".join(cells)}</tr>\n'


def _sound(line: TableRow, store: ClipStore) -> str:
    if line.status != "finished":
        return ""
    sound = f'<audio controls preload="none" src="{html.escape(line.file)}"></audio>'
    if store.plot_path(line.name).is_file():
        plot = html.escape(f"clips/{line.name}.png")
        image = f'<img loading="lazy" src="{plot}" alt="controls asked for and extracted">'
        sound += f'<br><a href="{plot}">{image}</a>'
    return sound


def _foot() -> str:
    return f"</tbody></table><script>{_SORT}</script></body></html>\n"
