"""The dashboard: what its pages share, and its few connections."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from asyncjobs.checks.foreign_texts import log
from asyncjobs.db import looking, reading
from asyncjobs.db.connecting import PINNED_PLANS, Connection
from asyncjobs.db.sessions import Sessions
from asyncjobs.definitions.order_keys import without_values
from asyncjobs.exceptions import NotOpen
from asyncjobs.opening import Opened
from asyncjobs.settings import Settings
from asyncjobs.tasks.services import Services
from asyncjobs.web.guarding import Auth
from asyncjobs.web.refusals import Refused
from asyncjobs.web.tokens import Tokens

T = TypeVar("T")
logger = logging.getLogger("asyncjobs.web")

Redact = Callable[[str, dict[str, Any]], Any]
"""Takes a kind and its arguments; see `AsyncJobs.dashboard`."""

CONNECTIONS = 2
"""All pages together read by so many: what is looked at must not keep those who work from theirs."""
READING = {
    # Plans that go by index, and are made once: to plan over the days of the history takes longer than most pages.
    **PINNED_PLANS,
    "statement_timeout": "2s",
    "default_transaction_read_only": "on",
    "max_parallel_workers_per_gather": "0",
}
IDLE = 60.0
"""Seconds for which an idle connection is kept."""
CLOCK_FOR = 30.0
"""Seconds for which the difference to the database's clock is believed."""
SHORTENED_FOR = 60.0
"""Seconds until it is tried again to count what ended in a span, after that took too long."""
HIDDEN = "(hidden)"


class Kept(Generic[T]):
    """A value that is read again when it is older than `seconds`; readers that come together share one read."""

    def __init__(self, seconds: float, read: Callable[[], Awaitable[T]]) -> None:
        self._seconds = seconds
        self._read = read
        self._lock = asyncio.Lock()
        self._found: tuple[float, T] | None = None

    async def get(self) -> T:
        """Return the value."""
        async with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > self._seconds:
                self._found = (time.monotonic(), await self._read())
            return self._found[1]


class Open:
    """What belongs to one opening of the AsyncJobs: connections, and what was read lately."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.loop = asyncio.get_running_loop()
        self.sessions = Sessions(
            opened.url, size=CONNECTIONS, name="asyncjobs dashboard", settings=READING, deadline=10.0, keep=IDLE
        )
        opened.also_closed.callback(self.sessions.close)
        self.tokens: Tokens | None = None
        self.clock = Kept(CLOCK_FOR, self._read_clock)
        self.shortened: dict[looking.Span, tuple[float, looking.Span]] = {}
        """When what ended in a span could not be counted in time, and the shorter one where it could."""
        self.throughput: dict[looking.Span, Kept[looking.Throughput]] = {}

    async def _read_clock(self) -> timedelta:
        server = await self.sessions.run(reading.server)
        return datetime.fromtimestamp(server.clock, UTC) - datetime.now(UTC)


class Dashboard:
    """What all pages share.

    Args:
        opened: Returns the open client; raises NotOpen.
        auth, read_only, redact: See `AsyncJobs.dashboard`.
    """

    def __init__(
        self, opened: Callable[[], Opened], *, auth: Auth | None, read_only: bool, redact: Redact | None
    ) -> None:
        self._opened = opened
        self.auth = auth
        self.read_only = read_only
        self._redact = redact
        self._open: Open | None = None

    def _now_open(self) -> Open:
        try:
            opened = self._opened()
        except NotOpen:
            raise Refused(
                503,
                "Not open",
                "The AsyncJobs of this dashboard is not open: have its lifespan, or `async with jobs:`, around the server.",
            ) from None
        if self._open is None or self._open.opened is not opened:
            self._open = Open(opened)
        if self._open.loop is not asyncio.get_running_loop():
            raise Refused(
                503, "Another event loop", "The AsyncJobs was opened on another event loop: open it in the lifespan."
            )
        return self._open

    @property
    def sessions(self) -> Sessions:
        """Connections that may only read."""
        return self._now_open().sessions

    @property
    def writing(self) -> Sessions:
        """The client's connections, which may write as far as the role may."""
        return self._now_open().opened.sessions

    @property
    def services(self) -> Services:
        """The scope of tasks that outlast a request."""
        return self._now_open().opened.services

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._now_open().opened.settings

    async def read(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Read on a connection of the dashboard's own."""
        return await self.sessions.run(operation)

    async def now(self) -> datetime:
        """Return the time by the database's clock."""
        return datetime.now(UTC) + await self._now_open().clock.get()

    async def tokens(self) -> Tokens:
        """Return what makes the tokens of forms."""
        here = self._now_open()
        if here.tokens is None:
            here.tokens = Tokens(await here.sessions.run(looking.read_applied))
        return here.tokens

    async def throughput(self, asked: looking.Span) -> looking.Throughput:
        """Return how many jobs have ended lately; read at most every few seconds, however many look."""
        here = self._now_open()
        if asked not in here.throughput:

            async def read() -> looking.Throughput:
                at, known = here.shortened.get(asked, (float("-inf"), asked))
                begin = known if time.monotonic() < at + SHORTENED_FOR else asked
                found = await self.read(lambda connection: looking.read_throughput(connection, begin))
                if found.span not in (asked, begin):
                    here.shortened[asked] = time.monotonic(), found.span
                return found

            here.throughput[asked] = Kept(5.0, read)
        return await here.throughput[asked].get()

    @property
    def hides_arguments(self) -> bool:
        """Whether arguments are shown as the application says, and not as parts of keys."""
        return self._redact is not None

    def redacted_key(self, key: str) -> str:
        """Return a unique key, or a limit's, as it may be shown."""
        return without_values(key) if self.hides_arguments else key

    def redacted(self, kind: str, values: dict[str, Any]) -> Any:
        """Return arguments or attributes as they may be shown; where the application's function fails, nothing of them."""
        if self._redact is None:
            return values
        try:
            return self._redact(kind, dict(values))
        except Exception as error:
            log(
                logger,
                logging.ERROR,
                "redact= of the dashboard failed for a %s: its values are hidden",
                kind,
                error=error,
            )
            return HIDDEN
