"""`asyncjobs doctor`: checks of the setup, one line each, with the remedy."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import typer

from asyncjobs import logs
from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.cli import command_database, pauses
from asyncjobs.cli.recurring import left_out
from asyncjobs.client.unserved_jobs import cut_short, of_two_applications, unserved
from asyncjobs.db import checking, limiting, migration_files, pausing, poolers, reading, recurring
from asyncjobs.db.connecting import Connection, connect
from asyncjobs.db.errors import MIGRATE
from asyncjobs.db.limiting import BY, LimitRow
from asyncjobs.exceptions import AsyncJobsError, InvalidSettings, SchemaMismatch
from asyncjobs.jobs.recurring import RecurringStatus
from asyncjobs.opening import private_directory
from asyncjobs.settings import Settings
from asyncjobs.settings.loading import read
from asyncjobs.terminal import options, printing, tls
from asyncjobs.terminal.exits import OK, UNHEALTHY
from asyncjobs.worker import connections
from asyncjobs.worker.lease import worker_report
from asyncjobs.worker.writing.step_recorder import MOST_ISOLATED

HEARING_LIMIT = 2.0
"""Seconds that a notice may take from one connection to another."""
CONNECT_LIMIT = 8.0
"""Seconds for connecting."""
CLOCK_LIMIT = 2.0
"""Seconds that two clocks may differ."""
LEAST_DAYS = 3
"""Days ahead for which the history needs partitions; a running worker makes more."""
BESIDE = 2
"""Connections of a worker process beside those for its work: its listener's, and its client's for enqueueing."""
_COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


class Finding(NamedTuple):
    """The result of one check."""

    verdict: Literal["ok", "warn", "fail"]
    check: str
    text: str
    """The fact, and the remedy unless the verdict is ok."""


def doctor(*, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False) -> None:
    """Check settings, database, schema, rights, notices, clocks, workers, stuck jobs; exit 3 if anything fails."""

    async def collect() -> list[Finding]:
        return [finding async for finding in examine(settings)]

    try:
        settings, warnings = read(config, environment=env)
    except InvalidSettings as error:
        findings = [Finding("fail", "settings", problem) for problem in error.problems]
    else:
        findings = [
            Finding("ok", "settings", f"{settings.source or 'defaults and environment'}, {settings.environment}")
        ]
        findings += [Finding("warn", "settings", warning) for warning in warnings]
        findings += command_database.finish(collect)
    if as_json:
        printing.as_json([finding._asdict() for finding in findings])
    else:
        for verdict, check, text in findings:
            mark = verdict.ljust(4)
            if logs.wants_colours(sys.stdout):
                mark = typer.style(mark, fg=_COLOURS[verdict])
            print(f"{mark}  {check}: {harmless(text)}")
    raise typer.Exit(UNHEALTHY if any(finding.verdict == "fail" for finding in findings) else OK)


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Check the database; a check that fails and that others depend on is the last one."""
    try:
        directory = private_directory(settings)
        async with command_database.database_url(settings) as url:
            if directory is not None:
                yield Finding("ok", "database", command_database.private_hint(directory))
            connection = await connect(
                url, name="asyncjobs doctor", settings={"statement_timeout": "2s"}, timeout=CONNECT_LIMIT
            )
            try:
                async for finding in _examine(connection, url, settings, is_private=directory is not None):
                    yield finding
            finally:
                connection.terminate()
    except AsyncJobsError as error:
        yield Finding("fail", "database", str(error))


async def _examine(connection: Connection, url: str, settings: Settings, *, is_private: bool) -> AsyncIterator[Finding]:
    before = time.time()
    server = await command_database.bounded(reading.server(connection))
    between = (before + time.time()) / 2
    yield Finding("ok", "connect", f"PostgreSQL {server.version}, database {server.database}, role {server.role}")
    for finding in server_findings(server, url, clock_here=between):
        yield finding
    yield connection_finding(await command_database.bounded(reading.connection_limits(connection)), server, settings)
    if not server.standby:  # a standby has no LISTEN
        yield await _hearing(url)
    try:
        await command_database.bounded(checking.check(connection))
    except SchemaMismatch as error:
        yield Finding("fail", "schema", str(error))
        return
    newest = max(there := await command_database.bounded(migration_files.applied(connection)))
    functions = there[migration_files.FUNCTIONS].release
    yield Finding("ok", "schema", f"migration {newest}, functions of asyncjobs {functions}")
    rights = await command_database.bounded(reading.rights(connection))
    yield _rights(rights, server.role)
    for finding in definer_findings(
        await command_database.bounded(reading.definers(connection)), is_private=is_private
    ):
        yield finding
    yield _days(await command_database.bounded(reading.days_ahead(connection)))
    if not rights.look:
        text = f"{server.role} may not look at them; run this with a login that may, one with asyncjobs_viewer, too"
        yield Finding("ok", "workers, jobs", text)
        return
    workers = await command_database.bounded(reading.workers(connection))
    recurs, now = await command_database.bounded(recurring.read(connection))
    for finding in recurring_findings(recurs, now, left_out(recurs, workers)):
        yield finding
    for finding in worker_findings(workers):
        yield finding
    for finding in limit_findings(await command_database.bounded(limiting.read_limits(connection))):
        yield finding
    for pause in await command_database.bounded(pausing.read_pauses(connection)):
        yield Finding("warn", "pauses", f"{pauses.sentence(pause)}: {pauses.remedy(pause)} lets it go on")
    ready = await command_database.bounded(reading.ready_kinds(connection))
    serving = [worker.about for worker in workers if not worker.late and not worker_report.read(worker.report).draining]
    for doubt in of_two_applications(serving):
        yield Finding("warn", "kinds", doubt)
    problems = list(unserved(ready, serving)) if serving else []
    for problem in problems:
        yield Finding("warn", "jobs", problem)
    if not problems:
        count = f"{'at least ' if cut_short(ready) else ''}{sum(jobs for *_, jobs in ready)}"
        yield Finding("ok", "jobs", f"{count} ready" + (", all served" if serving else ""))


def limit_findings(rows: Sequence[LimitRow]) -> Iterator[Finding]:
    """Report limits that config or somebody has set in place of the code's, with a warning for those at 0."""
    for row in rows:
        if row.most is None or row.said_by == "code":
            continue
        others = [
            f"{most} {BY[by]}" for by, most in (("config", row.config), ("code", row.code))
            if most is not None and by != row.said_by
        ]  # fmt: skip
        text = f"{row.name} is {row.most} at once {BY[row.said_by]}" + (
            f", in place of {', '.join(others)}" if others else ""
        )
        if row.most:
            yield Finding("ok", "limits", text)
        else:
            remedy = "change it there" if row.said_by == "config" else "set another by `asyncjobs limits set`"
            yield Finding("warn", "limits", f"{text}, so nothing of it starts: {remedy}")


def recurring_findings(
    rows: Sequence[RecurringStatus], now: datetime, left: Sequence[tuple[str, str]] = ()
) -> Iterator[Finding]:
    """Judge recurring jobs: whether they were enqueued, and whether a worker can enqueue them; `left`: see `left_out`."""
    if not rows:
        return
    for _, sentence in left:
        remedy = "give that one the others' time zones (`pip install -U tzdata`) and code"
        yield Finding("warn", "recurring", f"{sentence}: {remedy}")
    troubled = [row for row in rows if row.trouble is not None]
    for row in troubled:
        yield Finding("warn", "recurring", f"{row.name} could not be enqueued, and is tried again: {row.trouble}")
    late = [
        row for row in rows if row.next_at is not None and now - row.next_at > recurring.LATE and row not in troubled
    ]
    for row in late:
        waits = printing.age((now - row.next_at).total_seconds()) if row.next_at else ""
        knows = f"{row.kind} and can read its schedule" if row.name in dict(left) else row.kind
        text = f"{row.name} has been due for {waits}, and no worker enqueues it: start one that knows {knows}"
        yield Finding("warn", "recurring", text)
    if not troubled and not late and not left:
        paused = sum(row.next_at is None for row in rows)
        also = f", {paused} of them paused or not enabled" if paused else ""
        yield Finding("ok", "recurring", f"{len(rows)} on time{also}")


def worker_findings(workers: Sequence[reading.WorkerRow]) -> Iterator[Finding]:
    """Judge the workers, by their beats and their reports."""
    alive = [worker for worker in workers if not worker.late]
    told = [worker_report.read(worker.report) for worker in alive]
    draining = sum(report.draining for report in told)
    if not alive:
        yield Finding("warn", "workers", "none is alive, so nothing runs: start `asyncjobs run`")
    elif draining == len(alive):
        text = "all living workers are draining, so no job is started: start `asyncjobs run`"
        yield Finding("warn", "workers", text)
    else:
        slowest = printing.age(max(worker.beat for worker in alive))
        also = f", {draining} of them draining" if draining else ""
        yield Finding("ok", "workers", f"{len(alive)} alive{also}, the slowest beat {slowest} ago")
    for worker, report in zip(alive, told, strict=True):
        where = f"{worker.about.get('host')}, pid {worker.about.get('pid')}"
        if report.claims_nothing:
            yield Finding("warn", "workers", f"{where} claims nothing: {report.claims_nothing}")
        for job in report.stuck:
            yield Finding(
                "warn",
                "stuck",
                f"{job.kind} {job.id} goes on at {where}, cancelled since {job.since} ({job.reason}): it keeps its slot "
                "until it ends; let its CancelledError pass (in a `def`: look at `stopping`), or end that process",
            )
    for kind, (times, longest, place) in worker_report.blocks_of_all(told).items():
        where = f", at {place}" if place else ""
        yield Finding(
            "warn",
            "event loop",
            f"{kind} blocked it {times} times, for up to {longest:.2g} s{where}, and every other job of its process "
            "with it: "
            'move the work into a `def`, into executor="process", or through anyio.to_thread.run_sync; '
            "the worker's log has the line",
        )


def server_findings(server: reading.Server, url: str, *, clock_here: float) -> list[Finding]:
    """Judge the server's facts; `clock_here`: seconds since 1970 by this machine, when they were read."""
    found = []
    if server.major < 13:
        found.append(Finding("fail", "version", f"PostgreSQL {server.version} is too old: 13 or later is needed"))
    if server.encoding != "UTF8":
        text = f"the database's encoding is {server.encoding}: make one with `create database … encoding 'UTF8'`"
        found.append(Finding("fail", "encoding", text))
    if server.standby:
        found.append(
            Finding("fail", "writes", "this is a standby, which takes no writes: point database_url at the primary")
        )
    elif server.read_only:
        found.append(Finding("fail", "writes", "transactions are read-only here: unset default_transaction_read_only"))
    if server.synchronous_commit == "off":
        text = "off: an enqueue that returned may be lost when the server crashes; set it on for this role or database"
        found.append(Finding("warn", "synchronous_commit", text))
    else:
        found.append(Finding("ok", "synchronous_commit", server.synchronous_commit))
    warning = tls.warning(server, url)
    found.append(Finding("warn" if warning else "ok", "tls", warning or tls.state(server, url)))
    apart = abs(server.clock - clock_here)
    if apart > CLOCK_LIMIT:
        text = f"the clocks of this machine and the database are {apart:.1f} s apart: jobs go by the database's; set up NTP"
        found.append(Finding("warn", "clock", text))
    else:
        found.append(Finding("ok", "clock", f"{apart:.1f} s apart"))
    return found


def connection_finding(limits: reading.Limits, server: reading.Server, settings: Settings) -> Finding:
    """Judge whether the worker processes of these settings can have the connections that they need."""
    processes = max(pool.processes for pool in settings.pools)
    least = processes * (connections.NEEDED + BESIDE)
    most = processes * (connections.MOST + 1)
    isolated = processes * MOST_ISOLATED
    idle = processes * (connections.NEEDED + 1)
    of = {f"role {server.role}": limits.of_role, f"database {server.database}": limits.of_database}
    known = [(limit, whose) for whose, limit in of.items() if limit is not None]
    limit, whose = min([*known, (limits.of_server, "everybody together on this server")])
    need = (
        f"{processes} worker {'process' if processes == 1 else 'processes'} of these pools need {least}, open up to {most} "
        f"under load, and {isolated} more for isolated steps; {idle} when idle"
    )
    if limit >= most + isolated:
        return Finding("ok", "connections", f"{whose} may have {limit}; {need}")
    remedy = "raise the limit, or lower `processes` of the pools"
    return Finding("fail" if limit < least else "warn", "connections", f"{whose} may have {limit}; {need}: {remedy}")


async def _hearing(url: str) -> Finding:
    if poolers.gives_transactions(url):
        return Finding(
            "warn",
            "listen/notify",
            "a pooler in transaction mode is in between, so workers and awaits poll, and a dead worker is noticed when its "
            "lease is over; for notices point database_url at the database itself, or at a port in session mode",
        )
    if await reading.hears(url, timeout=HEARING_LIMIT):
        return Finding("ok", "listen/notify", "a notice came through")
    return Finding(
        "fail",
        "listen/notify",
        f"a notice did not come through within {HEARING_LIMIT:g} s: a pooler in transaction mode is in between; "
        "point database_url at the database itself, or at a port in session mode",
    )


def _rights(rights: reading.Rights, role: str) -> Finding:
    of = {"enqueue": rights.enqueue, "work": rights.work, "look": rights.look, "migrate": rights.own}
    can = [name for name, may in of.items() if may]
    if not can:
        remedy = (
            "grant it asyncjobs_enqueuer to enqueue, asyncjobs_worker to work, asyncjobs_viewer to look, or asyncjobs_owner "
            "to migrate (`asyncjobs db sql --roles` makes them)"
        )
        return Finding("warn", "rights", f"{role} can do nothing here: {remedy}")
    return Finding("ok", "rights", f"{role} can {', '.join(can)}")


def definer_findings(owners: Sequence[reading.Definers], *, is_private: bool = False) -> Iterator[Finding]:
    """Judge functions that run with their owner's rights; `is_private`: on the project's own server, which has one role."""
    for owner, everybodys, is_superuser in owners:
        if everybodys:
            text = (
                f"every role with usage of the schema may execute {', '.join(everybodys)} with the rights of {owner}: "
                "`revoke execute on all routines in schema asyncjobs from public`"
            )
            yield Finding("warn", "functions", text)
        if is_superuser and not is_private:
            text = (
                f"asyncjobs's functions run with the rights of {owner}, a superuser: `asyncjobs db sql --roles` gives them "
                "to an owner of their own"
            )
            yield Finding("warn", "functions", text)


def _days(days: int) -> Finding:
    if days >= LEAST_DAYS:
        return Finding("ok", "history", f"its partitions reach {days} days ahead")
    verdict: Literal["warn", "fail"] = "warn" if days > 0 else "fail"
    return Finding(
        verdict, "history", f"its partitions reach {days} days ahead: a running worker makes them; {MIGRATE}"
    )
