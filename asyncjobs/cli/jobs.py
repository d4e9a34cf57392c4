"""`asyncjobs jobs …`: single jobs."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any
from uuid import UUID

import typer

from asyncjobs.cli import database, options, printing
from asyncjobs.cli.exits import FAILED, USAGE, exit_codes, fail
from asyncjobs.client.endings import read_status, unended
from asyncjobs.client.why import NAMED, Why, ask
from asyncjobs.db import jobs, reading
from asyncjobs.db.errors import translating
from asyncjobs.db.rows import State, StatusRow
from asyncjobs.defining.status import Status
from asyncjobs.defining.stored_errors import read_errors
from asyncjobs.exceptions import PermissionDenied
from asyncjobs.settings import load

app = typer.Typer(no_args_is_help=True, help="Single jobs.")

MOST = 1_000
_ALWAYS = ("arguments", "result")
"""What is shown of a job even where there is none."""


@app.command("list")
def list_jobs(
    *,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only of this queue.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many.")] = 50,
    before: Annotated[UUID | None, typer.Option(help="Only older than this one: the last of the page before.")] = None,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """List jobs, newest first, each with its last error, or the reason why it was discarded or cancelled."""
    with exit_codes():
        settings = load(config, environment=env)
        states = [_state(name) for name in state] if state else None

    async def read() -> list[reading.ListedJob]:
        async with database.reader(settings) as connection:
            return await reading.list_jobs(
                connection, states=states, kind=kind, queue=queue, before=before, limit=limit
            )

    rows = database.finish(read)
    if as_json:
        printing.as_json([{**row._asdict(), "state": State(row.state).name, "error": _error(row)} for row in rows])
        return
    printing.table(
        ["id", "state", "kind", "queue", "priority", "attempt", "enqueued", "finished", "error or reason"],
        [
            (
                row.id,
                State(row.state).name,
                row.kind,
                row.queue,
                row.priority,
                row.attempt,
                row.enqueued_at,
                row.finished_at,
                _why(row),
            )
            for row in rows
        ],
        empty="no jobs",
        cut_last=True,
    )
    if len(rows) == limit:
        print(f"more: --before {rows[-1].id}")


@app.command()
def show(
    *,
    job_id: Annotated[UUID, typer.Argument(metavar="ID")],
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Show everything about one job: arguments, result, steps, and the traceback of every attempt that went wrong."""
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> tuple[StatusRow | None, dict[UUID, tuple[str, str]], bool]:
        async with database.reader(settings) as connection:
            may_see_arguments = True
            try:
                with translating():
                    row = await jobs.read_status(connection, job_id)
            except PermissionDenied:
                row, may_see_arguments = await reading.status_without_arguments(connection, job_id), False
            children = [] if row is None else unended(row.steps)
            return row, await jobs.read_states(connection, children) if children else {}, may_see_arguments

    row, states, may_see_arguments = database.finish(read)
    if row is None:
        fail(FAILED, f"no job {job_id} can be seen: never made, rolled back, or past its retention")
    values = _values(read_status(row, states))
    if not may_see_arguments:
        values["arguments"] = None
    if as_json:
        printing.as_json(values)
        return
    errors, steps = values.pop("errors"), values.pop("steps")
    if not may_see_arguments:
        values["arguments"] = "(this role may not read them)"
    known = {name: value for name, value in values.items() if (value is not None and value != {}) or name in _ALWAYS}
    printing.fields({name: printing.shortened(value) for name, value in known.items()})
    if steps:
        print()
        _show_steps(steps)
    for error in errors:
        print()
        said = ": ".join(filter(None, (error["type"], error["message"])))
        print(f"attempt {error['attempt']} at {printing.shown(error['at'])}: {printing.shown(said)}")
        for line in error["traceback"].splitlines():
            print(f"  {printing.harmless(line)}".rstrip())


@app.command()
def why(
    *,
    job_id: Annotated[UUID, typer.Argument(metavar="ID")],
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Say in one sentence what a job waits for, where it runs, or how it ended."""
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> Why:
        async with database.reader(settings) as connection:
            return await ask(connection, job_id)

    found = database.finish(read)
    if as_json:
        errors = read_errors(found.job.error)
        last = {"type": errors[-1].type, "message": errors[-1].message} if errors else None
        job = {**found.job._asdict(), "error": last}
        facts = {**{name: job[name] for name in job if name not in ("id", "state")}, **found.facts._asdict()}
        facts["awaits"] = [{**one._asdict(), "state": State(one.state).name} for one in found.awaited]
        state = State(found.job.state).name
        printing.as_json({"id": job_id, "state": state, "why": found.sentence, "facts": facts})
    else:
        print(printing.shown(f"it {found.sentence}"))


def _error(row: reading.ListedJob) -> dict[str, str] | None:
    errors = read_errors(row.error)
    return {"type": errors[-1].type, "message": errors[-1].message} if errors else None


def _why(row: reading.ListedJob) -> str:
    """Return why a job is where it is, on one line; empty when nothing went wrong."""
    error = _error(row)
    said = [error["type"].removeprefix("builtins."), error["message"]] if error else []
    return " ".join((row.reason or ": ".join(filter(None, said))).split())


def _show_steps(steps: list[dict[str, Any]]) -> None:
    printing.table(
        ["step", "state", "attempt", "started_at", "finished_at", "cursor", "detail"],
        [
            (
                step["name"],
                step["state"],
                step["attempt"],
                step["started_at"],
                step["finished_at"],
                "" if step["cursor"] is None else printing.shortened(step["cursor"]),
                _detail(step),
            )
            for step in steps
        ],
        empty="",
        cut_last=True,
    )


def _detail(step: dict[str, Any]) -> str:
    """Return what a step came to, or what it waits for."""
    if step["error"] is not None:
        return str(step["error"])
    if step["children"] is not None:
        return _children(step)
    if step["state"] in ("sleeping", "waiting"):
        event = " ".join(filter(None, (step["event"], step["key"])))
        until = "" if step["wakes_at"] is None else f"until {printing.shown(step['wakes_at'])}"
        return " ".join(filter(None, (event and f"for {event}", until)))
    return "" if step["result"] is None else str(printing.shortened(step["result"]))


def _children(step: dict[str, Any]) -> str:
    """Return how many jobs a step runs and how they stand, the first that did not succeed, and the first results."""
    children = step["children"]
    counts = Counter(child["state"] or "gone" for child in children)
    said = [f"{len(children)} jobs: " + ", ".join(f"{count} {state}" for state, count in counts.items())]
    others = [child for child in children if child["state"] != "succeeded"]
    named = [f"{child['kind']} {child['id']} {child['state'] or 'gone'}" for child in others[:NAMED]]
    said.append(", ".join(named) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else ""))
    if step["result"] is not None:
        said.append(str(printing.shortened(step["result"])))
    return "; ".join(filter(None, said))


def _values(status: Status) -> dict[str, Any]:
    names = [name for name in Status.__slots__ if name not in ("errors", "steps")]
    values = {name: getattr(status, name) for name in names}
    steps = [
        {**_fields(step), "children": None if step.children is None else list(map(_fields, step.children))}
        for step in status.steps
    ]
    return {**values, "steps": steps, "errors": list(map(_fields, status.errors))}


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__slots__}


def _state(name: str) -> int:
    try:
        return State[name.lower()]
    except KeyError:
        fail(USAGE, f"--state {name} is no state; give one of {', '.join(state.name for state in State)}")
