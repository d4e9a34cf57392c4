"""`asyncjobs jobs …`: jobs listed, shown, and explained by `why`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any
from uuid import UUID

import typer

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.checks.id_beginnings import RULE, Ids, ids_beginning
from asyncjobs.checks.texts import shown
from asyncjobs.cli import command_database
from asyncjobs.cli.job_actions import age_of
from asyncjobs.cli.unknown_names import notes, with_former_names
from asyncjobs.client import finding
from asyncjobs.client.label_filters import read_words
from asyncjobs.client.status_values import values_of
from asyncjobs.client.statuses import Statuses
from asyncjobs.client.stored_outcomes import read_status, unended
from asyncjobs.client.why import NAMED, Why, ask
from asyncjobs.db import jobs, reading
from asyncjobs.db.batches import Linked, read_chain
from asyncjobs.db.connecting import Connection
from asyncjobs.db.live import ProgressRow, read_progress
from asyncjobs.db.role_access import Access
from asyncjobs.db.rows import State, StatusRow, state_name
from asyncjobs.exceptions import InvalidOption, PermissionDenied
from asyncjobs.failing.stored_errors import last_error, type_and_message
from asyncjobs.settings import load
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import FAILED, USAGE, complain, exit_codes, fail

app = typer.Typer(no_args_is_help=True, help="Single jobs.")

_ALWAYS = ("arguments", "result")
"""Values of a job that are shown even if they are empty."""
_MOST_STEPS = 500
"""The most steps of a job that are shown: the last ones."""
_MOST_ALIKE = 10
"""The most jobs that are named where a beginning of an id is that of several."""
_MOST_LINKED = 10
"""The most jobs of a chain that are shown before a job, and after it."""
_ROOM = {"name": 60, "cursor": 40, "detail": 80}
"""The most characters of these columns of the table of steps; `--json` has all."""


@app.command("list")
def list_jobs(
    *,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, its aliases included.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Only of this queue.")] = None,
    error: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE-OR-TEXT", help="Only jobs whose last error is of this type, or has this text in its message."
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(help="Only jobs that ended, or if unfinished were enqueued, at least so long ago, such as 2h."),
    ] = None,
    tag: options.Tag = None,
    meta: options.Meta = None,
    arg: options.Arg = None,
    limit: Annotated[int, typer.Option(min=1, max=finding.MOST, help="How many at most.")] = 50,
    before: Annotated[UUID | None, typer.Option(help="Only older than this one: the last of the page before.")] = None,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """List jobs, newest first, each with the error of its failure or retry, or the reason of its end."""
    with exit_codes():
        settings = load(config, environment=env)
        words = read_words(tag or (), meta or (), arg or ())
        wanted = finding.wanted_of(
            state=[_state(name) for name in state] if state else None,
            kind=kind,
            queue=queue,
            error=error,
            older_than=age_of(older_than),
            **words,
        )

    async def read() -> tuple[list[reading.ListedJob], list[str]]:
        async with command_database.reader(settings) as connection:
            kinds = None if kind is None else await with_former_names(connection, kind)
            found = await finding.find(
                lambda operation: command_database.bounded(operation(connection)),
                wanted._replace(kinds=kinds),
                before=before,
                limit=limit,
            )
            said = [] if found else await notes(connection, settings, kind=kind, queue=queue)
            if not found and kind is None and words["arguments"]:
                said.append("note: without --kind only arguments are found that a kind declares as searchable")
            return found, said

    rows, said = command_database.finish(read)
    complain(*said)
    if as_json:
        printing.as_json([finding.values_of(row) for row in rows])
        return
    printing.table(
        ["id", "state", "kind", "queue", "priority", "attempt", "enqueued", "finished", "error or reason"],
        [
            (
                row.id,
                state_name(row.state),
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
    job: Annotated[str, typer.Argument(metavar="ID", help=f"The job: {RULE}.")],
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Show everything about one job: arguments, result, steps, and the traceback of every failed attempt."""
    with exit_codes():
        settings = load(config, environment=env)
        ids = _ids(job)

    async def read() -> tuple[UUID, StatusRow | None, dict[UUID, tuple[str, str]], list[ProgressRow], list[Linked]]:
        async with command_database.reader(settings) as connection:
            job_id = await _only(connection, job, ids)
            statuses = Statuses(lambda operation: command_database.bounded(operation(connection)), Access())
            row = await statuses.read(job_id)
            children = [] if row is None else unended(row.steps)
            states = await jobs.read_states(connection, children) if children else {}
            progress = await command_database.bounded(read_progress(connection, [job_id]))
            try:
                chain = (
                    []
                    if row is None
                    else await command_database.bounded(read_chain(connection, job_id, _MOST_LINKED + 1))
                )
            except PermissionDenied:  # a role may enqueue without being a viewer
                chain = []
            return job_id, row, states, progress, chain

    job_id, row, states, progress, chain = command_database.finish(read)
    if row is None:
        fail(FAILED, f"no job {job_id} can be seen: never made, rolled back, or past its retention")
    status = read_status(row, states, progress[0] if progress else None)
    values = values_of(status)
    if row.args is None:
        values["arguments"] = None
    if chain:
        values["chain"] = [
            {"id": one.id, "kind": one.kind, "state": None if one.state is None else state_name(one.state)}
            for one in chain
        ]
    if as_json:
        printing.as_json(values)
        return
    values.pop("chain", None)
    values["progress"] = None if status.progress is None else str(status.progress)
    values["items"] = status.items or None
    errors, steps = values.pop("errors"), values.pop("steps")
    if row.args is None:
        values["arguments"] = "(this role may not read them)"
    if not row.shows_result:
        values["result"] = "(this role may not read it)"
    values["tags"] = ", ".join(values["tags"]) or None
    known = {name: value for name, value in values.items() if (value is not None and value != {}) or name in _ALWAYS}
    printing.fields({name: printing.shortened(value) for name, value in known.items()})
    if chain:
        print()
        _show_chain(chain)
    if steps:
        print()
        _show_steps(steps)
    for error in errors:
        print()
        said = ": ".join(filter(None, (error["type"], error["message"])))
        print(f"attempt {error['attempt']} at {printing.shown(error['at'])}: {printing.shown(said)}")
        for line in error["traceback"].splitlines():
            print(f"  {harmless(line)}".rstrip())


@app.command()
def why(
    *,
    job: Annotated[str, typer.Argument(metavar="ID", help=f"The job: {RULE}.")],
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Say in one sentence what a job waits for, where it runs, or how it ended."""
    with exit_codes():
        settings = load(config, environment=env)
        ids = _ids(job)

    async def read() -> Why:
        async with command_database.reader(settings) as connection:
            return await ask(connection, await _only(connection, job, ids))

    found = command_database.finish(read)
    if as_json:
        values = {**found.job._asdict(), "error": type_and_message(last_error(found.job.error))}
        facts = {**{name: values[name] for name in values if name not in ("id", "state")}, **found.facts._asdict()}
        facts["awaits"] = [{**one._asdict(), "state": state_name(one.state)} for one in found.awaited]
        state = state_name(found.job.state)
        printing.as_json({"id": found.job.id, "state": state, "why": found.sentence, "facts": facts})
    else:
        print(printing.shown(f"it {found.sentence}"))


def _ids(given: str) -> Ids:
    ids = ids_beginning(given)
    if ids is None:
        raise InvalidOption(f"{shown(given)} is no id: give {RULE}")
    return ids


async def _only(connection: Connection, given: str, ids: Ids) -> UUID:
    """Return the id of the only job whose id begins as given; a whole id is returned as it is."""
    if ids.least == ids.greatest:
        return ids.least
    found = await command_database.bounded(reading.list_beginning(connection, ids, _MOST_ALIKE + 1))
    if not found:
        fail(FAILED, f"no job whose id begins with {given} can be seen: never made, rolled back, or past its retention")
    if len(found) > 1:
        alike = [f"  {one.id} {state_name(one.state)} {one.kind}" for one in found[:_MOST_ALIKE]]
        more = ["  and more"] if len(found) > _MOST_ALIKE else []
        fail(USAGE, f"several jobs have an id that begins with {given}: give more of it", *alike, *more)
    return found[0].id


def _why(row: reading.ListedJob) -> str:
    """Return a job's error or reason on one line; empty when there is none, or it went on after the error."""
    error = finding.error_that_holds(row)
    said = [error.type.removeprefix("builtins."), error.message] if error else []
    return " ".join((row.reason or ": ".join(filter(None, said))).split())


def _show_chain(chain: list[Linked]) -> None:
    """Print a chain with this job marked, from the first shown job to the last."""
    print("chain:")
    if chain[0].place < -_MOST_LINKED:
        print("    … and those before")
    for one in chain:
        if abs(one.place) <= _MOST_LINKED:
            state = "gone" if one.state is None else state_name(one.state)
            print(f"  {'→' if one.place == 0 else ' '} {printing.shown(one.kind or '?')} {one.id} {state}")
    if chain[-1].place > _MOST_LINKED:
        print("    … and those after")


def _show_steps(steps: list[dict[str, Any]]) -> None:
    printing.table(
        ["step", "state", "attempt", "started_at", "finished_at", "cursor", "detail"],
        [
            (
                printing.brief(step["name"], _ROOM["name"]),
                step["state"],
                step["attempt"],
                step["started_at"],
                step["finished_at"],
                printing.brief(step["cursor"], _ROOM["cursor"]),
                printing.brief(_detail(step), _ROOM["detail"]),
            )
            for step in steps[-_MOST_STEPS:]
        ],
        empty="",
        cut_last=True,
    )
    if len(steps) > _MOST_STEPS:
        print(f"{len(steps) - _MOST_STEPS} earlier steps are not shown; --json prints them all")


def _detail(step: dict[str, Any]) -> Any:
    """Return a step's result, or what it waits for."""
    if step["error"] is not None:
        return str(step["error"])
    if step["children"] is not None:
        return _children(step)
    if step["state"] in ("sleeping", "waiting"):
        event = " ".join(filter(None, (step["event"], step["key"])))
        until = "" if step["wakes_at"] is None else f"until {printing.shown(step['wakes_at'])}"
        return " ".join(filter(None, (event and f"for {event}", until)))
    return step["result"]


def _children(step: dict[str, Any]) -> str:
    """Return the number of jobs that a step runs, their states, the first that did not succeed, and the first results."""
    children = step["children"]
    counts = Counter(child["state"] or "gone" for child in children)
    said = [f"{len(children)} jobs: " + ", ".join(f"{count} {state}" for state, count in counts.items())]
    others = [child for child in children if child["state"] != "succeeded"]
    named = [f"{child['kind']} {child['id']} {child['state'] or 'gone'}" for child in others[:NAMED]]
    said.append(", ".join(named) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else ""))
    if step["result"] is not None:
        said.append(str(printing.shortened(step["result"])))
    return "; ".join(filter(None, said))


def _state(name: str) -> str:
    try:
        return State[name.lower()].name
    except KeyError:
        fail(USAGE, f"--state {name} is no state; give one of {', '.join(state.name for state in State)}")
