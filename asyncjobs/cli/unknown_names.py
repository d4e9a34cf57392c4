"""Names that a command is given: the former names of a kind, and notes on kinds and queues that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

from asyncjobs.checks.keywords import nearest
from asyncjobs.checks.queue_patterns import split
from asyncjobs.cli import command_database
from asyncjobs.db import reading
from asyncjobs.db.connecting import Connection
from asyncjobs.db.why import read_serving
from asyncjobs.definitions import registry
from asyncjobs.exceptions import DatabaseError
from asyncjobs.settings import Settings
from asyncjobs.settings.loading import read
from asyncjobs.terminal import options


def found_for(
    kind: str | None, queue: str | None, config: options.Config, environment: options.Environment
) -> list[str]:
    """Return the notes on the kind and queue of a command, read on a connection of its own."""
    settings, _ = read(config, environment=environment)

    async def ask() -> list[str]:
        async with command_database.reader(settings) as connection:
            return await notes(connection, settings, kind=kind, queue=queue)

    return command_database.finish(ask)


async def with_former_names(connection: Connection, kind: str) -> tuple[str, ...]:
    """Return the stored name of a kind and its aliases, as the workers know them; of a former name that alone.

    There are none where this role may not read the workers.
    """
    name = registry.stored_name(kind)
    try:
        workers = await command_database.bounded(read_serving(connection))
    except DatabaseError:
        return (name,)
    return tuple(dict.fromkeys([name, *(former for worker in workers for former in worker.aliases.get(name, ()))]))


async def notes(connection: Connection, settings: Settings, *, kind: str | None, queue: str | None) -> list[str]:
    """Return a sentence for a kind and a queue of a filter that no job, worker or setting names.

    There is none where it takes too long to find out, or this role may not.
    """
    if kind is None and queue is None:
        return []
    kind = kind and registry.stored_name(kind)
    try:
        seen = await command_database.bounded(reading.seen(connection, kind, queue))
        if all(seen):
            return []
        workers = await command_database.bounded(read_serving(connection))
        live = await command_database.bounded(reading.ready_kinds(connection))
        held = await command_database.bounded(reading.queues(connection))
        newest = await command_database.bounded(reading.newest_names(connection))
    except DatabaseError:
        return []
    pools = [pool.queues for pool in settings.pools] + [entries for worker in workers for entries, _ in worker.pools]
    named = {entry for entries in pools for entry in split(entries)[0] if not entry.endswith("*")}
    kinds = {kind for worker in workers for kind in worker.kinds} | {kind for _, kind, _ in live}
    kinds |= {kind for kind, _ in newest}
    found = []
    if kind is not None and not seen[0] and kind not in kinds:
        found.append(_sentence("kind", kind, kinds))
    queues = named | {row.queue for row in held} | {queue for _, queue in newest}
    if queue is not None and not seen[1] and queue not in queues:
        found.append(_sentence("queue", queue, queues))
    return found


def _sentence(what: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = nearest(name, names)
    remedy = f"did you mean {near}?" if near else f"known are {', '.join(names[:10])}" if names else "none is known"
    serving = "no worker knows that kind" if what == "kind" else "no worker or pool names that queue"
    return f"note: no job of {what} {name!r} is stored, and {serving}; {remedy}"
