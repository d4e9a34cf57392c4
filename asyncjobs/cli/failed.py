"""`asyncjobs jobs failed`: failed jobs, in groups with the same kind, error and line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncjobs.cli import command_database
from asyncjobs.db import job_actions
from asyncjobs.failing.failures import FailureGroup, Failures
from asyncjobs.settings import load
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import exit_codes

SHOWN = 5
"""The most groups that `status` shows."""


def failed(*, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False) -> None:
    """Show failed jobs in groups by kind, error and line of your code, each with an id for `jobs retry --group`."""
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> Failures:
        async with command_database.reader(settings) as connection:
            return await job_actions.read_failures(connection)

    found = command_database.finish(read)
    if as_json:
        printing.as_json(as_values(found))
        return
    table(found.groups)
    if not found.is_complete:
        print(note(found))
    if found.groups:
        print("`asyncjobs jobs retry --group ID` and `jobs discard --group ID` take all of one")


def note(found: Failures) -> str:
    """Return a note that not all failed jobs were read."""
    return f"of the {found.looked_at} failed jobs that were enqueued last; there are more"


def table(groups: Sequence[FailureGroup]) -> None:
    """Print a table of groups."""
    printing.table(
        ["group", "jobs", "kind", "error", "at", "first", "last", "message of the newest"],
        [
            (
                group.id,
                group.total,
                group.kind,
                group.error.removeprefix("builtins."),
                group.line,
                group.first,
                group.last,
                " ".join(group.message.split()),
            )
            for group in groups
        ],
        empty="no failed jobs",
        cut_last=True,
    )


def as_values(found: Failures) -> dict[str, Any]:
    """Return the groups for `--json`."""
    return {
        "groups": [group._asdict() for group in found.groups],
        "looked_at": found.looked_at,
        "complete": found.is_complete,
    }
