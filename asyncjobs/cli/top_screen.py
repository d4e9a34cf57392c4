"""The picture of `asyncjobs top`: tables as high as the terminal, and a cursor that goes through their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from uuid import UUID

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.cli import overview
from asyncjobs.cli.top_figures import Figures, Rates
from asyncjobs.db import reading
from asyncjobs.jobs.pauses import Pause
from asyncjobs.records.live import progress_line
from asyncjobs.terminal.printing import age
from asyncjobs.worker.lease import worker_report

_ARROWS = "↑ ↓"
KEYS = (
    (_ARROWS, "select; Tab: the next table"),
    ("p", "pause the queue, or let it go on"),
    ("r", "retry the failed jobs of the kind"),
    ("c", "cancel the job"),
    ("q", "quit"),
    ("?", "these keys"),
)
MOVES = ("up", "k", "down", "j", "page up", "page down", "home", "end of list", "tab", "back tab")
"""The keys that move the cursor."""
_AROUND, _OF_TABLE = 4, 3
"""Lines that are no rows: two at the top, two at the bottom, and of each table an empty one, its title and its columns."""
_NAME = 32
"""Characters of the first column that the others leave to it."""
_LONGEST = 300
"""Characters of a cell, at most: it is measured at each look."""
_LEAST = 2
"""Rows that each table gets, if it has them, wherever there is room."""

Sort = Literal["queue", "job", "failed", "worker"]


class Place(NamedTuple):
    """What a row is about; the cursor keeps to it when the rows change their order."""

    sort: Sort
    key: str | UUID


class Row(NamedTuple):
    """One row."""

    place: Place
    cells: Sequence[str]
    style: str = ""


class Section(NamedTuple):
    """One table."""

    title: str
    columns: Sequence[str]
    """A name that begins with > stands to the right, and so do its cells."""
    rows: list[Row]
    empty: str


@dataclass
class Picture:
    """What is shown besides the figures."""

    database: str = ""
    figures: Figures | None = None
    rates: Rates | None = None
    trouble: str = ""
    """Why the figures are not new; else empty."""
    message: str = ""
    """What came of the last action."""
    question: str = ""
    """That the next key answers; else empty."""
    shows_keys: bool = False
    selected: Place | None = None
    clock: str = ""
    is_plain: bool = False
    """Whether the terminal takes nothing but ASCII."""
    sections: list[Section] = field(default_factory=list)

    def show(self, figures: Figures, rates: Rates | None) -> None:
        """Take new figures; the cursor stays where it is, or goes to the row that is at its place now."""
        before = self.places
        self.figures, self.rates, self.sections = figures, rates, sections_of(figures)
        places = self.places
        if self.selected not in places:
            at = before.index(self.selected) if self.selected in before else 0
            self.selected = places[min(at, len(places) - 1)] if places else None

    @property
    def places(self) -> list[Place]:
        """The rows through which the cursor goes."""
        return [row.place for section in self.sections for row in section.rows]

    def move(self, key: str) -> None:
        """Move the cursor by a key that does so."""
        places = self.places
        if not places:
            return
        at = places.index(self.selected) if self.selected in places else 0
        firsts = [n for n, place in enumerate(places) if not n or place.sort != places[n - 1].sort]
        later = next((n for n in firsts if n > at), firsts[0])
        earlier = next((n for n in reversed(firsts) if n < at), firsts[-1])
        to = {
            "up": at - 1, "k": at - 1, "down": at + 1, "j": at + 1, "page up": at - 10, "page down": at + 10,
            "home": 0, "end of list": len(places), "tab": later, "back tab": earlier,
        }[key]  # fmt: skip
        self.selected = places[min(max(to, 0), len(places) - 1)]

    @property
    def pause(self) -> Pause | None:
        """The pause of the selected queue; None: it is not paused, or no queue is selected."""
        if self.figures is None or self.selected is None or self.selected.sort != "queue":
            return None
        return next((pause for pause in self.figures.pauses if pause.queue == self.selected.key), None)

    def draw(self, height: int) -> RenderableType:
        """Return the picture for a terminal of so many lines."""
        if self.shows_keys:
            keys = (("up, down" if self.is_plain and key == _ARROWS else key, what) for key, what in KEYS)
            return Group(self._head(), Text(), *(Text.assemble((f"  {key:<10}", "bold"), what) for key, what in keys))
        sections = self.sections
        needed = sum(_OF_TABLE + min(len(section.rows), _LEAST) for section in sections)
        if height < _AROUND + needed:  # the one with the cursor alone
            sections = [each for each in sections if any(row.place == self.selected for row in each.rows)] or sections[
                :1
            ]
        room = height - _AROUND - _OF_TABLE * len(sections)
        shares = shared([len(section.rows) for section in sections], max(room, 0))
        tables = [self._table(section, share) for section, share in zip(sections, shares, strict=True)]
        parts: list[RenderableType] = [self._head()]
        for table in tables:
            parts += [Text(), table]
        return Group(*parts, Text(), self._foot())

    def _head(self) -> Text:
        found = self.figures
        head = Text.assemble(
            ("asyncjobs top", "bold"), f"  {harmless(self.database)}  {self.clock}\n", no_wrap=True, overflow="ellipsis"
        )
        if found is None:
            return head
        slots = sum(overview.slots_of(row.about) for row in found.workers)
        facts = [f"{found.busy} running in {slots} slots of {len(found.workers)} workers"]
        if self.rates is not None:
            readied, started, ended = (f"{rate:,.0f}" for rate in self.rates)
            facts.append(f"a second: {readied} ready, {started} started, {ended} ended")
        if self.trouble:
            head.append(f"not up to date: {harmless(self.trouble)}", "bold red")
        else:
            head.append("; ".join(facts), "cyan")
        return head

    def _table(self, section: Section, share: int) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="dim", expand=True, title=None, show_header=True)
        widest = max((len(row.cells[0]) for row in section.rows), default=0)
        for n, name in enumerate(section.columns):
            table.add_column(
                name.removeprefix(">"),
                justify="right" if name.startswith(">") else "left",
                no_wrap=True,
                overflow="ellipsis",
                ratio=None if n else 1,
                min_width=None if n else min(widest, _NAME),  # what it is called goes before what else is known of it
            )
        rows, more = window(section.rows, self.selected, share)
        for row in rows:
            style = f"{row.style} reverse" if row.place == self.selected else row.style
            table.add_row(*(Text(harmless(cell[:_LONGEST])) for cell in row.cells), style=style.strip())
        title = Text.assemble((section.title, "bold"), (f"  {more} more" if more else "", "dim"))
        return Group(title, table) if section.rows else Group(title, Text(section.empty, "dim"))

    def _foot(self) -> Text:
        if self.question:
            return Text.assemble((harmless(self.question), "bold yellow"), " y / n", no_wrap=True, overflow="ellipsis")
        keys = "  ".join(f"{key} {what}" for key, what in _short(self))
        return Text.assemble(
            (f"{harmless(self.message)}  " if self.message else "", "yellow"),
            (keys, "dim"),
            no_wrap=True,
            overflow="ellipsis",
        )


def _short(picture: Picture) -> list[tuple[str, str]]:
    """Return the keys that do something with the selected row, and those that always do."""
    sort = picture.selected.sort if picture.selected else ""
    does = {
        "queue": ("p", "resume" if picture.pause else "pause"),
        "job": ("c", "cancel"),
        "failed": ("r", "retry"),
    }.get(sort)
    return [
        ("up, down" if picture.is_plain else _ARROWS, "select"),
        *([does] if does else []),
        ("?", "keys"),
        ("q", "quit"),
    ]


def sections_of(found: Figures) -> list[Section]:
    """Return the tables of figures."""
    paused = {pause.queue: pause for pause in found.pauses if pause.queue is not None}
    hosts = {row.id: f"{row.about.get('host')}:{row.about.get('pid')}" for row in found.workers}
    inexact = any(not kind.exact for kind in found.failed)
    return [
        Section(
            "Queues",
            ["queue", ">ready", ">oldest", ">running", ">scheduled", ">waiting", "state"],
            [_queue(row, paused.get(row.queue)) for row in found.queues],
            "no live jobs",
        ),
        Section(
            "Running",
            ["kind", "queue", ">for", ">attempt", "worker", "state", "id"],
            [_job(job, hosts.get(job.worker, "") if job.worker else "") for job in found.running],
            "nothing runs",
        ),
        Section(
            "Failed in the last hour" + (", among those enqueued last" if inexact else ""),
            ["kind", ">jobs", ">last"],
            [
                Row(Place("failed", kind.kind), [kind.kind, str(kind.jobs), f"{age(kind.ago)} ago"], "red")
                for kind in found.failed
            ],
            "nothing",
        ),
        Section(
            "Workers",
            ["worker", "pools", ">running", ">slots", ">blocked", ">beat", ">up", "state"],
            [_worker(row) for row in found.workers],
            "no workers: nothing runs; start `asyncjobs run`",
        ),
    ]


def _queue(row: reading.QueueRow, pause: Pause | None) -> Row:
    more = "" if row.exact else "+"
    counts = [f"{n:,}{more if n else ''}" for n in (row.ready, row.running, row.scheduled, row.waiting)]
    state = "" if pause is None else f"paused{f' by {pause.by}' if pause.by else ''}"
    cells = [row.queue, counts[0], age(row.oldest), *counts[1:], state]
    return Row(Place("queue", row.queue), cells, "yellow" if pause else "")


def _job(job: reading.RunningJob, worker: str) -> Row:
    state = "" if job.done is None else progress_line(job.done, job.total, job.note or "")
    if job.is_cancelled:
        state = "cancelled, not ended yet"
    cells = [job.kind, job.queue, age(job.seconds), str(job.attempt), worker, state, str(job.id)]
    return Row(Place("job", job.id), cells, "yellow" if job.is_cancelled else "")


def _worker(row: reading.WorkerRow) -> Row:
    report = worker_report.read(row.report)
    longest = max((block.longest for block in report.blocked.values()), default=None)
    cells = [
        f"{row.about.get('host')}:{row.about.get('pid')}",
        ", ".join(overview.pools_of(row.about)),
        f"{row.running:,}",
        str(overview.slots_of(row.about)),
        "" if longest is None else age(longest),
        age(row.beat),
        age(row.age),
        overview.remark_on(row),
    ]
    return Row(Place("worker", row.id), cells, "red" if row.late else "")


def shared(lengths: Sequence[int], room: int) -> list[int]:
    """Return the rows of each table: some for each, and what is left from the first to the last."""
    shares = [0] * len(lengths)
    for most in (_LEAST, max(lengths, default=0)):
        for n, length in enumerate(lengths):
            more = min(max(min(length, most) - shares[n], 0), room)
            shares[n] += more
            room -= more
    return shares


def window(rows: list[Row], selected: Place | None, most: int) -> tuple[list[Row], int]:
    """Return so many rows at most, the selected one among them, and the number of the others."""
    at = next((n for n, row in enumerate(rows) if row.place == selected), 0)
    begin = min(max(at - most // 2, 0), max(len(rows) - most, 0))
    shown = rows[begin : begin + most]
    return shown, len(rows) - len(shown)
