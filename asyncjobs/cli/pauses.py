"""`asyncjobs queues pause|resume`: pauses of queues and kinds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer

from asyncjobs.checks import limits
from asyncjobs.checks.durations import seconds
from asyncjobs.cli import command_database, unknown_names
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.pauses import Pause, Paused, end_of_pause, paused, who
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import FAILED, complain, exit_codes, fail

Name = Annotated[str | None, typer.Argument(metavar="[QUEUE]", help="The queue; or give --kind.")]
Kind = Annotated[str | None, typer.Option(help="A kind, its aliases included, in place of a queue.")]


def pause(
    *,
    queue: Name = None,
    kind: Kind = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            "--for",
            metavar="TIME",
            help="When it ends by itself: a time span such as 2h, or 2026-12-24T18:00+01:00.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Shown wherever the pause is.")] = "",
    by: Annotated[str | None, typer.Option(help="Who pauses; default: your login and host.")] = None,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Start nothing of a queue, or of a kind, in any worker; running jobs go on."""
    with exit_codes():
        _check(queue, kind)
        end = None if until is None else read_until(until)
        limits.reason(reason)
        who(by)

    async def write() -> Pause:
        async with command_database.CommandJobs(config=config, environment=env) as jobs:
            what = await _target(jobs, queue, kind)
            return await jobs.client.pause(what, *end_of_pause(end), reason=reason, by=who(by))

    made = command_database.finish(write)
    if as_json:
        printing.as_json(made._asdict())
    else:
        print(printing.shown(sentence(made)))
    complain(*unknown_names.found_for(kind, queue, config, env))


def resume(
    *,
    queue: Name = None,
    kind: Kind = None,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Let a paused queue, or kind, go on."""
    with exit_codes():
        _check(queue, kind)

    async def write() -> tuple[bool, list[Pause]]:
        async with command_database.CommandJobs(config=config, environment=env) as jobs:
            return await jobs.client.resume(await _target(jobs, queue, kind)), await jobs.pauses()

    done, left = command_database.finish(write)
    what = f"kind {kind}" if queue is None else f"queue {queue}"
    if as_json:
        printing.as_json({"queue": queue, "kind": kind, "resumed": done})
    elif done:
        print(printing.shown(f"{what} goes on"))
    if not done:
        others = ", ".join(pause.what for pause in left) or "nothing"
        fail(FAILED, f"{what} is not paused; paused: {others}")


def _check(queue: str | None, kind: str | None) -> None:
    if (queue is None) == (kind is None):
        raise InvalidOption("which? give the name of a queue, or --kind with that of a kind")
    paused(queue, kind)


async def _target(jobs: command_database.CommandJobs, queue: str | None, kind: str | None) -> Paused:
    """Return what a command names; a kind under its aliases, too."""
    what = paused(queue, kind)
    if kind is None:
        return what
    return what._replace(names=await jobs.run(partial(unknown_names.with_former_names, kind=what.names[0])))


def read_until(text: str) -> datetime | float:
    """Return --until: a time span in seconds, or a point in time.

    Raises:
        InvalidOption: It is neither.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return seconds(text, name="--until", minimum=limits.SHORTEST_TIMEOUT)
        except ValueError:
            raise InvalidOption(
                f"--until {text} is no time: give a time span such as 45s, 10m, 2h or 7d, or a time with its zone such as "
                "2026-12-24T18:00+01:00"
            ) from None
    if moment.utcoffset() is None:
        raise InvalidOption(f"--until {text} has no time zone: give one, as in {text.strip()}+01:00 or {text.strip()}Z")
    return limits.moment(moment, "--until")


def sentence(pause: Pause) -> str:
    """Return a sentence with the target of a pause, its beginning and end, who made it and why."""
    until = "until it is resumed" if pause.until is None else f"until {printing.shown(pause.until)}"
    because = f" ({pause.reason})" if pause.reason else ""
    by = f", by {pause.by}" if pause.by else ""
    return f"{pause.what} is paused since {printing.shown(pause.since)}, {until}{by}{because}"


def remedy(pause: Pause) -> str:
    """Return the command that ends a pause."""
    return f"`asyncjobs queues resume {pause.queue or f'--kind {pause.kind}'}`"


def table(pauses: Sequence[Pause]) -> None:
    """Print a table of pauses, if there are any."""
    if pauses:
        print()
        printing.table(
            ["paused", "since", "until", "by", "reason"],
            [(pause.what, pause.since, pause.until or "resumed", pause.by, pause.reason) for pause in pauses],
            empty="",
            cut_last=True,
        )


def as_values(pauses: Sequence[Pause]) -> list[dict[str, Any]]:
    """Return the pauses for `--json`."""
    return [pause._asdict() for pause in pauses]
