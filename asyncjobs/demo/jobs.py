"""The demo's jobs, which a worker process runs: a text is moderated, analyzed and drawn, and then somebody is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from asyncjobs import Discard, Job, attribute, current_job, job, step
from asyncjobs.db.connecting import Connection
from asyncjobs.demo import journal, words
from asyncjobs.demo.cards import draw_card
from asyncjobs.demo.gallery import write_new
from asyncjobs.demo.layout import lay_out

MOST_BYTES = words.MAX_CHARACTERS * 4
"""A longer file cannot be short enough a text, so it is not read."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What `ProcessCloud` returns."""

    words: int
    distinct: int
    size: int
    """Of the card, in bytes."""
    attempt: int
    notice: UUID
    """The job that tells of the card."""


class ProcessCloud(Job, queue="critical"):
    """Draw the word cloud of a text as a card; killed, it goes on with the step that it was in.

    Args:
        text: The file.
        title: Set on the card.
        card: Where the card goes; a card that is there is replaced at once, never half.
        journal: Where each step is noted as it begins.
    """

    text: Path
    title: str
    card: Path
    journal: Path

    analysis: words.Analysis | None = attribute(default=None)
    size: int = attribute(default=0)
    notice: UUID | None = attribute(default=None)

    @step
    def moderate(self) -> None:
        """Discard a text that no card can be made of."""
        self._note("moderate")
        reasons = words.moderate(read(self.text))
        if reasons:
            raise Discard(" ".join(reasons))

    @step
    def analyze(self) -> None:
        """Count its words."""
        self._note("analyze")
        self.analysis = words.count_words(read(self.text))

    @step
    def generate(self) -> None:
        """Draw the card: a `def` runs in a thread, so that the loop stays free for other jobs."""
        assert self.analysis is not None
        self._note("generate")
        self.size = write_card(self.card, self.title, self.analysis, self._part())

    @step(isolated=True)
    async def notify(self, connection: Connection) -> None:
        """Leave the telling to a job of another queue, which exists once: in the transaction that records this step."""
        self._note("notify")
        self.notice = (await cloud_ready(self.card, self.journal).enqueue(connection=connection)).id

    async def perform(self) -> Drawn:
        """Run the steps, and say what was drawn."""
        await self.run_steps()
        assert self.analysis is not None
        assert self.notice is not None
        return Drawn(self.analysis.words, self.analysis.distinct, self.size, self.attempt, self.notice)

    def _note(self, step: str) -> None:
        journal.note(self.journal, self, step)

    def _part(self) -> Path:
        # The attempt too: a worker that was frozen and replaced may wake up and still be writing its own.
        return self.card.parent / part_name(self.id, self.attempt)


@job(queue="default")
def cloud_ready(card: Path, journal_file: Path) -> int:
    """Tell that a card is ready, with a line in the journal where a mail would be sent; return the card's size."""
    size = card.stat().st_size
    journal.note(journal_file, current_job(), "told")
    return size


def part_name(job_id: UUID | str, attempt: int | str) -> str:
    """Return the name of an unfinished card."""
    return f".{job_id}.{attempt}.part"


def read(file: Path) -> str:
    """Read a text.

    Raises:
        Discard: It is longer than any card's.
    """
    with file.open("rb") as opened:
        data = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Discard(f"The file has over {MOST_BYTES:,} bytes; a card is made of {words.MAX_CHARACTERS:,} characters.")
    return words.decode(data)


def write_card(card: Path, title: str, analysis: words.Analysis, part: Path) -> int:
    """Draw and write a card, so that a reader sees the old one or the new one; return its size."""
    data = draw_card(title, analysis, lay_out(analysis)).encode()
    write_new(part, data)
    part.replace(card)
    return len(data)
