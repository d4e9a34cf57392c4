"""What a proxy may do to single messages. Each fault judges every message of the connections it is for."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.support.link import Link
    from tests.support.wire import Message

Direction = Literal["to_server", "to_client"]
Where = Callable[[str], bool] | None
"""Chooses connections by their application_name; None: all of them."""


class Fault:
    """One armed fault. `fired` is set when it first did what it is for."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.fired = asyncio.Event()

    def passes(self, link: "Link", direction: Direction, message: "Message") -> bool:
        """Whether the message may go on. False: it is swallowed."""
        return True

    def passed(self, link: "Link", direction: Direction, message: "Message") -> None:
        """Called when it has been handed on."""


class DropMessages(Fault):
    """Swallows messages of some types."""

    def __init__(self, types: str, direction: Direction, where: Where) -> None:
        super().__init__(where)
        self._types = types
        self._direction = direction

    def passes(self, link, direction, message):
        if direction != self._direction or message.type not in self._types:
            return True
        link.count("dropped")
        self.fired.set()
        return False


class LoseReplies(Fault):
    """Lets a statement reach the server and be done there, swallows the answer, then cuts."""

    def __init__(self, matches: Callable[[str], bool], times: int, where: Where) -> None:
        super().__init__(where)
        self._matches = matches
        self._left = times
        self._held: set[Link] = set()

    def passes(self, link, direction, message):
        if direction == "to_server":
            if self._left > 0 and link.executes is not None and self._matches(link.executes):
                self._left -= 1
                self._held.add(link)
            return True
        if link not in self._held:
            return True
        if message.type == "G":  # without it a COPY would never send its rows
            return True
        if message.type == "Z":  # ready for the next: the server has committed
            self._held.discard(link)
            link.count("lost_replies")
            link.cut()
            self.fired.set()
        return False


class CutAfter(Fault):
    """Cuts the connection that carried the k-th message, counted over all it is for from the moment it is armed."""

    def __init__(self, k: int, direction: Direction, where: Where) -> None:
        super().__init__(where)
        self._left = k
        self._direction = direction

    def passed(self, link, direction, message):
        if direction != self._direction:
            return
        self._left -= 1
        if self._left == 0:
            link.cut()
            self.fired.set()
