"""`emit` and `emit_from_thread`: the events that jobs wait for with `wait_for`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from asyncjobs.checks.texts import is_storable, shown
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.exceptions import InvalidOption
from asyncjobs.performing import open_clients
from asyncjobs.performing.calls import EMIT
from asyncjobs.values.arguments import ValueCodec

MOST = 200
"""Characters of an event's name and of its key."""

_payloads = ValueCodec("emit", Any, "payload", annotatable=False)


@answered(remedy='the name comes first, the rest goes by name: `emit("paid", key=7, payload=…)`')
async def emit(name: str, *, key: Any = None, payload: Any = None, connection: Any = None) -> int:
    """Emit an event: every job that waits for it goes on with `payload`; when none does, it is kept for the first that will.

    Args:
        name: 1 to 200 characters.
        key: Which of the events of this name: text, a number or a UUID; None: the event without a key.
        payload: Plain JSON, which `wait_for` returns.
        connection: Take part in the caller's transaction, as for `Job.enqueue`. Transactions that emit several events should
            emit them in one order: two that emit the same two in opposite orders deadlock, and one is rolled back (40P01).

    Returns:
        How many jobs stopped waiting; 0: the event is kept.

    Raises:
        NotOpen: No AsyncJobs is open in this process.
        InvalidOption: `name` or `key` is outside these limits.
        InvalidArguments: `payload` cannot be stored.
        DatabaseError: The database refused or cannot be reached; if its answer was lost, the event may have been emitted.
    """
    event = stored_event(name, key, payload)
    return await open_clients.current(EMIT).emit(*event, connection=connection)


@answered(remedy='the name comes first, the rest goes by name: `emit_from_thread("paid", key=7, payload=…)`')
def emit_from_thread(name: str, *, key: Any = None, payload: Any = None) -> int:
    """Emit an event from a thread without an event loop: `emit`, on the loop of the client opened last.

    Raises:
        InsideEventLoop: The calling thread runs that loop.
        NotOpen: No AsyncJobs is open in this process, or it was closed meanwhile.
    """
    event = stored_event(name, key, payload)

    async def on_its_loop() -> int:
        return await open_clients.current(EMIT).emit(*event)

    return open_clients.last(EMIT).run_from_thread(on_its_loop, EMIT)


def stored_event(name: Any, key: Any, payload: Any) -> tuple[str, str, str | None]:
    """Return an event's name, key and payload as they are stored.

    Raises:
        InvalidOption: The name or the key is outside the limits of `emit`.
        InvalidArguments: `payload` cannot be stored.
    """
    return checked_name(name), key_text(key), _payloads.dump(payload)


def checked_name(name: Any) -> str:
    """Return `name`.

    Raises:
        InvalidOption: It is no text of 1 to 200 characters.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= MOST or not is_storable(name):
        raise InvalidOption(f"event={shown(name)} is not allowed: use text of 1 to {MOST} characters, without NUL")
    return name


def key_text(key: Any) -> str:
    """Return an event's key as it is stored.

    Raises:
        InvalidOption: It is no text, whole number or UUID, or too long.
    """
    if key is None:
        return ""
    if isinstance(key, bool) or not isinstance(key, str | int | UUID):
        raise InvalidOption(f"key={shown(key)} is not allowed: use text, a whole number or a UUID")
    text = str(key)
    if not 1 <= len(text) <= MOST or not is_storable(text):
        raise InvalidOption(f"key={shown(key)} is not allowed: use 1 to {MOST} characters, without NUL")
    return text
