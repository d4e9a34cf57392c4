"""The group of all commands, which answers an unknown command with the one that is meant."""

from __future__ import annotations

import difflib
from typing import Any

from typer.core import TyperGroup

_MEANT = {
    **dict.fromkeys(("worker", "work", "start", "serve", "beat", "consume"), "run"),
    **dict.fromkeys(("migrate", "migrations", "upgrade"), "db migrate"),
    **dict.fromkeys(("list", "ls", "inspect"), "jobs list"),
    **dict.fromkeys(("retry", "discard", "cancel", "show", "why"), "jobs {}"),
    **dict.fromkeys(("queue", "stats", "info"), "status"),
    **dict.fromkeys(("call", "send", "push", "apply"), "enqueue"),
    **dict.fromkeys(("healthcheck", "ping", "livez", "readyz"), "health"),
    **dict.fromkeys(("monitor", "watch", "live"), "top"),
    **dict.fromkeys(("shell", "psql"), "db psql"),
    **dict.fromkeys(("cron", "crons", "schedule", "schedules", "periodic"), "recurring list"),
    **dict.fromkeys(("pause", "resume"), "queues {}"),
    "job": "jobs",
}


class Commands(TyperGroup):
    """The group of all commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return a command; end with a usage error for an unknown one, with the one that is meant or all there are."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            meant = _MEANT.get(name, "").format(name) or next(iter(difflib.get_close_matches(name, known, 1)), "")
            remedy = f"did you mean `asyncjobs {meant}`?" if meant else f"there are {', '.join(known)}."
            ctx.fail(f"No such command {name!r}: {remedy}")
        return super().resolve_command(ctx, args)
