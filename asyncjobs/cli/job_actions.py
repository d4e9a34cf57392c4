"""`asyncjobs jobs retry|discard|cancel`: actions on jobs by their ids, or on all that match a filter."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import typer

from asyncjobs.checks import limits
from asyncjobs.checks.durations import seconds
from asyncjobs.cli import command_database, unknown_names
from asyncjobs.client.job_actions import Answer, Asked, Matched
from asyncjobs.client.job_filters import Action, Filter, Which, filter_of
from asyncjobs.client.label_filters import read_words
from asyncjobs.db.job_actions import Picked
from asyncjobs.db.rows import State
from asyncjobs.exceptions import InvalidOption
from asyncjobs.failing.stored_errors import last_error, type_and_message
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import FAILED, USAGE, complain, exit_codes, fail

Ids = Annotated[list[UUID] | None, typer.Argument(metavar="[ID]...", help="The jobs' ids; or choose by the options.")]
Kind = Annotated[str | None, typer.Option(help="All of this kind, its aliases included.")]
Queue = Annotated[str | None, typer.Option("--queue", "-q", help="All of this queue.")]
Error = Annotated[
    str | None,
    typer.Option(metavar="TYPE-OR-TEXT", help="All whose last error is of this type, or has this text in its message."),
]
OlderThan = Annotated[
    str | None, typer.Option(help="All that ended, or if unfinished were enqueued, at least so long ago, such as 2h.")
]
Group = Annotated[
    str | None, typer.Option(metavar="ID", help="All of a group of failed jobs that `jobs failed` shows.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="How many at most, the oldest first.")]
All = Annotated[bool, typer.Option("--all", help="All jobs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Reason = Annotated[str, typer.Option(help="Stored with each job.")]

_DONE = {Action.retry: "retried", Action.discard: "discarded", Action.cancel: "cancelled"}


def retry(
    *,
    ids: Ids = None,
    kind: Kind = None,
    queue: Queue = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="In this state; may be repeated: failed (the default), discarded, cancelled, scheduled."),
    ] = None,
    error: Error = None,
    group: Group = None,
    older_than: OlderThan = None,
    tag: options.Tag = None,
    meta: options.Meta = None,
    arg: options.Arg = None,
    limit: Limit = None,
    everything: All = False,
    force: Annotated[
        bool, typer.Option("--force", help="By id: also jobs that succeeded or are scheduled for their first run.")
    ] = False,
    from_step: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="By id: run this step and those after it again.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Make jobs ready again that failed, were discarded or cancelled, or wait for their retry.

    Each keeps its id, its errors and its attempt, and goes on after its recorded steps. If its last step ran other jobs and
    some of them failed, these are retried with it.
    """
    with exit_codes():
        which = _Chosen(kind, queue, state, error, group, older_than, tag, meta, arg, limit).filter_of(Action.retry)
        if force and not ids:
            raise InvalidOption("--force is for single jobs: name them by id")
        if from_step is not None and not ids:
            raise InvalidOption("--from is for single jobs: name them by id")
        asked = Asked(Action.retry, forced=force or from_step is not None, from_step=from_step)
    _run(_Command(asked, ids or [], which, everything, dry_run, yes, as_json), config, env)


def discard(
    *,
    ids: Ids = None,
    kind: Kind = None,
    queue: Queue = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="In this state; may be repeated: scheduled, ready, waiting, failed; default: all of these."),
    ] = None,
    error: Error = None,
    group: Group = None,
    older_than: OlderThan = None,
    tag: options.Tag = None,
    meta: options.Meta = None,
    arg: options.Arg = None,
    limit: Limit = None,
    everything: All = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Discard jobs that are scheduled, ready or waiting, or have failed. Running jobs can be cancelled."""
    with exit_codes():
        which = _Chosen(kind, queue, state, error, group, older_than, tag, meta, arg, limit).filter_of(Action.discard)
        asked = Asked(Action.discard, limits.reason(reason))
    _run(_Command(asked, ids or [], which, everything, dry_run, yes, as_json), config, env)


def cancel(
    *,
    ids: Ids = None,
    kind: Kind = None,
    queue: Queue = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="In this state; may be repeated: scheduled, ready, running, waiting; default: all of these."),
    ] = None,
    error: Error = None,
    older_than: OlderThan = None,
    tag: options.Tag = None,
    meta: options.Meta = None,
    arg: options.Arg = None,
    limit: Limit = None,
    everything: All = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Cancel jobs: running ones in whichever process they run, others at once."""
    with exit_codes():
        which = _Chosen(kind, queue, state, error, None, older_than, tag, meta, arg, limit).filter_of(Action.cancel)
        asked = Asked(Action.cancel, limits.reason(reason))
    _run(_Command(asked, ids or [], which, everything, dry_run, yes, as_json), config, env)


class _Chosen(NamedTuple):
    """The options by which jobs are chosen."""

    kind: str | None
    queue: str | None
    state: list[str] | None
    error: str | None
    group: str | None
    older_than: str | None
    tag: list[str] | None
    meta: list[str] | None
    arg: list[str] | None
    limit: int | None

    def filter_of(self, action: Action) -> tuple[Filter, bool]:
        """Return their filter for an action, and whether they name anything; a limit alone does not."""
        words = read_words(self.tag or (), self.meta or (), self.arg or ())
        which: Which = {
            "kind": self.kind,
            "queue": self.queue,
            "state": [name.lower() for name in self.state] if self.state else None,
            "error": self.error,
            "older_than": age_of(self.older_than),
            "group": self.group,
            "limit": self.limit,
            **words,
        }
        narrows = any(value is not None for name, value in which.items() if name != "limit")
        return filter_of(action, **which), narrows


class _Command(NamedTuple):
    asked: Asked
    ids: list[UUID]
    which: tuple[Filter, bool]
    """The filter, and whether it names anything."""
    everything: bool
    dry_run: bool
    yes: bool
    as_json: bool

    @property
    def action(self) -> Action:
        return self.asked.action

    @property
    def asks(self) -> bool:
        """Whether somebody must agree: to everything except a retry of jobs given by id."""
        return not self.dry_run and not self.yes and not (self.ids and self.action is Action.retry)


def age_of(older_than: str | None) -> float | None:
    """Return the seconds of --older-than."""
    try:
        return None if older_than is None else seconds(older_than, name="--older-than")
    except ValueError as wrong:
        raise InvalidOption(str(wrong)) from None


def _check(command: _Command) -> None:
    wanted, narrows = command.which
    if command.ids and (narrows or command.everything or wanted.limit is not None):
        fail(USAGE, "ids and a filter both say which jobs: give one of them")
    if narrows and command.everything:
        fail(USAGE, "--all and a filter both say which jobs: give one of them")
    if not command.ids and not narrows and not command.everything:
        fail(
            USAGE,
            f"which jobs? give ids, or any of {_filters(command.action)}, or --all to {command.action.value} all there are",
        )
    if command.asks and not sys.stdin.isatty():
        fail(
            USAGE,
            "this asks before it changes anything, and there is no terminal: say --yes, or look first with --dry-run",
        )


def _filters(action: Action) -> str:
    """Return the options by which jobs are chosen for an action."""
    group = () if action is Action.cancel else ("--group",)
    names = ("--kind", "--queue", "--state", "--error", *group, "--older-than", "--tag", "--meta")
    return f"{', '.join(names)} and --arg"


def _run(command: _Command, config: options.Config, env: options.Environment) -> None:
    _check(command)
    if command.ids:
        if command.asks:
            _agree(f"{command.action.value} {_jobs(len(command.ids))}?")

        async def named() -> list[Answer]:
            async with command_database.CommandJobs(config=config, environment=env) as jobs:
                return await jobs.client.do_named(command.asked, command.ids, dry_run=command.dry_run)

        _tell_named(command, command_database.finish(named))
        return

    async def matching(*, dry_run: bool) -> Matched:
        async with command_database.CommandJobs(config=config, environment=env) as jobs:
            wanted = command.which[0]
            if wanted.kinds is not None:
                find_names = partial(unknown_names.with_former_names, kind=wanted.kinds[0])
                wanted = wanted._replace(kinds=await jobs.run(find_names))
            return await jobs.client.do_all(command.asked, wanted, dry_run=dry_run)

    if command.asks:
        matched = command_database.finish(lambda: matching(dry_run=True))
        if matched.total:
            if not command.as_json:
                _table(matched)
            _agree(f"{command.action.value} {_jobs(matched.total)}?")
    matched = command_database.finish(lambda: matching(dry_run=command.dry_run))
    _tell_matched(command, matched)
    if not matched.total:
        wanted = command.which[0]
        complain(*unknown_names.found_for(wanted.kinds[0] if wanted.kinds else None, wanted.queue, config, env))


def _agree(question: str) -> None:
    if not typer.confirm(question, err=True):
        fail(FAILED, "nothing was changed")


def _tell_named(command: _Command, answers: Sequence[Answer]) -> None:
    along = sum(answer.along for answer in answers)
    done = sum(answer.done for answer in answers) + along
    if command.as_json:
        jobs = [
            {"id": a.id, "done": a.done, "state": None if a.state is None else a.state.name, "children": a.children,
             "along": a.along, "problem": _problem(command, a)}
            for a in answers
        ]  # fmt: skip
        printing.as_json({"action": command.action.value, "dry_run": command.dry_run, "count": done, "jobs": jobs})
    else:
        also = (
            f", {along} of them with those that were named: the rest of a chain, or what a step runs" if along else ""
        )
        print(_sentence(command, done) + also + _with_children(command, sum(answer.children for answer in answers)))
    problems = [problem for answer in answers if (problem := _problem(command, answer)) is not None]
    if problems:
        complain(*problems)
        raise typer.Exit(FAILED)


def _tell_matched(command: _Command, matched: Matched) -> None:
    if command.as_json:
        first = [_values(job) for job in matched.first]
        printing.as_json(
            {"action": command.action.value, "dry_run": command.dry_run, "count": matched.total, "first": first}
        )
        return
    print(_sentence(command, matched.total))
    if command.dry_run and matched.total:
        _table(matched)


def _sentence(command: _Command, count: int) -> str:
    return f"{_jobs(count)} {'would be ' if command.dry_run else ''}{_DONE[command.action]}"


def _with_children(command: _Command, count: int) -> str:
    """Return the end of a sentence about failed jobs that steps ran, and that are retried too."""
    if not count:
        return ""
    children, verb = ("1 failed job", "is") if count == 1 else (f"{count} failed jobs", "are")
    return f"; {children} that a step ran {'would be' if command.dry_run else verb} retried with it"


def _problem(command: _Command, answer: Answer) -> str | None:
    """Return why nothing was done with a job given by id, and the remedy; None: something was."""
    if answer.done:
        return None
    if answer.state is None:
        return f"no job {answer.id} can be seen: never made, rolled back, or past its retention"
    match command.action, answer.state:
        case Action.retry, State.succeeded:
            hint = "it succeeded: say --force to run it again"
        case Action.retry, State.scheduled:
            hint = "it is scheduled for its first run: say --force to run it now"
        case Action.retry, State.waiting:
            hint = "it is waiting: emit its event; or cancel it, and retry it --from a step, as `jobs show` lists them"
        case Action.discard, State.running:
            hint = "it runs: cancel it"
        case _:
            hint = f"it {'is' if not answer.state.final else 'has ended as'} {answer.state.name}"
    return f"job {answer.id} was not {_DONE[command.action]}: {hint}"


def _table(matched: Matched) -> None:
    rows = [_values(job) for job in matched.first]
    printing.table(
        ["id", "state", "kind", "queue", "since", "error"],
        [
            (
                row["id"],
                row["state"],
                row["kind"],
                row["queue"],
                row["at"],
                ""
                if row["error"] is None
                else f"{row['error']['type'].removeprefix('builtins.')}: {row['error']['message']}",
            )
            for row in rows
        ],
        empty="",
        cut_last=True,
    )
    if matched.total > len(rows):
        print(f"and {matched.total - len(rows)} more")


def _values(job: Picked) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": State(job.state).name,
        "kind": job.kind,
        "queue": job.queue,
        "at": job.at,
        "error": type_and_message(last_error(job.error)),
    }


def _jobs(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"
