"""A supervisor's answers to probes, for all of its processes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from asyncjobs.probes.answers import LIVEZ, METRICS, NOT_IMPLEMENTED, OK, READYZ, UNAVAILABLE, Answer, Answers, said
from asyncjobs.probes.relay import NO_ANSWER, Asking
from asyncjobs.processes.supervisor import Child


class SupervisorProbes:
    """The answers.

    Args:
        children: Returns the places of processes.
        loop_dead: Seconds after which a process that does not answer is dead, as one is whose loop is blocked; 0: never.
    """

    def __init__(self, children: Callable[[], Iterable[Child]], loop_dead: float) -> None:
        self._children = children
        self._loop_dead = loop_dead
        self._silent_since: dict[Asking, float] = {}
        """Of processes that have not answered the last time."""
        self.answers: Answers = {LIVEZ: self.livez, READYZ: self.readyz, METRICS: self.metrics}

    async def _ask(self, path: str, *, ready: bool) -> dict[int, Answer]:
        """Return the answer of each process by its number, of those that claim jobs, or of all that run."""
        asked = {
            child.number: child.relay for child in self._children() if child.relay and (child.listens or not ready)
        }
        answers = await asyncio.gather(*(relay.ask(path) for relay in asked.values()))
        self._note_silence(asked.values(), answers)
        return dict(zip(asked, answers, strict=True))

    def _note_silence(self, asked: Iterable[Asking], answers: Iterable[Answer]) -> None:
        now, before = time.monotonic(), self._silent_since
        silent = [relay for relay, found in zip(asked, answers, strict=True) if found is NO_ANSWER]
        self._silent_since = {relay: before.get(relay, now) for relay in silent}

    def _is_dead(self, number: int, found: Answer) -> bool:
        if found is not NO_ANSWER:
            return found.status != OK
        # A call that lets no other thread run is no reason to restart before its time is over.
        relay = next((child.relay for child in self._children() if child.number == number), None)
        since = None if relay is None else self._silent_since.get(relay)
        return since is not None and 0 < self._loop_dead < time.monotonic() - since

    async def livez(self) -> Answer:
        """Answer 503 when the event loop of a process is dead; those that start or start again count as alive."""
        found = await self._ask(LIVEZ, ready=True)
        return said(ok=not any(self._is_dead(*each) for each in found.items()), processes=_told(found))

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
