"""The demo's jobs, which a worker process runs: a text is moderated, analyzed and drawn, and then somebody is told."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from uuid import UUID

from asyncjobs import Discard, Job, attribute, job, step
from asyncjobs.db.connecting import Connection
from asyncjobs.demo import words
from asyncjobs.demo.cards import draw_card
from asyncjobs.demo.clouds import lay_out
from asyncjobs.demo.gallery import write_whole

STEPS = ("moderate", "analyze", "generate", "notify")
logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)  # whatever is asked of others: how far a job is, is read in the worker's log
MOST_BYTES = words.MAX_CHARACTERS * 4 + 4  # more of a file is not read: as many are too long a text in any encoding


class ProcessCloud(Job, queue="critical"):
    """Draw the word cloud of a text as a card; killed, it goes on with the step that it was in.

    Args:
        text: The file.
        title: Set on the card.
        card: Where the card goes; a card that is there is replaced at once, never half.
    """

    text: Path
    title: str
    card: Path

    analysis: words.Analysis | None = attribute(default=None)
    notice: UUID | None = attribute(default=None)

    @step
    def moderate(self) -> None:
        """Discard a text that no card can be made of."""
        self._say("moderate")
        if reasons := words.moderate(read(self.text)):
            raise Discard(" ".join(reasons))

    @step
    def analyze(self) -> None:
        """Count its words."""
        self._say("analyze")
        self.analysis = words.count_words(read(self.text))

    @step
    def generate(self) -> None:
        """Draw the card: a `def` runs in a thread, so that the loop stays free for other jobs."""
        assert self.analysis is not None
        self._say("generate")
        # The attempt too: a worker that was frozen and replaced may wake up and still be writing its own.
        part = self.card.parent / part_name(self.id, self.attempt)
        write_whole(self.card, draw_card(self.title, self.analysis, lay_out(self.analysis)), part)

    @step(isolated=True)
    async def notify(self, connection: Connection) -> None:
        """Leave the telling to a job of another queue, which exists once: in the transaction that records this step."""
        self._say("notify")
        self.notice = (await cloud_ready(self.card).enqueue(connection=connection)).id

    async def perform(self) -> tuple[int, UUID]:
        """Run the steps; return how many words the text has, and the job that tells of its card."""
        await self.run_steps()
        assert self.analysis is not None
        assert self.notice is not None
        return self.analysis.words, self.notice

    def _say(self, step: str) -> None:
        logger.info("%s %s %d %f", self.id, step, self.attempt, time.time())


@job(queue="default")
def cloud_ready(card: Path) -> int:
    """Tell that a card is ready, where a mail would be sent; return the card's size."""
    return card.stat().st_size


def part_name(job_id: UUID | str, attempt: int | str) -> str:
    """Return the name of an unfinished card."""
    return f".{job_id}.{attempt}.part"


def read(file: Path) -> str:
    """Read a text, or enough of one that is too long to know that it is."""
    with file.open("rb") as opened:
        return words.decode(opened.read(MOST_BYTES))
