"""`Here`: what a test's `jobs` has open on one event loop, from its first use there until the loop ends."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from anyio.from_thread import BlockingPortal, start_blocking_portal

from asyncjobs.client.threads import refuse_inside
from asyncjobs.exceptions import NotOpen
from asyncjobs.opening import Opened
from asyncjobs.performing import open_clients
from asyncjobs.performing.calls import Call
from asyncjobs.testing.performing import Performing

if TYPE_CHECKING:
    from asyncjobs.settings import Settings

T = TypeVar("T")

CLOSE_TIMEOUT = 5.0


class Here:
    """A client, and the runner of jobs, on the running loop."""

    def __init__(self, url: str, settings: Settings, middleware: tuple[Any, ...]) -> None:
        self.loop = asyncio.get_running_loop()
        self._settings = settings
        self._stack = AsyncExitStack()
        self.opened = Opened(url, settings, self._stack, middleware)
        self.client = self.opened.client
        # `AnyLoop` takes its place, below every client that the code under test opens, so that code uses its own client.
        open_clients.remove(self.client)
        self._performing: Performing | None = None
        self._making = asyncio.Lock()
        # A loop ends its asynchronous generators before it is closed, while it still runs, whoever closes it.
        self._life = self._until_the_loop_ends()
        self._life_begins()

    def _life_begins(self) -> None:
        try:
            self._life.asend(None).send(None)
        except StopIteration:
            return

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._close()

    async def performing(self) -> Performing:
        """Return the runner of jobs."""
        async with self._making:
            if self._performing is None:
                self._performing = await self.new_performing()
        return self._performing

    async def new_performing(self, worker: UUID | None = None) -> Performing:
        """Return another runner of jobs, which is closed with this object."""
        made = Performing(self.opened.sessions, self._settings, tuple(self.client.middleware), worker=worker)
        return await self._stack.enter_async_context(made)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._stack.aclose()
        finally:
            await asyncio.sleep(0)  # terminated connections are closed in the loop's next turn

    def end(self) -> None:
        """Close everything from outside the loop; do nothing when the loop is closed already."""
        if not self.loop.is_closed() and not self.loop.is_running():
            self.loop.run_until_complete(self._life.aclose())


class AnyLoop:
    """The open client that jobs find during a test with `jobs`, on whichever loop they are.

    Args:
        here: Returns what is open on the running loop.
        loops: What is open on each loop.
    """

    def __init__(self, here: Callable[[], Here], loops: list[Here]) -> None:
        self._here = here
        self._loops = loops
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._starting = threading.Lock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop, whichever it is."""
        return asyncio.get_running_loop()

    def run_from_thread(self, make: Callable[[], Coroutine[Any, Any, T]], call: Call) -> T:
        """Run what `make` returns on the running loop that was opened last; without one, on one in a thread of its own."""
        refuse_inside(None, f"`{call.on_loop}`")
        for here in reversed(self._loops):
            if here.loop.is_running():
                return here.client.run_from_thread(make, call)
        with self._starting:
            if self._portal is None:
                self._portal = self._stack.enter_context(start_blocking_portal(name="asyncjobs tests"))
        result: T = self._portal.call(make)
        return result

    def end(self) -> None:
        """End that thread, and close what is open there."""
        self._stack.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._here().client, name)


def _in_trio() -> bool:
    """Whether trio runs in this thread; trio is not imported to find out."""
    trio: Any = sys.modules.get("trio")
    try:
        return trio is not None and trio.lowlevel.current_task() is not None
    except RuntimeError:
        return False


def not_in_a_loop() -> NotOpen:
    """Return the error for a use without a running event loop."""
    if _in_trio():
        return NotOpen('asyncjobs runs on asyncio, and this test on trio: have its `anyio_backend` be "asyncio"')
    return NotOpen("the fixture `jobs` is for async tests: a plain test uses `jobs_sync`, without await")
