"""A supervisor's answers to probes, for all of its processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from asyncjobs.probes.answers import LIVEZ, METRICS, NOT_IMPLEMENTED, OK, READYZ, UNAVAILABLE, Answer, Answers, said
from asyncjobs.processes.supervisor import Child


class SupervisorProbes:
    """The answers.

    Args:
        children: Returns the places of processes.
    """

    def __init__(self, children: Callable[[], Iterable[Child]]) -> None:
        self._children = children
        self.answers: Answers = {LIVEZ: self.livez, READYZ: self.readyz, METRICS: self.metrics}

    async def _ask(self, path: str, *, ready: bool) -> dict[int, Answer]:
        """Return the answer of each process by its number, of those that claim jobs, or of all that run."""
        asked = {
            child.number: child.relay for child in self._children() if child.relay and (child.listens or not ready)
        }
        answers = await asyncio.gather(*(relay.ask(path) for relay in asked.values()))
        return dict(zip(asked, answers, strict=True))

    async def livez(self) -> Answer:
        """Answer 503 when the event loop of a process is dead; those that start or start again count as alive."""
        found = await self._ask(LIVEZ, ready=True)
        return said(ok=all(each.status == OK for each in found.values()), processes=_told(found))

    async def readyz(self) -> Answer:
        """Answer 503 unless every place has a process that claims jobs."""
        found = await self._ask(READYZ, ready=True)
        missing = [child.number for child in self._children() if child.number not in found]
        ok = not missing and all(each.status == OK for each in found.values())
        return said(ok=ok, missing=missing, processes=_told(found))

    async def metrics(self) -> Answer:
        """Return the metrics of all processes."""
        found = await self._ask(METRICS, ready=False)
        texts = {str(number): each for number, each in found.items() if each.status == OK}
        if not texts:
            without = next((each for each in found.values() if each.status == NOT_IMPLEMENTED), None)
            return without or Answer(UNAVAILABLE, b"no process has answered\n")
        from asyncjobs.metrics.prometheus import CONTENT_TYPE, merged

        return Answer(OK, merged({number: each.body.decode() for number, each in texts.items()}), CONTENT_TYPE)


def _told(found: dict[int, Answer]) -> dict[str, Any]:
    """Return what each process has said."""
    told: dict[str, Any] = {}
    for number, each in found.items():
        try:
            told[str(number)] = json.loads(each.body)
        except ValueError:
            told[str(number)] = {"ok": False, "problems": [each.body.decode(errors="replace").strip()]}
    return told
