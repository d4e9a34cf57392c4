"""`asyncjobs enqueue`: one job, from the shell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from asyncjobs.checks import limits
from asyncjobs.checks.durations import seconds, spell
from asyncjobs.cli import command_database
from asyncjobs.client.label_filters import read_words
from asyncjobs.db import inserts
from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.definitions.labels import checked_meta, checked_tags
from asyncjobs.exceptions import (
    AsyncJobsError,
    InvalidArguments,
    InvalidOption,
    JobCancelled,
    JobDiscarded,
    JobError,
    JobFailed,
)
from asyncjobs.jobs.job import Job
from asyncjobs.modules.importing import import_modules, put_working_directory_first
from asyncjobs.settings.loading import read
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import FAILED, USAGE, complain, exit_codes, fail

TELL_AFTER = 2.0
"""Seconds of `--wait` after which it is said what the job waits for."""


@dataclass(frozen=True)
class Options:
    """The options of the job; None: as its definition says."""

    queue: str | None
    priority: int | None
    delay: float | None
    at: datetime | None
    tags: tuple[str, ...] | None = None
    meta: dict[str, str] | None = None


def enqueue(
    *,
    kind: Annotated[str, typer.Argument(help="Such as app.jobs.send_welcome.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE... | JSON]", help="NAME=VALUE, NAME:=JSON, or one JSON object."),
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Another queue than the definition's.")] = None,
    priority: Annotated[int | None, typer.Option(help="Smaller runs first.")] = None,
    delay: Annotated[str | None, typer.Option("--in", help="The time until it is due, such as 5m.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="The time at which it is due, ISO 8601 with a zone.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the job; may be repeated.")] = None,
    meta: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An entry of its meta; may be repeated.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end and print its result.")] = False,
    timeout: Annotated[str | None, typer.Option(help="With --wait: how long to wait at most, such as 30s.")] = None,
    imports: Annotated[
        list[str] | None, typer.Option("--import", help="A module that defines jobs; may be repeated.")
    ] = None,
    unknown_kind: Annotated[
        bool, typer.Option("--unknown-kind", help="Enqueue though no module here defines the kind.")
    ] = False,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Enqueue a job; print its id, or with --wait its result.

    If the job does not succeed, the exit code is 1; --json then prints its id, state, error and reason. The state is null
    if it goes on after --timeout.
    """
    with exit_codes():
        settings, _ = read(config, environment=env)  # the client logs the warnings when it opens
        if not sys.flags.safe_path:
            put_working_directory_first()
        import_modules([*(imports or ()), *settings.imports])
        words = read_words(tag or (), meta or (), ())
        chosen = Options(queue, priority, _seconds(delay, "--in"), _moment(at), words["tag"], words["meta"])
        if chosen.delay is not None and chosen.at is not None:
            raise InvalidOption("--in and --at both say when: give one of them")
        limit = _seconds(timeout, "--timeout")
        if limit is not None and not wait:
            raise InvalidOption("--timeout says how long to wait: give --wait, too")
        given = read_arguments(arguments or ())
        with registry.prefixed(settings.kind_prefix):
            definition = registry.find(kind)
        if definition is None and not unknown_kind:
            modules = ", ".join([*(imports or ()), *settings.imports]) or "none"
            fail(
                USAGE,
                f"no module here defines the kind {kind!r}{registry.similar(kind)} (imported: {modules}); "
                "name its module with --import, or say --unknown-kind",
            )
        made = None if definition is None else make(definition, given, chosen)

    async def send() -> tuple[Job[Any], Any, JobError | TimeoutError | None]:
        async with command_database.CommandJobs(config=config, environment=env, middleware=True) as client:
            found = await (client.enqueue(made) if made is not None else _by_name(client, kind, given, chosen))
            complain(*not_made(found.id, found.disposition))
            if not wait:
                return found, None, None
            telling = asyncio.get_running_loop().create_task(_tell_why(client, found.id))
            try:
                return found, await found.result(timeout=limit), None
            except (JobError, TimeoutError) as error:
                if isinstance(error, TimeoutError) and telling.cancel():
                    await _tell_why(client, found.id, after=0.0)
                return found, None, error
            finally:
                telling.cancel()

    job, result, error = command_database.finish(send)
    values = {"id": job.id, "disposition": job.disposition}
    if error is not None:
        if as_json:
            printing.as_json({**values, **_ending(error)})
        late = isinstance(error, TimeoutError)
        fail(FAILED, f"job {job.id} did not end within {spell(limit or 0)}; it goes on" if late else str(error))
    text = (definition.result.dump(result) if definition is not None else json.dumps(result)) or "null"
    if as_json:
        printing.as_json({**values, **({"state": "succeeded", "result": json.loads(text)} if wait else {})})
    else:
        print(text if wait else job.id)


def not_made(job_id: UUID, disposition: str | None) -> list[str]:
    """Return a note when a job with the same unique key was there, in place of the one that was to be enqueued."""
    match disposition:
        case "duplicate":
            return [f"note: nothing was enqueued: job {job_id} was there already and has the unique key"]
        case "replaced":
            return [f"note: job {job_id} was there already and has the unique key; it has the new arguments now"]
    return []


async def _tell_why(client: command_database.CommandJobs, job_id: UUID, *, after: float = TELL_AFTER) -> None:
    """Say after so many seconds what a job waits for: perhaps for a worker that nobody has started."""
    await asyncio.sleep(after)
    with contextlib.suppress(AsyncJobsError):  # of a role that may not look
        complain(f"job {job_id} {await client.why(job_id)}")


def _ending(error: JobError | TimeoutError) -> dict[str, Any]:
    """Return the end of a job that did not succeed, for `--json`."""
    ending: dict[str, Any] = {"state": None, "error": None, "reason": None}
    match error:
        case JobFailed():
            stored = {"type": error.error_type, "message": error.error_message, "traceback": error.traceback}
            return {**ending, "state": "failed", "error": stored}
        case JobDiscarded():
            return {**ending, "state": "discarded", "reason": error.reason}
        case JobCancelled():
            return {**ending, "state": "cancelled", "reason": error.reason}
    return ending


def make(definition: Definition, given: dict[str, tuple[str, Any]], chosen: Options) -> Job[Any]:
    """Make a job from shell words: each value is tried as text, and where that does not fit as JSON.

    Raises:
        InvalidArguments: Neither fits.
    """
    codec = definition.arguments
    values = {name: text for name, (text, _) in given.items()}
    try:
        bound = codec.bind((), values)
    except InvalidArguments as error:
        wrong = {field.partition(".")[0].partition("[")[0] for field, _ in error.problems}
        bound = codec.bind((), {name: read if name in wrong else text for name, (text, read) in given.items()})
    job: Job[Any] = definition.job_class.__new__(definition.job_class)
    job._begin(definition, bound, codec.dump(bound))
    return job.set(
        queue=chosen.queue,
        priority=chosen.priority,
        wait=chosen.delay,
        at=chosen.at,
        tags=chosen.tags,
        meta=chosen.meta,
    )


async def _by_name(
    client: command_database.CommandJobs, kind: str, given: dict[str, tuple[str, Any]], chosen: Options
) -> Job[Any]:
    kind = registry.stored_name(limits.kind_name(kind))
    queue = "default" if chosen.queue is None else limits.queue_name(chosen.queue)
    priority = 0 if chosen.priority is None else limits.priority(chosen.priority)
    tags = list(checked_tags(chosen.tags or (), "tags"))
    meta = json.dumps(checked_meta(chosen.meta or {}, "meta"))
    args = json.dumps({name: read for name, (_, read) in given.items()})
    job_id = await client.run(
        lambda connection: inserts.enqueue_by_name(
            connection,
            kind,
            args,
            queue=queue,
            priority=priority,
            run_at=chosen.at,
            delay=chosen.delay,
            tags=tags,
            meta=meta,
        )
    )
    return await client.get(job_id)


def read_arguments(words: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Return each argument by name: as given, and as JSON (the same if it is none).

    Raises:
        InvalidOption: A word is neither NAME=VALUE nor the only one and a JSON object.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            return {name: (value, value) for name, value in json.loads(words[0]).items()}
        except ValueError as error:
            raise InvalidOption(f"the arguments are no JSON object: {error}") from None
    found: dict[str, tuple[Any, Any]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        is_json = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name.isidentifier():
            raise InvalidOption(f"{word!r} is no argument: write NAME=VALUE, NAME:=JSON, or one JSON object")
        if name in found:
            raise InvalidOption(f"{name} is given twice: give it once")
        found[name] = _value(name, text, is_json=is_json)
    return found


def _value(name: str, text: str, *, is_json: bool) -> tuple[Any, Any]:
    try:
        read = json.loads(text)
    except ValueError as error:
        if is_json:
            raise InvalidOption(f"{name}: {text!r} is no JSON: {error}") from None
        read = text
    return (read, read) if is_json else (text, read)


def _seconds(text: str | None, name: str) -> float | None:
    try:
        return None if text is None else seconds(text, name=name)
    except ValueError as error:
        raise InvalidOption(str(error)) from None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.utcoffset() is None:
            raise InvalidOption(f"--at {text} has no time zone: write {text}Z or {text}+01:00, for example")
        return limits.moment(at, "--at")
    except ValueError as error:
        if isinstance(error, InvalidOption):
            raise
        raise InvalidOption(f"--at {text} is no time: write such as 2026-01-31T08:00:00+01:00") from None
