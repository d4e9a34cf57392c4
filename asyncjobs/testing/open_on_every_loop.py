"""`OpenEverywhere`: an `AsyncJobs` that is open on every event loop on which a test uses it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, cast

from asyncjobs.app import AsyncJobs
from asyncjobs.opening import Opened
from asyncjobs.performing import open_clients
from asyncjobs.testing.open_on_loop import AnyLoop, Here, not_in_a_loop

if TYPE_CHECKING:
    from asyncjobs.settings import Settings


class OpenEverywhere(AsyncJobs):
    """An `AsyncJobs` that opens at its first use on a loop, and closes with the loop or with the test."""

    def __init__(self, *, database_url: str, **settings: Any) -> None:
        super().__init__(database_url=database_url, **settings)
        self._database_url = database_url
        self._loops: list[Here] = []
        self._anywhere = AnyLoop(self._here, self._loops)
        open_clients.push(cast("open_clients.OpenClient", self._anywhere))

    def _here(self) -> Here:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise not_in_a_loop() from None
        for here in self._loops:
            if here.loop is loop:
                return here
        here = Here(self._database_url, self.settings, self._middleware)
        self._loops.append(here)
        return here

    def _end(self) -> None:
        open_clients.remove(cast("open_clients.OpenClient", self._anywhere))
        self._anywhere.end()
        for here in self._loops:
            here.end()

    def _in_use(self) -> Opened:
        return self._here().opened

    async def open(self) -> Self:
        """Do nothing: it is always open."""
        return self

    async def close(self) -> None:
        """Do nothing: it is closed with the test."""

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        if self._settings is None:
            self._settings = self._load()
        return self._settings

    @property
    def database_url(self) -> str:
        """The database of this test process: a URL for asyncpg or psycopg."""
        return self._database_url

    @property
    def healthy(self) -> bool:
        """Whether its worker, if one runs, is working and holds its lease."""
        return self._embedded is None or self._embedded.healthy

    @property
    def listening(self) -> bool:
        """Whether notices are received on this loop."""
        return not self._here().opened.listener.deaf
